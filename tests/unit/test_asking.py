"""How people write worlds, empires, times, steps and time zones."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

import pytest

from ps2daemon.analysis.asking import (
    GOOD_BUCKETS,
    STEPS,
    Window,
    good_step,
    parse_empires,
    parse_step,
    parse_time,
    parse_window,
    parse_world,
    parse_worlds,
    parse_zone,
)
from ps2daemon.errors import UsageError
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND
from ps2daemon.model.times import parse_iso

NOW = parse_iso("2026-03-15T18:07:30Z")
UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("Wainright", "Wainwright (10)"), ("ospray", "Osprey (1)"), ("MILER", "Wainwright (10)")],
)
def test_a_world_that_is_misspelt(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_world(text)
    assert f"{text!r} is no world; the nearest by name is {meant}; those that run are 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "world_id"),
    [("10", 10), ("Wainwright", 10), ("miller", 10), ("SOLTECH", 40), ("ceres", 2000), ("9", 9)],
)
def test_worlds_by_number_and_by_name(text: str, world_id: int) -> None:
    assert parse_world(text) == world_id


def test_several_worlds() -> None:
    assert parse_worlds(["10, 1", "40", "10"]) == (10, 1, 40)
    assert parse_worlds([]) == ()


@pytest.mark.parametrize("text", ["", "2", "-10", "nowhere", "10.0", "9" * 30, "²"])
def test_no_world(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no world; those that run are 1 \(Osprey\), 10 \(Wainwright\)"):
        parse_world(text)


def test_empires() -> None:
    assert parse_empires(["vs,NC", "unknown", "3", "vs"]) == (1, 2, 0, 3)
    with pytest.raises(UsageError, match="'xx' is no empire; choose from vs, nc, tr, nso, unknown"):
        parse_empires(["vs,xx"])


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("now", "2026-03-15T18:07:30Z"),
        ("-7d", "2026-03-08T18:07:30Z"),
        ("-90m", "2026-03-15T16:37:30Z"),
        ("-1w", "2026-03-08T18:07:30Z"),
        ("2026-03-01", "2026-02-28T23:00:00Z"),
        ("2026-07-01T12:00", "2026-07-01T10:00:00Z"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00+05:30", "2026-03-01T06:30:00Z"),
    ],
)
def test_times(text: str, iso: str) -> None:
    assert parse_time(text, now=NOW, zone=BERLIN) == parse_iso(iso)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no time"),
        ("yesterday", "it takes 2026-03-01, 2026-03-01T12:00, 2026-03-01T12:00:00Z, now or -7d"),
        ("-7y", "is no time"),
        ("-999999999w", "before the year 1970"),
        ("1969-12-31", "not between the years 1970 and 2200"),
        ("9999-12-31T23:59:59Z", "not between the years"),
        ("0001-01-01T00:00", "not between the years"),
        ("2026-02-30", "is no time"),
    ],
)
def test_no_time(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_time(text, now=NOW, zone=BERLIN)


def test_steps() -> None:
    assert [parse_step(text) for text in ("30s", "5m", "1h", "1d")] == [30 * SECOND, 5 * MINUTE, HOUR, DAY]


@pytest.mark.parametrize("text", ["", "5", "0m", "-5m", "5min", "1.5h", "999999999w"])
def test_no_step(text: str) -> None:
    with pytest.raises(UsageError, match="is no step"):
        parse_step(text)


@pytest.mark.parametrize(
    "text",
    [
        "Mars/Olympus",
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "Europe/",
        "a\0b",
        "Europe",
        "x" * 5000,
        "Europe/Berlin" + "/x" * 400,
    ],
)
def test_no_zone(text: str) -> None:
    with pytest.raises(UsageError, match="is no time zone; it takes a name such as Europe/Berlin") as caught:
        parse_zone(text)
    assert len(str(caught.value)) < 200


def test_zones() -> None:
    for name in available_timezones():
        assert str(parse_zone(name)) == name
    assert str(parse_zone("Europe/Berlin")) == "Europe/Berlin"
    assert str(parse_zone("utc")) == "UTC"


@pytest.mark.parametrize("days", [0.1, 1, 7, 14, 28, 365])
def test_a_good_step_is_the_shortest_that_keeps_the_points_few(days: float) -> None:
    step = good_step(int(days * DAY))
    assert days * DAY / step <= GOOD_BUCKETS
    shorter = [each for each in STEPS if each < step]
    assert not shorter or days * DAY / shorter[-1] > GOOD_BUCKETS


def test_a_relative_window_begins_and_ends_at_whole_steps() -> None:
    window = parse_window("-24h", "now", "auto", now=NOW, zone=UTC)
    assert window == Window(parse_iso("2026-03-14T18:08:00Z"), parse_iso("2026-03-15T18:08:00Z"), 2 * MINUTE)


def test_an_absolute_window_is_taken_to_the_letter() -> None:
    window = parse_window("2026-03-01T00:00:17Z", "2026-03-01T01:00:01Z", "5m", now=NOW, zone=UTC)
    assert window.start == parse_iso("2026-03-01T00:00:17Z")
    assert window.end == parse_iso("2026-03-01T01:00:01Z")
