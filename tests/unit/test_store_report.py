"""What the commands about the store say: ages, sizes, months and plans."""

from __future__ import annotations

import pytest

from ps2daemon.cli.store_prune import cut
from ps2daemon.cli.store_report import Contents, contents_facts, contents_lines, plan_lines, size
from ps2daemon.model.coverage import Span, coverage_by_world
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.model.times import iso, parse_iso
from ps2daemon.store.base import Month, StoreDescription
from ps2daemon.store.pruning import Plan

NOW: Ms = parse_iso("2026-03-20T10:00:00Z")
DESCRIPTION = StoreDescription(
    kind="sqlite",
    place="/x.db",
    server="SQLite 3",
    schema_version=4,
    size_bytes=1,
    free_bytes=0,
    unwritable=None,
)
NOTHING = {
    "characters": 0,
    "unnamed": 0,
    "sessions": 0,
    "open": 0,
    "alerts": 0,
    "locks": 0,
    "spans": 0,
    "notes": 0,
}


@pytest.mark.parametrize(
    ("age", "now", "first"),
    [
        ("48d", "2026-03-20T10:00:00Z", "2026-01-01"),  # 2026-01-31: January still has something younger
        ("47d", "2026-03-20T10:00:00Z", "2026-02-01"),
        ("31d", "2026-03-31T23:59:59Z", "2026-02-01"),
        ("31d", "2026-04-01T00:00:00Z", "2026-03-01"),
        ("8w", "2026-03-20T10:00:00Z", "2026-01-01"),
        ("1y", "2025-03-01T12:00:00Z", "2024-02-01"),  # a year with a leap day is kept whole
        ("1y", "2026-03-02T12:00:00Z", "2025-03-01"),
        ("99999d", "2026-03-20T10:00:00Z", "1970-01-01"),
    ],
)
def test_only_months_of_which_nothing_is_younger_go(age: str, now: str, first: str) -> None:
    before = cut(age, parse_iso(now))
    assert iso(before) == f"{first}T00:00:00Z"
    assert before <= max(0, parse_iso(now) - 31 * DAY)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (56_631_296, "56.6 MB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (41 * 10**9, "41.0 GB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


def contents(*spans: Span, until: Ms | None = None, months: tuple[Month, ...] = ()) -> Contents:
    return Contents(
        description=DESCRIPTION,
        counts=NOTHING,
        months=months,
        coverage=coverage_by_world(spans),
        records_until=until,
        pruned_until=None,
    )


def test_the_share_of_a_month_is_the_mean_of_the_worlds_that_were_recorded_in_it() -> None:
    january, february = parse_iso("2026-01-01"), parse_iso("2026-02-01")
    found = contents(
        Span(1, january, NOW, "start"),
        Span(10, february + 14 * DAY, NOW, "start"),
        Span(19, january, january, "pruned"),  # vouches for nothing
        until=NOW,
        months=(Month(february, 5, 0, 0), Month(parse_iso("2025-12-01"), 1, 0, 0)),
    )
    facts = contents_facts(found)
    assert [(month["month"], month["sessions"], month["recorded"]) for month in facts["months"]] == [
        ("2025-12", 1, None),
        ("2026-01", 0, 1.0),
        ("2026-02", 5, 0.75),
        ("2026-03", 0, 1.0),
    ]
    assert [world["world_id"] for world in facts["worlds"]] == [1, 10]
    (line,) = [line for line in contents_lines(found) if line.startswith("2025-12")]
    assert line.split() == ["2025-12", "1", "0", "0", "-"]


def test_coverage_beyond_the_records_is_no_more_than_all_of_it() -> None:
    start = parse_iso("2026-03-01")
    facts = contents_facts(contents(Span(1, start, NOW, "start"), until=NOW - HOUR))
    assert [month["recorded"] for month in facts["months"]] == [1.0]


def test_an_empty_store_has_no_tables() -> None:
    assert contents_lines(contents())[-1].split() == ["records", "none", "yet"]


def plan(*kept: Month, characters: int = 0, shortened: int = 0) -> list[str]:
    gone = Month(parse_iso("2025-12-01"), 1_234, 2, 3), Month(parse_iso("2026-01-01"), 1, 0, 0)
    before = parse_iso("2026-02-01")
    return plan_lines(Plan(before, gone, kept, characters, shortened, before + HOUR), DESCRIPTION)


def test_a_plan_sums_up_and_leaves_out_what_does_not_happen() -> None:
    assert plan(Month(parse_iso("2026-02-01"), 1_000, 0, 0)) == [
        "From the store /x.db, this drops what began before 2026-02-01 (UTC):",
        "",
        "month (UTC)  sessions  alerts  locks",
        "2025-12         1,234       2      3",
        "2026-01             1       0      0",
        "together        1,235       2      3",
        "",
        "No time before 2026-02-01T01:00:00Z will count as recorded any more.",
        "1 month stays: 2026-02, with 1,000 sessions.",
    ]
    lines = plan(characters=1, shortened=2)
    assert "Characters without a session since then go, with their names: 1." in lines
    assert "Characters that stay and lose their older sessions: 2." in lines
    assert lines[-1] == "No month stays: nothing was recorded since then."
