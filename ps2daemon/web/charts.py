"""Charts as Vega-Lite specs, plain values: one place for the page and for files.

A chart has time on x, in milliseconds since the epoch with the ticks of a time zone, and people on y. Above the lines lies a track with
one lane for each continent: alerts are bars in it and locks are diamonds, in the winner's colour. What was not recorded is a striped
band with a mark on top, at least `GAP_PIXELS` wide however short it was, and no line crosses it. A note of the operator is a dotted line with a
flag at its foot, and its text beside it where there are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from ps2daemon.analysis.view import Line, View, faction_label
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, due
from ps2daemon.model.records import DAY, Ms
from ps2daemon.web.axis import round_numbers, time_axis
from ps2daemon.web.gaps import gap_bands, gaps_text
from ps2daemon.web.note_marks import Marked, note_layers
from ps2daemon.web.specs import SCHEMA, THEMES, Spec, Theme, ThemeName, config_of, stacked, window_text

DETAILED: Final = 2 * DAY
"""Up to this length, alerts shade the whole height and locks are lines."""
LANE: Final = 8
BAR: Final = 6
"""Pixels from lane to lane, and of one bar."""
_DASHES: Final = ((6, 3), (2, 2), (9, 3, 2, 3), (1, 3))


def period_label(view: View, back: int) -> str:
    """`now`, `1 week earlier`, …"""
    if back == 0:
        return "now"
    return f"{back} {view.by}{'s' if back > 1 else ''} earlier"


def chart(
    view: View,
    *,
    theme: ThemeName = "light",
    width: int | Literal["container"] = 1000,
    height: int = 320,
    title: bool = True,
) -> Spec:
    """The chart of one world.

    Args:
        width, height: pixels of the plot; `container` fits it into the page's element.
        title: with the world's name and a legend; a page that shows these itself goes without.
    """
    spec: Spec = {
        "$schema": SCHEMA,
        "width": width,
        "height": height,
        "background": THEMES[theme].background if title else "transparent",
        "autosize": {"type": "fit-x" if width == "container" else "pad", "contains": "padding"},
        "padding": 12 if title else 2,
        "config": config_of(THEMES[theme]),
        "layer": _layers(view, THEMES[theme], height, title),
    }
    if title:
        spec["title"] = _title(view)
    return spec


def charts(
    views: Sequence[View], *, theme: ThemeName = "light", width: int = 1000, height: int = 320
) -> Spec:
    """One chart below the other, for a file."""
    return stacked([chart(view, theme=theme, width=width, height=height) for view in views])


def _title(view: View) -> Spec:
    laid = "" if view.by is None else f", over earlier {view.by}s"
    what = "people online" if view.unit == "people" else "shares of the people online"
    if view.nso == "folded":
        what += ", NSO by thirds with the others"
    shown = [
        name for name, found in (("Bars: alerts", view.alerts), ("diamonds: locks", view.locks)) if found
    ]
    marks = f"{', '.join(shown)}, in the winner's colour" if shown else ""
    keys = [text for text in (marks, gaps_text(view.unrecorded)) if text]
    return {
        "text": f"{tables.world_name(view.world_id)}: {what}{laid}",
        "subtitle": [
            f"{window_text(view.start, view.end, view.zone)}; {view.share:.1%} of it recorded",
            *([". ".join(keys)] if keys else []),
        ],
    }


def _layers(view: View, theme: Theme, height: int, legend: bool) -> list[Spec]:
    zones = lanes(view)
    track = len(zones) * LANE + (6 if zones else 2)
    x = {"type": "quantitative", "scale": {"domain": [view.start, view.end], "nice": False, "zero": False}}
    layers = [
        *gap_bands(view.unrecorded, x, theme, height),
        *_alerts(view, x, theme, zones, height),
        *_lines(view, x, theme, height, track, legend),
        *_locks(view, x, theme, zones, height),
        *note_layers(
            [Marked(note.at, note.text, 2 * note.at >= view.start + view.end) for note in view.notes],
            {**x, "field": "t"},
            theme,
            height,
        ),
    ]
    # The axis belongs to the layer that is always there and always first.
    layers[0]["encoding"]["x"] = {
        **layers[0]["encoding"]["x"],
        "axis": time_axis(view.start, view.end, view.zone),
    }
    return layers


def lanes(view: View) -> list[int | None]:
    """The zones that need a lane, in the order of the lanes; None for alerts without a zone."""
    found = {alert.zone_id for alert in view.alerts} | {lock.zone_id for lock in view.locks}
    return sorted(found, key=lambda zone: (zone is None, zone or 0))


def ends_at(alert: Alert, now: Ms) -> Ms:
    """Where an alert's bar ends: its end; until one is known, now, or when its time is up; and where only its middle was seen, the last of that."""
    if alert.end is not None:
        return alert.end
    last = alert.changes[-1].at
    return last if alert.start is None else max(last, min(now, due(alert)))


def _alerts(view: View, x: Spec, theme: Theme, zones: list[int | None], height: int) -> list[Spec]:
    layers: list[Spec] = []
    for lane, zone in enumerate(zones):
        rows = []
        for alert in view.alerts:
            start, end = alert.changes[0].at, ends_at(alert, view.now)
            start, end = max(start, view.start), min(end, view.end)
            if alert.zone_id == zone and start <= end:
                color = theme.factions.get(alert.winner or 0) if alert.winner else theme.neutral
                rows.append({"start": start, "end": end, "name": alert.name, "color": color})
        encoding = {
            "x": {**x, "field": "start"},
            "x2": {"field": "end"},
            "fill": {"field": "color", "type": "nominal", "scale": None},
        }
        if view.end - view.start <= DETAILED:
            layers.append(
                {"data": {"values": rows}, "mark": {"type": "rect", "opacity": 0.07}, "encoding": encoding}
            )
        top = lane * LANE
        layers.append(
            {
                "data": {"values": rows},
                "mark": {"type": "rect", "opacity": 0.8, "cornerRadius": 1},
                "encoding": {**encoding, "y": {"value": top}, "y2": {"value": top + BAR}},
            }
        )
        name = "" if zone is None else tables.zones()[zone].name if zone in tables.zones() else str(zone)
        layers.append(
            {
                "data": {"values": [{"name": name}]},
                "mark": {
                    "type": "text",
                    "align": "right",
                    "fontSize": 8,
                    "color": theme.faint,
                    "baseline": "middle",
                },
                "encoding": {"text": {"field": "name"}, "x": {"value": -4}, "y": {"value": top + BAR / 2}},
            }
        )
    return layers


def _locks(view: View, x: Spec, theme: Theme, zones: list[int | None], height: int) -> list[Spec]:
    layers: list[Spec] = []
    detailed = view.end - view.start <= DETAILED
    for lane, zone in enumerate(zones):
        rows = [
            {"t": lock.at, "color": theme.factions.get(lock.winner, theme.neutral)}
            for lock in view.locks
            if lock.zone_id == zone
        ]
        color = {"field": "color", "type": "nominal", "scale": None}
        encoding = {"x": {**x, "field": "t"}, "color": color}
        if detailed:
            layers.append(
                {
                    "data": {"values": rows},
                    "mark": {"type": "rule", "strokeDash": [2, 3], "opacity": 0.7},
                    "encoding": encoding,
                }
            )
        layers.append(
            {
                "data": {"values": rows},
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "filled": True,
                    "size": 55 if detailed else 30,
                    "opacity": 1,
                    "stroke": theme.background,
                    "strokeWidth": 1 if detailed else 0.5,
                },
                "encoding": {
                    "x": encoding["x"],
                    "fill": color,
                    "y": {"value": lane * LANE + BAR / 2},
                },
            }
        )
    return layers


def _lines(view: View, x: Spec, theme: Theme, height: int, track: int, legend: bool) -> list[Spec]:
    peak = max((value for line in view.lines for value in line.online if value is not None), default=0)
    top = max(4, peak * 1.04)
    title = "people online" if view.unit == "people" else "% of people online"
    y = {
        "field": "online",
        "type": "quantitative",
        # The track is room above the peak: with a shorter range instead, the other axis' grid would be too short.
        "scale": {"domain": [0, top * height / (height - track)], "nice": False},
        "axis": {"title": title, "values": round_numbers(top), "format": ",d"},
    }
    factions = list(dict.fromkeys(line.faction_id for line in view.lines))
    color: Spec = {
        "field": "empire",
        "type": "nominal",
        "scale": {
            "domain": [faction_label(faction) for faction in factions],
            "range": [theme.factions[faction] for faction in factions],
        },
        "legend": {"title": None, "symbolType": "stroke", "symbolStrokeWidth": 3} if legend else None,
    }
    backs = list(dict.fromkeys(line.back for line in view.lines))
    dash: Spec = {
        "field": "period",
        "type": "nominal",
        "scale": {
            "domain": [period_label(view, back) for back in backs],
            "range": [[1, 0] if back == 0 else list(_DASHES[(back - 1) % len(_DASHES)]) for back in backs],
        },
        "legend": {
            "title": None,
            "symbolType": "stroke",
            "symbolStrokeColor": theme.ink,
            # Each kind of dash once; it comes again with the fifth period, and a legend of 52 has no room.
            "values": [period_label(view, back) for back in backs[: 1 + len(_DASHES)]],
        }
        if len(backs) > 1
        else None,
    }
    encoding = {"x": {**x, "field": "t"}, "y": y, "color": color, "strokeDash": dash}
    # The window's own lines lie on top.
    return [_period(view, back, encoding) for back in sorted(backs, reverse=True)]


def _period(view: View, back: int, encoding: Spec) -> Spec:
    rows = [
        {
            "t": at,
            "online": value,
            "empire": faction_label(line.faction_id),
            "period": period_label(view, back),
        }
        for line in view.lines
        if line.back == back
        for at, value in points(view, line)
    ]
    mark = {
        "type": "line",
        "strokeWidth": 1.8 if back == 0 else 1.3,
        "opacity": 1 if back == 0 else max(0.3, 0.75 - 0.15 * back),
        "strokeJoin": "round",
        "clip": True,
    }
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def points(view: View, line: Line) -> list[tuple[Ms, float | None]]:
    """The line's points, broken also where a gap lies between two of its instants."""
    found: list[tuple[Ms, float | None]] = list(zip(view.times, line.online, strict=True))
    if line.back == 0:
        for gap in view.unrecorded:
            before = (gap.start - view.start) // view.step  # the last instant at or before the gap's start
            after = -((view.start - gap.end) // view.step)
            if before >= 0 and after == before + 1 and after < len(view.times):
                found.append(((gap.start + gap.end) // 2, None))
        found.sort(key=lambda point: point[0])
    return found
