"""What can be read of a queue's file however it is damaged: its pages are looked at one by one, and SQLite is not asked.

A frame checks itself, so that a row is found by its shape wherever its page is and trusted only if its frame is whole. Of the journal, the latest
committed version of a page counts. Source of both layouts: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_MAGIC: Final = b"SQLite format 3\0"
_PAGE_BYTES: Final = 4096
"""SQLite's default, where the header does not tell."""
_FILE_HEADER: Final = 100
_LEAF: Final = 13
_LEAF_HEADER: Final = 8
_JOURNAL_HEADER: Final = 32
_JOURNAL_FRAME: Final = struct.Struct(">II8s8s")
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer by its serial type; 8 and 9 are the numbers 0 and 1 themselves."""
_MOST_BYTES: Final = 1 << 20
"""Of one row: the largest frame and its columns are a quarter of that."""
_FRAME_COLUMNS: Final = 6
_STATE_COLUMNS: Final = 5
_SEQUENCE_COLUMNS: Final = 2
SEQUENCE_NAME: Final = b"queue_frames"


class State(NamedTuple):
    """What is acked, with the totals of it, and the bound in bytes."""

    position: int
    records: int
    bytes: int
    max_bytes: int


class Row(NamedTuple):
    """A frame, whether whole or not, and the totals of what stands before it."""

    frame: bytes
    records_before: int
    bytes_before: int


class Cells:
    """Where rows are, by position; a row may be found twice, since pages that are free keep what they held.

    Each takes one integer, some 50 bytes: a gigabyte of the smallest frames has four million.
    """

    def __init__(self) -> None:
        self._packed: list[int] = []

    def add(self, position: int, page: int, offset: int) -> None:
        """Adds a row; a position that no queue gives is none."""
        if position > 0:
            self._packed.append(position << 48 | page << 16 | offset)

    def sort(self) -> None:
        """To be done when all are added."""
        self._packed.sort()

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        for packed in self._packed:
            yield packed >> 48, packed >> 16 & 0xFFFF_FFFF, packed & 0xFFFF

    def last(self, below: int) -> int:
        """The last position below a bound, or 0."""
        index = bisect_left(self._packed, below << 48)
        return self._packed[index - 1] >> 48 if index else 0


class Unreadable(Exception):
    """A page, or what should be a row, is not what it should be."""


class Pages:
    """The pages of a database file and its journal.

    Args:
        file: a descriptor; not closed here.
    """

    def __init__(self, file: int, journal: Path) -> None:
        self._file = file
        head = self._read(file, _FILE_HEADER, 0)
        size = int.from_bytes(head[16:18], "big")
        size = 65_536 if size == 1 else size
        ok = head.startswith(_MAGIC) and size >= 512 and size & (size - 1) == 0
        self.size = size if ok else _PAGE_BYTES
        self.number = -(-os.fstat(file).st_size // self.size)
        self._latest: dict[int, bytes] = {}
        with suppress(FileNotFoundError):
            self._take_in(journal.read_bytes())

    def page(self, number: int) -> bytes:
        """A page by its number, from 1 on; as far as it can be read, and empty if it can't at all."""
        latest = self._latest.get(number)
        return self._read(self._file, self.size, (number - 1) * self.size) if latest is None else latest

    def numbers(self) -> Iterator[int]:
        """Of all pages."""
        yield from range(1, max([self.number, *self._latest]) + 1)

    def _take_in(self, journal: bytes) -> None:
        salts: bytes | None = None
        committed: dict[int, bytes] = {}
        step = _JOURNAL_FRAME.size + self.size
        if int.from_bytes(journal[8:12], "big") == self.size:
            salts = journal[16:24]
        for at in range(_JOURNAL_HEADER, len(journal) - step + 1, step):
            number, last, salt, _ = _JOURNAL_FRAME.unpack_from(journal, at)
            salts = salt if salts is None else salts
            if salt != salts or not 0 < number < 1 << 31:
                continue  # of a journal before this one, or damaged
            committed[number] = journal[at + _JOURNAL_FRAME.size : at + step]
            if last:
                self._latest |= committed
                committed = {}

    @staticmethod
    def _read(file: int, size: int, at: int) -> bytes:
        try:
            return os.pread(file, size, at)
        except OSError:  # a sector that can't be read
            return b""


def find(pages: Pages) -> tuple[Cells, State | None, int | None]:
    """Where rows of frames are, the state, and the last position that was given; None for what is not found."""
    cells = Cells()
    state: State | None = None
    sequence: int | None = None
    for number in pages.numbers():
        page = pages.page(number)
        for offset in _cells(page, number):
            try:
                rowid, columns = _row(pages, page, offset)
            except Unreadable:
                continue
            if len(columns) == _FRAME_COLUMNS and isinstance(columns[-1], bytes):
                cells.add(rowid, number, offset)
            elif (
                len(columns) == _STATE_COLUMNS and rowid == 1 and all(isinstance(v, int) for v in columns[1:])
            ):
                state = State(*(int(value or 0) for value in columns[1:]))
            elif len(columns) == _SEQUENCE_COLUMNS and columns[0] == SEQUENCE_NAME:
                sequence = columns[1] if isinstance(columns[1], int) else None
    cells.sort()
    return cells, state, sequence


def row_at(pages: Pages, page: int, offset: int) -> Row:
    """A row of a frame.

    Raises:
        Unreadable: it is not there.
    """
    _, columns = _row(pages, pages.page(page), offset)
    _, _, records, records_total, bytes_total, frame = columns
    if not isinstance(frame, bytes):
        raise Unreadable
    counts = [each for each in (records, records_total, bytes_total) if isinstance(each, int)]
    if len(counts) != 3:
        raise Unreadable
    return Row(frame, counts[1] - counts[0], counts[2] - len(frame))


def _cells(page: bytes, number: int) -> Iterator[int]:
    """Where the rows of a leaf begin."""
    start = _FILE_HEADER if number == 1 else 0
    if len(page) < start + _LEAF_HEADER or page[start] != _LEAF:
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = start + _LEAF_HEADER
    for at in range(pointers, min(pointers + 2 * count, len(page) - 1), 2):
        offset = int.from_bytes(page[at : at + 2], "big")
        if pointers < offset < len(page):
            yield offset


def _row(pages: Pages, page: bytes, offset: int) -> tuple[int, list[int | bytes | None]]:
    """A row's number and its columns; texts as bytes."""
    size, at = _varint(page, offset)
    rowid, at = _varint(page, at)
    if not 0 < size <= _MOST_BYTES:
        raise Unreadable
    payload = _payload(pages, page, at, size)
    header, at = _varint(payload, 0)
    types = []
    while at < header:
        kind, at = _varint(payload, at)
        types.append(kind)
    columns: list[int | bytes | None] = []
    at = header
    for kind in types:
        value, at = _column(payload, kind, at)
        columns.append(value)
    if at != len(payload):
        raise Unreadable
    return rowid, columns


def _column(payload: bytes, kind: int, at: int) -> tuple[int | bytes | None, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind < 12:
        raise Unreadable
    end = at + (kind - 12) // 2
    return payload[at:end], end


def _payload(pages: Pages, page: bytes, at: int, size: int) -> bytes:
    """A row's bytes, those on overflow pages too."""
    most = pages.size - 35
    if size <= most:
        return page[at : at + size]
    least = (pages.size - 12) * 32 // 255 - 23
    local = least + (size - least) % (pages.size - 4)
    local = local if local <= most else least
    parts = [page[at : at + local]]
    left = size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0:
        if following == 0:
            raise Unreadable
        more = pages.page(following)
        parts.append(more[4 : 4 + min(left, pages.size - 4)])
        if not parts[-1]:
            raise Unreadable
        left -= len(parts[-1])
        following = int.from_bytes(more[:4], "big")
    return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        if at + index >= len(data):
            raise Unreadable
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    if at + 8 >= len(data):
        raise Unreadable
    return value << 8 | data[at + 8], at + 9
