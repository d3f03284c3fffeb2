"""The queue's promises, whichever implementation keeps them.

A queue holds **frames** (`frames.py`): opaque bytes of up to `frames.MAX_FRAME_BYTES`, in order.

- `append` returns when the frame is on disk: it survives SIGKILL and a power cut from then on. Before it returns, the frame may
  or may not be there; appending it again is harmless, since everything downstream is idempotent.
- Frames come out in the order in which they went in, at least once: again after a crash or a `rewind`, until they are acked.
- `ack` is cumulative and durable. The only caller is the writer, after its commit.
- The size in bytes is bounded: `append` raises `QueueFull` and writes nothing. Nothing is ever dropped to make room.
- Where frames are lost, by damage of what they are on or because one can't be decoded, the queue is mended (`mending.py`): no coverage record behind them
  vouches for their time, and the producer is told with `QueueReplaced`, since what it would claim next may reach across it.
- There is one producer process and one consumer process. Each side is opened by its own class method and holds its own lock; a second one
  gets `QueueLocked` with the first one's pid.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from ps2daemon.model.records import Ms


class Item(NamedTuple):
    """A frame at its position; positions grow, with holes possible."""

    position: int
    frame: bytes


class QueueStatistics(msgspec.Struct, frozen=True):
    """A snapshot.

    Attributes:
        frames, records, bytes: what is not acked yet.
        oldest_at: the time of the first record that is not acked, or None if there is none.
        max_bytes: the bound.
        retained: acked frames that are still kept for a replay.
    """

    frames: int
    records: int
    bytes: int
    oldest_at: Ms | None
    max_bytes: int
    retained: int


class Producer(Protocol):
    """The end that the subscriber, or an import, holds."""

    async def append(self, frame: bytes) -> None:
        """Puts a frame at the end; returns when it is on disk.

        Raises:
            QueueUnavailable: nothing was written; `QueueFull` if the bound or the disk is reached.
            QueueReplaced: some of what was appended before is lost; nothing was written. Told once.
        """

    async def statistics(self) -> QueueStatistics:
        """The state of the whole queue."""

    async def aclose(self) -> None:
        """Releases the file and the lock."""


class Consumer(Protocol):
    """The end that the worker holds."""

    async def read(self, limit: int) -> list[Item]:
        """Up to `limit` frames behind the cursor, in order, and moves the cursor (in memory); empty if there are none. Never waits."""

    async def ack(self, position: int) -> None:
        """Everything up to `position` is done with, durably."""

    async def ack_lost(self, position: int, reason: str) -> None:
        """As `ack`, where something behind the last ack could not be decoded: its time is not vouched for by what stands behind `position`.

        What was read beyond that must be read again; at the cursor, which is moved back, it is different.

        Args:
            reason: one line.
        """

    async def rewind(self) -> None:
        """Moves the cursor back to behind the last ack."""

    async def statistics(self) -> QueueStatistics:
        """The state of the whole queue."""

    async def aclose(self) -> None:
        """Releases the file and the lock."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that could not be applied.

    Attributes:
        id: its number.
        at: when it was put here.
        reason: one line.
        attempts: how often it was tried.
        record: as encoded in a frame of one record.
    """

    id: int
    at: Ms
    reason: str
    attempts: int
    frame: bytes


class DeadLetters(Protocol):
    """A place of their own for records that can't be applied; bounded: beyond the bound the oldest stay and `QueueFull` is raised."""

    async def put(self, frame: bytes, reason: str, attempts: int, at: Ms) -> None:
        """Keeps a frame of one record; a repetition of one that is there changes nothing."""

    async def list(self, limit: int) -> list[DeadLetter]:
        """The oldest ones."""

    async def count(self) -> int:
        """How many there are."""

    async def aclose(self) -> None:
        """Releases the file."""
