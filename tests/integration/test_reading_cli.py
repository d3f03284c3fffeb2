"""`population`, `export` and `serve` as a person calls them, on a real store."""

from __future__ import annotations

import csv
import io
import socket
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from ps2daemon.cli import main
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import Commit
from tests.commands import call, stored_config
from tests.synthetic import fortnight

END = parse_iso("2026-03-15T18:00:00Z")
READER = fortnight(END, worlds=(1, 10), days=3, people=20, gaps=((30 * HOUR, 3 * HOUR),))
WINDOW = ("--from", "2026-03-14T08:00Z", "--to", "2026-03-14T16:00Z")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_config(
        tmp_path_factory.mktemp("reading"),
        Commit(
            sessions=READER.sessions,
            alerts=READER.stored_alerts,
            locks=READER.stored_locks,
            spans=READER.stored_spans,
            records_until=END,
        ),
    )


def test_json_equals_what_the_definition_says(config: Path) -> None:
    result = call(config, "population", "--world", "10", *WINDOW, "--step", "30m", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = msgspec.json.decode(result.stdout)
    assert list(answer) == ["step_s", "times", "series"]
    assert answer["step_s"] == 1800
    assert answer["times"][0] == "2026-03-14T08:00:00Z"
    for series in answer["series"]:
        assert list(series) == ["world_id", "faction_id", "online"]
        for text, online in zip(answer["times"], series["online"], strict=True):
            at = parse_iso(text)
            expected = sum(
                each.world_id == 10
                and each.faction_id == series["faction_id"]
                and each.login_ts is not None
                and each.login_ts <= at
                and (each.logout_ts is None or at < each.logout_ts)
                for each in READER.sessions
            )
            covered = any(span.world_id == 10 and span.start <= at < span.end for span in READER.stored_spans)
            assert online == (expected if covered else None)
    assert None in answer["series"][0]["online"]


def test_csv_has_a_row_an_instant_world_and_empire(config: Path) -> None:
    result = call(config, "population", *WINDOW, "--step", "1h", "--empire", "tr", "--format", "csv")
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["time", "world_id", "faction_id", "online"]
    assert [row[:3] for row in rows[1:3]] == [
        ["2026-03-14T08:00:00Z", "1", "3"],
        ["2026-03-14T08:00:00Z", "10", "3"],
    ]
    assert len(rows) == 1 + 8 * 2
    assert {row[3] for row in rows if row[0] == "2026-03-14T13:00:00Z"} == {""}


def test_csv_of_an_overlay(config: Path) -> None:
    result = call(
        config,
        "population",
        "--world",
        "10",
        *WINDOW,
        "--step",
        "1h",
        "--empire",
        "tr",
        "--overlay",
        "day",
        "--format",
        "csv",
    )
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 8
    assert rows[0]["earlier_time"] == "2026-03-13T08:00:00Z"
    assert int(rows[0]["difference"]) == int(rows[0]["online"]) - int(rows[0]["earlier_online"])
    assert rows[5]["online"] == rows[5]["difference"] == rows[5]["ratio"] == ""


def test_a_table_says_why_there_are_no_numbers(config: Path) -> None:
    result = call(
        config, "population", "--world", "Wainwright", *WINDOW, "--step", "1h", "--tz", "Europe/Berlin"
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "Wainwright (10), people online" in lines[0]
    assert lines[1].split() == ["Europe/Berlin", "VS", "NC", "TR", "NSO", "together"]
    (silent,) = [line for line in lines if "not recorded" in line]
    assert silent.strip().startswith("2026-03-14 13:00")
    assert "not recorded until 2026-03-14 16:00: the connection was lost" in silent
    assert not any("2026-03-14 14:00" in line for line in lines if "until" not in line)
    for line in lines[2:6]:
        numbers = [int(word) for word in line.split()[2:]]
        assert sum(numbers[:-1]) == numbers[-1]


def test_a_table_does_not_claim_that_what_is_not_in_the_store_was_not_recorded(config: Path) -> None:
    result = call(
        config, "population", "--world", "10", "--from", "2026-03-15T16:00Z", "--to", "2026-03-15T20:00Z"
    )
    assert "the store has nothing later yet, though it may wait in the queue" in result.stdout
    assert "recorded" not in result.stdout
    result = call(config, "population", "--world", "10", "--from", "2026-03-12T16:00Z", "--to", "2026-03-13")
    assert "not recorded until 2026-03-12 18:00: nothing was recorded before" in result.stdout


def test_a_world_that_was_never_recorded_is_told(config: Path) -> None:
    result = call(config, "population", "--world", "19", *WINDOW)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.strip() == "Jaeger has never been recorded: the store has nothing of it"


def test_a_table_of_an_overlay_compares(config: Path) -> None:
    result = call(config, "population", "--world", "10", *WINDOW, "--overlay", "day", "--back", "1")
    assert "On average, against earlier" in result.stdout
    assert "1 day earlier" in result.stdout


def test_overlay_is_a_command_of_its_own(config: Path) -> None:
    asked = ("--world", "10", *WINDOW, "--back", "2")
    ours = call(config, "overlay", *asked, "--json")
    assert ours.exit_code == 0
    assert ours.stdout == call(config, "population", *asked, "--overlay", "day", "--json").stdout


def test_under_a_table_each_window_is_a_line_of_bars(config: Path) -> None:
    result = call(config, "overlay", "--world", "10", *WINDOW, "--step", "1h")
    (now,) = (line for line in result.stdout.splitlines() if line.startswith("  together "))
    (then,) = (line for line in result.stdout.splitlines() if line.startswith("  1 day earlier "))
    bars = now.split()[1]
    assert len(bars) == 8
    assert bars[5] == "·", "where it was not recorded"
    assert set(bars) - {"·"} <= set("▁▂▃▄▅▆▇█")
    assert "█" in now + then, "both have one scale"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("population", "--from", "now", "--to", "-1h"),
            "the window is reversed: let --to be later than --from",
        ),
        (("population", "--from", "2026-03-01", "--to", "2026-03-01"), "the window is empty: let --to"),
        (("population", "--from", "2000-01-01", "--step", "1m"), "the window is too long"),
        (("population", "--tz", "Mars/Olympus"), "'Mars/Olympus' is no time zone"),
        (("population", "--world", "2"), "'2' is no world"),
        (("population", "--empire", "xx"), "'xx' is no empire"),
        (("population", "--step", "often"), "'often' is no step"),
        (("population", "--overlay", "day", "--back", "0"), "0 days back is not possible"),
        (("population", "--json", "--format", "csv"), "--json and --format csv contradict each other"),
        (("population", "--out", "x.docx"), "x.docx does not say which format"),
        (("population", "--out", "/nowhere/x.csv"), "/nowhere/x.csv can't be written"),
        (
            ("export", "sessions", "--from", "now", "--to", "-1h"),
            "the window is reversed: let --to be later than --from",
        ),
        (("export", "locks", "--world", "Nowhere"), "'Nowhere' is no world"),
        (("export", "alerts", "--tz", "x"), "'x' is no time zone"),
    ],
)
def test_bad_input_is_one_clear_line(config: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call(config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_store_yet_is_one_clear_line(tmp_path: Path, config: Path) -> None:
    other = tmp_path / "config.toml"
    other.write_text(config.read_text())
    for arguments in (("population",), ("export", "sessions"), ("serve", "--port", "0")):
        result = call(other, *arguments)
        assert result.exit_code in (1, 2)
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.output


def test_exports_of_a_real_store(config: Path) -> None:
    lines = call(config, "export", "sessions", "--world", "10").stdout.splitlines()
    assert len(lines) == sum(each.world_id == 10 for each in READER.sessions)
    lines = call(config, "export", "alerts").stdout.splitlines()
    assert len(lines) == len(READER.stored_alerts)
    lines = call(config, "export", "locks", "--from", "2026-03-14", "--to", "2026-03-15").stdout.splitlines()
    day = parse_iso("2026-03-14")
    assert len(lines) == sum(day <= lock.at < day + DAY for lock in READER.stored_locks)
    lines = call(config, "export", "coverage", "--format", "csv").stdout.splitlines()
    assert lines[:2] == ["world_id,from,to,after", "1,2026-03-12T18:00:00Z,2026-03-14T12:00:00Z,start"]


def test_an_export_to_a_file(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sessions.ndjson"
    result = call(config, "export", "sessions", "--out", str(out))
    assert (result.exit_code, result.output) == (0, "")
    assert out.read_bytes().count(b"\n") == len(READER.sessions)


def test_serve_on_a_port_in_use_is_one_clear_line(config: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = call(config, "serve", "--port", str(port))
    assert result.exit_code == 2
    assert result.stderr == f"ps2daemon: error: port {port} is in use: choose another --port\n"


def test_serve_at_an_address_of_another_machine_is_one_clear_line(config: Path) -> None:
    result = call(config, "serve", "--host", "192.0.2.1", "--port", "0")
    assert result.exit_code == 2
    assert "192.0.2.1 is no address of this machine: choose another --host" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["population", "export", "serve"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert f"  ps2daemon {command}" in result.stdout
