"""Charts of what events do, as Vega-Lite specs (see `charts`): how people leave around an event, and by how much more than otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from ps2daemon.analysis.counting import CURVE
from ps2daemon.analysis.effect import FEWEST, Curve, Effect, Found
from ps2daemon.analysis.leaving import Answer, EffectQuery
from ps2daemon.analysis.matching import KINDS, Kind
from ps2daemon.analysis.telling import GROUPS, KIND_TITLES, count_text
from ps2daemon.model import tables
from ps2daemon.web.specs import (
    SIGNED,
    THEMES,
    Spec,
    Theme,
    ThemeName,
    framed,
    panel_title,
    stacked,
    window_text,
)

HEIGHT: Final = 200
ROW: Final = 46
"""Pixels of a group's rows."""
MOST: Final = 12
"""Kinds of events, of all and of parts, that one picture shows."""


def curve_chart(curve: Curve, *, theme: ThemeName = "light", width: int | Literal["container"] = 460) -> Spec:
    """People from half an hour before to an hour after an event, in percent of those at its instant; dashed as it is otherwise."""
    colours = THEMES[theme]
    rows = [
        {"minute": minute, "people": 100 * then, "low": 100 * low, "high": 100 * high, "usual": 100 * usual}
        for minute, then, low, high, usual in zip(
            CURVE, curve.events, curve.low, curve.high, curve.controls, strict=True
        )
    ]
    axis = {"title": "minutes after it", "values": list(range(-30, 61, 15)), **SIGNED}
    x = {"field": "minute", "type": "quantitative", "axis": axis}
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": "people, % of those at it"}}
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "opacity": 0.18, "color": colours.ink},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.5, "color": colours.faint},
            "encoding": {"x": x, "y": {**y, "field": "usual"}},
        },
        {
            "mark": {"type": "line", "strokeWidth": 2, "color": colours.ink},
            "encoding": {"x": x, "y": {**y, "field": "people"}},
        },
        _rule({"x": {"datum": 0, "type": "quantitative"}}, colours),
    ]
    return _spec(rows, layers, colours, width, HEIGHT)


def by_group(effects: Iterable[Effect]) -> list[tuple[str, Effect]]:
    """The rows of one kind of event, each with whom it is of."""
    return [(GROUPS[row.group], row) for row in effects]


def by_part(answer: Answer, kind: Kind) -> list[tuple[str, Effect]]:
    """What one kind of event does to everybody, each row with what its events have in common."""
    return [
        (name, row)
        for name, found in answer.parts.items()
        for row in found.effects
        if row.event == kind and row.group == "all" and row.n
    ]


def difference_chart(
    effects: Sequence[tuple[str, Effect]],
    *,
    theme: ThemeName = "light",
    width: int | Literal["container"] = 460,
    legend: Literal["top", "bottom"] = "top",
) -> Spec:
    """How much more log off than otherwise, in percentage points with the interval; those with an interval alone.

    Args:
        effects: of one kind of event, and what stands beside each.
    """
    colours = THEMES[theme]
    rows = [
        {
            "group": label,
            "within": f"{row.minutes} min",
            "difference": 100 * row.difference,
            "low": 100 * row.low,
            "high": 100 * row.high,
        }
        for label, row in effects
        if row.difference is not None and row.low is not None and row.high is not None
    ]
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    spans = list(dict.fromkeys(str(row["within"]) for row in rows))
    y = {"field": "group", "type": "nominal", "sort": groups, "axis": {"title": None, "labelFontSize": 12}}
    offset = {"field": "within", "type": "nominal", "sort": spans}
    colour = {
        "field": "within",
        "type": "nominal",
        "sort": spans,
        "scale": {"domain": spans, "range": [colours.faint, colours.neutral, colours.ink]},
        "legend": {"title": "within", "symbolType": "circle", "orient": legend},
    }
    axis = {
        "title": "percentage points more than otherwise",
        **SIGNED,
        "tickMinStep": 1,
        "tickCount": 8,
    }
    x = {"type": "quantitative", "axis": axis}
    layers: list[Spec] = [
        _rule({"x": {"datum": 0, "type": "quantitative"}}, colours),
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {
                "x": {**x, "field": "low"},
                "x2": {"field": "high"},
                "y": y,
                "yOffset": offset,
                "color": colour,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {"x": {**x, "field": "difference"}, "y": y, "yOffset": offset, "color": colour},
        },
    ]
    return _spec(rows, layers, colours, width, max(1, len(groups)) * ROW)


def effect_picture(query: EffectQuery, answer: Answer, *, theme: ThemeName = "light") -> Spec:
    """The curve and the differences of each kind of event, for a file: of all events, and of what they are told apart by.

    Args:
        query: what was asked, with its worlds.
        answer: with a curve at least.
    """
    names = ", ".join(tables.world_name(world) for world in query.worlds)
    rows = [
        (f"{part}: " if part else "", kind, found)
        for part, found in (("", answer.whole), *answer.parts.items())
        for kind in KINDS
        if any(curve.event == kind for curve in found.curves)
    ]
    shown = rows[:MOST]
    silent = [KIND_TITLES[kind] for kind in KINDS if not any(row[1] == kind for row in rows)]
    notes = ["Solid, with its 95 % interval: around the events. Dashed: at the same time of other weeks"]
    notes += [f"{name}: none to compare" for name in silent]
    if len(rows) > MOST:
        notes.append(f"{len(rows) - MOST} more kinds and parts are left out")
    title: Spec = {
        "text": f"Do people log off when alerts end and continents lock? {names}",
        "subtitle": [window_text(query.start, query.end, query.zone), ". ".join(notes)],
        "offset": 14,
    }
    panels = [panel for row in shown for panel in _panels(*row, theme)]
    return stacked(panels, columns=2, title=title)


def _panels(part: str, kind: Kind, found: Found, theme: ThemeName) -> tuple[Spec, Spec]:
    """The curve of one kind, with what it is of; and the differences, or in their place that there are none."""
    left_out = found.matched.left_out(kind)
    (curve,) = (curve for curve in found.curves if curve.event == kind)
    rows = [row for row in found.effects if row.event == kind]
    everybody = [row for row in rows if row.group == "all"]
    verdicts = dict.fromkeys(row.verdict for row in everybody)
    said = [
        f"{verdict} within {', '.join(str(row.minutes) for row in everybody if row.verdict == verdict)} minutes"
        for verdict in verdicts
    ]
    count = count_text(left_out).split("; ")
    left = {
        **curve_chart(curve, theme=theme),
        "title": panel_title(
            f"{part}{KIND_TITLES[kind]}", f"{curve.n:,} of {len(left_out):,} compared", *count[1:]
        ),
    }
    if all(row.low is None for row in rows):
        few = f"too few events to say: it takes {FEWEST}, on {FEWEST // 2} days"
        return left, _silent(few, THEMES[theme])
    right = {
        **difference_chart(by_group(rows), theme=theme, legend="bottom"),
        "title": panel_title("How many more log off than otherwise", f"Everybody: {'; '.join(said)}"),
    }
    return left, right


def _silent(text: str, colours: Theme) -> Spec:
    """Where a chart would have nothing to show, and why."""
    mark: Spec = {"type": "text", "text": text, "fontSize": 12, "color": colours.faint}
    return {"width": 460, "height": HEIGHT, "data": {"values": [{}]}, "mark": mark}


def _rule(encoding: Spec, colours: Theme) -> Spec:
    mark = {"type": "rule", "strokeDash": [2, 3], "color": colours.faint}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": encoding}


def _spec(
    rows: Sequence[dict[str, Any]],
    layers: Sequence[Spec],
    colours: Theme,
    width: int | Literal["container"],
    height: int,
) -> Spec:
    body = {"height": height, "data": {"values": list(rows)}, "layer": list(layers)}
    return framed(colours, width, body)
