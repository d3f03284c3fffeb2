"""Chart specs: what they say, and that Vega-Lite takes them."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ps2daemon.analysis.population import PopulationQuery
from ps2daemon.analysis.view import Line, Unrecorded, View, world_view
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.times import from_ms, parse_iso
from ps2daemon.web.axis import MOST_NUMBERS, MOST_TICKS, round_numbers, time_axis, time_ticks
from ps2daemon.web.charts import chart, charts, points
from ps2daemon.web.specs import THEMES
from tests.synthetic import fortnight

END = parse_iso("2026-03-15T18:00:00Z")
BERLIN = ZoneInfo("Europe/Berlin")
READER = fortnight(END, worlds=(10,), days=3, people=20, gaps=((30 * HOUR, 3 * HOUR), (8 * HOUR, 3 * MINUTE)))


async def a_view(by: Any = None, length: Ms = 3 * DAY, step: Ms = 30 * MINUTE) -> View:
    query = PopulationQuery(start=END - length, end=END, step=step, worlds=(10,))
    return await world_view(READER, query, lines="empires", by=by, back=1, zone=BERLIN, now=END)


def bare(**changed: Any) -> View:
    view = View(
        world_id=10,
        start=0,
        end=10 * MINUTE,
        step=MINUTE,
        zone=BERLIN,
        now=10 * MINUTE,
        by=None,
        times=tuple(range(0, 10 * MINUTE, MINUTE)),
        lines=(Line(1, 0, (5,) * 10),),
        unit="people",
        nso="apart",
        unrecorded=(),
        alerts=(),
        locks=(),
        notes=(),
        comparisons=(),
        trends=(),
        recorded_until=None,
        share=1.0,
    )
    return msgspec.structs.replace(view, **changed)


def test_a_gap_between_two_instants_breaks_the_line() -> None:
    view = bare(unrecorded=(Unrecorded(4 * MINUTE + 10_000, 4 * MINUTE + 30_000, "x"),))
    found = points(view, view.lines[0])
    assert len(found) == 11
    assert found[4:7] == [(4 * MINUTE, 5), (4 * MINUTE + 20_000, None), (5 * MINUTE, 5)]


def test_a_gap_of_earlier_time_does_not() -> None:
    view = bare(unrecorded=(Unrecorded(4 * MINUTE + 10_000, 4 * MINUTE + 30_000, "x"),))
    assert len(points(view, Line(1, 1, (5,) * 10))) == 10


def test_a_gap_with_instants_in_it_needs_no_more() -> None:
    view = bare(unrecorded=(Unrecorded(3 * MINUTE - 1, 5 * MINUTE, "x"),))
    assert len(points(view, view.lines[0])) == 10


async def test_the_layers_hold_what_the_view_holds() -> None:
    view = await a_view()
    spec = chart(view)
    text = msgspec.json.encode(spec).decode()
    bands = spec["layer"][0]["data"]["values"]
    assert [(band["start"], band["end"]) for band in bands] == [
        (gap.start, gap.end) for gap in view.unrecorded
    ]
    assert len(bands) == 2
    assert spec["layer"][0]["mark"]["strokeWidth"] >= 2, "a short gap is as wide as this"
    lines = [layer for layer in spec["layer"] if layer["mark"]["type"] == "line"]
    assert len(lines) == 1
    rows = lines[0]["data"]["values"]
    assert any(row["online"] is None for row in rows)
    assert {row["empire"] for row in rows} == {"VS", "NC", "TR", "NSO"}
    bars = [layer for layer in spec["layer"] if layer["mark"].get("cornerRadius")]
    assert sum(len(layer["data"]["values"]) for layer in bars) == len(view.alerts) > 5
    diamonds = [layer for layer in spec["layer"] if layer["mark"].get("shape") == "diamond"]
    assert sum(len(layer["data"]["values"]) for layer in diamonds) == len(view.locks) > 2
    assert "Wainwright: people online" in text
    assert "Europe/Berlin" in text


async def test_earlier_lines_lie_below_and_are_dashed() -> None:
    spec = chart(await a_view("day", DAY))
    lines = [layer for layer in spec["layer"] if layer["mark"]["type"] == "line"]
    assert [layer["data"]["values"][0]["period"] for layer in lines] == ["1 day earlier", "now"]
    assert lines[0]["encoding"]["strokeDash"]["scale"] == {
        "domain": ["now", "1 day earlier"],
        "range": [[1, 0], [6, 3]],
    }
    assert lines[0]["mark"]["opacity"] < lines[1]["mark"]["opacity"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_empires_differ_in_lightness_too(theme: str) -> None:
    """For eyes that don't tell hues apart: CIE L* of the three great ones, 0 to 100, is never closer than 8."""

    def lightness(colour: str) -> float:
        red, green, blue = (float(int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5))
        return float(116 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) ** (1 / 3) - 16)

    colours = THEMES[theme].factions
    values = sorted(lightness(colours[faction]) for faction in (1, 2, 3))
    assert min(lighter - darker for darker, lighter in pairwise(values)) >= 8
    assert len(set(colours.values())) == len(colours)


async def test_vega_draws_it_with_the_line_broken() -> None:
    vl_convert = pytest.importorskip("vl_convert", reason="pictures need the charts extra")
    view = await a_view()
    svg = vl_convert.vegalite_to_svg(chart(view))
    paths = re.findall(r'aria-label="[^"]*empire: VS[^"]*"[^>]*d="([^"]*)"', svg)
    assert paths, "the line of VS is there"
    assert max(path.count("M") for path in paths) >= 3, "two gaps make three pieces"
    assert "Wainwright" in svg
    assert "http" not in svg.replace("http://www.w3.org/", "")
    png = vl_convert.vegalite_to_png(charts([view, view]))
    assert png.startswith(b"\x89PNG")


async def test_vega_draws_a_gap_shorter_than_a_bucket() -> None:
    """Three minutes in the middle of a bucket of thirty, in two weeks: a band of full height, its mark, and a broken line."""
    vl_convert = pytest.importorskip("vl_convert", reason="pictures need the charts extra")
    start = END - 5 * DAY + 13 * MINUTE
    reader = fortnight(END, worlds=(10,), days=14, people=5, gaps=((END - start, 3 * MINUTE),))
    query = PopulationQuery(start=END - 14 * DAY, end=END, step=30 * MINUTE, worlds=(10,))
    view = await world_view(reader, query, lines="empires", by=None, back=1, zone=BERLIN, now=END)
    assert [(gap.start, gap.end) for gap in view.unrecorded] == [(start, start + 3 * MINUTE)]
    assert None not in view.lines[0].online, "no instant lies in it"
    svg = vl_convert.vegalite_to_svg(chart(view, width=1000, height=300))
    outline = THEMES["light"].mark
    (band,) = re.findall(rf'<path[^>]*d="M([^"]*)"[^>]*stroke="{outline}"[^>]*>', svg)
    x, top = (float(number) for number in re.split("[, h]", band)[:2])
    assert x == pytest.approx(1000 * (start - query.start) / (14 * DAY), abs=0.1)
    assert top == 0
    assert "v300" in band
    (mark,) = re.findall(rf'<path[^>]*transform="translate\(([0-9.]+),0\)"[^>]*fill="{outline}"', svg)
    assert float(mark) == pytest.approx(x, abs=0.2)
    (path,) = re.findall(r'aria-label="[^"]*empire: VS[^"]*"[^>]*d="([^"]*)"', svg)[:1]
    assert path.count("M") == 2


def test_a_name_can_neither_be_markup_nor_an_expression() -> None:
    """Only dates are labels of an axis, and those are made here; a gap's reason and an alert's name are data."""
    view = bare(unrecorded=(Unrecorded(0, MINUTE, "<img src=x onerror=alert(1)>"),))
    spec = chart(view)
    expressions = [
        value for value in _values(spec) if isinstance(value, str) and ("datum" in value or "expr" in value)
    ]
    assert expressions == [spec["layer"][0]["encoding"]["x"]["axis"]["labelExpr"]]
    assert "onerror" not in expressions[0]


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _values(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _values(each)]
    return [value]


@pytest.mark.parametrize(
    "length", [5 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 365 * DAY]
)
def test_ticks_are_few_and_round(length: Ms) -> None:
    ticks = time_ticks(END - length, END, BERLIN)
    assert 3 <= len(ticks) <= MOST_TICKS + 1
    for at, label in ticks:
        assert END - length <= at < END
        wall = from_ms(at).astimezone(BERLIN)
        assert wall.second == 0
        if length > DAY:
            assert (wall.hour * 60 + wall.minute) % 60 == 0
        if wall.hour == wall.minute == 0:
            assert label == f"{wall:%a} {wall.day} {wall:%b}"
        else:
            assert label == f"{wall:%H:%M}"


def test_ticks_across_the_change_of_the_clock() -> None:
    spring = parse_iso("2026-03-28T23:00:00Z")  # midnight in Berlin
    labels = [label for _, label in time_ticks(spring, spring + 6 * HOUR, BERLIN)]
    assert labels[:3] == ["Sun 29 Mar", "00:30", "01:00"]
    assert "02:00" not in labels
    assert labels[4] == "03:00"
    autumn = parse_iso("2026-10-24T22:00:00Z")
    hours = [at for at, label in time_ticks(autumn, autumn + 25 * HOUR, BERLIN) if label == "04:00"]
    assert from_ms(hours[0]) == from_ms(autumn) + timedelta(hours=5)


def test_the_axis_names_each_tick() -> None:
    axis = time_axis(END - DAY, END, BERLIN)
    names = msgspec.json.decode(axis["labelExpr"].removesuffix("[datum.value]"))
    assert [str(value) for value in axis["values"]] == list(names)


@pytest.mark.parametrize("top", [4, 7, 10, 33, 99.9, 1234, 56789])
def test_round_numbers(top: float) -> None:
    numbers = round_numbers(top)
    assert numbers[0] == 0
    assert 3 <= len(numbers) <= MOST_NUMBERS + 1
    assert numbers[-1] <= top
    assert str(numbers[1]).rstrip("0") in ("1", "2", "5")
