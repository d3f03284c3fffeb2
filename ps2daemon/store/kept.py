"""What was read of days, kept for whoever asks for the same days again: a page asks for weeks, and few of their days change.

- What is kept of a world's day for `changes` are logins minus logouts by minute and empire. That depends on the sessions that began or ended on that
  day and on no others, however long they lasted: a session adds one at its login, takes one away at its logout, and does nothing between.
- For `sittings` and `surroundings` it is the sittings that ended on that day. Those that go on are read each time, again if a day has another version after
  that than before: nobody is left out, and nobody counted twice, who logs out meanwhile.
- Alerts, locks and unknown starts: see `kept_endings.py`.
- A day is as the store has it for as long as its version is the same (see `kept_days.py`), and each answer begins with the versions of
  its days. So it holds everything that was committed before it was asked for; a late fact is in the very next one.

Windows of `changes` whose start or step is no whole minute go to the store, and those that it counts in less time (see `Pace`); and so does the
number online at one moment, which is a look at one day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import numpy as np
import trio
from numpy.typing import NDArray

from ps2daemon.errors import StoreError
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.differences import Differences
from ps2daemon.model.notes import Note
from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.model.sittings import Part, Sittings, joined, sittings_of
from ps2daemon.store.base import (
    CharacterDocument,
    Count,
    Endings,
    SessionDocument,
    UnknownStart,
)
from ps2daemon.store.day_file import DayFile, Shelf
from ps2daemon.store.days import DaySource, EdgeSource, LivesSource, Versions
from ps2daemon.store.kept_days import KeptDays, settled
from ps2daemon.store.kept_endings import KeptEndings

MOST_DAYS: Final = 3000
"""Two years of four worlds, which is the longest view that the page offers; at 14 KB a day, 43 MB."""
MOST_SITTINGS: Final = 8_000_000
"""A year of four worlds; at 9 bytes, 72 MB, and as much again with what was counted of them (`analysis/counting.py`)."""
WARM_SECONDS: Final = 300.0
"""Between two rounds of reading what is not kept, of which asking for it is three questions."""
WARMED_AT_ONCE: Final = 4
"""Days read together while nobody asks, so that who comes then waits for little."""
RECENT_DAYS: Final = 113
"""Those that the page's views begin with: eight weeks against the eight before, and what four weeks of events are compared with."""
QUIET_SECONDS: Final = 0.25
"""An answer takes several questions, and time between; so long after the last one, nobody seems to wait."""
FACTIONS: Final = 5
"""Four empires, and 0 where none is known yet."""
MINUTES: Final = DAY // MINUTE
_PACKED: Final = 8
_MOST: Final = np.iinfo(np.int16).max

Minutes: TypeAlias = NDArray[np.int16]
"""`[i, faction]` is the change in `(i, i + 1]` minutes after the day's start."""

_NO_MINUTES: Final[Minutes] = np.zeros((MINUTES, FACTIONS), dtype=np.int16)

V = TypeVar("V")


class KeptReader:
    """A `StoreReader` that answers as the one it is made of, and faster.

    Args:
        most_days: so many are kept by the minute, those that were asked for last; 14 KB each.
        most_sittings: so many are kept, of the days that were asked for last; 9 bytes each.
        file: where days are kept beyond this process, if the source's are worth it.

    Attributes:
        warmed: set once it has read ahead for the first time.
    """

    def __init__(
        self,
        source: DaySource,
        most_days: int = MOST_DAYS,
        most_sittings: int = MOST_SITTINGS,
        file: Path | None = None,
    ) -> None:
        self._source = source
        self._file = DayFile(file, source.lives) if file and isinstance(source, LivesSource) else None
        self._most_days = most_days
        read = partial(_read_edges, source) if isinstance(source, EdgeSource) else self._read_changes
        self._minutes: KeptDays[Minutes | None] = KeptDays(
            read,
            source.change_versions,
            _NO_MINUTES,
            most_days,
            lambda _: 1,
            self._file and Shelf(self._file, "minutes", _packed, _unpacked),
        )
        """A day is None if it can't be told so, and the store is asked."""
        nobody = Part(sittings_of(()))
        self._ended: KeptDays[Part] = KeptDays(
            self._read_ended,
            source.day_versions,
            nobody,
            most_sittings,
            len,
            self._file and Shelf(self._file, "sittings", Part.packed, Part.unpacked),
        )
        self._endings = KeptEndings(source, file=self._file)
        self.warmed = trio.Event()
        self._asking = 0
        self._asked_at = -QUIET_SECONDS

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        if end <= start:
            return {}
        buckets = (end - 1 - start) // step
        days = range(start // DAY, (start + buckets * step - 1) // DAY + 1)
        found: Differences = {}
        pace = self._source.pace
        if start % MINUTE or step % MINUTE or len(days) <= pace.counts:
            return await self._source.changes(start, end, step, worlds)
        wanted = await self._source.change_versions(days, worlds)
        if sum(self._minutes.missing(world_id, days, wanted) for world_id in set(worlds)) > pace.reads:
            return await self._source.changes(start, end, step, worlds)
        for world_id in sorted(set(worlds)):
            parts = await self._minutes.get(world_id, days, wanted)
            if any(part is None for part in parts):
                found |= await self._source.changes(start, end, step, (world_id,))
            elif buckets:
                whole = np.concatenate([part for part in parts if part is not None])
                summed = _summed(whole[start % DAY // MINUTE :], buckets, step // MINUTE)
                found |= {(world_id, number): row for number, row in enumerate(summed) if row.any()}
        return found

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, Sittings]:
        return {
            world_id: joined([part.sittings().within(start, end) for part in parts])
            for world_id, parts in (await self._parts(start, end, worlds)).items()
        }

    async def surroundings(
        self, start: Ms, end: Ms, worlds: Collection[int]
    ) -> tuple[Endings, dict[int, list[Part]]]:
        """See `PartReader`."""
        endings, parts = Endings(), dict[int, list[Part]]()

        async def read_endings() -> None:
            nonlocal endings
            endings = await self._endings.around(start, end, worlds)

        async def read_parts() -> None:
            nonlocal parts
            parts = await self._parts(start, end, worlds)

        await _together(read_endings, read_parts)
        return endings, parts

    async def _parts(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, list[Part]]:
        # Who is online in the window and logs out later than a day after it is among those that last.
        days = range(start // DAY, -(-(end + DAY) // DAY))
        found, restless = await settled(
            partial(self._source.day_versions, days), partial(self._read_parts, end, days), worlds
        )
        others = await self._source.sittings(start, end, restless) if restless else {}
        return found | {world_id: [Part(columns)] for world_id, columns in others.items()}

    async def _read_parts(
        self, before: Ms, days: range, versions: Versions, worlds: Collection[int]
    ) -> dict[int, list[Part]]:
        ended: dict[int, list[Part]] = {}
        lasting: dict[int, Part] = {}

        async def read_ended(world_id: int) -> None:
            ended[world_id] = await self._ended.get(world_id, days, versions)

        async def read_lasting(world_id: int) -> None:
            lasting[world_id] = Part(await self._source.lasting(days, before, world_id))

        await _together(
            *(partial(read, world_id) for world_id in worlds for read in (read_lasting, read_ended))
        )
        return {world_id: [*ended[world_id], lasting[world_id]] for world_id in worlds}

    async def keep_warm(self) -> None:
        """Warms it, and again every few minutes: days end, change, and could not be read."""
        while True:
            await self.warm()
            self.warmed.set()
            await trio.sleep(WARM_SECONDS)
            await self.check_file()

    async def check_file(self) -> None:
        """See `DayFile.check`."""
        if self._file is not None:
            await self._file.check()

    async def warm(self) -> None:
        """Reads what the page will ask for and is not kept, the latest days first, and waits while somebody asks.

        A store that can't be read is left alone: whoever asks is told.
        """
        try:
            worlds = await self._source.worlds()
            spans = await self._source.spans(worlds)
            if not spans:
                return
            behind = max(span.end for span in spans) // DAY + 1
            first = max(min(span.start for span in spans) // DAY, behind - self._most_days // len(worlds))
            recent = max(first, behind - RECENT_DAYS)
            for world_id in worlds:  # as charts ask, so that a server that keeps answers has these ready
                await self._warm(self._minutes, (world_id,), recent, behind)
            await self._warm(self._ended, worlds, recent, behind)
            await self._warm(self._endings.days, worlds, first, behind)
            for world_id in worlds:
                await self._warm(self._minutes, (world_id,), first, recent)
            await self._warm(self._ended, worlds, first, recent)
        except StoreError:
            return

    async def _warm(self, kept: KeptDays[V], worlds: Collection[int], first: int, behind: int) -> None:
        versions = await kept.versions(range(first, behind), worlds)
        for day in range(behind, first, -WARMED_AT_ONCE):
            days = range(max(first, day - WARMED_AT_ONCE), day)
            for world_id in worlds:
                if not kept.missing(world_id, days, versions):
                    continue
                await self.quiet()
                await kept.get(world_id, days, await kept.versions(days, (world_id,)))

    async def quiet(self) -> None:
        """Waits until nobody seems to wait for an answer."""
        while self._asking or trio.current_time() < self._asked_at + QUIET_SECONDS:  # noqa: ASYNC110 - until a time
            await trio.sleep(QUIET_SECONDS / 2)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While somebody waits for an answer, from the first question to the last byte made of what was read."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._asked_at = trio.current_time()

    async def _read_changes(self, world_id: int, days: range) -> Mapping[int, Minutes | None]:
        first, last = days.start * DAY, days.stop * DAY
        minutes = np.zeros((len(days), MINUTES, FACTIONS), dtype=np.int64)
        strange = np.zeros(len(days), dtype=np.bool_)
        found = await self._source.changes(first, last + 1, MINUTE, (world_id,))
        for (_, faction_id), row in found.items():
            by_day = row[1:].reshape(len(days), MINUTES)
            if faction_id < FACTIONS:
                minutes[:, :, faction_id] = by_day
            else:
                strange |= by_day.any(axis=1)
        return _by_day(days, minutes, strange)

    async def _read_ended(self, world_id: int, days: range) -> Mapping[int, Part]:
        found = await self._source.ended(days.start * DAY, days.stop * DAY, world_id)
        starts = np.arange(days.start, days.stop + 1, dtype=np.int64) * DAY
        edges = np.searchsorted(found.logouts, starts, side="right")
        return {
            day: Part(found.at(slice(edges[number], edges[number + 1])), day * DAY)
            for number, day in enumerate(days)
        }

    # Everything else is asked of the store

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        return await self._source.online_at(at, worlds)

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        return await self._endings.unknown_starts(start, end, worlds)

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        return await self._source.spans(worlds, start, end)

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        return await self._endings.alerts(start, end, worlds)

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        return await self._endings.locks(start, end, worlds)

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        return await self._source.notes(start, end, worlds)

    async def worlds(self) -> list[int]:
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


async def _together(*reads: Callable[[], Awaitable[None]]) -> None:
    """Reads all at once.

    Raises:
        StoreError: of the first that failed; the others are given up.
    """
    failed: list[StoreError] = []

    async def one(read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except StoreError as error:
            failed.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for read in reads:
            nursery.start_soon(one, read)
    if failed:
        raise failed[0]


async def _read_edges(source: EdgeSource, world_id: int, days: range) -> Mapping[int, Minutes | None]:
    edges = await source.edges(days.start * DAY, days.stop * DAY, world_id)
    size = len(days) * MINUTES * _PACKED
    both = []
    for values in edges:
        minute = (values // _PACKED - 1) // MINUTE - days.start * MINUTES
        both.append(np.bincount(minute * _PACKED + values % _PACKED, minlength=size))
    logins, logouts = both
    whole = (logins - logouts).reshape(len(days), MINUTES, _PACKED)
    others = (logins + logouts).reshape(len(days), -1, _PACKED)[:, :, FACTIONS:]
    strange = np.asarray(others.any(axis=(1, 2)), dtype=np.bool_)
    return _by_day(days, whole[:, :, :FACTIONS], strange)


def _by_day(days: range, minutes: NDArray[np.int64], strange: NDArray[np.bool_]) -> dict[int, Minutes | None]:
    """What is kept of each day of (days, minutes, factions), unless something is `strange` in it."""
    strange = strange | (np.abs(minutes).max(axis=(1, 2)) > _MOST)
    return {
        day: None if strange[number] else minutes[number].astype(np.int16) for number, day in enumerate(days)
    }


def _packed(minutes: Minutes | None) -> bytes:
    return b"" if minutes is None else minutes.tobytes()


def _unpacked(data: bytes) -> Minutes | None:
    return np.frombuffer(data, dtype=np.int16).reshape(MINUTES, FACTIONS) if data else None


def _summed(minutes: Minutes, buckets: int, width: int) -> NDArray[np.int64]:
    """Of each faction 0, and then sums of `width` minutes from the first on."""
    found = np.zeros((FACTIONS, 1 + buckets), dtype=np.int64)
    rows = minutes[: buckets * width].reshape(buckets, width, FACTIONS)
    total = np.zeros((buckets, FACTIONS), dtype=np.int64)
    for minute in range(width):  # a third of the time of one sum over rows so short
        total += rows[:, minute]
    found[:, 1:] = total.T
    return found
