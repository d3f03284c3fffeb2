"""Is it rising or falling: the people of each empire week by week, and a robust slope through the weeks.

- A week is seven days by the clock on the wall, up to the midnight before the end of what is asked for: each weekday is in it once.
- Its mean and peak are of the instants that are covered, `STEP` apart; the share of the week that they are goes with them. A week of which less than
  `LEAST_SHARE` is covered goes into no slope: what is missing may be its evenings.
- The slope is Theil's and Sen's: the median of the slopes between all pairs of weeks, so that one odd week does not move it. Its interval (95 %) is Sen's,
  from the distribution of Kendall's rank correlation (Sen 1968, J. Am. Stat. Assoc. 63, 1379); weeks that resemble their neighbours make it too narrow.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import combinations, pairwise
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.population import Population, PopulationQuery, numbers_of, population
from ps2daemon.analysis.view import ALL
from ps2daemon.errors import UsageError
from ps2daemon.model.notes import Note
from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.model.times import from_ms, to_ms
from ps2daemon.store.base import StoreReader

STEP: Final = 15 * MINUTE
LEAST_SHARE: Final = 0.5
FEWEST: Final = 5
"""Weeks below which there is no slope; with fewer, no interval can leave out zero."""
MAX_WEEKS: Final = 104
WEEKS: Final = 8
"""So many where nothing else is said."""
_Z: Final = 1.959963984540054
"""Of the normal distribution, for 95 %."""

_People: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["rising", "falling", "no trend found", "too few weeks"]


class Week(msgspec.Struct, frozen=True):
    """One week of one series.

    Attributes:
        mean, peak: of people; None where nothing is covered.
        share: of its instants that are covered.
    """

    start: Ms
    end: Ms
    mean: float | None
    peak: int | None
    share: float


class Trend(msgspec.Struct, frozen=True):
    """One series over the weeks, in order.

    Attributes:
        faction_id: or `ALL`.
        n: weeks that the slope is of.
        per_week: people more, or fewer, from week to week; `low` and `high` are its interval.
    """

    world_id: int
    faction_id: int
    weeks: tuple[Week, ...]
    n: int
    per_week: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class TrendQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: so many weeks up to the midnight before `end`.

    Attributes:
        factions: as for a population.
    """

    end: Ms
    weeks: int
    worlds: tuple[int, ...]
    zone: tzinfo
    factions: tuple[int, ...] = ()


async def trends(reader: StoreReader, query: TrendQuery) -> list[Trend]:
    """The trends of each world: of each empire, and then of all together.

    Raises:
        UsageError: the number of weeks is out of bounds, or a faction is none.
        StoreError: the store refuses.
    """
    if not 1 <= query.weeks <= MAX_WEEKS:
        raise UsageError(f"{query.weeks} weeks are not possible: choose 1 to {MAX_WEEKS}")
    edges = week_edges(query.end, query.weeks, query.zone)
    found: list[Trend] = []
    for world_id in query.worlds:
        asked = PopulationQuery(
            start=edges[0], end=edges[-1], step=STEP, worlds=(world_id,), factions=query.factions
        )
        found += trends_of(await population(reader, asked), world_id, edges)
    return found


async def notes_of(reader: StoreReader, query: TrendQuery) -> list[Note]:
    """What the operator wrote about these weeks and any of the worlds."""
    edges = week_edges(query.end, query.weeks, query.zone)
    return await reader.notes(edges[0], edges[-1], query.worlds)


def week_edges(end: Ms, weeks: int, zone: tzinfo) -> list[Ms]:
    """The midnights between which the weeks lie, one more than weeks."""
    last = from_ms(end).astimezone(zone).date()
    return [_midnight(last - timedelta(weeks=back), zone) for back in range(weeks, -1, -1)]


def _midnight(day: date, zone: tzinfo) -> Ms:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def trends_of(answer: Population, world_id: int, edges: Sequence[Ms]) -> list[Trend]:
    """The trends of one world over the weeks between `edges`, each series of `answer` and all of them together.

    Args:
        answer: of that world alone, and of all weeks at least.
    """
    rows: list[tuple[int, _People]] = [(series.faction_id, numbers_of(series)) for series in answer.series]
    if len(rows) > 1:
        rows.append((ALL, np.sum([people for _, people in rows], axis=0)))
    found = []
    for faction_id, people in rows:
        weeks = tuple(_week(answer, people, start, end) for start, end in pairwise(edges))
        found.append(_trend(world_id, faction_id, weeks))
    return found


def _week(answer: Population, people: _People, start: Ms, end: Ms) -> Week:
    first, behind = (math.ceil((edge - answer.times[0]) / answer.step) for edge in (start, end))
    known = people[first:behind]
    known = known[~np.isnan(known)]
    if not len(known):
        return Week(start, end, None, None, 0.0)
    return Week(start, end, float(known.mean()), int(known.max()), len(known) / (behind - first))


def _trend(world_id: int, faction_id: int, weeks: tuple[Week, ...]) -> Trend:
    points = [
        (number, week.mean)
        for number, week in enumerate(weeks)
        if week.mean is not None and week.share >= LEAST_SHARE
    ]
    if len(points) < FEWEST:
        return Trend(world_id, faction_id, weeks, len(points), None, None, None, "too few weeks")
    slope, low, high = robust_slope(points)
    verdict: Verdict = "rising" if low > 0 else "falling" if high < 0 else "no trend found"
    return Trend(world_id, faction_id, weeks, len(points), slope, low, high, verdict)


def recorded_share(weeks: Sequence[Week]) -> float:
    """Of one or more weeks together, 0 to 1."""
    return sum(week.share for week in weeks) / len(weeks)


def robust_slope(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The median slope between all pairs of points, and its interval.

    Args:
        points: two or more (x, y), no two of the same x.
    """
    slopes = sorted((y - other) / (x - before) for (before, other), (x, y) in combinations(points, 2))
    n, number = len(points), len(slopes)
    spread = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first = max(round((number - spread) / 2), 0)
    last = min(round((number + spread) / 2) - 1, number - 1)
    return statistics.median(slopes), slopes[min(first, last)], slopes[max(first, last)]


def by_world(trends: Sequence[Trend]) -> list[list[Trend]]:
    """The series of each world."""
    worlds = dict.fromkeys(each.world_id for each in trends)
    return [[each for each in trends if each.world_id == world_id] for world_id in worlds]
