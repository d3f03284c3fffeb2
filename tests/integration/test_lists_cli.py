"""`coverage` and `alerts` as a person calls them, on a real store."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import msgspec
import pytest

from ps2daemon.analysis.documents import ALERT_FIELDS, ALERT_VIEW_FIELDS
from ps2daemon.analysis.sheets import columns_of
from ps2daemon.cli import tables as cli_tables
from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.model.times import parse_iso
from tests.commands import call
from tests.integration.test_reading_cli import READER, config

__all__ = ["config"]

WINDOW = ("--from", "2026-03-14T00:00Z", "--to", "2026-03-15T00:00Z")


def online(world_id: int, at: Ms) -> int:
    return sum(
        each.world_id == world_id
        and each.login_ts is not None
        and each.login_ts <= at
        and (each.logout_ts is None or at < each.logout_ts)
        for each in READER.sessions
    )


# Coverage


def test_coverage_tells_the_share_the_gap_and_its_reason(config: Path) -> None:
    result = call(config, "coverage", "--world", "10", *WINDOW, "--tz", "Europe/Berlin")
    assert (result.exit_code, result.stderr) == (0, "")
    first, line, _, gap, *rest = result.stdout.splitlines()
    assert first == "Wainwright (10): 87.50 % of this window is recorded"
    assert line.strip() == f"2026-03-14 01:00 {'█' * 28}{'·' * 7}{'█' * 21} 2026-03-15 01:00"
    assert gap.split() == [
        "2026-03-14",
        "13:00",
        "2026-03-14",
        "16:00",
        "3",
        "h",
        "the",
        "connection",
        "was",
        "lost",
    ]
    assert rest == [""]


def test_coverage_of_a_window_without_a_gap_is_short(config: Path) -> None:
    result = call(
        config, "coverage", "--world", "10", "--from", "2026-03-15T00:00Z", "--to", "2026-03-15T06:00Z"
    )
    assert result.stdout.splitlines()[0].endswith(": 100.00 % of this window is recorded")
    assert "not recorded" not in result.stdout


def test_coverage_misses_nothing_of_what_is_to_come(config: Path) -> None:
    result = call(config, "coverage", "--world", "10", "--from", "2026-03-15T00:00Z", "--to", "2199-01-01")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "2199" not in result.stdout
    assert "nothing later yet" in result.stdout


def test_coverage_as_json_and_csv_has_the_spans_of_the_window(config: Path) -> None:
    answer = msgspec.json.decode(call(config, "coverage", *WINDOW, "--json").stdout)
    assert answer["covered"] == [{"world_id": 1, "share": 0.875}, {"world_id": 10, "share": 0.875}]
    assert answer["coverage"][0] == {
        "world_id": 1,
        "from": "2026-03-12T18:00:00Z",
        "to": "2026-03-14T12:00:00Z",
        "after": "start",
    }
    assert len(answer["coverage"]) == 4
    rows = list(csv.DictReader(io.StringIO(call(config, "coverage", *WINDOW, "--format", "csv").stdout)))
    assert rows == [{name: str(value) for name, value in row.items()} for row in answer["coverage"]]
    later = ("--from", "2026-03-15T00:00Z", "--to", "2026-03-15T01:00Z")
    assert len(msgspec.json.decode(call(config, "coverage", *later, "--json").stdout)["coverage"]) == 2


# Alerts


def test_alerts_have_the_people_around_them(config: Path) -> None:
    answer = msgspec.json.decode(call(config, "alerts", "--world", "10", *WINDOW, "--json").stdout)["alerts"]
    start, end = (parse_iso(text) for text in WINDOW[1::2])
    expected = {
        each.alert_id: each
        for each in READER.stored_alerts
        if each.world_id == 10 and each.changes[0].at < end and (each.end is None or each.end > start)
    }
    assert {row["alert_id"] for row in answer} == set(expected)
    assert any(None in row["people"] for row in answer)  # over the gap
    for row in answer:
        assert set(row) == {*ALERT_FIELDS, *ALERT_VIEW_FIELDS, "people_from", "people"}
        began = parse_iso(row["people_from"])
        for place, people in enumerate(row["people"]):
            at = began + place * 5 * MINUTE
            if people is not None:
                assert people == online(10, at)
        alert = expected[row["alert_id"]]
        if alert.end is not None and row["people_at_end"] is not None:
            near = round(alert.end / (5 * MINUTE)) * 5 * MINUTE
            assert row["people_at_end"] == online(10, near)
        assert began <= (alert.start or alert.changes[0].at) - 30 * MINUTE


def test_alerts_as_a_table_and_csv(config: Path) -> None:
    lines = call(config, "alerts", *WINDOW).stdout.splitlines()
    rows = list(csv.DictReader(io.StringIO(call(config, "alerts", *WINDOW, "--format", "csv").stdout)))
    assert len(lines) == len(rows) + 1
    assert tuple(rows[0]) == columns_of(ALERT_VIEW_FIELDS)
    assert {row["canceled"] for row in rows} == {"false"}
    assert {row["world_id"] for row in rows} == {"1", "10"}
    assert any("with lock" in line for line in lines)


@pytest.mark.parametrize("columns", [80, 110, 149, 150])
def test_each_alert_has_its_line_of_people(
    config: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = msgspec.json.decode(call(config, "alerts", *WINDOW, "--json").stdout)["alerts"]
    monkeypatch.setattr(cli_tables, "PLAIN_WIDTH", columns)
    text = call(config, "alerts", *WINDOW).stdout
    assert max(map(len, text.splitlines())) <= columns
    lines = re.findall(r"[▁▂▃▄▅▆▇█·]+", text)
    every = 1 if columns >= 150 else 2
    assert lines == [cli_tables.sparkline(alert["people"][::every]) for alert in alerts]
    words = text.split()
    for alert in alerts:
        numbers = [alert[f"people_{when}"] for when in ("at_start", "at_end", "later")]
        assert all(f"{people:,}" in words for people in numbers if people is not None)
        assert all(word in words for word in alert["name"].split())


def test_a_window_without_alerts_says_so(config: Path) -> None:
    result = call(config, "alerts", "--from", "2027-01-01", "--to", "2027-01-02")
    assert (result.exit_code, result.stdout) == (0, "no alert ran in this window\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("coverage", "--from", "now", "--to", "-1h"),
            "the window is reversed: let --to be later than --from",
        ),
        (
            ("coverage", "--from", "2198-01-01", "--to", "2199-01-01"),
            "the window has not begun: let --from be earlier than now",
        ),
        (("coverage", "--world", "2"), "'2' is no world"),
        (("alerts", "--from", "2000-01-01"), "the window is too long: ask for less than half a year"),
        (("alerts", "--tz", "x"), "'x' is no time zone"),
        (("alerts", "--out", "a.docx"), "a.docx does not say which format"),
    ],
)
def test_bad_input_is_one_clear_line(config: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call(config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
