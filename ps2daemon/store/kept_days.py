"""What was read of days, kept for as long as it is as the store has it.

A day has another version whenever what may be kept of it has changed (see `DaySource`). It is kept if its version was the same before it was read
and after: otherwise it may be newer than the version before, or, where a copy that lags behind another answered in between, older.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import trio
from cachetools import LRUCache

from ps2daemon.store.day_file import Shelf
from ps2daemon.store.days import Day, Versions

ATTEMPTS: Final = 5
"""How often what lies on several days is read again because one of them changed meanwhile."""
MOST_AT_ONCE: Final = 28
"""Days read together: about 50 ms with SQLite."""

V = TypeVar("V")

Read: TypeAlias = Callable[[int, range], Awaitable[Mapping[int, V]]]
"""Reads these days of a world from the store."""
Tell: TypeAlias = Callable[[range, Collection[int]], Awaitable[Versions]]
"""Tells the versions of these days of some worlds."""


class _Kept(NamedTuple, Generic[V]):
    version: Hashable
    value: V


class KeptDays(Generic[V]):
    """Days, each read when it is first asked for and whenever it has changed by then.

    Args:
        nothing: what there is of a day of which the store has nothing; that is neither read nor kept.
        most: of what is kept, those that were asked for longest ago go first; in the measure of `size`.
        size: of one day.
        shelf: where they are looked for before they are read, and put.
    """

    def __init__(
        self,
        read: Read[V],
        tell: Tell,
        nothing: V,
        most: float,
        size: Callable[[V], float],
        shelf: Shelf[V] | None = None,
    ) -> None:
        self._read = read
        self._empty = _Kept(None, nothing)
        self.versions = tell
        self._kept: LRUCache[Day, _Kept[V]] = LRUCache(most, lambda kept: size(kept.value))
        self._loading: dict[Day, trio.Event] = {}
        self._shelf = shelf

    @property
    def size(self) -> float:
        """Of all that is kept."""
        return self._kept.currsize

    def missing(self, world_id: int, days: Sequence[int], versions: Versions) -> int:
        """How many of these days would have to be read."""
        return sum(self._known((world_id, day), versions) is None for day in days)

    def _known(self, key: Day, versions: Versions) -> _Kept[V] | None:
        """What there is of a day in its version, if it need not be read."""
        version = versions.get(key)
        if version is None:
            return self._empty
        kept = self._kept.get(key)
        return kept if kept is not None and kept.version == version else None

    async def get(self, world_id: int, days: Sequence[int], versions: Versions) -> list[V]:
        """These days, each of its version in `versions` or newer; what somebody else reads already is waited for."""
        found: dict[int, V] = {}
        while True:
            missing = []
            for day in days:
                if day in found:
                    continue
                known = self._known((world_id, day), versions)
                if known is None:
                    missing.append(day)
                else:
                    found[day] = known.value
            if not missing:
                return [found[day] for day in days]
            own = [day for day in missing if (world_id, day) not in self._loading]
            if own:
                found |= await self._load(world_id, _first_run(own), versions)
            else:
                await self._loading[world_id, missing[0]].wait()

    async def _load(self, world_id: int, days: range, versions: Versions) -> Mapping[int, V]:
        """Takes days that nobody reads yet from the shelf, or if none is there from the store, and keeps them."""
        keys = [(world_id, day) for day in days]
        done = trio.Event()
        self._loading |= dict.fromkeys(keys, done)
        try:
            if self._shelf is not None:
                there = await self._shelf.get(world_id, days, versions)
                if there:
                    self._keep(world_id, there, versions)
                    return there
            loaded = await self._read(world_id, days)
            then = await self.versions(days, (world_id,))
            same = {
                day: value
                for day, value in loaded.items()
                if then.get((world_id, day)) == versions.get((world_id, day))
            }
            for key in keys:
                self._kept.pop(key, None)
            self._keep(world_id, same, versions)
            if self._shelf is not None:
                await self._shelf.put(world_id, versions, same)
        finally:
            for key in keys:
                del self._loading[key]
            done.set()
        return loaded

    def _keep(self, world_id: int, values: Mapping[int, V], versions: Versions) -> None:
        for day, value in values.items():
            kept = _Kept(versions.get((world_id, day)), value)
            if self._kept.getsizeof(kept) <= self._kept.maxsize:
                self._kept[world_id, day] = kept


async def settled(
    tell: Callable[[Collection[int]], Awaitable[Versions]],
    read: Callable[[Versions, Collection[int]], Awaitable[Mapping[int, V]]],
    worlds: Collection[int],
) -> tuple[dict[int, V], set[int]]:
    """What is read of each world while none of its days changed, so that what moves from day to day is there once; tried again where one did.

    Args:
        tell: tells the versions of the days of some worlds.
        read: reads these worlds, each day of its version or newer.

    Returns:
        By world; and the worlds that changed each time.
    """
    found: dict[int, V] = {}
    left = set(worlds)
    versions = await tell(left)
    for _ in range(ATTEMPTS):
        now = await read(versions, left)
        then, versions = versions, await tell(left)
        changed = set() if then == versions else {world for (world, _), _ in then.items() ^ versions.items()}
        found |= {world_id: now[world_id] for world_id in left - changed}
        left &= changed
        if not left:
            break
    return found, left


def _first_run(days: Sequence[int]) -> range:
    """The first of these days, which are in order, and those right behind it; at most `MOST_AT_ONCE`."""
    behind = days[0] + 1
    for day in days[1:MOST_AT_ONCE]:
        if day != behind:
            break
        behind += 1
    return range(days[0], behind)
