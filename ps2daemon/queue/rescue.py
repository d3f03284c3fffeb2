"""Replaces a damaged queue by a new one that holds what could be read of it, and sets it aside.

    damaged-20260301T120000Z/    beside the queue
        report.json              what happened (`Damage`)
        queue.db, -wal, -shm     as they were found
        building.db              the new queue while it is made: of no account
        rescued.db               the new queue once it is complete; it moves to its place when the damaged files are out of the way

Whoever calls anything here holds the `Gate` alone: nobody reads, appends or acks meanwhile, and all look at the file anew afterwards. A kill
at any moment loses nothing: `finish` completes what was begun, and what was not complete begins anew.

Positions begin anew, beyond all that there were, without holes; so an ack of something from before acks nothing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from ps2daemon.clock import SystemClock
from ps2daemon.errors import FrameError
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.queue.files import create, sync_folder, translated
from ps2daemon.queue.frames import decode_frame, frame_header
from ps2daemon.queue.mending import Mending
from ps2daemon.queue.salvage import Cells, Pages, State, Unreadable, find, row_at
from ps2daemon.queue.table import QUEUE_FORMAT, TABLE

PREFIX: Final = "damaged-"
KEPT: Final = 3
"""So many damaged files are kept; the oldest are deleted when there are more."""
_REPORT: Final = "report.json"
_BUILDING: Final = "building.db"
_RESCUED: Final = "rescued.db"
_open_files: dict[Path, int] = {}
"""Descriptors of damaged files. Closing one gives up the locks that SQLite has on it in this process, which matters until it is replaced."""


class Damage(msgspec.Struct, frozen=True):
    """What became of a damaged queue.

    Attributes:
        at: when it was replaced.
        reason: one line.
        folder: where it is now.
        frames, records: that were saved.
        lost: frames that are known to be lost; there may be more if `all_known` is False.
    """

    at: Ms
    reason: str
    folder: str
    frames: int
    records: int
    lost: int
    all_known: bool

    def __str__(self) -> str:
        least = "" if self.all_known else "at least "
        return (
            f"{self.records:,} records in {self.frames:,} frames were saved, {least}{self.lost:,} frames are lost; "
            f"the damaged file is in {self.folder} ({self.reason})"
        )


def damages(directory: Path) -> list[Damage]:
    """The damaged files that were set aside beside the queue in `directory` and are still there, the oldest first."""
    found = []
    for report in sorted(directory.glob(f"{PREFIX}*/{_REPORT}")):
        with suppress(OSError, msgspec.DecodeError):  # somebody is about to remove it
            found.append(msgspec.json.decode(report.read_bytes(), type=Damage))
    return found


def rescue(path: Path, reason: str, *, acked: int | None = None) -> Damage:
    """Sets the queue at `path` aside and puts what can be read of it into a new one.

    Args:
        acked: what is acked at least, if the caller knows; where that is given, something that was acked could not be read.

    Raises:
        QueueFull: there is no room for it; nothing was changed.
        QueueUnwritable: the disk refuses; nothing was changed that another call does not complete.
    """
    with translated(path):
        _make_room(path.parent)
        at = SystemClock().now()
        folder = _folder(path.parent, at)
        try:
            damage = _rescue(path, folder, reason, at, acked)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finish(path)
    if (file := _open_files.pop(path, None)) is not None:
        os.close(file)
    return damage


def _rescue(path: Path, folder: Path, reason: str, at: Ms, acked: int | None) -> Damage:
    """Makes everything ready for `finish`, without touching the queue."""
    if path not in _open_files:
        _open_files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pages = Pages(_open_files[path], path.with_name(f"{path.name}-wal"))
    cells, state, sequence = find(pages)
    position = None if state is None or not _is_sound(pages, cells, state, sequence) else state.position
    if acked is not None:
        position = max(acked, position or 0)
    content = _Content(pages, cells, position, sequence, reported=acked is not None)
    known = (at, sequence or 0, position or 0, cells.last(2 * at))
    base = max(each for each in known if each < 2 * at)  # the rest is garbage
    records = _build(folder / _BUILDING, content, base, 0 if state is None else state.max_bytes)
    damage = Damage(at, reason, str(folder), content.frames, records, content.mending.lost, content.all_known)
    (folder / _REPORT).write_bytes(msgspec.json.encode(damage))
    (folder / _BUILDING).rename(folder / _RESCUED)
    sync_folder(folder)
    return damage


def finish(path: Path) -> None:
    """Completes what a kill broke off, if anything."""
    for rescued in sorted(path.parent.glob(f"{PREFIX}*/{_RESCUED}")):
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(rescued.with_name(path.name + suffix))
        rescued.rename(path)
        sync_folder(path.parent)


def set_aside(path: Path, reason: str) -> Damage:
    """Moves a database out of the way of which nothing is saved."""
    _make_room(path.parent)
    at = SystemClock().now()
    folder = _folder(path.parent, at)
    damage = Damage(at, reason, str(folder), frames=0, records=0, lost=0, all_known=False)
    (folder / _REPORT).write_bytes(msgspec.json.encode(damage))
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(folder / f"{path.name}{suffix}")
    sync_folder(path.parent)
    return damage


class _Content:
    """The frames that go into the new queue, and what is known of the others.

    Args:
        position: what is acked; None if that is not known.
        sequence: the last position that was given; None if that is not known.
        reported: whether something up to `position` is lost.
    """

    def __init__(
        self, pages: Pages, cells: Cells, position: int | None, sequence: int | None, *, reported: bool
    ) -> None:
        self._pages = pages
        self._cells = cells
        self._position = position
        self._sequence = sequence
        self._reported = reported
        self.mending = Mending()
        self.frames = 0
        self.all_known = position is not None and sequence is not None

    def __iter__(self) -> Iterator[bytes]:
        mending, position = self.mending, self._position
        expected = None if position is None else position + 1
        if expected is None or self._reported:
            mending.hole(1 if self._reported else 0)
        done: int | None = position
        for at, page, offset in self._cells:
            if done is not None and at <= done:
                continue
            try:
                frame = row_at(self._pages, page, offset).frame
                records = decode_frame(frame)
            except (Unreadable, FrameError):
                continue  # it may be elsewhere as well, and is missing otherwise
            if expected is not None and at > expected:
                mending.hole(at - expected)
            done, expected = at, at + 1
            for kept in mending.frames(frame, records):
                self.frames += 1
                yield kept
        if expected is not None and self._sequence is not None:
            mending.lost += max(0, self._sequence + 1 - expected)


def _is_sound(pages: Pages, cells: Cells, state: State, sequence: int | None) -> bool:
    """Whether what a queue says of what is acked may be true: what is not acked must not be taken for that."""
    if sequence is not None and state.position > sequence:
        return False
    for at, page, offset in cells:
        if at == state.position + 1:
            with suppress(Unreadable):
                row = row_at(pages, page, offset)
                return (row.records_before, row.bytes_before) == (state.records, state.bytes)
    return True


def _folder(parent: Path, at: Ms) -> Path:
    """A new one, for what was damaged at a time."""
    name = f"{PREFIX}{datetime.fromtimestamp(at / SECOND, UTC):%Y%m%dT%H%M%S}.{at % SECOND:03}Z"
    folder = parent / name
    folder.mkdir(mode=0o700)
    return folder


def _make_room(parent: Path) -> None:
    """Deletes what a kill left half done, and the oldest damaged files beyond `KEPT`."""
    folders = sorted(parent.glob(f"{PREFIX}*"))
    for number, folder in enumerate(folders):
        if number + KEPT <= len(folders) or (folder / _BUILDING).exists():
            shutil.rmtree(folder)


def _build(path: Path, content: _Content, base: int, max_bytes: int) -> int:
    """Makes a queue of frames, durably; returns how many records they hold."""
    records_total = bytes_total = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=OFF")
        create(connection, QUEUE_FORMAT)
        connection.execute("BEGIN")
        connection.execute("UPDATE state SET position = ?, max_bytes = ?", (base, max_bytes))
        connection.execute("INSERT INTO sqlite_sequence VALUES ('queue_frames', ?)", (base,))
        for frame in content:
            header = frame_header(frame)
            records_total += header.records
            bytes_total += len(frame)
            connection.execute(
                f"INSERT INTO {TABLE} (oldest_at, records, records_total, bytes_total, data) VALUES (?, ?, ?, ?, ?)",
                (header.oldest_at, header.records, records_total, bytes_total, frame),
            )
        connection.execute("COMMIT")
    file = os.open(path, os.O_RDWR)
    try:
        os.fchmod(file, 0o600)
        os.fsync(file)
    finally:
        os.close(file)
    return records_total
