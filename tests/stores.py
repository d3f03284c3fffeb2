"""A real store that fails when it is told to, and all that a store holds."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, TypeVar

import trio

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import Ms
from ps2daemon.store.base import (
    Commit,
    Committed,
    Count,
    Stored,
    Unsettled,
)
from ps2daemon.store.sqlite import SqliteStore

T = TypeVar("T")

Fault: TypeAlias = Literal["none", "before", "after", "rival", "cancel before", "cancel after"]
"""What happens to a call: it is refused, or done with its answer lost, or cancelled before or after it is done; or a rival
writes just before it."""


class Crash(Exception):
    """What nobody expected."""


class Death(BaseException):
    """The end of the process."""


class Calls:
    """Counts calls, and lets some of them fail.

    Args:
        crash: which calls crash, by number from 1; negative ones after they were done.
        error: what they raise.
    """

    def __init__(self, *crash: int, error: type[BaseException] = Crash) -> None:
        self.number = 0
        self._crash = crash
        self._error = error

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        self.number += 1
        number = self.number
        await trio.lowlevel.checkpoint()
        if number in self._crash:
            raise self._error(f"before call {number}")
        result = await call()
        if -number in self._crash:
            raise self._error(f"after call {number}")
        return result


class FaultyStore(SqliteStore):
    """Takes the next of `faults` at each call that the ledger makes.

    Attributes:
        scope: what is cancelled.
        rival: what else writes, on this store without faults.
        happened: the faults that came about.
        calls: instead of `faults`, counts them together with other calls.
    """

    remote = True  # so that the ledger also decides ahead here
    faults: deque[Fault]
    scope: trio.CancelScope | None = None
    rival: Callable[[Commit], Awaitable[None]] | None = None
    happened: list[Fault]
    calls: Calls | None = None
    _free = False

    async def _faultily(self, call: Callable[[], Awaitable[T]], commit: Commit | None = None) -> T:
        if self.calls is not None:
            return await self.calls(call)
        fault: Fault = "none" if self._free or not self.faults else self.faults.popleft()
        if fault == "rival" and (self.rival is None or commit is None or not commit.characters):
            fault = "none"
        if fault.startswith("cancel") and self.scope is None:
            fault = "none"
        if fault != "none":
            self.happened.append(fault)
        if fault == "before":
            raise StoreUnavailable("refused")
        if fault == "cancel before":
            await self._cancel()
        if fault == "rival" and self.rival is not None and commit is not None:
            self._free = True
            try:
                await self.rival(commit)
            finally:
                self._free = False
        result = await call()
        if fault == "after":
            raise StoreUnavailable("the answer was lost")
        if fault == "cancel after":
            await self._cancel()
        return result

    async def _cancel(self) -> None:
        assert self.scope is not None
        self.scope.cancel()
        await trio.lowlevel.checkpoint()

    async def commit(self, commit: Commit) -> Committed:
        commit_now = super().commit
        return await self._faultily(lambda: commit_now(commit), commit)

    async def load_characters(self, character_ids: Collection[str]) -> dict[str, Stored]:
        load = super().load_characters
        return await self._faultily(lambda: load(character_ids))

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        read = super().spans
        return await self._faultily(lambda: read(worlds, start, end))

    async def stored_spans(self) -> list[Span]:
        read = super().stored_spans
        return await self._faultily(lambda: read())

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        read = super().alerts
        return await self._faultily(lambda: read(start, end, worlds))

    async def estimated(self, world_id: int, start: Ms, end: Ms, after: str, limit: int) -> list[str]:
        read = super().estimated
        return await self._faultily(lambda: read(world_id, start, end, after, limit))

    async def unnamed(self, after: str, limit: int) -> list[str]:
        read = super().unnamed
        return await self._faultily(lambda: read(after, limit))

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        read = super().online_at
        return await self._faultily(lambda: read(at, worlds))

    async def unsettled(self) -> list[Unsettled]:
        read = super().unsettled
        return await self._faultily(lambda: read())


@asynccontextmanager
async def faulty_store(faults: Collection[Fault] = ()) -> AsyncIterator[FaultyStore]:
    """A new one, in a folder of its own."""
    with TemporaryDirectory() as folder:
        store = await FaultyStore.open(Path(folder) / "ps2.db")
        assert isinstance(store, FaultyStore)
        store.faults, store.happened = deque(faults), []
        try:
            yield store
        finally:
            await store.aclose()
