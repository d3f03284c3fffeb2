"""Earlier days and weeks laid over a window."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis import overlay as overlay_module
from ps2daemon.analysis.overlay import (
    Period,
    compare,
    differences,
    overlay,
    partner,
    ratios,
    trends,
)
from ps2daemon.analysis.population import PopulationQuery, Series, population
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span
from ps2daemon.model.differences import Differences
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.times import parse_iso, to_ms
from tests.memory_reader import MemoryReader, session

BERLIN = ZoneInfo("Europe/Berlin")  # 2026: forward on 29 March at 02:00, back on 25 October at 03:00


def berlin(text: str, fold: int = 0) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold))


@pytest.mark.parametrize(
    ("now", "days", "then"),
    [
        ("2026-03-10T12:00", 1, "2026-03-09T12:00"),
        ("2026-03-30T12:00", 1, "2026-03-29T12:00"),
        ("2026-03-29T12:00", 1, "2026-03-28T12:00"),  # a day of 23 hours lies between
        ("2026-04-01T20:00", 7, "2026-03-25T20:00"),
        ("2026-10-26T12:00", 1, "2026-10-25T12:00"),
    ],
)
def test_the_partner_shows_the_same_time_on_the_wall(now: str, days: int, then: str) -> None:
    assert partner(berlin(now), days, BERLIN) == berlin(then)


def test_distances_across_a_change_of_the_clock() -> None:
    assert berlin("2026-03-29T12:00") - berlin("2026-03-28T12:00") == 23 * HOUR
    assert berlin("2026-10-25T12:00") - berlin("2026-10-24T12:00") == 25 * HOUR


def test_a_skipped_hour_has_no_partner() -> None:
    assert partner(berlin("2026-03-30T01:59"), 1, BERLIN) == berlin("2026-03-29T01:59")
    assert partner(berlin("2026-03-30T02:00"), 1, BERLIN) is None
    assert partner(berlin("2026-03-30T02:59"), 1, BERLIN) is None
    assert partner(berlin("2026-03-30T03:00"), 1, BERLIN) == berlin("2026-03-29T03:00")


def test_of_an_hour_that_came_twice_the_first_pass_counts() -> None:
    first, second = berlin("2026-10-25T02:30"), berlin("2026-10-25T02:30", fold=1)
    assert second - first == HOUR
    assert partner(berlin("2026-10-26T02:30"), 1, BERLIN) == first


def test_both_passes_of_an_hour_have_the_same_partner() -> None:
    for fold in (0, 1):
        assert partner(berlin("2026-10-25T02:30", fold), 1, BERLIN) == berlin("2026-10-24T02:30")


def test_before_the_first_day_there_is_none() -> None:
    assert partner(parse_iso("1970-01-01"), 1_000_000, BERLIN) is None


async def test_lays_weeks_over_each_other_across_a_change_of_the_clock() -> None:
    start = berlin("2026-03-29T00:00")
    spans = [Span(10, start - 20 * DAY, start + 2 * DAY, "start")]
    sessions = [
        session("a", berlin("2026-03-29T04:00"), berlin("2026-03-29T05:00")),
        session("b", berlin("2026-03-22T04:00"), berlin("2026-03-22T05:00")),
        session("c", berlin("2026-03-22T04:00"), berlin("2026-03-22T06:00")),
        session("d", berlin("2026-03-15T05:00"), berlin("2026-03-15T06:00")),
    ]
    query = PopulationQuery(
        start=start, end=berlin("2026-03-29T07:00"), step=HOUR, worlds=(10,), factions=(1,)
    )
    answer = await overlay(MemoryReader(sessions, spans), query, "week", 2, BERLIN)
    # 00 01 03 04 05 06 o'clock: the hour from 02 on is missing from the window
    assert answer.current.series[0].online == (0, 0, 0, 1, 0, 0)
    assert answer.earlier[0].series[0].online == (0, 0, 0, 2, 1, 0)
    assert answer.earlier[1].series[0].online == (0, 0, 0, 0, 1, 0)
    assert [each.back for each in answer.earlier] == [1, 2]
    assert answer.comparisons[0].difference == pytest.approx((1 - 3) / 6)
    assert answer.comparisons[0].ratio == pytest.approx(1 / 3)
    assert answer.trends[0].buckets == 6
    assert answer.trends[0].per_period == pytest.approx((1 / 6 - 1 / 6) / 2)


async def test_the_hour_that_an_earlier_day_skipped_is_none() -> None:
    start = berlin("2026-03-30T00:00")
    reader = MemoryReader((), [Span(10, start - 3 * DAY, start + DAY, "start")])
    query = PopulationQuery(start=start, end=start + 5 * HOUR, step=30 * MINUTE, worlds=(10,), factions=(2,))
    answer = await overlay(reader, query, "day", 1, BERLIN)
    assert answer.earlier[0].series[0].online == (0, 0, 0, 0, None, None, 0, 0, 0, 0)
    assert answer.comparisons[0].buckets == 8


async def test_uncovered_earlier_time_is_none() -> None:
    start = berlin("2026-06-10T00:00")
    reader = MemoryReader((), [Span(10, start - DAY + 2 * HOUR, start + DAY, "start")])
    query = PopulationQuery(start=start, end=start + 4 * HOUR, step=HOUR, worlds=(10,), factions=(2,))
    answer = await overlay(reader, query, "day", 1, BERLIN)
    assert answer.earlier[0].series[0].online == (None, None, 0, 0)


class Counting(MemoryReader):
    """Counts how often it was asked for a window."""

    windows = 0

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        self.windows += 1
        return await super().changes(start, end, step, worlds)


def crowd(start: Ms, days: int, seed: int) -> Counting:
    """People of several weeks on two worlds, some of whose logins were not seen, with gaps; those without an empire on one day alone."""
    rng = Random(seed)
    sessions = []
    for number in range(40 * days):
        login = start + rng.randrange(days * DAY)
        known = None if rng.random() < 0.1 else login
        logout = None if known is not None and rng.random() < 0.05 else login + rng.randrange(14 * HOUR)
        faction_id = 0 if start + 8 * DAY < login < start + 9 * DAY else rng.randint(1, 4)
        sessions.append(
            session(str(number), known, logout, world_id=rng.choice((1, 10)), faction_id=faction_id)
        )
    edges = sorted(start + rng.randrange(days * DAY) for _ in range(12))
    spans = [
        Span(world_id, first, last, "start")
        for world_id in (1, 10)
        for first, last in zip(edges[world_id // 10 :: 2], edges[world_id // 10 + 1 :: 2], strict=False)
    ]
    return Counting(sessions, spans)


@pytest.mark.parametrize("factions", [(), (2,), (0, 3)])
@pytest.mark.parametrize(
    ("zone", "day", "by", "back", "days", "step", "questions"),
    [
        pytest.param(BERLIN, "2026-04-03T00:00", "week", 4, 7, 30 * MINUTE, 1, id="weeks"),
        pytest.param(BERLIN, "2026-10-25T00:00", "day", 7, 1, HOUR, 1, id="days"),
        pytest.param(BERLIN, "2026-04-02T00:00", "day", 5, 2, 15 * MINUTE, 1, id="longer than their period"),
        pytest.param(BERLIN, "2026-04-03T12:00", "week", 2, 1, HOUR, 3, id="far apart"),
        pytest.param(
            ZoneInfo("Australia/Lord_Howe"), "2026-04-07T00:00", "day", 3, 1, HOUR, 5, id="half an hour off"
        ),
    ],
)
async def test_one_question_is_answered_as_several(
    monkeypatch: pytest.MonkeyPatch,
    zone: ZoneInfo,
    day: str,
    by: Period,
    back: int,
    days: int,
    step: Ms,
    questions: int,
    factions: tuple[int, ...],
) -> None:
    start = to_ms(datetime.fromisoformat(day).replace(tzinfo=zone))
    for seed in range(5):
        reader = crowd(start - 30 * DAY, 35, seed)
        query = PopulationQuery(
            start=start, end=start + days * DAY, step=step, worlds=(10, 1), factions=factions
        )
        answer = await overlay(reader, query, by, back, zone)
        assert reader.windows == questions
        with monkeypatch.context() as patch:
            patch.setattr(overlay_module, "MAX_VALUES", 0)
            wanted = await overlay(reader, query, by, back, zone)
        assert reader.windows > questions + back
        alone = await population(reader, query)
        assert answer.current == msgspec.structs.replace(alone, coverage=answer.current.coverage)
        assert answer.earlier == wanted.earlier
        assert any(any(series.online) for each in answer.earlier for series in each.series)


@pytest.mark.parametrize("back", [0, 53])
async def test_refuses_too_many_periods(back: int) -> None:
    query = PopulationQuery(start=0, end=HOUR, step=HOUR, worlds=(10,))
    with pytest.raises(UsageError, match="choose 1 to 52"):
        await overlay(MemoryReader(), query, "day", back, BERLIN)


async def test_refuses_too_many_steps_over_all_periods() -> None:
    query = PopulationQuery(start=0, end=30_000 * MINUTE, step=MINUTE, worlds=(10,))
    with pytest.raises(UsageError, match="120,000 steps with the 3 weeks before it"):
        await overlay(MemoryReader(), query, "week", 3, BERLIN)


def test_differences_and_ratios_need_both() -> None:
    assert differences((3, None, 5, 1), (1, 2, None, 0)) == (2, None, None, 1)
    assert ratios((3, None, 5, 1), (2, 2, None, 0)) == (1.5, None, None, None)


def test_comparison_over_nothing() -> None:
    now = Series(10, 1, (1, None))
    (comparison,) = compare([now], 1, [Series(10, 1, (None, 2))])
    assert (comparison.buckets, comparison.mean, comparison.ratio) == (0, None, None)


def test_trend_is_the_slope_over_buckets_covered_in_every_period() -> None:
    now = Series(10, 1, (30, 99, 32))
    earlier = [
        [Series(10, 1, (20, None, 22))],
        [Series(10, 1, (10, 5, 12))],
    ]
    (trend,) = trends([now], earlier)
    assert trend.buckets == 2
    assert trend.per_period == pytest.approx(10)
    (short,) = trends([now], earlier[:1])
    assert short.per_period is None
