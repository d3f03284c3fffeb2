"""What was read of days, kept for as long as it is as the store has it.

A day has another version whenever what may be kept of it has changed (see `DaySource.day_versions`). Versions are read before the
days they are of, so that a day is never older than the version that it is kept under; it may be newer, and is then read once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import trio
from cachetools import LRUCache

from ps2daemon.store.days import Day, Versions

MOST_AT_ONCE: Final = 28
"""Days read with one question: about 50 ms."""

V = TypeVar("V")

Read: TypeAlias = Callable[[int, range], Awaitable[Mapping[int, V]]]
"""Reads these days of a world from the store."""


class _Kept(NamedTuple, Generic[V]):
    version: Hashable
    value: V


class KeptDays(Generic[V]):
    """Days, each read when it is first asked for and whenever it has changed by then.

    Args:
        most: of what is kept, those that were asked for longest ago go first; in the measure of `size`.
        size: of one day.
    """

    def __init__(self, read: Read[V], most: float, size: Callable[[V], float]) -> None:
        self._read = read
        self._kept: LRUCache[Day, _Kept[V]] = LRUCache(most, lambda kept: size(kept.value))
        self._loading: dict[Day, trio.Event] = {}

    @property
    def size(self) -> float:
        """Of all that is kept."""
        return self._kept.currsize

    def missing(self, world_id: int, days: Sequence[int], versions: Versions) -> int:
        """How many days would have to be read, but for those that the store has nothing of."""
        keys = [(world_id, day) for day in days if (world_id, day) in versions]
        return sum(key not in self._kept or self._kept[key].version != versions[key] for key in keys)

    async def get(self, world_id: int, days: Sequence[int], versions: Versions) -> list[V]:
        """These days, each of its version in `versions` or newer; what somebody else reads already is waited for."""
        found: dict[int, V] = {}
        while True:
            missing = []
            for day in days:
                if day not in found:
                    kept = self._kept.get((world_id, day))
                    if kept is not None and kept.version == versions.get((world_id, day)):
                        found[day] = kept.value
                    else:
                        missing.append(day)
            if not missing:
                return [found[day] for day in days]
            own = [day for day in missing if (world_id, day) not in self._loading]
            if own:
                found |= await self._load(world_id, _first_run(own), versions)
            else:
                await self._loading[world_id, missing[0]].wait()

    async def _load(self, world_id: int, days: range, versions: Versions) -> Mapping[int, V]:
        """Reads days that nobody reads yet, and keeps them."""
        keys = [(world_id, day) for day in days]
        done = trio.Event()
        self._loading |= dict.fromkeys(keys, done)
        try:
            loaded = await self._read(world_id, days)
            for key in keys:
                kept = _Kept(versions.get(key), loaded[key[1]])
                self._kept.pop(key, None)
                if self._kept.getsizeof(kept) <= self._kept.maxsize:
                    self._kept[key] = kept
        finally:
            for key in keys:
                del self._loading[key]
            done.set()
        return loaded


def _first_run(days: Sequence[int]) -> range:
    """The first of these days, which are in order, and those right behind it; at most `MOST_AT_ONCE`."""
    behind = days[0] + 1
    for day in days[1:MOST_AT_ONCE]:
        if day != behind:
            break
        behind += 1
    return range(days[0], behind)
