"""The embedded queue: persist-queue's table in one SQLite file, for one producer and one consumer process.

- `append` is one INSERT and one fsync of the write-ahead journal. Statistics look at the two ends of what is not acked, however much
  lies between them (`table.py`).
- `ack` moves one durable row, `state`, and deletes what lies more than `retain` frames behind it, in one transaction.
- The file never grows beyond `max_bytes`, and nothing is appended when the disk has less than `RESERVE_BYTES` left, because on a
  full disk even an ack fails. Acked frames that are kept for a replay give way before `QueueFull` is raised. The file does not
  shrink: its free pages are used again.
- A file that is damaged is replaced, by either end, by one with all that can be read of it (`rescue.py`); see `base.py` for what that means.
- Appends and reads run in a worker thread, one at a time for each end. A cancelled call either did not begin, or ends and is whole.

What is not used of persist-queue: a blocking `get`, which can't be cancelled and takes an item along; its size, which is wrong across
processes; and `task_done`, which knows neither state nor `retain`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

import trio

from ps2daemon.errors import FrameError, QueueFull, QueueReplaced
from ps2daemon.queue.base import Item, QueueStatistics
from ps2daemon.queue.deadletters import SqliteDeadLetters, read_dead_letters
from ps2daemon.queue.files import Lock, free_bytes, make_folder, reading, translated
from ps2daemon.queue.frames import HEADER_BYTES, MAX_FRAME_BYTES
from ps2daemon.queue.shared import OnDamage, QueueFile, ignored
from ps2daemon.queue.table import QUEUE_FORMAT, TABLE, FrameTable, queue_statistics

__all__ = [
    "LEAST_MAX_BYTES",
    "RESERVE_BYTES",
    "SqliteConsumer",
    "SqliteDeadLetters",
    "SqliteProducer",
    "check_disk",
    "peek",
    "read_dead_letters",
    "read_statistics",
]

FILE_NAME: Final = "queue.db"
LEAST_MAX_BYTES: Final = 1024 * 1024
"""The least bound: some of the largest frames and the file's own pages."""
RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Kept free on the disk for acks: the journals of this file and its neighbours, 4 MiB each between two checkpoints."""

Result = TypeVar("Result")


class _End:
    """What both ends share: the lock, the file, the worker thread."""

    _role: ClassVar[str]
    _doing: ClassVar[str]

    def __init__(self, path: Path, lock: Lock, max_bytes: int, retain: int, on_damage: OnDamage) -> None:
        self._path = path
        self._lock = lock
        self._max_bytes = max_bytes
        self._retain = retain
        self._limiter = trio.CapacityLimiter(1)
        self._closed = False
        self._file = QueueFile(path, self._set_up, on_damage)

    @classmethod
    async def open(
        cls, directory: Path, *, max_bytes: int, retain: int = 0, on_damage: OnDamage = ignored
    ) -> Self:
        """Opens this end, and creates the queue if there is none.

        Args:
            max_bytes: the file's bound, at least `LEAST_MAX_BYTES`; the producer's counts.
            retain: how many acked frames are kept for a replay, while there is room; the consumer's counts.
            on_damage: told when this end found the queue damaged, now or later, and replaced it.

        Raises:
            QueueLocked: another process (or this one) holds this end.
            QueueMismatch, QueueUnwritable, QueueFull: see `files.prepare`.
            ValueError: `max_bytes` or `retain` is too small.
        """
        if max_bytes < LEAST_MAX_BYTES or retain < 0:
            raise ValueError(f"max_bytes is at least {LEAST_MAX_BYTES}, and retain at least 0")
        return await trio.to_thread.run_sync(cls._open, directory / FILE_NAME, max_bytes, retain, on_damage)

    @classmethod
    def _open(cls, path: Path, max_bytes: int, retain: int, on_damage: OnDamage) -> Self:
        with translated(path):
            make_folder(path.parent)
            lock = Lock(path.parent / f"{cls._role}.lock", cls._doing)
            try:
                return cls(path, lock, max_bytes, retain, on_damage)
            except BaseException:
                lock.release()
                raise

    async def statistics(self) -> QueueStatistics:
        """The state of the whole queue, whatever its length in well under a millisecond."""
        return await self._call(lambda: self._file.call(lambda frames: frames.statistics()))

    async def aclose(self) -> None:
        """Waits for the call that is under way, then releases the file and the lock. Closing again does nothing."""
        with trio.CancelScope(shield=True):  # bounded: a call takes at most BUSY_SECONDS and its fsync
            await trio.to_thread.run_sync(self._close, limiter=self._limiter)

    def _set_up(self, frames: FrameTable) -> None:
        """The file was opened, maybe anew."""
        raise NotImplementedError

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                self._file.close()
            finally:
                self._lock.release()

    async def _call(self, function: Callable[..., Result], *values: Any) -> Result:
        def guarded() -> Result:
            if self._closed:
                raise trio.ClosedResourceError(f"the queue's {self._role} is closed")
            return function(*values)

        return await trio.to_thread.run_sync(guarded, limiter=self._limiter)


class SqliteProducer(_End):
    """The end that appends. See `base.Producer`."""

    _role = "producer"
    _doing = "recording into"

    def __init__(self, path: Path, lock: Lock, max_bytes: int, retain: int, on_damage: OnDamage) -> None:
        super().__init__(path, lock, max_bytes, retain, on_damage)
        self._replaced = False  # since it was opened, and nobody was told

    async def append(self, frame: bytes) -> None:
        """Puts a frame at the end; returns when it is on disk.

        Raises:
            QueueReplaced: some of what was appended before was lost; nothing was written.
            QueueFull: the bound or the disk is reached; nothing was written.
            QueueUnwritable, QueueBusy: the file can't be used.
            FrameError: the bytes are no frame.
        """
        await self._call(self._append, frame)

    def _set_up(self, frames: FrameTable) -> None:
        frames.bound(self._max_bytes)
        self._replaced = True

    def _append(self, frame: bytes) -> None:
        if len(frame) > HEADER_BYTES + MAX_FRAME_BYTES:
            raise FrameError(f"the frame has {len(frame)} bytes, beyond its bound")
        with translated(self._path):
            check_disk(self._path.parent, frame)
        self._file.call(lambda frames: self._put_or_evict(frames, frame))

    def _put_or_evict(self, frames: FrameTable, frame: bytes) -> None:
        if self._replaced:
            self._replaced = False
            raise QueueReplaced(
                f"the queue in {self._path.parent} was damaged, and some of what was in it is lost: `ps2daemon queue status` says more"
            )
        try:
            self._put(frames, frame)
        except QueueFull:
            if not frames.evict():
                raise
            self._put(frames, frame)

    def _put(self, frames: FrameTable, frame: bytes) -> None:
        try:
            with translated(self._path):
                frames.put(frame)
        except QueueFull:
            raise QueueFull(
                f"the queue in {self._path.parent} has reached its {self._max_bytes} bytes, or its disk is full: "
                "let the worker catch up, or raise queue.max_bytes"
            ) from None


class SqliteConsumer(_End):
    """The end that reads and acks. See `base.Consumer`."""

    _role = "consumer"
    _doing = "working on"

    def __init__(self, path: Path, lock: Lock, max_bytes: int, retain: int, on_damage: OnDamage) -> None:
        self._read_to = 0
        super().__init__(path, lock, max_bytes, retain, on_damage)

    async def read(self, limit: int) -> list[Item]:
        """Up to `limit` frames behind the cursor, in order, and moves the cursor; empty if there are none. Never waits for one."""
        return await self._call(lambda: self._file.call(lambda frames: self._read(frames, limit)))

    async def ack(self, position: int) -> None:
        """Everything up to `position` is done with, durably. A position that is acked already changes nothing.

        Raises:
            ValueError: `position` was never read.
        """
        await self._call(lambda: self._file.call(lambda frames: self._ack(frames, position)))

    async def ack_lost(self, position: int, reason: str) -> None:
        """See `base.Consumer.ack_lost`."""
        await self._call(self._ack_lost, position, reason)

    async def rewind(self) -> None:
        """Moves the cursor back to behind the last ack."""
        await self._call(lambda: self._file.call(self._rewind))

    async def replay(self, frames: int) -> int:
        """Takes back the acks of the last `frames` frames, as far as they are still kept, and rewinds.

        Returns:
            how many frames that are.
        """
        return await self._call(lambda: self._file.call(lambda table: self._replay(table, frames)))

    def _set_up(self, frames: FrameTable) -> None:
        frames.suppose(self._max_bytes)
        self._acked = frames.acked()
        self._read_to = max(self._read_to, self._acked)
        frames.cursor = self._acked

    def _read(self, frames: FrameTable, limit: int) -> list[Item]:
        items: list[Item] = []
        while len(items) < limit and (item := frames.next()) is not None:
            items.append(item)
        if items:
            self._read_to = max(self._read_to, items[-1].position)
        return items

    def _ack(self, frames: FrameTable, position: int) -> None:
        if position > self._read_to:
            raise ValueError(f"position {position} was never read; the last one is {self._read_to}")
        if position <= self._acked:
            return
        frames.ack(position, self._retain)
        self._acked = position
        frames.cursor = max(frames.cursor, position)

    def _ack_lost(self, position: int, reason: str) -> None:
        if position > self._read_to:
            raise ValueError(f"position {position} was never read; the last one is {self._read_to}")
        if position > self._acked:
            self._file.replace(reason, position)

    def _rewind(self, frames: FrameTable) -> None:
        frames.cursor = self._acked

    def _replay(self, table: FrameTable, frames: int) -> int:
        before = self._acked
        table.replay(frames)
        self._acked = table.acked()
        self._rewind(table)
        return before - self._acked


def check_disk(folder: Path, frame: bytes) -> None:
    """That `frame` leaves what is kept free for acks on the folder's disk.

    Raises:
        QueueFull: it does not.
    """
    free = free_bytes(folder)
    if free < RESERVE_BYTES + len(frame):
        raise QueueFull(
            f"the disk of {folder} has {free // 2**20} MiB left, and {RESERVE_BYTES // 2**20} MiB are "
            "kept for the worker: make room"
        )


def read_statistics(directory: Path) -> QueueStatistics:
    """The state of the queue in `directory`, without a lock, while others may write. Blocks for a moment.

    Raises:
        QueueMissing, QueueMismatch, QueueDamaged, QueueUnwritable: see `files.reading`.
    """
    with reading(directory / FILE_NAME, QUEUE_FORMAT) as connection:
        return queue_statistics(connection)


def peek(directory: Path, limit: int, *, after: int | None = None) -> list[Item]:
    """The first frames that are not acked, or that stand behind the position `after`; changes nothing. Blocks for a moment.

    Raises:
        QueueMissing, QueueMismatch, QueueDamaged, QueueUnwritable: see `files.reading`.
    """
    with reading(directory / FILE_NAME, QUEUE_FORMAT) as connection:
        rows = connection.execute(
            f"SELECT _id, data FROM {TABLE} "
            "WHERE _id > COALESCE(?, (SELECT position FROM state)) ORDER BY _id LIMIT ?",
            (after, limit),
        )
        return [Item(*row) for row in rows]
