"""What is going on now: what adds up, what is compared with, and what is not known."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis.overview import STEP, Ago, Overview, overview, state_of
from ps2daemon.analysis.view import ARREARS, REASONS, Unrecorded
from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.times import parse_iso
from tests.memory_reader import MemoryReader, session
from tests.synthetic import fortnight

NOW = parse_iso("2026-03-15T18:00:30Z")
BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")


def recorded(world: int, *parts: tuple[Ms, Ms]) -> list[Span]:
    """Spans, each from and until so long before now."""
    return [Span(world, NOW - start, NOW - end, "connection") for start, end in parts]


async def seen(*readers: tuple[list[Span], int], now: Ms = NOW, zone: ZoneInfo = UTC) -> Overview:
    """The overview of worlds of so many people, online for the last ten days."""
    spans = [span for part, _ in readers for span in part]
    sessions = [
        session(f"{part[0].world_id}-{number}", now - 10 * DAY, None, world_id=part[0].world_id)
        for part, people in readers
        for number in range(people)
    ]
    reader = MemoryReader(sessions, spans)
    return await overview(reader, await reader.worlds(), zone, now)


async def test_worlds_that_are_recorded_are_told_at_one_instant_and_add_up() -> None:
    told = await seen((recorded(1, (9 * DAY, MINUTE)), 3), (recorded(10, (9 * DAY, 2 * MINUTE)), 5))
    assert [world.people for world in told.worlds] == [3, 5]
    assert {world.at for world in told.worlds} == {told.at} == {NOW - 2 * MINUTE - 1}
    assert sum(told.online.values()) == 8
    assert [each.people for each in told.ago] == [8, 8]


async def test_a_time_that_was_not_recorded_is_not_known_and_never_zero() -> None:
    told = await seen(
        (recorded(1, (9 * DAY, 25 * HOUR), (23 * HOUR, MINUTE)), 3), (recorded(10, (9 * DAY, MINUTE)), 5)
    )
    assert [each.people for each in told.worlds[0].ago] == [None, 3]
    assert [each.people for each in told.worlds[1].ago] == [5, 5]
    assert [each.people for each in told.ago] == [None, 8], "a total of some is none"
    assert told.worlds[0].line[0] is None
    assert told.line[0] is None
    assert told.worlds[1].line[0] == 5


async def test_a_gap_between_two_points_of_the_line_is_told() -> None:
    short = (recorded(1, (9 * DAY, 5 * HOUR), (5 * HOUR - MINUTE, MINUTE)), 3)
    told = await seen(short, (recorded(10, (9 * DAY, 5 * HOUR + MINUTE), (5 * HOUR, MINUTE)), 5))
    assert None not in told.worlds[0].line[:-1]
    reason = REASONS["connection"]
    assert told.worlds[0].gaps == (Unrecorded(NOW - 5 * HOUR, NOW - 5 * HOUR + MINUTE, reason),)
    together = Unrecorded(NOW - 5 * HOUR - MINUTE, NOW - 5 * HOUR + MINUTE, reason)
    assert told.gaps == (together,), "of all worlds together"


async def test_a_world_that_is_behind_keeps_its_numbers_and_counts_in_no_total() -> None:
    told = await seen((recorded(1, (9 * DAY, 2 * HOUR)), 3), (recorded(10, (9 * DAY, MINUTE)), 5))
    assert [world.state for world in told.worlds] == ["gap", "recorded"]
    assert told.worlds[0].at == NOW - 2 * HOUR - 1
    assert told.worlds[0].people == 3
    assert sum(told.online.values()) == 5
    assert told.worlds[0].ago[0].at == NOW - 2 * HOUR - 1 - DAY
    alone = await seen((recorded(1, (9 * DAY, 2 * HOUR)), 3))
    assert alone.worlds[0].state == "behind"
    assert (alone.at, alone.online, alone.ago, alone.line, alone.gaps) == (None, {}, (), (), ())


@pytest.mark.parametrize(
    ("until", "records", "state"),
    [
        (None, NOW, "never"),
        (NOW - ARREARS, NOW, "recorded"),
        (NOW - ARREARS - 1, NOW - ARREARS - 1, "behind"),
        (NOW - 2 * ARREARS - 1, NOW - ARREARS, "gap"),
    ],
)
def test_the_state_of_a_world(until: Ms | None, records: Ms, state: str) -> None:
    assert state_of(until, records, NOW) == state


async def test_a_day_ago_is_by_the_clock_on_the_wall() -> None:
    """In Berlin the clock went forward between these two evenings, and skipped half past two of that night."""
    now = parse_iso("2026-03-29T18:00:00Z")
    spans = [Span(1, now - 9 * DAY, now, "start")]
    told = await seen((spans, 1), now=now, zone=BERLIN)
    assert [each.at for each in told.ago] == [now - 1 - 23 * HOUR, now - 1 - 7 * DAY + HOUR]
    night = parse_iso("2026-03-30T00:30:00Z")
    told = await seen(([Span(1, night - 9 * DAY, night + 1, "start")], 1), now=night, zone=BERLIN)
    assert told.ago[0] == Ago(1, None, None)
    assert told.ago[1].people == 1


async def test_each_empire_is_compared_with_itself() -> None:
    sessions = [
        session("a", NOW - 9 * DAY, NOW - 2 * DAY, faction_id=1),
        session("b", NOW - 9 * DAY, None, faction_id=2),
        session("c", NOW - 2 * DAY, None, faction_id=3),
        session("d", NOW - 9 * DAY, None, world_id=1, faction_id=2),
    ]
    spans = [
        *recorded(10, (9 * DAY, MINUTE)),
        *recorded(1, (9 * DAY, 8 * DAY), (2 * DAY, MINUTE)),
    ]
    told = await overview(MemoryReader(sessions, spans), [10, 1], UTC, NOW)
    first, second = told.worlds
    assert dict(first.online) == {1: 0, 2: 1, 3: 1, 4: 0}
    assert [dict(each.online) for each in first.ago] == [{1: 0, 2: 1, 3: 1, 4: 0}, {1: 1, 2: 1, 3: 0, 4: 0}]
    assert [dict(each.online) for each in second.ago] == [{1: 0, 2: 1, 3: 0, 4: 0}, {}]
    assert [dict(each.online) for each in told.ago] == [{1: 0, 2: 2, 3: 1, 4: 0}, {}], (
        "of some there is no total"
    )


async def test_nothing_recorded() -> None:
    told = await overview(MemoryReader(), [], UTC, NOW)
    assert told.worlds == ()
    assert told.at is None
    never = await overview(MemoryReader(), [10], UTC, NOW)
    assert never.worlds[0].state == "never"
    assert never.worlds[0].people is None


async def test_the_line_is_the_last_day_and_alerts_are_those_that_run() -> None:
    made = fortnight(NOW, worlds=(10,), days=3, people=50)
    some = made.stored_alerts[-1]
    ran: Alert = msgspec.structs.replace(some, start=NOW - HOUR, end=NOW - 10 * MINUTE)
    runs = msgspec.structs.replace(some, alert_id="runs", start=NOW - 20 * MINUTE, end=None, ended_by=None)
    reader = MemoryReader(made.sessions, made.stored_spans, [ran, runs])
    told = await overview(reader, [10], UTC, NOW)
    assert len(told.times) == DAY // STEP
    assert told.times[-1] <= NOW < told.times[-1] + STEP
    assert [alert.alert_id for alert in told.worlds[0].alerts] == ["runs"]
    assert told.worlds[0].line == told.line
