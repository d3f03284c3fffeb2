"""Which events there are, and what each is compared with."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ps2daemon.analysis.matching import (
    AFTER,
    BEFORE,
    QUIET,
    WEEKS,
    Event,
    Matched,
    disturbances_of,
    events_of,
    match,
)
from ps2daemon.model.alerts import Alert, Lock, derive
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.events import CANCELED, ENDED, STARTED, Metagame
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.times import to_ms
from tests.records import T0

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
WEEK = 7 * DAY
WORLD = 10
EVERYTHING = {WORLD: WorldCoverage([Span(WORLD, T0 - 20 * WEEK, T0 + 20 * WEEK, "start")])}
LENGTH = 90 * MINUTE
NINETY_MINUTES = 147
"""An alert on Indar that lasts an hour and a half."""


def told(at: Ms, state: int, instance_id: int = 1) -> Metagame:
    return Metagame(WORLD, instance_id, NINETY_MINUTES, state, at, 2, 50.0, 30.0, 20.0)


def locked(at: Ms, winner: int = 1) -> Lock:
    return Lock(f"{WORLD}-2-{at}", WORLD, 2, at, winner, 0, 160, 33.0, 33.0, 34.0)


def found(*changes: Metagame, locks: tuple[Lock, ...] = ()) -> tuple[list[Alert], list[Lock]]:
    alerts, with_alerts = derive(changes, locks, T0 + 100 * DAY)
    return list(alerts.values()), list(with_alerts.values())


def lone(at: Ms) -> Event:
    return Event("lock", WORLD, at, at, 1)


def one(
    event: Event, *others: Ms, coverage: dict[int, WorldCoverage] | None = None, zone: ZoneInfo = UTC
) -> Matched:
    disturbances = [event.at, *([event.also] if event.also != event.at else []), *others]
    (only,) = match([event], {WORLD: disturbances}, EVERYTHING if coverage is None else coverage, zone)
    return only


# Events


def test_the_end_of_an_alert_with_its_lock_is_one_event_at_the_earlier_instant() -> None:
    end = T0 + LENGTH + SECOND
    alerts, locks = found(told(T0, STARTED), told(end, ENDED), locks=(locked(end - 2 * SECOND),))
    (event,) = events_of(alerts, locks, T0, T0 + DAY)
    assert (event.kind, event.at, event.also, event.winner) == (
        "alert_end_and_lock",
        end - 2 * SECOND,
        end,
        1,
    )
    assert (event.minutes, event.dominated) == (90, False)
    assert (event.alert_id, event.lock_id) == (alerts[0].alert_id, locks[0].lock_id)


def test_an_alert_that_ends_early_was_won_by_domination() -> None:
    alerts, locks = found(told(T0, STARTED), told(T0 + HOUR, ENDED))
    (event,) = events_of(alerts, locks, T0, T0 + DAY)
    assert (event.kind, event.at, event.dominated) == ("alert_end", T0 + HOUR, True)


def test_what_was_called_off_is_no_event_but_disturbs() -> None:
    alerts, locks = found(told(T0, STARTED), told(T0 + HOUR, CANCELED))
    assert events_of(alerts, locks, T0, T0 + DAY) == []
    assert disturbances_of(alerts, locks) == {WORLD: [T0 + HOUR]}


def test_an_alert_without_an_end_of_its_own_ends_when_its_time_is_up_if_its_start_was_seen() -> None:
    alerts, locks = found(told(T0, STARTED))
    assert [event.at for event in events_of(alerts, locks, T0, T0 + DAY)] == [T0 + LENGTH]


def test_a_lock_by_itself_is_an_event_and_the_window_is_open_at_its_end() -> None:
    locks = [locked(T0), locked(T0 + HOUR)]
    assert [event.at for event in events_of([], locks, T0, T0 + HOUR)] == [T0]


# Controls


def test_controls_are_the_weeks_around_it() -> None:
    weeks = [*range(-WEEKS, 0), *range(1, WEEKS + 1)]
    assert one(lone(T0)) == Matched(lone(T0), tuple(T0 + week * WEEK for week in weeks))


def test_they_follow_the_clock_on_the_wall() -> None:
    at = to_ms(datetime(2026, 3, 26, 20, tzinfo=BERLIN))  # a Thursday; on the Sunday the clocks go forward
    controls = one(lone(at), zone=BERLIN).controls
    assert controls[WEEKS - 1 : WEEKS + 1] == (at - WEEK, at + WEEK - HOUR)


@pytest.mark.parametrize(
    ("other", "shift"),
    [
        pytest.param(QUIET + 1, 0, id="just far enough"),
        pytest.param(QUIET, -5 * MINUTE, id="ahead"),
        pytest.param(-QUIET, 5 * MINUTE, id="behind"),
        pytest.param(20 * MINUTE, -15 * MINUTE, id="as far as it goes"),
        pytest.param(10 * MINUTE, None, id="too near"),
    ],
)
def test_a_control_gives_way_to_what_ended_near_it(other: Ms, shift: Ms | None) -> None:
    controls = one(lone(T0), T0 + WEEK + other).controls
    near = [at - T0 - WEEK for at in controls if abs(at - T0 - WEEK) < DAY]
    assert near == ([] if shift is None else [shift])


def test_an_event_near_another_is_left_out_and_one_further_off_is_not() -> None:
    assert one(lone(T0), T0 + QUIET).left_out == "overlapping"
    assert one(lone(T0), T0 - QUIET).left_out == "overlapping"
    assert one(lone(T0), T0 + QUIET + 1, T0 - QUIET - 1).left_out is None
    both = Event("alert_end_and_lock", WORLD, T0, T0 + 6 * SECOND, 1)
    assert one(both).left_out is None
    assert one(both, T0 + 6 * SECOND + QUIET).left_out == "overlapping"


def covering(*gaps: tuple[Ms, Ms]) -> dict[int, WorldCoverage]:
    starts = [T0 - 20 * WEEK, *(end for _, end in gaps)]
    ends = [*(start for start, _ in gaps), T0 + 20 * WEEK]
    spans = [Span(WORLD, start, end, "connection") for start, end in zip(starts, ends, strict=True)]
    return {WORLD: WorldCoverage(spans)}


def test_an_event_that_touches_a_gap_is_left_out() -> None:
    for gap in ((T0 - BEFORE - 2, T0 - BEFORE + 1), (T0 + AFTER - 1, T0 + AFTER + 1)):
        assert one(lone(T0), coverage=covering(gap)).left_out == "gap"
    beside = ((T0 - BEFORE - 2, T0 - BEFORE), (T0 + AFTER, T0 + AFTER + 1))
    assert one(lone(T0), coverage=covering(*beside)).left_out is None


def test_a_control_that_touches_a_gap_is_none() -> None:
    gap = (T0 + WEEK - 20 * MINUTE, T0 + WEEK + 50 * MINUTE)
    controls = one(lone(T0), coverage=covering(gap)).controls
    assert len(controls) == 2 * WEEKS - 1
    assert not [at for at in controls if abs(at - T0 - WEEK) < DAY]


def test_an_event_with_nothing_to_compare_is_left_out() -> None:
    only = {WORLD: WorldCoverage([Span(WORLD, T0 - DAY, T0 + DAY, "start")])}
    assert one(lone(T0), coverage=only) == Matched(lone(T0), (), "no control")
    assert one(lone(T0), coverage={}).left_out == "gap"
