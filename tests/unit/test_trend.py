"""The people week by week, and the slope through the weeks."""

from __future__ import annotations

import csv
import io
import random
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis.documents import WEEK_FIELDS
from ps2daemon.analysis.trend import FEWEST, TrendQuery, robust_slope, trends, week_edges
from ps2daemon.analysis.view import ALL
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE
from ps2daemon.model.times import iso, to_ms
from ps2daemon.store.base import Commit, SessionDocument
from tests.commands import call, stored_config
from tests.memory_reader import MemoryReader, session
from tests.records import T0

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
WEEK = 7 * DAY
MIDNIGHT = T0 - T0 % DAY
WORLD = 10


def weekly(*numbers: int, faction_id: int = 1) -> list[SessionDocument]:
    """So many people all through each week up to `MIDNIGHT`, the latest last; nobody stays longer than half a day."""
    found = []
    for back, number in enumerate(reversed(numbers), start=1):
        for half in range(14):
            at = MIDNIGHT - back * WEEK + half * 12 * HOUR
            for person in range(number):
                who = f"{faction_id}{person:03}"
                found.append(session(who, at, at + 12 * HOUR, world_id=WORLD, faction_id=faction_id))
    return found


def covered(*gaps: tuple[int, int]) -> list[Span]:
    starts = [MIDNIGHT - 60 * WEEK, *(end for _, end in gaps)]
    ends = [*(start for start, _ in gaps), MIDNIGHT + DAY]
    return [Span(WORLD, start, end, "connection") for start, end in zip(starts, ends, strict=True)]


def query(weeks: int, **changed: object) -> TrendQuery:
    asked = TrendQuery(end=MIDNIGHT + 5 * HOUR, weeks=weeks, worlds=(WORLD,), zone=UTC, factions=(1,))
    return msgspec.structs.replace(asked, **changed)


# The slope


def test_the_slope_of_a_straight_line_is_its_own_and_certain() -> None:
    assert robust_slope([(x, 3 * x + 1) for x in range(8)]) == (3, 3, 3)


def test_one_odd_week_does_not_move_it() -> None:
    points = [(x, 2.0 * x) for x in range(9)]
    points[4] = (4, 1000.0)
    assert robust_slope(points)[0] == pytest.approx(2.0)


def test_it_is_the_example_of_sens_rule() -> None:
    """Ten pairs of five points; the interval leaves out the lowest and the highest slope."""
    points = list(zip(range(5), (10.0, 12.0, 11.0, 15.0, 16.0), strict=True))
    slopes = sorted([2, 0.5, 5 / 3, 1.5, -1, 1.5, 4 / 3, 4, 2.5, 1])
    assert robust_slope(points) == pytest.approx(((1.5 + 1.5) / 2, slopes[1], slopes[8]))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(1)
    held = 0
    for _ in range(500):
        points = [(x, 0.5 * x + rng.gauss(0, 3)) for x in range(12)]
        _, low, high = robust_slope(points)
        held += low <= 0.5 <= high
    assert 0.92 <= held / 500 <= 0.99


# Weeks


def test_weeks_end_at_the_midnight_before_by_the_clock_on_the_wall() -> None:
    end = to_ms(datetime(2026, 4, 1, 15, tzinfo=BERLIN))
    edges = week_edges(end, 2, BERLIN)
    assert [iso(edge) for edge in edges] == [
        "2026-03-17T23:00:00Z",
        "2026-03-24T23:00:00Z",
        "2026-03-31T22:00:00Z",  # the clocks went forward on the 29th
    ]


async def test_rising_falling_and_neither() -> None:
    for numbers, slope, verdict in (
        ((1, 2, 3, 4, 5, 6), 1.0, "rising"),
        ((6, 5, 4, 3, 2, 1), -1.0, "falling"),
        ((3, 3, 3, 3, 3, 3), 0.0, "no trend found"),
        ((1, 9, 2, 8, 1, 9), 0.0, "no trend found"),
    ):
        (found,) = await trends(MemoryReader(weekly(*numbers), covered()), query(6))
        assert [week.mean for week in found.weeks] == list(numbers)
        assert [week.peak for week in found.weeks] == list(numbers)
        assert {week.share for week in found.weeks} == {1.0}
        assert (found.n, found.verdict) == (6, verdict)
        if verdict != "no trend found":
            assert found.per_week == pytest.approx(slope)


async def test_what_is_not_covered_is_left_out_and_stated() -> None:
    """Half a week without a record says nothing of it; less than half, and the week is in no slope."""
    week = MIDNIGHT - 3 * WEEK
    reader = MemoryReader(weekly(1, 2, 3, 4, 5, 6), covered((week, week + 4 * DAY)))
    (found,) = await trends(reader, query(6))
    assert (found.weeks[3].mean, found.weeks[3].peak) == (4.0, 4)
    assert found.weeks[3].share == pytest.approx(3 / 7)
    assert (found.n, found.verdict) == (5, "rising")
    assert found.per_week == pytest.approx(1.0)
    gone = MemoryReader(weekly(1, 2, 3, 4, 5, 6), covered((week, week + WEEK)))
    (found,) = await trends(gone, query(6))
    assert (found.weeks[3].mean, found.weeks[3].peak, found.weeks[3].share) == (None, None, 0.0)


async def test_few_weeks_have_no_slope() -> None:
    (found,) = await trends(MemoryReader(weekly(1, 2, 3, 4), covered()), query(FEWEST - 1))
    assert (found.n, found.per_week, found.low, found.verdict) == (4, None, None, "too few weeks")


async def test_all_together_come_last() -> None:
    reader = MemoryReader([*weekly(1, 2), *weekly(5, 5, faction_id=2)], covered())
    found = await trends(reader, query(2, factions=()))
    assert [each.faction_id for each in found] == [1, 2, 3, 4, ALL]
    assert [week.mean for week in found[-1].weeks] == [6.0, 7.0]


@pytest.mark.parametrize("weeks", [0, 105])
async def test_a_number_of_weeks_out_of_bounds_is_refused(weeks: int) -> None:
    with pytest.raises(UsageError, match=f"{weeks} weeks are not possible: choose 1 to 104"):
        await trends(MemoryReader([]), query(weeks))


# The command


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_config(
        tmp_path_factory.mktemp("trend"), Commit(sessions=weekly(1, 2, 3, 4, 5, 6), spans=covered())
    )


ASKED = ("trend", "--weeks", "6", "--to", iso(MIDNIGHT + 5 * MINUTE))


def test_a_person_reads_a_table(config: Path) -> None:
    result = call(config, *ASKED)
    assert (result.exit_code, result.stderr) == (0, "")
    assert ", 6 weeks from " in result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith(" VS"))
    assert line.split() == ["VS", "1.0", "6.0", "6", "▁▂▄▅▇█", "+1.0", "+1.0", "to", "+1.0", "rising"]


def test_json_and_csv(config: Path) -> None:
    result = call(config, *ASKED, "--json")
    rows = msgspec.json.decode(result.stdout)["trends"]
    assert [row["faction_id"] for row in rows] == [1, 2, 3, 4, None]
    assert list(rows[0]) == ["world_id", "faction_id", "weeks", "n", "per_week", "low", "high", "verdict"]
    assert tuple(rows[0]["weeks"][0]) == WEEK_FIELDS
    result = call(config, *ASKED, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(lines) == 6 * 5
    assert [line["mean"] for line in lines[:6]] == ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]
    assert lines[-1]["faction_id"] == ""


def test_days_and_hours(config: Path) -> None:
    result = call(config, *ASKED, "--by", "day")
    assert (result.exit_code, result.stderr) == (0, "")
    head, names, *rows = [line for line in result.stdout.splitlines() if line]
    assert head == "Wainwright (10), day by day, UTC"
    assert names.split() == ["mean", "peak", "recorded"]
    assert len(rows) == 6 * 7
    assert rows[-1].split()[1:] == [iso(MIDNIGHT - DAY)[:10], "6.0", "6", "100.0", "%"]
    days = list(csv.DictReader(io.StringIO(call(config, *ASKED, "--by", "day", "--format", "csv").stdout)))
    assert [row["peak"] for row in days] == [str(week) for week in range(1, 7) for _ in range(7)]
    result = call(config, *ASKED, "--weeks", "3", "--by", "hour")
    head, names, *rows = [line for line in result.stdout.splitlines() if line]
    assert head == "Wainwright (10), the mean of 3 weeks, and against as many before, UTC"
    assert names.split() == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert [row.split() for row in rows] == [[f"{hour:02}:00", *7 * ["5", "+3"]] for hour in range(24)]
    hours = msgspec.json.decode(call(config, *ASKED, "--weeks", "3", "--by", "hour", "--json").stdout)[
        "hours"
    ]
    assert len(hours) == 7 * 24
    assert (hours[-1]["weekday"], hours[-1]["hour"]) == (7, 23)
    assert {(each["mean"], each["before"], each["difference"]) for each in hours} == {(5.0, 2.0, 3.0)}


def test_more_weeks_than_can_be_compared_are_refused_by_hour_alone(config: Path) -> None:
    result = call(config, *ASKED, "--weeks", "53", "--by", "hour")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "53 weeks are not possible: choose 1 to 52" in result.stderr
    assert call(config, *ASKED, "--weeks", "53", "--by", "day").exit_code == 0
