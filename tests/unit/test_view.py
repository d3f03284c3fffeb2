"""What a chart of one world shows."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis.population import PopulationQuery
from ps2daemon.analysis.view import (
    ALL,
    NEVER,
    NOTHING_BEFORE,
    NOTHING_LATER,
    REASONS,
    Unrecorded,
    latest,
    unrecorded,
    world_view,
)
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import AFTERS, DAY, HOUR, MINUTE
from tests.memory_reader import MemoryReader, session

T = 1_772_000_000_000
UTC = ZoneInfo("UTC")


def test_every_cause_has_words() -> None:
    assert set(REASONS) == {*AFTERS, "pruned"}


def test_unrecorded_time_has_the_reason_of_the_span_behind_it() -> None:
    spans = [
        Span(10, T + 6 * HOUR, T + 7 * HOUR, "world_down"),
        Span(10, T + HOUR, T + 3 * HOUR, "start"),
        Span(10, T + 2 * HOUR, T + 4 * HOUR, "connection"),
        Span(10, T + 5 * HOUR, T + 5 * HOUR, "disk_full"),
    ]
    assert unrecorded(spans, T, T + 9 * HOUR) == (
        Unrecorded(T, T + HOUR, NOTHING_BEFORE),
        Unrecorded(T + 4 * HOUR, T + 6 * HOUR, REASONS["world_down"]),
        Unrecorded(T + 7 * HOUR, T + 9 * HOUR, NOTHING_LATER, pending=True),
    )


def test_a_window_within_one_gap_has_its_reason_too() -> None:
    spans = [
        Span(10, T, T + HOUR, "start"),
        Span(10, T + 5 * HOUR, T + 6 * HOUR, "start"),
    ]
    for start, end, reason in (
        (T - 2 * HOUR, T - HOUR, NOTHING_BEFORE),
        (T + 2 * HOUR, T + 3 * HOUR, REASONS["start"]),
    ):
        assert unrecorded(spans, start, end) == (Unrecorded(start, end, reason),)
    after = T + 7 * HOUR, T + 8 * HOUR
    assert unrecorded(spans, *after) == (Unrecorded(*after, NOTHING_LATER, pending=True),)
    assert unrecorded(spans, T, T + 2 * HOUR) == (Unrecorded(T + HOUR, T + 2 * HOUR, REASONS["start"]),)


def test_the_last_minutes_are_no_gap_yet() -> None:
    spans = [Span(10, T, T + HOUR, "start")]
    assert unrecorded(spans, T, T + HOUR + 2 * MINUTE) == ()
    assert unrecorded(spans, T, T + HOUR + 4 * MINUTE) != ()
    assert unrecorded([], T, T + MINUTE) == (Unrecorded(T, T + MINUTE, NEVER),)
    assert unrecorded([], T + HOUR, T) == ()


async def test_a_view_of_all_together_with_earlier_days() -> None:
    sessions = [
        session("a", T, T + HOUR),
        session("b", T, None, faction_id=0),
        session("c", T - DAY, T - HOUR),
    ]
    reader = MemoryReader(sessions, [Span(10, T - 2 * DAY, T + 2 * HOUR, "start")])
    query = PopulationQuery(start=T, end=T + 4 * HOUR, step=HOUR, worlds=(10,))
    view = await world_view(reader, query, lines="total", by="day", back=2, zone=UTC, now=T + 4 * HOUR)
    assert [(line.faction_id, line.back, line.online) for line in view.lines] == [
        (ALL, 0, (2, 1, None, None)),
        (ALL, 1, (1, 1, 1, 1)),
        (ALL, 2, (0, 0, 0, 0)),
    ]
    assert [row.back for row in view.comparisons] == [1, 2]
    assert view.comparisons[0].difference == 0.5
    assert view.share == 0.5
    assert view.recorded_until == T + 2 * HOUR
    assert view.unrecorded == (Unrecorded(T + 2 * HOUR, T + 4 * HOUR, NOTHING_LATER, pending=True),)


async def test_what_is_yet_to_come_is_neither_missing_nor_counted() -> None:
    reader = MemoryReader((), [Span(10, T, T + HOUR, "start")])
    query = PopulationQuery(start=T, end=T + 4 * HOUR, step=HOUR, worlds=(10,))
    view = await world_view(reader, query, lines="empires", by=None, back=1, zone=UTC, now=T + HOUR + MINUTE)
    assert view.unrecorded == ()
    assert 0.98 < view.share < 1


async def test_the_latest_is_the_end_of_coverage_not_now() -> None:
    sessions = [session("a", T, T + HOUR), session("b", T, T + HOUR - 1000, faction_id=3)]
    reader = MemoryReader(sessions, [Span(10, T, T + HOUR, "start")])
    answer = await latest(reader, 10)
    assert answer.at == T + HOUR - 1
    assert answer.online == {1: 1, 2: 0, 3: 0, 4: 0}
    assert (await latest(reader, 40)).at is None


async def test_lines_as_shares_compare_shares() -> None:
    reader = MemoryReader(
        [
            session("1", T, T + 2 * HOUR, faction_id=1),
            session("2", T, T + 2 * HOUR, faction_id=4),
            session("3", T - DAY, T - DAY + 2 * HOUR, faction_id=1),
        ],
        [Span(10, T - 2 * DAY, T + DAY, "start")],
    )
    query = PopulationQuery(start=T, end=T + HOUR, step=30 * MINUTE, worlds=(10,), factions=(1,))
    view = await world_view(
        reader, query, lines="empires", unit="share", by="day", back=1, zone=UTC, now=T + HOUR
    )
    assert [(line.back, line.online) for line in view.lines] == [(0, (50, 50)), (1, (100, 100))]
    (comparison,) = view.comparisons
    assert (comparison.mean, comparison.earlier_mean, comparison.difference) == (50, 100, -50)
    folded = await world_view(
        reader, query, lines="empires", nso="folded", by=None, back=1, zone=UTC, now=T + HOUR
    )
    assert folded.lines[0].online == pytest.approx((4 / 3, 4 / 3))
    with pytest.raises(UsageError, match="no other is asked for"):
        await world_view(
            reader,
            msgspec.structs.replace(query, factions=(4,)),
            lines="empires",
            nso="folded",
            by=None,
            back=1,
            zone=UTC,
            now=T,
        )
