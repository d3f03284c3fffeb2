"""What changed minute by minute, kept for whoever asks for the same days again: a page asks for weeks, and few of their days change.

What is kept of a world's day are logins minus logouts by minute and empire. That depends on the sessions that began or ended on that
day and on no others, however long they lasted: a session adds one at its login, takes one away at its logout, and does nothing between. So a
day is as the store has it for as long as no session was written, changed or deleted that begins or ends there, or did before the
change. Exactly then the store raises the day's version (`MinuteSource.day_versions`), and each answer begins with the versions of its days:

- Versions are read before the days they are of. A day is thus never older than the version that it is kept under; it may be newer, and is
  then read once more.
- So an answer holds everything that was committed before it was asked for; a late fact is in the very next one.

Windows whose start or step is no whole minute go to the store, and so does the number online at one moment, which is a look at one day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
import trio
from numpy.typing import NDArray

from ps2daemon.errors import StoreError
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.notes import Note
from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.store.base import (
    Change,
    CharacterDocument,
    Count,
    SessionDocument,
    Sitting,
    UnknownStart,
)
from ps2daemon.store.minutes import Edges, MinuteSource

MOST_DAYS: Final = 3000
"""Two years of four worlds, which is the longest view that the page offers; at 14 KB a day, 43 MB."""
MOST_AT_ONCE: Final = 28
"""Days read with one question: about 50 ms."""
WARMED_AT_ONCE: Final = 4
"""The same while nobody asks, so that who comes then waits for little."""
QUIET_SECONDS: Final = 0.25
"""An answer takes several questions, and time between; so long after the last one, nobody seems to wait."""
FACTIONS: Final = 5
"""Four empires, and 0 where none is known yet."""
MINUTES: Final = DAY // MINUTE
_PACKED: Final = 8
_change = partial(tuple.__new__, Change)
"""A change of a tuple of its values, in a third of the time."""
_MOST: Final = np.iinfo(np.int16).max

Minutes = NDArray[np.int16]


class _Kept(NamedTuple):
    """A day: `minutes[i, faction]` is the change in `(i, i + 1]` minutes after its start; None if it can't be told so, and the store is asked."""

    version: int
    minutes: Minutes | None


_Key = tuple[int, int]
"""World and day."""


class KeptReader:
    """A `StoreReader` that answers as the one it is made of, and faster.

    Args:
        most_days: so many are kept, those that were asked for last; 14 KB each.
    """

    def __init__(self, source: MinuteSource, most_days: int = MOST_DAYS) -> None:
        self._source = source
        self._most_days = most_days
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._loading: dict[_Key, trio.Event] = {}
        self._asking = 0
        self._asked_at = -QUIET_SECONDS

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> list[Change]:
        if end <= start:
            return []
        if start % MINUTE or step % MINUTE:
            return await self._source.changes(start, end, step, worlds)
        buckets = (end - 1 - start) // step
        days = range(start // DAY, (start + buckets * step - 1) // DAY + 1)
        found: list[Change] = []
        with self._asked():
            wanted = await self._source.day_versions(days.start, days.stop, worlds)
            for world_id in sorted(set(worlds)):
                parts = await self._days(world_id, days, wanted)
                if any(part is None for part in parts):
                    found += await self._source.changes(start, end, step, (world_id,))
                elif buckets:
                    whole = np.concatenate([part for part in parts if part is not None])
                    found += _summed(whole[start % DAY // MINUTE :], buckets, step // MINUTE, world_id)
        return found

    async def warm(self) -> None:
        """Reads what the page will ask for, the latest days first, and waits while somebody asks.

        A store that can't be read is left alone: whoever asks is told.
        """
        try:
            worlds = await self._source.worlds()
            spans = await self._source.spans(worlds)
            if not spans:
                return
            behind = max(span.end for span in spans) // DAY + 1
            first = max(min(span.start for span in spans) // DAY, behind - self._most_days // len(worlds))
            for day in range(behind, first, -WARMED_AT_ONCE):
                for world_id in worlds:
                    while self._asking or trio.current_time() < self._asked_at + QUIET_SECONDS:  # noqa: ASYNC110 - until a time
                        await trio.sleep(QUIET_SECONDS / 2)
                    days = range(max(first, day - WARMED_AT_ONCE), day)
                    wanted = await self._source.day_versions(days.start, days.stop, (world_id,))
                    await self._days(world_id, days, wanted)
        except StoreError:
            return

    @contextmanager
    def _asked(self) -> Iterator[None]:
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._asked_at = trio.current_time()

    async def _days(
        self, world_id: int, days: Sequence[int], versions: dict[_Key, int]
    ) -> list[Minutes | None]:
        """These days, each of its version in `versions` or a later one; what somebody else reads already is waited for."""
        found: dict[int, Minutes | None] = {}
        while True:
            missing = []
            for day in days:
                if day not in found:
                    kept = self._kept.get((world_id, day))
                    if kept is not None and kept.version >= versions.get((world_id, day), 0):
                        found[day] = kept.minutes
                        self._kept.move_to_end((world_id, day))
                    else:
                        missing.append(day)
            if not missing:
                return [found[day] for day in days]
            own = [day for day in missing if (world_id, day) not in self._loading]
            if own:
                found |= await self._load(world_id, _first_run(own), versions)
            else:
                await self._loading[world_id, missing[0]].wait()

    async def _load(self, world_id: int, days: range, versions: dict[_Key, int]) -> dict[int, Minutes | None]:
        """Reads days that nobody reads yet, and keeps them."""
        keys = [(world_id, day) for day in days]
        done = trio.Event()
        self._loading |= dict.fromkeys(keys, done)
        try:
            edges = await self._source.edges(days.start * DAY, days.stop * DAY, world_id)
            loaded = _by_day(edges, days)
            for key in keys:
                version = versions.get(key, 0)
                before = self._kept.get(key)
                if before is None or before.version <= version:
                    self._kept[key] = _Kept(version, loaded[key[1]])
                    self._kept.move_to_end(key)
            while len(self._kept) > self._most_days:
                self._kept.popitem(last=False)
        finally:
            for key in keys:
                del self._loading[key]
            done.set()
        return loaded

    # Everything else is asked of the store

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        return await self._source.online_at(at, worlds)

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[Sitting]:
        return await self._source.sittings(start, end, worlds)

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        return await self._source.unknown_starts(start, end, worlds)

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        return await self._source.spans(worlds, start, end)

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        return await self._source.alerts(start, end, worlds)

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        return await self._source.locks(start, end, worlds)

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        return await self._source.notes(start, end, worlds)

    async def worlds(self) -> list[int]:
        with self._asked():  # with this every request begins
            return await self._source.worlds()

    async def records_until(self) -> Ms | None:
        return await self._source.records_until()

    async def counts(self) -> dict[str, int]:
        return await self._source.counts()

    def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        return self._source.all_sessions(start, end, worlds)

    def all_characters(self) -> AsyncIterator[CharacterDocument]:
        return self._source.all_characters()

    async def aclose(self) -> None:
        await self._source.aclose()


def _first_run(days: Sequence[int]) -> range:
    """The first of these days, which are in order, and those right behind it; at most `MOST_AT_ONCE`."""
    behind = days[0] + 1
    for day in days[1:MOST_AT_ONCE]:
        if day != behind:
            break
        behind += 1
    return range(days[0], behind)


def _by_day(edges: Edges, days: range) -> dict[int, Minutes | None]:
    size = len(days) * MINUTES * _PACKED
    both = []
    for values in edges:
        minute = (values // _PACKED - 1) // MINUTE - days.start * MINUTES
        both.append(np.bincount(minute * _PACKED + values % _PACKED, minlength=size))
    logins, logouts = both
    whole = (logins - logouts).reshape(len(days), MINUTES, _PACKED)
    strange = (logins + logouts).reshape(len(days), -1, _PACKED)[:, :, FACTIONS:].any(axis=(1, 2))
    strange |= np.abs(whole).max(axis=(1, 2)) > _MOST
    return {
        day: None if strange[number] else whole[number, :, :FACTIONS].astype(np.int16)
        for number, day in enumerate(days)
    }


def _summed(minutes: Minutes, buckets: int, width: int, world_id: int) -> Iterator[Change]:
    """The changes of buckets 1 to `buckets`, each the sum of `width` minutes from the first on."""
    rows = minutes[: buckets * width].reshape(buckets, width, FACTIONS).sum(axis=1, dtype=np.int64)
    for faction_id in range(FACTIONS):
        (places,) = rows[:, faction_id].nonzero()
        values = zip(
            repeat(world_id), repeat(faction_id), (places + 1).tolist(), rows[places, faction_id].tolist()
        )
        yield from map(_change, values)
