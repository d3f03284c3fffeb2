"""Charts of how it goes on over weeks and months, as Vega-Lite specs (see `charts`): week by week, a calendar, and the week hour by hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, tzinfo
from typing import Any, Final, Literal

from ps2daemon.analysis.rhythm import Rhythm
from ps2daemon.analysis.trend import LEAST_SHARE, Trend, Week, by_world, recorded_share
from ps2daemon.analysis.view import ALL, faction_label
from ps2daemon.model import tables
from ps2daemon.model.notes import Note
from ps2daemon.model.times import from_ms
from ps2daemon.web.gaps import gap_mark
from ps2daemon.web.note_marks import Marked, note_layers
from ps2daemon.web.specs import (
    SCHEMA,
    SIGNED,
    THEMES,
    Spec,
    Theme,
    ThemeName,
    config_of,
    stacked,
    window_text,
)

Width = int | Literal["container"]
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHADES: Final[dict[str, tuple[str, str]]] = {"light": ("#e9edfb", "#1d3fb3"), "dark": ("#1d2333", "#9db4ff")}
"""Few and many people: one hue, told apart by its lightness alone."""
LESS_MORE: Final[dict[str, tuple[str, str, str]]] = {
    "light": ("#b25e00", "#f1f1f1", "#1d3fb3"),
    "dark": ("#ffb454", "#23262e", "#7c9cff"),
}
"""Fewer, as many, more than before: orange and blue stay apart for the colour-blind."""
CELL: Final = 18
FILE_WIDTH: Final = 1000
FILE_HEIGHT: Final = 260
"""Pixels of a file's plot."""


def weeks_chart(
    trends: Sequence[Trend],
    zone: tzinfo,
    *,
    notes: Sequence[Note] = (),
    theme: ThemeName = "light",
    width: Width = 460,
    height: int = 200,
    title: bool = False,
) -> Spec:
    """The means of one world's series, a point a week; weeks of which little was recorded are hollow, and those of which nothing was, striped.

    Args:
        notes: each is shown at its week.
        title: with the world, the weeks and what the series of all together says, for a file.
    """
    colours = THEMES[theme]
    rows = [
        {
            "week": from_ms(week.start).astimezone(zone).strftime("%d %b"),
            "order": number,
            "people": week.mean,
            "empire": faction_label(each.faction_id),
            "whole": week.share >= LEAST_SHARE,
        }
        for each in trends
        for number, week in enumerate(each.weeks)
    ]
    empires = list(dict.fromkeys(faction_label(each.faction_id) for each in trends))
    colour = {
        "field": "empire",
        "type": "nominal",
        "scale": {"domain": empires, "range": [colours.factions[each.faction_id] for each in trends]},
        "legend": {"title": None, "symbolType": "stroke", "symbolStrokeWidth": 3},
    }
    weeks = list(dict.fromkeys(str(row["week"]) for row in rows))
    x = {
        "field": "week",
        "type": "ordinal",
        "sort": weeks,
        "axis": {"title": "week from", "labelAngle": 0, "labelOverlap": "greedy"},
    }
    y = {"field": "people", "type": "quantitative", "axis": {"title": "people on average", "format": ",d"}}
    layers: list[Spec] = [
        *_silent_weeks(rows, x, colours, height),
        *note_layers(_marked(notes, trends[0].weeks, weeks), x, colours, height),
        {
            "mark": {"type": "line", "strokeWidth": 1.8},
            "encoding": {"x": x, "y": y, "color": colour},
        },
        {
            "mark": {"type": "point", "size": 40, "opacity": 1, "strokeWidth": 1.5},
            "encoding": {
                "x": x,
                "y": y,
                "color": colour,
                "fill": {
                    "condition": {
                        "test": "datum.whole",
                        "field": "empire",
                        "type": "nominal",
                        "legend": None,
                        "scale": colour["scale"],
                    },
                    "value": colours.background,
                },
            },
        },
    ]
    body: Spec = {"data": {"values": rows}, "height": height, "layer": layers}
    return _spec(colours, width, {"title": _title(trends, zone), **body} if title else body)


def _marked(notes: Sequence[Note], weeks: Sequence[Week], labels: Sequence[str]) -> list[Marked]:
    return [
        Marked(label, note.text, 2 * number >= len(weeks))
        for number, (week, label) in enumerate(zip(weeks, labels, strict=True))
        for note in notes
        if week.start <= note.at < week.end
    ]


def _silent_weeks(rows: Sequence[dict[str, Any]], x: Spec, colours: Theme, height: int) -> list[Spec]:
    """A striped band for each week of which nothing was recorded."""
    silent = list(dict.fromkeys(row["week"] for row in rows if row["people"] is None))
    if not silent:
        return []
    x["scale"] = {"type": "band"}
    values = [{"week": week} for week in silent]
    return [{"data": {"values": values}, "mark": gap_mark(colours, height), "encoding": {"x": x}}]


def _title(trends: Sequence[Trend], zone: tzinfo) -> Spec:
    weeks, last = trends[0].weeks, trends[-1]
    window = window_text(weeks[0].start, weeks[-1].end, zone)
    who = "all together" if last.faction_id == ALL else faction_label(last.faction_id)
    slope = (
        last.verdict
        if last.per_week is None
        else f"{last.verdict}, {last.per_week:+.1f} people a week (95 %: {last.low:+.1f} to {last.high:+.1f})"
    )
    keys = [f"{who}: {slope}".capitalize() if last.faction_id == ALL else f"{who}: {slope}"]
    if any(0 < week.share < LEAST_SHARE for week in weeks):
        keys.append(f"Hollow: less than {LEAST_SHARE:.0%} of the week was recorded, so it does not count")
    if any(week.mean is None for week in weeks):
        keys.append("Striped: nothing was recorded")
    count = f"{len(weeks)} week{'' if len(weeks) == 1 else 's'}"
    return {
        "text": f"{tables.world_name(trends[0].world_id)}: people online on average, week by week",
        "subtitle": [f"{count}, {window}; {recorded_share(weeks):.1%} of it recorded", ". ".join(keys)],
    }


def calendar_chart(found: Rhythm, *, theme: ThemeName = "light", width: Width = 460) -> Spec:
    """A cell a day, a column a week: the more people on average, the stronger; days of which nothing was recorded have a dot."""
    colours = THEMES[theme]
    rows: list[dict[str, Any]] = [
        {
            "week": (day.date - timedelta(days=day.date.weekday())).isoformat(),
            "day": WEEKDAYS[day.date.weekday()],
            "date": f"{day.date:%a} {day.date.day} {day.date:%b %Y}",
            "mean": day.mean,
            "peak": day.peak,
            "share": round(100 * day.share, 1),
        }
        for day in found.days
    ]
    return _cells(rows, "week", "mean", colours, theme, width, "people on average", "%d %b")


def hours_chart(found: Rhythm, *, theme: ThemeName = "light", width: Width = 460) -> Spec:
    """A cell an hour of the week: the more people on average, the stronger."""
    rows = [
        {"hour": each.hour, "day": WEEKDAYS[each.weekday], "mean": each.mean, "before": each.before}
        for each in found.hours
    ]
    return _cells(rows, "hour", "mean", THEMES[theme], theme, width, "people on average", None)


def change_chart(found: Rhythm, *, theme: ThemeName = "light", width: Width = 460) -> Spec:
    """A cell an hour of the week: people more or fewer than in the weeks before."""
    rows = [
        {
            "hour": each.hour,
            "day": WEEKDAYS[each.weekday],
            "change": None if each.mean is None or each.before is None else each.mean - each.before,
            "mean": each.mean,
            "before": each.before,
        }
        for each in found.hours
    ]
    return _cells(rows, "hour", "change", THEMES[theme], theme, width, "more than before", None)


def _cells(
    rows: Sequence[dict[str, Any]],
    across: str,
    value: str,
    colours: Theme,
    theme: ThemeName,
    width: Width,
    title: str,
    time_format: str | None,
) -> Spec:
    known = [row[value] for row in rows if row[value] is not None]
    scale: Spec = {"range": list(SHADES[theme])}
    if value == "change":
        most = max((abs(each) for each in known), default=1.0) or 1.0
        scale = {"range": list(LESS_MORE[theme]), "domain": [-most, 0, most]}
    axis: Spec = {"title": None, "labelAngle": 0, "labelOverlap": "greedy", "domain": False, "ticks": False}
    if time_format is not None:
        axis["labelExpr"] = f"timeFormat(toDate(datum.value + 'T00:00'), '{time_format}')"
    x = {"field": across, "type": "ordinal", "axis": axis}
    y = {
        "field": "day",
        "type": "ordinal",
        "sort": list(WEEKDAYS),
        "axis": {"title": None, "domain": False, "ticks": False},
    }
    layers: list[Spec] = [
        {
            "transform": [{"filter": f"datum.{value} !== null"}],
            "mark": {"type": "rect", "cornerRadius": 2, "stroke": colours.background, "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": value,
                    "type": "quantitative",
                    "scale": scale,
                    "legend": {
                        "title": title,
                        "orient": "right",
                        "gradientLength": 7 * CELL - 20,
                        **(SIGNED if value == "change" else {"format": ",d"}),
                    },
                },
            },
        },
        {
            "transform": [{"filter": f"datum.{value} === null"}],
            "mark": {"type": "point", "filled": True, "opacity": 0.8, "color": colours.mark, "size": 8},
            "encoding": {"x": x, "y": y},
        },
    ]
    return _spec(colours, width, {"data": {"values": list(rows)}, "height": 7 * CELL, "layer": layers})


def _spec(colours: Theme, width: Width, body: Spec) -> Spec:
    return {
        "$schema": SCHEMA,
        "width": width,
        "background": "transparent" if width == "container" else colours.background,
        "autosize": {"type": "fit-x" if width == "container" else "pad", "contains": "padding"},
        "padding": 2 if width == "container" else 12,
        "config": config_of(colours),
        **body,
    }


def trend_picture(
    trends: Sequence[Trend], zone: tzinfo, *, notes: Sequence[Note] = (), theme: ThemeName = "light"
) -> Spec:
    """The weeks of all worlds, one below the other, for a file; each with the notes that concern it."""
    return stacked(
        [
            weeks_chart(
                each,
                zone,
                notes=[note for note in notes if note.concerns([each[0].world_id])],
                theme=theme,
                width=FILE_WIDTH,
                height=FILE_HEIGHT,
                title=True,
            )
            for each in by_world(trends)
        ]
    )
