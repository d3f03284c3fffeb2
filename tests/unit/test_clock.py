"""The clock on the wall of many instants at once, against that of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ps2daemon.analysis.clock import WallClock
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.times import from_ms, to_ms

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
)
"""Havana's clock is put back at one in the morning, Lord Howe's by half an hour, and Apia had no 30 December 2011."""
FIRST = to_ms(datetime(2011, 1, 1, tzinfo=UTC))
LAST = to_ms(datetime(2027, 1, 1, tzinfo=UTC))
APIA = to_ms(datetime(2011, 12, 30, 10, tzinfo=UTC))
FORWARD = to_ms(datetime(2026, 3, 29, 1, tzinfo=UTC))
BACK = to_ms(datetime(2026, 10, 25, 1, tzinfo=UTC))


def shown(at: Ms, zone: ZoneInfo) -> Ms:
    return to_ms(datetime.fromtimestamp(at / 1000, zone).replace(tzinfo=UTC))


@example("Pacific/Apia", APIA - DAY, MINUTE, 2 * 1440)
@example("Europe/Berlin", FORWARD - HOUR - 1, MINUTE, 120)
@example("Europe/Berlin", BACK - HOUR - 1, MINUTE, 120)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(FIRST, LAST),
    step=st.sampled_from((1, MINUTE, 15 * MINUTE, 7 * DAY)),
    number=st.integers(1, 3 * 96),
)
def test_it_shows_what_the_clock_of_each_instant_shows(zone: str, start: Ms, step: Ms, number: int) -> None:
    at = np.arange(number) * step + start
    clock = WallClock(ZoneInfo(zone), int(at[0]), int(at[-1]))
    assert clock.shown(at).tolist() == [shown(each, ZoneInfo(zone)) for each in at.tolist()]


@example("Pacific/Apia", APIA - 7 * DAY, 7)
@example("Europe/Berlin", FORWARD + HOUR // 2 - 7 * DAY, 7)
@example("Europe/Berlin", BACK - 7 * DAY, 7)
@example("Europe/Berlin", BACK - 7 * DAY - MINUTE, 7)
@given(
    zone=st.sampled_from(ZONES),
    at=st.integers(FIRST // MINUTE, LAST // MINUTE).map(lambda minute: minute * MINUTE),
    days=st.integers(-28, 28),
)
def test_days_later_is_when_it_shows_the_same(zone: str, at: Ms, days: int) -> None:
    then = from_ms(at).astimezone(ZoneInfo(zone)) + timedelta(days=days)
    clock = WallClock(ZoneInfo(zone), at - 30 * DAY, at + 30 * DAY)
    (found,) = clock.instant(clock.shown(np.array([at])) + days * DAY).tolist()
    assert days == 0 or found == to_ms(then)


def test_an_hour_that_comes_twice() -> None:
    clock = WallClock(ZoneInfo("America/Havana"), FIRST, LAST)
    back = to_ms(datetime(2025, 11, 2, 5, tzinfo=UTC))
    at = np.arange(back - DAY, back + DAY, 15 * MINUTE)
    assert [later - before for before, later in pairwise(clock.shown(at).tolist())].count(-45 * MINUTE) == 1
    once = clock.shown(at) < clock.shown(np.array([back]))[0]
    assert clock.instant(clock.shown(at))[once].tolist() == at[once].tolist()
