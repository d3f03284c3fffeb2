"""Charts that are made for files: gaps are in each of them as gaps."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ps2daemon.analysis.alerts import alert_views
from ps2daemon.analysis.overview import overview
from ps2daemon.analysis.rhythm import Day, Rhythm, glances
from ps2daemon.analysis.trend import TrendQuery, trends
from ps2daemon.analysis.view import faction_label, unrecorded
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR, MINUTE
from ps2daemon.model.times import from_ms, parse_iso
from ps2daemon.web.alert_charts import alerts_chart
from ps2daemon.web.cell_charts import calendar_chart
from ps2daemon.web.coverage_charts import coverage_chart
from ps2daemon.web.now_charts import overview_chart
from ps2daemon.web.specs import stacked
from ps2daemon.web.trend_charts import trend_picture, weeks_chart
from tests.memory_reader import MemoryReader
from tests.pages import two_weeks
from tests.synthetic import fortnight

END = parse_iso("2026-03-15T18:00:00Z")
UTC = ZoneInfo("UTC")
GAPS = ((30 * HOUR, 3 * HOUR), (8 * HOUR, 3 * MINUTE))
READER = fortnight(END, worlds=(1, 10), days=3, people=20, gaps=GAPS)
SPANS = {world: [span for span in READER.stored_spans if span.world_id == world] for world in (1, 10)}


def bands(spec: dict[str, Any]) -> list[tuple[int, int]]:
    """The striped ones."""
    return [
        (row["start"], row["end"])
        for layer in spec["layer"]
        if isinstance(layer["mark"].get("fill"), dict)
        for row in layer["data"]["values"]
    ]


def test_a_timeline_is_recorded_or_striped_and_neither_after_now() -> None:
    start, end, now = END - 4 * DAY, END + DAY, END + HOUR
    spec = coverage_chart(SPANS, start, end, UTC, now)
    bars = [
        (row["start"], row["end"])
        for layer in spec["layer"]
        if layer["mark"] == {"type": "rect", "color": layer["mark"].get("color")}
        for row in layer["data"]["values"]
    ]
    assert len(bars) == 2 * 3
    assert len(bands(spec)) == 2 * 4
    for place in (0, 1):
        whole = sorted(bars[3 * place : 3 * place + 3] + bands(spec)[4 * place : 4 * place + 4])
        assert (whole[0][0], whole[-1][1]) == (start, now)
        assert all(before[1] == after[0] for before, after in pairwise(whole))


def test_what_is_written_below_a_timeline_does_not_overlap() -> None:
    spans = [span for span in SPANS[10] if span.end - span.start > 0]
    spec = coverage_chart({10: spans}, END - 2 * DAY, END, UTC, END, width=1000)
    (labels,) = (
        layer["data"]["values"]
        for layer in spec["layer"]
        if layer["mark"]["type"] == "text" and "field" in layer["encoding"]["x"]
    )
    assert [row["text"] for row in labels] == [
        "the connection was lost, 3 h",
        "the connection was lost, 3 min",
    ]
    narrow = coverage_chart({10: spans}, END - 2 * DAY, END, UTC, END, width=240)
    (labels,) = (
        layer["data"]["values"]
        for layer in narrow["layer"]
        if layer["mark"]["type"] == "text" and "field" in layer["encoding"]["x"]
    )
    assert [row["text"] for row in labels] == ["the connection was lost, 3 h", "3 min"]


async def test_an_alert_is_drawn_with_the_gaps_around_it() -> None:
    views = await alert_views(READER, END - 3 * DAY, END, (10,), END)
    spec = alerts_chart(views, {10: SPANS[10]}, END - 3 * DAY, END, UTC, END)
    assert len(spec["concat"]) == 12
    found = [bands(panel) for panel in spec["concat"]]
    assert any(found)
    for view, drawn in zip(views[-12:], found, strict=True):
        behind = view.from_ + len(view.around) * 5 * MINUTE
        assert drawn == [(gap.start, gap.end) for gap in unrecorded(SPANS[10], view.from_, min(behind, END))]


async def test_an_alert_says_what_was_not_seen_of_it() -> None:
    whole, *_ = await alert_views(READER, END - 3 * DAY, END, (10,), END)
    changed = (
        replace(whole.alert, start=None, winner=3, lock_id=None, canceled=False),
        replace(whole.alert, winner=None, lock_id=None, canceled=False),
        replace(whole.alert, end=None),
    )
    views = [replace(whole, alert=each) for each in changed]
    views.append(replace(views[-1], running=True))
    spec = alerts_chart(views, SPANS, END - 3 * DAY, END, UTC, END)
    told = [panel["title"]["subtitle"][1] for panel in spec["concat"]]
    assert told[0] == "start not seen, won by TR"
    assert told[1].endswith("min, winner not known")
    assert told[2:] == ["its end was not seen", "no end seen yet"]


def texts(spec: Any) -> list[str]:
    """Everything that is written in a title or a label."""
    if isinstance(spec, list):
        return [text for each in spec for text in texts(each)]
    if isinstance(spec, dict):
        return [text for each in spec.values() for text in texts(each)]
    return [spec] if isinstance(spec, str) else []


async def test_now_is_every_world_by_empire_with_its_day_and_its_gaps() -> None:
    late = [
        replace(span, end=min(span.end, END - HOUR)) if span.world_id == 1 else span
        for span in READER.stored_spans
    ]
    found = await overview(MemoryReader(READER.sessions, late), [1, 10], UTC, END + MINUTE)
    spec = overview_chart(found, UTC, END + MINUTE)
    bars, days = spec["concat"][::2], spec["concat"][1::2]
    # The one that is not up to date comes last, and none is left to be added up.
    shown = [found.worlds[1], found.worlds[0]]
    for world, bar, day in zip(shown, bars, days, strict=True):
        assert {row["empire"]: row["people"] for row in bar["data"]["values"]} == {
            faction_label(faction): people for faction, people in world.online.items()
        }
        changes = {row["empire"]: row["changes"] for row in bar["data"]["values"]}
        then = world.ago[0].online
        assert then
        for faction, people in world.online.items():
            change = people - then[faction]
            assert changes[faction_label(faction)] == f"day {change:+}".replace("-", "−").replace("+0", "±0")
        assert bands(day) == [(gap.start, gap.end) for gap in world.gaps] != []
        assert f"{world.people} online" in bar["title"]["text"]
    assert "not up to date: 2026-03-15 16:59" in bars[1]["title"]["text"]
    assert "the connection was lost" in spec["title"]["subtitle"][1]
    both = overview_chart(await overview(READER, [1, 10], UTC, END + MINUTE), UTC, END + MINUTE)
    assert len(both["concat"]) == 6
    assert both["concat"][0]["title"]["text"].startswith("2 worlds together: ")
    assert not [text for text in texts(both) if "nan" in text.lower() or "None" in text]


async def test_a_week_without_a_recording_is_striped() -> None:
    query = TrendQuery(end=END + DAY, weeks=3, worlds=(10,), zone=UTC)
    found = await trends(READER, query)
    layer = weeks_chart(found, UTC, title=True)["layer"][0]
    assert isinstance(layer["mark"]["fill"], dict)
    assert [row["week"] for row in layer["data"]["values"]] == ["23 Feb", "02 Mar"]
    whole = weeks_chart(await trends(READER, TrendQuery(end=END + DAY, weeks=1, worlds=(10,), zone=UTC)), UTC)
    assert [layer["mark"]["type"] for layer in whole["layer"]] == ["line", "point"]


def test_one_chart_alone_is_not_stacked() -> None:
    one = coverage_chart(SPANS, END - DAY, END, UTC, END)
    assert stacked([one]) is one
    two = stacked([one, one], columns=2)
    assert (two["columns"], len(two["concat"])) == (2, 2)
    assert "config" in two
    assert all("config" not in each and "$schema" not in each for each in two["concat"])


async def test_notes_are_at_their_week_in_the_charts_of_their_worlds() -> None:
    query = TrendQuery(end=END + DAY, weeks=2, worlds=(1, 10), zone=UTC)
    found = await glances(READER, query)
    (first, second), end = found[0].trends[0].weeks, found[0].trends[0].weeks[-1].end
    notes = [
        make_note(first.start, (), "everywhere"),
        make_note(second.start, (10,), "here"),
        make_note(end - 1, (1,), "elsewhere"),
        make_note(end, (), "later"),
    ]
    shown = [
        {
            row["text"]: row["week"]
            for layer in world["concat"][0]["layer"]
            if layer["mark"]["type"] == "text"
            for row in layer["data"]["values"]
        }
        for world in trend_picture(found, UTC, notes=notes)["concat"]
    ]
    weeks = [f"{from_ms(week.start):%d %b}" for week in (first, second)]
    assert shown == [
        {"everywhere": weeks[0], "elsewhere": weeks[1]},
        {"everywhere": weeks[0], "here": weeks[1]},
    ]


async def test_a_picture_of_trends_has_the_charts_of_the_page() -> None:
    """Of two weeks nothing is recorded before; of one that begins in the middle of two that are recorded, there is."""
    whole = TrendQuery(end=END + DAY, weeks=2, worlds=(1, 10), zone=UTC)
    worlds = trend_picture(await glances(READER, whole), UTC)["concat"]
    assert [world["title"]["text"] for world in worlds] == [
        "Osprey: people online",
        "Wainwright: people online",
    ]
    assert {tuple(chart["title"]["text"] for chart in world["concat"]) for world in worlds} == {
        ("Week by week", "Day by day, people on average", "The week hour by hour")
    }
    compared = trend_picture(await glances(two_weeks(), replace(whole, end=END, weeks=1, worlds=(10,))), UTC)
    assert compared["columns"] == 2
    assert [chart["title"]["text"] for chart in compared["concat"]][3:] == ["Against as many weeks before"]
    assert "config" in compared


def test_a_calendar_shows_the_mean_or_the_peak_and_crosses_out_parts_of_days() -> None:
    shares = (1.0, 0.9, 0.899, 0.01, 0.0)
    days = tuple(
        Day(date(2026, 3, 2 + number), 10.0 if share else None, 20 if share else None, share)
        for number, share in enumerate(shares)
    )
    found = Rhythm(10, 1, days, ())
    mean, peak = calendar_chart(found), calendar_chart(found, by="peak", title=True)
    assert [spec["layer"][0]["encoding"]["color"]["field"] for spec in (mean, peak)] == ["mean", "peak"]
    assert "title" not in mean
    assert peak["title"]["text"] == "Day by day, people at most"
    assert peak["title"]["subtitle"] == [
        "Crossed: less than 90% of the day was recorded. Dot: nothing was recorded."
    ]
    assert [row["part"] for row in peak["data"]["values"]] == [False, False, True, True, False]
    assert [layer["mark"]["type"] for layer in peak["layer"]] == ["rect", "rule", "point"]
    whole = calendar_chart(Rhythm(10, 1, days[:2], ()), title=True)
    assert [layer["mark"]["type"] for layer in whole["layer"]] == ["rect", "point"]
    assert whole["title"]["subtitle"] == []


def test_a_part_of_a_day_makes_no_other_day_paler() -> None:
    means = ((10.0, 1.0), (14.0, 0.95), (90.0, 0.3), (None, 0.0))
    days = tuple(
        Day(date(2026, 3, 2 + number), mean, None if mean is None else 99, share)
        for number, (mean, share) in enumerate(means)
    )
    shades = calendar_chart(Rhythm(10, 1, days, ()))["layer"][0]["encoding"]["color"]["scale"]
    assert (shades["domain"], shades["clamp"]) == ([10.0, 14.0], True)
