"""Days and hours of the week by the clock on the wall, against the weeks before."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis.rhythm import Day, Hour, Rhythm, glances
from ps2daemon.analysis.rhythm_documents import DAY_FIELDS, HOUR_FIELDS, days_answer, hours_answer
from ps2daemon.analysis.trend import TrendQuery, trends
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import HOUR, Ms
from ps2daemon.model.times import to_ms
from tests.memory_reader import MemoryReader, session

BERLIN = ZoneInfo("Europe/Berlin")
WORLD = 10


def at(day: int, hour: int, month: int = 3) -> Ms:
    return to_ms(datetime(2026, month, day, hour, tzinfo=BERLIN))


END = at(1, 10, month=4)  # a Wednesday
COVERED = Span(WORLD, at(1, 0), at(1, 9, month=4), "start")


def reader(*stays: tuple[Ms, Ms], spans: tuple[Span, ...] = (COVERED,)) -> MemoryReader:
    sessions = [
        session(str(number), login, logout, world_id=WORLD, faction_id=number % 4)
        for number, (login, logout) in enumerate(stays)
    ]
    return MemoryReader(sessions, spans)


async def rhythm_of(reader: MemoryReader, weeks: int) -> Rhythm:
    """Also looks whether the trends beside it are those that one asks for alone."""
    query = TrendQuery(end=END, weeks=weeks, worlds=(WORLD,), zone=BERLIN)
    ((found, rhythm),) = await glances(reader, query)
    assert found == await trends(reader, query)
    return rhythm


async def test_a_day_has_its_mean_peak_and_share() -> None:
    people = reader((at(31, 6), at(31, 18)), (at(31, 12), at(31, 18)))
    found = await rhythm_of(people, 1)
    assert [day.date for day in found.days] == [date(2026, 3, day) for day in range(25, 32)]
    last = found.days[-1]
    assert last.mean == pytest.approx((12 + 6) / 24)
    assert (last.peak, last.share) == (2, 1.0)
    assert found.days[0].mean == 0.0


async def test_a_day_of_which_nothing_is_covered_has_no_numbers_and_half_a_day_those_of_its_half() -> None:
    spans = (
        Span(WORLD, at(1, 0), at(30, 0), "start"),
        Span(WORLD, at(31, 12), at(1, 9, month=4), "connection"),
    )
    found = await rhythm_of(reader((at(31, 6), at(31, 18)), spans=spans), 1)
    *_, gone, half = found.days
    assert (gone.mean, gone.peak, gone.share) == (None, None, 0.0)
    assert (half.mean, half.peak, half.share) == (0.5, 1, 0.5)


async def test_a_day_of_23_hours_is_one_day() -> None:
    found = await rhythm_of(reader((at(29, 0), at(30, 0))), 1)
    sunday = found.days[4]
    assert (sunday.date, sunday.mean, sunday.share) == (date(2026, 3, 29), 1.0, 1.0)
    assert at(30, 0) - at(29, 0) == 23 * HOUR


async def test_hours_are_those_of_the_week_and_beside_them_the_weeks_before() -> None:
    monday = at(30, 20)
    people = reader(
        (monday, monday + HOUR),
        (at(23, 20), at(23, 21)),
        (at(23, 20), at(23, 21)),
        (at(16, 20), at(16, 21)),
        (at(9, 20), at(9, 21)),
        (at(9, 20), at(9, 21)),
        (at(9, 20), at(9, 21)),
    )
    found = await rhythm_of(people, 2)
    assert [(each.weekday, each.hour) for each in found.hours] == [
        (weekday, hour) for weekday in range(7) for hour in range(24)
    ]
    eight = found.hours[20]
    assert (eight.mean, eight.before) == (1.5, 2.0)
    assert (found.hours[21].mean, found.hours[21].before) == (0.0, 0.0)


async def test_an_hour_is_compared_where_at_least_half_of_it_was_recorded_in_both() -> None:
    """Of two Mondays before, nobody was there on one, which was recorded until 20:30; the other was from then on."""
    people = [(at(day, 20), at(day, 22)) for day in (16, 23, 30)]
    spans = (
        Span(WORLD, at(1, 0), at(9, 20) + HOUR // 2, "start"),
        Span(WORLD, at(16, 20) + HOUR // 2, END, "connection"),
    )
    found = await rhythm_of(reader(*people, spans=spans), 2)
    (eight, nine) = found.hours[20:22]
    assert (eight.mean, eight.before, eight.difference) == (1.0, 0.5, 0.5)
    assert (nine.mean, nine.before, nine.difference) == (1.0, 1.0, 0.0)
    less = (Span(WORLD, at(1, 0), at(9, 20) + HOUR // 4, "start"), *spans[1:])
    (eight, _) = (await rhythm_of(reader(*people, spans=less), 2)).hours[20:22]
    assert (eight.mean, eight.difference) == (1.0, None)


async def test_what_was_not_recorded_before_is_unknown_and_not_zero() -> None:
    spans = (Span(WORLD, at(25, 0), END, "start"),)
    found = await rhythm_of(reader(spans=spans), 1)
    assert {each.before for each in found.hours} == {None}


async def test_each_world_has_its_own_and_only_the_empires_that_are_asked_for_are_added_up() -> None:
    """The second person is of NC, the first one of none that is known."""
    spans = (COVERED, msgspec.structs.replace(COVERED, world_id=1))
    people = reader((at(31, 0), at(31, 12)), (at(31, 0), at(31, 6)), spans=spans)
    query = TrendQuery(end=END, weeks=1, worlds=(1, WORLD), zone=BERLIN)
    empty, found = [each.rhythm for each in await glances(people, query)]
    assert (empty.world_id, empty.days[-1].peak) == (1, 0)
    assert (found.world_id, found.days[-1].mean) == (WORLD, 0.75)
    ((weeks, only),) = await glances(people, msgspec.structs.replace(query, worlds=(WORLD,), factions=(1,)))
    assert (only.days[-1].mean, only.days[-1].peak) == (0.25, 1)
    assert [each.faction_id for each in weeks] == [1]


async def test_a_long_period_has_no_weeks_beside_it() -> None:
    query = TrendQuery(end=END, weeks=104, worlds=(WORLD,), zone=BERLIN)
    people = reader((at(31, 6), at(31, 18)), (at(16, 20), at(16, 21)))
    ((found, whole),) = await glances(people, query, before=False)
    assert found == await trends(people, query)
    assert len(whole.days) == 104 * 7
    assert not whole.compared
    short = msgspec.structs.replace(query, weeks=1)
    ((_, alone),), ((_, beside),) = await glances(people, short, before=False), await glances(people, short)
    assert alone.days == beside.days
    assert [each.mean for each in alone.hours] == [each.mean for each in beside.hours]
    assert (alone.compared, beside.compared) == (False, True)
    with pytest.raises(UsageError, match="105 weeks are not possible: choose 1 to 104"):
        await glances(people, msgspec.structs.replace(query, weeks=105), before=False)


def test_days_and_hours_as_rows() -> None:
    found = Rhythm(
        WORLD,
        1,
        (Day(date(2026, 3, 31), 1 / 3, 2, 1.0), Day(date(2026, 4, 1), None, None, 0.0)),
        (Hour(0, 20, 1.5, 2.25, -0.75), Hour(6, 21, None, 2.0, None)),
    )
    days = days_answer([found])
    assert days["days"] == [
        {"world_id": WORLD, "date": "2026-03-31", "mean": 0.3333, "peak": 2, "share": 1.0},
        {"world_id": WORLD, "date": "2026-04-01", "mean": None, "peak": None, "share": 0.0},
    ]
    assert tuple(days["days"][0]) == DAY_FIELDS
    hours = hours_answer([found])
    assert hours["hours"] == [
        {"world_id": WORLD, "weekday": 1, "hour": 20, "mean": 1.5, "before": 2.25, "difference": -0.75},
        {"world_id": WORLD, "weekday": 7, "hour": 21, "mean": None, "before": 2.0, "difference": None},
    ]
    assert tuple(hours["hours"][0]) == HOUR_FIELDS


@pytest.mark.parametrize("weeks", [0, 53])
async def test_a_number_of_weeks_out_of_bounds_is_refused(weeks: int) -> None:
    with pytest.raises(UsageError, match=f"{weeks} weeks are not possible: choose 1 to 52"):
        await rhythm_of(reader(), weeks)
