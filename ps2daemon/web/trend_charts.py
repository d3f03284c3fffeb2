"""How it goes on over weeks and months, as Vega-Lite specs (see `charts`): week by week, and for a file with the calendar and the hours of `cell_charts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final

from ps2daemon.analysis.rhythm import Glance, Shown
from ps2daemon.analysis.trend import LEAST_SHARE, Trend, Week, recorded_share
from ps2daemon.analysis.view import ALL, faction_label
from ps2daemon.model import tables
from ps2daemon.model.notes import Note
from ps2daemon.model.times import from_ms
from ps2daemon.web.cell_charts import calendar_chart, change_chart, hours_chart
from ps2daemon.web.gaps import gap_mark
from ps2daemon.web.note_marks import Marked, note_layers
from ps2daemon.web.specs import (
    THEMES,
    Spec,
    Theme,
    ThemeName,
    Width,
    framed,
    panel_title,
    stacked,
    window_text,
)

PANEL: Final = 540
PANEL_HEIGHT: Final = 150
"""Pixels of a plot in a file, of which two are side by side."""


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
        title: with one, for a file.
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
        "axis": {"title": "week from", "labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 8},
    }
    y = {
        "field": "people",
        "type": "quantitative",
        "axis": {"title": "people on average", "format": ",d", "tickMinStep": 1},
    }
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
    return framed(colours, width, {"title": panel_title("Week by week"), **body} if title else body)


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
    """The world, the weeks, and what the series of all together says."""
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
        "text": f"{tables.world_name(trends[0].world_id)}: people online",
        "subtitle": [f"{count}, {window}; {recorded_share(weeks):.1%} of it recorded", ". ".join(keys)],
        "offset": 14,
    }


def trend_picture(
    found: Sequence[Glance],
    zone: tzinfo,
    *,
    notes: Sequence[Note] = (),
    days: Shown = "mean",
    theme: ThemeName = "light",
) -> Spec:
    """All worlds, one below the other, for a file: the charts that the page has of each, with the notes that concern it.

    Args:
        days: what the calendar shows.
    """
    return stacked(
        [
            _world(
                each,
                zone,
                [note for note in notes if note.concerns([each.rhythm.world_id])],
                days,
                theme=theme,
            )
            for each in found
        ]
    )


def _world(found: Glance, zone: tzinfo, notes: Sequence[Note], days: Shown, *, theme: ThemeName) -> Spec:
    trends, rhythm = found
    panels = [
        weeks_chart(trends, zone, notes=notes, theme=theme, width=PANEL, height=PANEL_HEIGHT, title=True),
        calendar_chart(rhythm, by=days, theme=theme, width=PANEL, title=True),
        hours_chart(rhythm, theme=theme, width=PANEL, title=True),
    ]
    if rhythm.compared:
        panels.append(change_chart(rhythm, theme=theme, width=PANEL, title=True))
    return stacked(panels, columns=2, title=_title(trends, zone))
