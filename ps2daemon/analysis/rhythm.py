"""Months at a glance: the days of a period by their mean and peak, and its week hour by hour, against as many weeks before.

Days and hours are those of the clock on the wall. A day of 23 or 25 hours is one day; an hour that comes twice counts with both. What is not covered
goes into nothing, and the share of a day that is covered is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.clock import WallClock
from ps2daemon.analysis.population import (
    FACTIONS,
    Population,
    PopulationQuery,
    bucket_of,
    numbers_of,
    population,
)
from ps2daemon.analysis.trend import LEAST_SHARE, MAX_WEEKS, STEP, Trend, TrendQuery, trends_of, week_edges
from ps2daemon.errors import UsageError
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.store.base import StoreReader

_Times: TypeAlias = NDArray[np.int64]
_People: TypeAlias = NDArray[np.float64]
Shown: TypeAlias = Literal["mean", "peak"]
"""What a calendar shows of each day."""
MAX_COMPARED: Final = MAX_WEEKS // 2
"""Weeks that are compared with as many before."""
WHOLE_DAY: Final = 0.9
"""The share that a day takes to be shown as a whole one; of less, what is missing, 2.4 hours or more, may be its evening, and its peak with it."""
_EPOCH: Final = date(1970, 1, 1).toordinal()
_THURSDAY: Final = 3
"""The weekday of 1 January 1970, with 0 for Monday."""


class Day(msgspec.Struct, frozen=True):
    """One day: people of the empires together, on average and at most; None where nothing is covered.

    Attributes:
        share: of its instants that are covered.
    """

    date: date
    mean: float | None
    peak: int | None
    share: float


class Hour(msgspec.Struct, frozen=True):
    """One hour of the week, 0 for Monday: people of the empires together, on average over the weeks of the period and over those before it.

    Attributes:
        difference: how many more than before; None where less than `LEAST_SHARE` of either is covered, as one odd day would stand for all.
    """

    weekday: int
    hour: int
    mean: float | None
    before: float | None
    difference: float | None


class Rhythm(msgspec.Struct, frozen=True):
    """One world over so many weeks.

    Attributes:
        days: of the period, in order.
        hours: 7 times 24, in order.
    """

    world_id: int
    weeks: int
    days: tuple[Day, ...]
    hours: tuple[Hour, ...]

    @property
    def compared(self) -> bool:
        """Whether enough of the weeks before is known to compare any hour with."""
        return any(hour.difference is not None for hour in self.hours)


class Glance(NamedTuple):
    """One world: its trends (see `trend.trends`), and its rhythm."""

    trends: list[Trend]
    rhythm: Rhythm


async def glances(reader: StoreReader, query: TrendQuery, *, before: bool = True) -> list[Glance]:
    """Each world at a glance, read one after the other.

    Args:
        before: also against as many weeks before, which takes a period of `MAX_COMPARED` at most; otherwise they are not known.

    Raises:
        UsageError: the number of weeks is out of bounds.
        StoreError: the store refuses.
    """
    most = MAX_COMPARED if before else MAX_WEEKS
    if not 1 <= query.weeks <= most:
        raise UsageError(f"{query.weeks} weeks are not possible: choose 1 to {most}")
    back = query.weeks if before else 0
    edges = week_edges(query.end, query.weeks + back, query.zone)
    return [await _glance(reader, query, world_id, edges, back) for world_id in query.worlds]


async def _glance(
    reader: StoreReader, query: TrendQuery, world_id: int, edges: list[Ms], back: int
) -> Glance:
    asked = PopulationQuery(
        start=edges[0],
        end=edges[-1],
        step=STEP,
        worlds=(world_id,),
        factions=query.factions or FACTIONS,
    )
    answer = await population(reader, asked)
    weeks = edges[back:]
    first = bucket_of(asked, weeks[0])
    recent = answer.part(msgspec.structs.replace(asked, start=answer.times[first], factions=query.factions))
    return Glance(trends_of(recent, world_id, weeks), rhythm(answer, query, world_id, weeks[0]))


def rhythm(answer: Population, query: TrendQuery, world_id: int, since: Ms) -> Rhythm:
    """The days and hours from `since` on, against what is before.

    Args:
        answer: of that world alone, with the series that are added up.
    """
    people: _People = np.sum([numbers_of(each) for each in answer.series], axis=0)
    times = np.array(answer.times, dtype=np.int64)
    local = WallClock(query.zone, answer.times[0], answer.times[-1]).shown(times)
    is_now = times >= since
    now, before = (_by_hour(local[part], people[part]) for part in (is_now, ~is_now))
    return Rhythm(
        world_id,
        query.weeks,
        tuple(_days(local[is_now] // DAY, people[is_now])),
        tuple(
            Hour(*divmod(number, 24), hour.mean, then.mean, _difference(hour, then))
            for number, (hour, then) in enumerate(zip(now, before, strict=True))
        ),
    )


class _Known(NamedTuple):
    """People in one hour of the week, and the share of its instants that is covered."""

    mean: float | None
    share: float


def _difference(now: _Known, before: _Known) -> float | None:
    if now.mean is None or before.mean is None or min(now.share, before.share) < LEAST_SHARE:
        return None
    return now.mean - before.mean


def _days(numbers: _Times, people: _People) -> Iterable[Day]:
    """The days of instants, each given by the number of its day."""
    for number in np.unique(numbers):
        of_day = people[numbers == number]
        known = of_day[~np.isnan(of_day)]
        yield Day(
            date.fromordinal(_EPOCH + int(number)),
            float(known.mean()) if len(known) else None,
            int(known.max()) if len(known) else None,
            len(known) / len(of_day),
        )


def _by_hour(local: _Times, people: _People) -> list[_Known]:
    """Each hour of the week, from Monday's first on."""
    known = ~np.isnan(people)
    hours = (local // HOUR + 24 * _THURSDAY) % (7 * 24)
    instants = np.bincount(hours, minlength=7 * 24)
    numbers = np.bincount(hours[known], minlength=7 * 24)
    sums = np.bincount(hours[known], weights=people[known], minlength=7 * 24)
    return [
        _Known(total / number, number / all_) if number else _Known(None, 0.0)
        for total, number, all_ in zip(sums.tolist(), numbers.tolist(), instants.tolist(), strict=True)
    ]
