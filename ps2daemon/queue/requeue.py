"""Dead letters back into the queue, while subscriber and worker run.

A batch of letters, of one frame, goes in two transactions, one inside of the other:

    1. the letters are deleted, uncommitted: this holds the write lock of their file
    2. their records are appended to the queue, durably
    3. the deletion is committed

A worker that refuses one of the records again between 2 and 3 waits at that lock, and puts it anew. Without the lock its `put` would
find the letter still there and change nothing, and 3 would delete the only copy. A kill between 2 and 3 leaves a record in both
places: applying it twice changes nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ps2daemon.errors import FrameError, QueueFull
from ps2daemon.model.records import Record
from ps2daemon.queue.files import Lock, reading, translated
from ps2daemon.queue.frames import (
    LIST_OVERHEAD,
    MAX_FRAME_BYTES,
    MAX_RECORDS,
    decode_frame,
    encode_frame,
    record_bytes,
)
from ps2daemon.queue.letters import DELETE, Chosen, letters_file, transaction
from ps2daemon.queue.shared import QueueFile, ignored
from ps2daemon.queue.sqlite import FILE_NAME, check_disk
from ps2daemon.queue.table import QUEUE_FORMAT, FrameTable

MOST_FULL: Final = 0.9
"""The share of the queue's bound that is not gone beyond: the rest is for what the subscriber receives."""
PAUSE_SECONDS: Final = 0.11
"""Between two batches: who waits for the letters' lock looks every 100 ms (SQLite's busy handler), and gives up after `BUSY_SECONDS`."""
_FRAME: Final = "SELECT frame FROM letters WHERE id = :id AND digest = :digest"


class Requeued(msgspec.Struct, frozen=True):
    """What became of letters.

    Attributes:
        letters, records: they are in the queue.
        unreadable: their bytes are no frame that this program reads; they stay where they are.
        gone: somebody else took them away meanwhile.
    """

    letters: int = 0
    records: int = 0
    unreadable: int = 0
    gone: int = 0

    def plus(self, other: Requeued) -> Requeued:
        """Both together."""
        return Requeued(
            self.letters + other.letters,
            self.records + other.records,
            self.unreadable + other.unreadable,
            self.gone + other.gone,
        )


class _Batch(NamedTuple):
    frame: bytes | None
    outcome: Requeued


def requeue(directory: Path, chosen: Sequence[Chosen], told: Callable[[Requeued], None]) -> None:
    """Puts the records of letters at the end of the queue, in the order of `chosen`, and removes the letters.

    Blocks, for some milliseconds and `PAUSE_SECONDS` a batch. It can be broken off at any time: what `told` was told of is done, at most one batch more is in
    the queue without its letters being removed, and the rest is as it was. Acked frames are not evicted.

    Args:
        told: called after each batch.

    Raises:
        QueueMissing: there is no queue, or no file of dead letters.
        QueueFull: the queue would be fuller than `MOST_FULL`, or its disk is full.
        QueueLocked: another process requeues.
        QueueBusy: another program does not let go of a file.
        QueueDamaged, QueueUnwritable: a file can't be used.
    """
    path = directory / FILE_NAME
    with letters_file(directory) as letters, _queue(path) as queue:
        left = deque(chosen)
        while left:
            with transaction(letters):
                batch = _take(letters, left)
                if batch.frame is not None:
                    queue.append(batch.frame)
            told(batch.outcome)
            if left:
                time.sleep(PAUSE_SECONDS)


@contextmanager
def _queue(path: Path) -> Iterator[_Queue]:
    """The queue, for one requeue at a time. Makes none where there is none."""
    with reading(path, QUEUE_FORMAT):
        pass
    with translated(path):
        lock = Lock(path.parent / "requeue.lock", "putting dead letters back into")
    try:
        with closing(_Queue(path)) as queue:
            yield queue
    finally:
        lock.release()


class _Queue:
    """Where letters go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._max_bytes = 0
        self._file = QueueFile(path, self._set_up, ignored)

    def append(self, frame: bytes) -> None:
        """Puts a frame at the end, if that leaves room for what the subscriber receives.

        Raises:
            QueueFull: it does not.
        """
        with translated(self._path):
            check_disk(self._path.parent, frame)
        self._file.call(lambda frames: self._append(frames, frame))

    def close(self) -> None:
        """Releases the file."""
        self._file.close()

    def _set_up(self, frames: FrameTable) -> None:
        self._max_bytes = frames.bound_as_stated()

    def _append(self, frames: FrameTable, frame: bytes) -> None:
        full = QueueFull(
            f"the queue in {self._path.parent} has no room for more dead letters, since {1 - MOST_FULL:.0%} of its {self._max_bytes:,} bytes "
            "are kept for what is received: let the worker catch up, or raise queue.max_bytes, then requeue the rest"
        )
        if frames.occupied() + len(frame) > MOST_FULL * self._max_bytes:
            raise full
        try:
            with translated(self._path):
                frames.put(frame)
        except QueueFull:
            raise full from None


def _take(letters: sqlite3.Connection, left: deque[Chosen]) -> _Batch:
    """Deletes the next letters, as many as fit a frame, and takes them from `left`."""
    records: list[Record] = []
    size = LIST_OVERHEAD
    number = unreadable = gone = 0
    frame: bytes | None = None
    while left:
        key = {"id": left[0].id, "digest": left[0].digest}
        row = letters.execute(_FRAME, key).fetchone()
        try:
            more = () if row is None else decode_frame(row[0])
        except FrameError:
            more = ()
            unreadable += 1
        else:
            gone += row is None
        bytes_more = sum(map(record_bytes, more))
        if (
            number
            and more
            and (len(records) + len(more) > MAX_RECORDS or size + bytes_more > MAX_FRAME_BYTES)
        ):
            break
        left.popleft()
        if more:
            letters.execute(DELETE, key)
            frame = row[0]
            records += more
            size += bytes_more
            number += 1
    if number > 1:
        frame = encode_frame(records)
    return _Batch(frame, Requeued(number, len(records), unreadable, gone))
