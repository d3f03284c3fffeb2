"""The queue and the dead letters in memory: twins of the durable ones, for tests and for whoever needs no durability.

They keep every promise of `base.py` but the one about crashes: what is in a `MemoryQueue` outlives its ends, not its process.
"""

from __future__ import annotations

import os
from collections import deque

import trio

from ps2daemon.errors import FrameError, QueueFull, QueueLocked, QueueReplaced
from ps2daemon.model.records import Ms
from ps2daemon.queue.base import DeadLetter, Item, QueueStatistics
from ps2daemon.queue.frames import HEADER_BYTES, MAX_FRAME_BYTES, decode_frame, frame_header
from ps2daemon.queue.mending import Mending


class MemoryQueue:
    """What both ends share.

    Args:
        max_bytes: the bound of all frames together.
        retain: how many acked frames are kept for a replay, while there is room.
    """

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024, retain: int = 0) -> None:
        self._max_bytes = max_bytes
        self._retain = retain
        self._frames: deque[bytes] = deque()
        self._bytes = 0  # of all that is kept
        self._first = 1  # the position of the first frame that is kept
        self._acked = 0
        self._held: set[str] = set()
        self.replaced = False
        """Whether something was lost, and the producer does not know."""

    def producer(self) -> MemoryProducer:
        """The end that appends.

        Raises:
            QueueLocked: somebody holds it.
        """
        self._hold("producer")
        return MemoryProducer(self)

    def consumer(self) -> MemoryConsumer:
        """The end that reads and acks.

        Raises:
            QueueLocked: somebody holds it.
        """
        self._hold("consumer")
        return MemoryConsumer(self)

    def statistics(self) -> QueueStatistics:
        """The state of the whole queue."""
        left = self.behind(self._acked, len(self._frames))
        headers = [frame_header(frame) for _, frame in left]
        return QueueStatistics(
            frames=len(left),
            records=sum(header.records for header in headers),
            bytes=sum(len(frame) for _, frame in left),
            oldest_at=headers[0].oldest_at if headers else None,
            max_bytes=self._max_bytes,
            retained=len(self._frames) - len(left),
        )

    @property
    def acked(self) -> int:
        """The last acked position."""
        return self._acked

    def append(self, frame: bytes) -> None:
        frame_header(frame)
        if len(frame) > HEADER_BYTES + MAX_FRAME_BYTES:
            raise FrameError(f"the frame has {len(frame)} bytes, beyond its bound")
        if self._bytes + len(frame) > self._max_bytes:
            self._keep_from(self._acked + 1)
        if self._bytes + len(frame) > self._max_bytes:
            raise QueueFull(f"the queue has reached its {self._max_bytes} bytes: let the worker catch up")
        self._frames.append(frame)
        self._bytes += len(frame)

    def behind(self, position: int, limit: int) -> list[Item]:
        """Up to `limit` frames behind a position."""
        begin = position + 1 - self._first
        return [
            Item(self._first + index, self._frames[index])
            for index in range(begin, min(begin + limit, len(self._frames)))
        ]

    def ack(self, position: int) -> None:
        self._acked = position
        self._keep_from(position + 1 - self._retain)

    def ack_lost(self, position: int) -> None:
        if position <= self._acked:
            return
        left = self.behind(position, len(self._frames))
        self._keep_from(position + 1)
        self._acked = position
        self._frames.clear()
        self._bytes = 0
        mending = Mending()
        mending.hole()
        for _, frame in left:
            try:
                records = decode_frame(frame)
            except FrameError:
                mending.hole(1)
                continue
            for kept in mending.frames(frame, records):
                self._frames.append(kept)
                self._bytes += len(kept)
        self.replaced = True

    def replay(self, frames: int) -> int:
        before = self._acked
        self._acked = max(self._first - 1, self._acked - frames)
        return before - self._acked

    def release(self, role: str) -> None:
        self._held.discard(role)

    def _keep_from(self, position: int) -> None:
        while self._first < position:
            self._bytes -= len(self._frames.popleft())
            self._first += 1

    def _hold(self, role: str) -> None:
        if role in self._held:
            pid = os.getpid()
            raise QueueLocked(f"process {pid} holds the queue's {role} already: close it first", pid)
        self._held.add(role)


class _End:
    _role: str

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue
        self._closed = False

    async def statistics(self) -> QueueStatistics:
        """The state of the whole queue."""
        await self._begin()
        return self._queue.statistics()

    async def aclose(self) -> None:
        """Lets go of this end. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._queue.release(self._role)

    async def _begin(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError(f"the queue's {self._role} is closed")


class MemoryProducer(_End):
    """See `base.Producer`."""

    _role = "producer"

    async def append(self, frame: bytes) -> None:
        """Puts a frame at the end."""
        await self._begin()
        if self._queue.replaced:
            self._queue.replaced = False
            raise QueueReplaced("some of what was in the queue is lost")
        self._queue.append(frame)


class MemoryConsumer(_End):
    """See `base.Consumer`."""

    _role = "consumer"

    def __init__(self, queue: MemoryQueue) -> None:
        super().__init__(queue)
        self._cursor = self._read_to = queue.acked

    async def read(self, limit: int) -> list[Item]:
        """Up to `limit` frames behind the cursor, in order, and moves the cursor."""
        await self._begin()
        items = self._queue.behind(self._cursor, limit)
        if items:
            self._cursor = items[-1].position
            self._read_to = max(self._read_to, self._cursor)
        return items

    async def ack(self, position: int) -> None:
        """Everything up to `position` is done with."""
        await self._begin()
        if position > self._read_to:
            raise ValueError(f"position {position} was never read; the last one is {self._read_to}")
        if position > self._queue.acked:
            self._queue.ack(position)
            self._cursor = max(self._cursor, position)

    async def ack_lost(self, position: int, reason: str) -> None:
        """See `base.Consumer.ack_lost`."""
        await self._begin()
        self._queue.ack_lost(position)
        self._cursor = self._queue.acked

    async def rewind(self) -> None:
        """Moves the cursor back to behind the last ack."""
        await self._begin()
        self._cursor = self._queue.acked

    async def replay(self, frames: int) -> int:
        """Takes back the acks of the last `frames` frames that are still kept, and rewinds; returns how many they are."""
        await self._begin()
        taken_back = self._queue.replay(frames)
        self._cursor = self._queue.acked
        return taken_back


class MemoryDeadLetters:
    """See `base.DeadLetters`."""

    def __init__(self, *, max_letters: int = 10_000) -> None:
        self._max_letters = max_letters
        self._letters: dict[bytes, DeadLetter] = {}

    async def put(self, frame: bytes, reason: str, attempts: int, at: Ms) -> None:
        """Keeps a frame; a repetition of one that is there changes nothing."""
        await trio.lowlevel.checkpoint()
        if frame in self._letters:
            return
        if len(self._letters) >= self._max_letters:
            raise QueueFull(f"there are {self._max_letters} dead letters already")
        self._letters[frame] = DeadLetter(len(self._letters) + 1, at, reason, attempts, frame)

    async def list(self, limit: int) -> list[DeadLetter]:
        """The oldest ones, in the order in which they came."""
        await trio.lowlevel.checkpoint()
        return list(self._letters.values())[:limit]

    async def count(self) -> int:
        """How many there are."""
        await trio.lowlevel.checkpoint()
        return len(self._letters)

    async def aclose(self) -> None:
        """Does nothing: the letters stay."""
        await trio.lowlevel.checkpoint()
