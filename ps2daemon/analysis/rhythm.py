"""Months at a glance: the days of a period by their mean and peak, and its week hour by hour, against the period before.

Days and hours are those of the clock on the wall. A day of 23 or 25 hours is one day; an hour that comes twice counts with both. What is not covered
goes into nothing, and the share of a day that is covered is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, tzinfo
from typing import NamedTuple

import msgspec

from ps2daemon.analysis.population import FACTIONS, Population, PopulationQuery, population, total
from ps2daemon.analysis.trend import MAX_WEEKS, STEP, week_edges
from ps2daemon.errors import UsageError
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.times import from_ms
from ps2daemon.store.base import StoreReader


class Day(msgspec.Struct, frozen=True):
    """One day: people of all empires together, on average and at most; None where nothing is covered."""

    date: date
    mean: float | None
    peak: int | None
    share: float


class Hour(msgspec.Struct, frozen=True):
    """One hour of the week, 0 for Monday: people of all empires together, on average over the weeks of the period and over those before it."""

    weekday: int
    hour: int
    mean: float | None
    before: float | None


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


async def rhythm(reader: StoreReader, world_id: int, end: Ms, weeks: int, zone: tzinfo) -> Rhythm:
    """The weeks up to the midnight before `end`, and as many before them.

    Raises:
        UsageError: the number of weeks is out of bounds.
        StoreError: the store refuses.
    """
    if not 1 <= weeks <= MAX_WEEKS // 2:
        raise UsageError(f"{weeks} weeks are not possible: choose 1 to {MAX_WEEKS // 2}")
    edges = week_edges(end, 2 * weeks, zone)
    query = PopulationQuery(start=edges[0], end=edges[-1], step=STEP, worlds=(world_id,), factions=FACTIONS)
    moments = list(_moments(await population(reader, query), zone))
    since = from_ms(edges[weeks]).astimezone(zone).date()
    now, before = (
        [moment for moment in moments if (moment.date >= since) is is_now] for is_now in (True, False)
    )
    return Rhythm(world_id, weeks, tuple(_days(now)), tuple(_hours(now, before)))


class _Moment(NamedTuple):
    """An instant by the clock on the wall, and the people then."""

    date: date
    hour: int
    people: int | None


def _moments(answer: Population, zone: tzinfo) -> Iterable[_Moment]:
    for at, people in zip(answer.times, total(answer.series), strict=True):
        local = datetime.fromtimestamp(at // SECOND, zone)  # half of the time of two steps by way of UTC
        yield _Moment(local.date(), local.hour, people)


def _days(moments: Sequence[_Moment]) -> Iterable[Day]:
    by_date: dict[date, list[int | None]] = {}
    for moment in moments:
        by_date.setdefault(moment.date, []).append(moment.people)
    for day, people in by_date.items():
        known = [each for each in people if each is not None]
        mean = sum(known) / len(known) if known else None
        yield Day(day, mean, max(known, default=None), len(known) / len(people))


def _hours(now: Sequence[_Moment], before: Sequence[_Moment]) -> Iterable[Hour]:
    means = [_by_hour(moments) for moments in (now, before)]
    for weekday in range(7):
        for hour in range(24):
            yield Hour(weekday, hour, *(mean.get((weekday, hour)) for mean in means))


def _by_hour(moments: Iterable[_Moment]) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], list[int]] = {}
    for moment in moments:
        if moment.people is not None:
            found.setdefault((moment.date.weekday(), moment.hour), []).append(moment.people)
    return {key: sum(people) / len(people) for key, people in found.items()}
