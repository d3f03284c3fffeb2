"""Earlier days or weeks laid over a window, by the clock on the wall.

An instant's partner `n` days earlier is the instant at which the clock of the given time zone showed the same time `n` days
before. A day has 23 or 25 hours twice a year, so that:

- an instant whose wall time was skipped on the earlier day has no partner: None, like time that is not covered;
- where the wall time came twice on the earlier day, its first pass is the partner;
- both passes of an hour that comes twice in the window itself have the same partner.

Nothing is compared unless both instants are covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from ps2daemon.analysis.population import (
    FACTIONS,
    LONGEST_GUESS,
    MAX_BUCKETS,
    MAX_VALUES,
    Population,
    PopulationQuery,
    Series,
    population,
)
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.times import from_ms, to_ms
from ps2daemon.store.base import StoreReader

Period: TypeAlias = Literal["day", "week"]
DAYS: Final = {"day": 1, "week": 7}
MAX_BACK: Final = 52
"""A year of weeks."""


class Earlier(msgspec.Struct, frozen=True):
    """The window `back` days or weeks earlier.

    Attributes:
        times: each bucket's partner, or None.
        series: the people then, in the order of the window's own series.
    """

    back: int
    times: tuple[Ms | None, ...]
    series: tuple[Series, ...]


class Curve(Protocol):
    """One world's people of one empire, or what was made of their numbers, one value a bucket; None where it is not covered."""

    @property
    def world_id(self) -> int: ...

    @property
    def faction_id(self) -> int: ...

    @property
    def online(self) -> Sequence[float | None]: ...


class Comparison(msgspec.Struct, frozen=True):
    """One series now against earlier, over the buckets that are covered in both.

    Attributes:
        buckets: how many those are.
        mean, earlier_mean: people on average over them; None if there are none.
        difference: `mean - earlier_mean`.
        ratio: `mean / earlier_mean`; None where nobody was there earlier.
    """

    back: int
    world_id: int
    faction_id: int
    buckets: int
    mean: float | None
    earlier_mean: float | None
    difference: float | None
    ratio: float | None


class Trend(msgspec.Struct, frozen=True):
    """How one series moves from period to period: the slope of a straight line through the means.

    Attributes:
        buckets: how many buckets are covered in every period; nothing else goes in.
        per_period: people more (or fewer) each day or week; None with fewer than three periods, or no such bucket.
    """

    world_id: int
    faction_id: int
    buckets: int
    per_period: float | None


class Overlay(msgspec.Struct, frozen=True):
    """A window and what came before it; `earlier` begins with the latest."""

    by: Period
    time_zone: str
    current: Population
    earlier: tuple[Earlier, ...]
    comparisons: tuple[Comparison, ...]
    trends: tuple[Trend, ...]


class _Run(NamedTuple):
    """Buckets `first` to `behind` whose partners lie one step apart, from `start` on."""

    first: int
    behind: int
    start: Ms

    def window(self, query: PopulationQuery) -> PopulationQuery:
        """The window of the partners, and of every empire that the window of `query` may have."""
        last = self.start + (self.behind - self.first - 1) * query.step
        return msgspec.structs.replace(
            query, start=self.start, end=last + 1, factions=query.factions or FACTIONS
        )


async def overlay(
    reader: StoreReader,
    query: PopulationQuery,
    by: Period,
    back: int,
    zone: tzinfo,
    spans: Sequence[Span] | None = None,
) -> Overlay:
    """The population of the window and of the `back` periods before it.

    Args:
        spans: all of its worlds, if they were just read.

    Raises:
        UsageError: see `PopulationQuery.check`; or `back` is out of bounds.
        StoreError: the store refuses.
    """
    if not 1 <= back <= MAX_BACK:
        raise UsageError(f"{back} {by}s back is not possible: choose 1 to {MAX_BACK}")
    query.check()
    buckets = query.buckets * (back + 1)
    if buckets > MAX_BUCKETS:
        raise UsageError(
            f"the window is too long: {buckets:,} steps with the {back} {by}s before it, and at most {MAX_BUCKETS:,} are answered "
            "at once; ask for a shorter window, a longer step or fewer of them"
        )
    if spans is None:
        days = back * DAYS[by] + 1  # one more, for what a clock was put forward or back
        spans = await reader.spans(query.worlds, query.start - days * DAY - LONGEST_GUESS)
    instants = range(query.start, query.end, query.step)
    times = {number: partners(instants, number * DAYS[by], zone) for number in range(1, back + 1)}
    runs = {number: _runs(then, query.step) for number, then in times.items()}
    windows = [run.window(query) for each in runs.values() for run in each]
    current, *others = await _populations(reader, [query, *windows], spans)
    keys = tuple((series.world_id, series.faction_id) for series in current.series)
    parts = iter(others)
    earlier = []
    for number, then in times.items():
        rows: dict[tuple[int, int], list[int | None]] = {key: [None] * len(then) for key in keys}
        for run in runs[number]:
            for series in next(parts).series:
                row = rows.get((series.world_id, series.faction_id))
                if row is not None:
                    row[run.first : run.behind] = series.online
        earlier.append(Earlier(number, then, tuple(Series(*key, tuple(row)) for key, row in rows.items())))
    return Overlay(
        by,
        str(zone),
        current,
        tuple(earlier),
        tuple(
            comparison for each in earlier for comparison in compare(current.series, each.back, each.series)
        ),
        trends(current.series, [each.series for each in earlier]),
    )


async def _populations(
    reader: StoreReader, windows: Sequence[PopulationQuery], spans: Sequence[Span]
) -> list[Population]:
    """Answers several windows of one step; with one question where little lies between them and their instants fit together."""
    first, step = min(window.start for window in windows), windows[0].step
    whole = msgspec.structs.replace(
        windows[0],
        start=first,
        end=max(window.end for window in windows),
        factions=windows[0].factions or FACTIONS,
    )
    wanted = sum(window.buckets for window in windows)
    fits = whole.buckets <= MAX_BUCKETS and whole.values <= MAX_VALUES
    if not fits or whole.buckets > 2 * wanted or any((window.start - first) % step for window in windows):
        return [await population(reader, window, spans) for window in windows]
    answer = await population(reader, whole, spans)
    return [answer.part(window) for window in windows]


def partners(times: Iterable[Ms], days: int, zone: tzinfo) -> tuple[Ms | None, ...]:
    """For each instant the one at which the wall clock showed the same `days` earlier (see the module's rules)."""
    return tuple(partner(at, days, zone) for at in times)


def partner(at: Ms, days: int, zone: tzinfo) -> Ms | None:
    """See `partners`."""
    wall = from_ms(at).astimezone(zone).replace(tzinfo=None, fold=0)
    if wall - datetime.min < timedelta(days=days + 1):
        return None
    then = wall - timedelta(days=days)
    moment = then.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != then:
        return None  # the clock skipped it
    return to_ms(moment)


def _runs(times: Sequence[Ms | None], step: Ms) -> list[_Run]:
    runs: list[_Run] = []
    first = 0
    for index in range(len(times) + 1):
        ends = index == len(times) or times[index] is None
        if index > first and (ends or times[index] != (times[index - 1] or 0) + step):
            start = times[first]
            assert start is not None
            runs.append(_Run(first, index, start))
            first = index
        if ends:
            first = index + 1
    return runs


def compare(current: Sequence[Curve], back: int, earlier: Sequence[Curve]) -> list[Comparison]:
    """Each series against itself `back` periods earlier, and nothing where either is not covered."""
    found = []
    for now, then in zip(current, earlier, strict=True):
        pairs = [
            (one, other)
            for one, other in zip(now.online, then.online, strict=True)
            if one is not None and other is not None
        ]
        mean = earlier_mean = difference = ratio = None
        if pairs:
            mean = sum(one for one, _ in pairs) / len(pairs)
            earlier_mean = sum(other for _, other in pairs) / len(pairs)
            difference = mean - earlier_mean
            ratio = mean / earlier_mean if earlier_mean else None
        found.append(
            Comparison(back, now.world_id, now.faction_id, len(pairs), mean, earlier_mean, difference, ratio)
        )
    return found


def differences(now: Sequence[float | None], then: Sequence[float | None]) -> tuple[float | None, ...]:
    """Bucket by bucket, None where either is."""
    return tuple(
        None if one is None or other is None else one - other for one, other in zip(now, then, strict=True)
    )


def ratios(now: Sequence[float | None], then: Sequence[float | None]) -> tuple[float | None, ...]:
    """Bucket by bucket, None where either is, and where nobody was there then."""
    return tuple(
        None if one is None or not other else one / other for one, other in zip(now, then, strict=True)
    )


def trends(current: Sequence[Curve], earlier: Sequence[Sequence[Curve]]) -> tuple[Trend, ...]:
    """The slope of each series' means from the oldest period to the current one, by least squares."""
    found = []
    for index, now in enumerate(current):
        periods = [now.online, *(each[index].online for each in earlier)][::-1]
        rows = [
            [value for value in row if value is not None]
            for row in zip(*periods, strict=True)
            if None not in row
        ]
        slope = None
        if rows and len(periods) > 2:
            means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            middle = (len(means) - 1) / 2
            slope = sum((place - middle) * mean for place, mean in enumerate(means)) / sum(
                (place - middle) ** 2 for place in range(len(means))
            )
        found.append(Trend(now.world_id, now.faction_id, len(rows), slope))
    return tuple(found)
