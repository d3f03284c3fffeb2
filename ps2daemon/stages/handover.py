"""Between the enricher and the writer: batches in order, handed over by reference and removed only when done.

It outlives a crash of either stage, so that a restarted one goes on exactly there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from ps2daemon.census.rest import Identity
from ps2daemon.model.batch import Batch

WAITING: Final = 2
"""Batches that wait for the writer: one to go on with, one to decode meanwhile."""


class Broken(msgspec.Struct, frozen=True):
    """A frame that can't be decoded, and why."""

    frame: bytes
    reason: str


class Handed(msgspec.Struct, frozen=True):
    """A batch on its way to the store.

    Attributes:
        position: of its last frame; acked when the batch is in the store.
        identities: who some of its characters are.
        frames: what the batch was decoded from.
        broken: frames at its end that have no records.
    """

    position: int
    batch: Batch
    identities: Mapping[str, Identity]
    frames: tuple[bytes, ...] = ()
    broken: tuple[Broken, ...] = ()


class Handover:
    """A bounded queue with one giver and one taker."""

    def __init__(self) -> None:
        self._waiting: deque[Handed] = deque()
        self._changed = trio.Event()
        self.position = -1
        """Of the last frame that was handed over."""

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, handed: Handed) -> None:
        """Waits until there is room."""
        while len(self._waiting) >= WAITING:
            await self._changed.wait()
        self._waiting.append(handed)
        self.position = handed.position
        self._tell()

    async def first(self) -> Handed:
        """The oldest one; it stays until `done`."""
        while not self._waiting:
            await self._changed.wait()
        return self._waiting[0]

    def second(self) -> Handed | None:
        """The one after that, if it is there."""
        return self._waiting[1] if len(self._waiting) > 1 else None

    def done(self) -> None:
        """The oldest one is in the store and acked."""
        self._waiting.popleft()
        self._tell()

    async def empty(self) -> None:
        """Waits until everything is done."""
        while self._waiting:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
