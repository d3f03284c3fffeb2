"""Every command that draws, as a person calls it on a real store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from ps2daemon.web.bundle import charts_installed
from tests.commands import call
from tests.integration.test_effect import WINDOW as EFFECT_WINDOW
from tests.integration.test_effect import config as of_effects
from tests.integration.test_reading_cli import WINDOW, config

__all__ = ["config", "of_effects"]

drawn = pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
MAGIC = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}
COMMANDS = (
    ("population", *WINDOW),
    ("overlay", *WINDOW),
    ("alerts", *WINDOW),
    ("coverage", *WINDOW),
    ("trend", "--weeks", "2", "--to", "2026-03-16"),
)
NEVER = ("--from", "2025-03-01", "--to", "2025-03-02")


def texts(svg: Path) -> list[str]:
    """What stands in a picture."""
    return [unescape(text) for text in re.findall(r"<t(?:ext|span)[^>]*>([^<]+)<", svg.read_text())]


def picture(config: Path, folder: Path, *arguments: str) -> str:
    out = folder / "picture.svg"
    result = call(config, *arguments, "--out", str(out))
    assert (result.exit_code, result.output) == (0, "")
    return "\n".join(texts(out))


@drawn
@pytest.mark.parametrize("kind", MAGIC)
def test_the_ending_of_the_file_says_which_picture(config: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"picture.{kind}"
    result = call(config, "population", *WINDOW, "--overlay", "day", "--out", str(out))
    assert (result.exit_code, result.output) == (0, "")
    assert out.read_bytes().startswith(MAGIC[kind])


@drawn
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: str(arguments[0]))
def test_a_picture_stands_alone(config: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = picture(config, tmp_path, *arguments, "--tz", "Europe/Berlin")
    assert "Osprey" in said
    assert "Wainwright" in said
    if arguments[0] == "trend":
        assert said.count("The week hour by hour") == 2
    assert re.search(r"2026-03-\d\d \d\d:\d\d to 2026-03-\d\d \d\d:\d\d, Europe/Berlin", said)
    if arguments[0] != "trend":
        assert "Striped: not recorded" in said
        assert "the connection was lost" in said


@drawn
def test_a_trend_says_which_weeks_do_not_count(config: Path, tmp_path: Path) -> None:
    said = picture(config, tmp_path, "trend", "--world", "10", "--weeks", "2", "--to", "2026-03-16")
    assert "2 weeks, 2026-03-02 00:00 to 2026-03-16 00:00, UTC; 20.5% of it recorded" in said
    assert (
        "All together: too few weeks. Hollow: less than 50% of the week was recorded, so it does not count."
        " Striped: nothing was recorded"
    ) in said


@drawn
def test_a_trend_shows_the_mean_or_the_peak_of_each_day(config: Path, tmp_path: Path) -> None:
    asked = ("trend", "--world", "10", "--weeks", "2", "--to", "2026-03-16")
    assert "Day by day, people on average" in picture(config, tmp_path, *asked)
    said = picture(config, tmp_path, *asked, "--days", "peak")
    assert "Day by day, people at most" in said
    assert "Crossed: less than 90% of the day was recorded. Dot: nothing was recorded." in said


@drawn
def test_coverage_says_how_much_and_why_not(config: Path, tmp_path: Path) -> None:
    said = picture(config, tmp_path, "coverage", *WINDOW)
    assert said.count("62.50% recorded") == 2
    assert said.count("the connection was lost, 3 h") == 2, "below each band"
    assert "the connection was lost (6 h in 2 gaps)" in said, "of both worlds"


@drawn
def test_coverage_of_what_was_never_recorded_is_a_picture_too(config: Path, tmp_path: Path) -> None:
    said = picture(config, tmp_path, "coverage", "--world", "19", *WINDOW)
    assert "0.00% recorded" in said
    assert "it has never been recorded, 8 h" in said


@drawn
def test_of_many_alerts_the_latest_are_drawn(config: Path, tmp_path: Path) -> None:
    window = ("--world", "10", "--from", "2026-03-12", "--to", "2026-03-16")
    whole = call(config, "alerts", *window, "--format", "csv").stdout.count("\n") - 1
    assert whole > 12
    said = picture(config, tmp_path, "alerts", *window)
    assert f"the latest 12 of {whole} alerts; {whole - 12} before them are left out" in said
    assert said.count("Wainwright, 2026-03-") == 12


@drawn
def test_an_effect_says_how_many_events_and_what_was_left_out(of_effects: Path, tmp_path: Path) -> None:
    said = picture(of_effects, tmp_path, "effect", *EFFECT_WINDOW)
    assert "Do people log off when alerts end and continents lock? Wainwright" in said
    assert "12 of 12 compared" in said
    assert "Everybody: more within 5, 15, 30 minutes" in said
    assert "A continent locks without an alert: none to compare" in said
    said = picture(of_effects, tmp_path, "effect", *EFFECT_WINDOW[:2], "--to", "2026-02-15", "--by", "world")
    assert "Wainwright: An alert ends" in said
    assert "too few events to say: it takes 10, on 5 days" in said


@drawn
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("population", *NEVER), "nothing was recorded in this window: choose another, with --from and --to"),
        (("overlay", *NEVER), "nothing was recorded in this window"),
        (("trend", "--to", "2025-03-02"), "nothing was recorded in this window"),
        (("alerts", *NEVER), "no alert ran in this window, so there is nothing to draw: choose another"),
        (("effect", *NEVER), "there is nothing to draw, since no event of this window can be compared"),
        (
            ("alerts", "--world", "Wainright"),
            "'Wainright' is no world; the nearest by name is Wainwright (10);",
        ),
    ],
)
def test_where_there_is_nothing_to_draw_no_file_is_made(
    config: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "picture.png"
    result = call(config, *arguments, "--out", str(out))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


@drawn
def test_a_picture_that_cant_be_drawn_is_one_clear_line(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ps2daemon.cli.trend.trend_picture", lambda *_, **__: {"mark": 5})
    out = tmp_path / "picture.png"
    result = call(config, "trend", "--to", "2026-03-16", "--out", str(out))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "this picture can't be drawn" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("command", ["population", "overlay", "trend", "alerts", "coverage", "effect"])
def test_without_the_extra_it_is_one_clear_line(
    config: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("ps2daemon.web.bundle.charts_installed", lambda: False)
    result = call(config, command, "--format", "png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "ps2daemon: error: pictures need the `charts` extra: pip install 'ps2daemon[charts]'\n"
    )


@pytest.mark.parametrize(("command", "kind"), [("population", "png"), ("coverage", "pdf")])
def test_a_picture_is_not_written_to_a_terminal(config: Path, command: str, kind: str) -> None:
    ours, theirs = os.openpty()
    line = [sys.executable, "-m", "ps2daemon", "--config", str(config), command, "--format", kind]
    try:
        result = subprocess.run(line, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(theirs)
        os.close(ours)
    assert result.returncode == 2
    assert result.stderr == f"ps2daemon: error: a terminal can't show {kind}: give --out FILE\n"


@pytest.mark.parametrize("command", ["population", "overlay", "trend", "alerts", "coverage", "effect"])
def test_help_shows_how_to_draw(config: Path, command: str) -> None:
    said = call(config, command, "--help").stdout
    assert re.search(rf"  ps2daemon {command} .*--out \w+\.png", said)
    assert "need the `charts` extra" in " ".join(said.split())
