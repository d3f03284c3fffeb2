"""Charts of what events do, as Vega-Lite specs (see `charts`): how people leave around an event, and by how much more than otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from ps2daemon.analysis.effect import CURVE, Curve, Effect, Group
from ps2daemon.web.specs import SCHEMA, THEMES, Spec, Theme, ThemeName, config_of

GROUPS: Final[dict[Group, str]] = {
    "all": "everybody",
    "winner": "the winner's",
    "loser": "the losers'",
    "nso": "NSO",
}
HEIGHT: Final = 200
ROW: Final = 46
"""Pixels of a group's rows."""


def curve_chart(curve: Curve, *, theme: ThemeName = "light", width: int | Literal["container"] = 460) -> Spec:
    """People from half an hour before to an hour after an event, in percent of those at its instant; dashed as it is otherwise."""
    colours = THEMES[theme]
    rows = [
        {"minute": minute, "people": 100 * then, "low": 100 * low, "high": 100 * high, "usual": 100 * usual}
        for minute, then, low, high, usual in zip(
            CURVE, curve.events, curve.low, curve.high, curve.controls, strict=True
        )
    ]
    axis = {"title": "minutes after it", "values": list(range(-30, 61, 15)), "format": "+d"}
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


def difference_chart(
    effects: Sequence[Effect], *, theme: ThemeName = "light", width: int | Literal["container"] = 460
) -> Spec:
    """How much more of each group log off than otherwise, in percentage points with the interval; those with an interval alone.

    Args:
        effects: of one kind of event.
    """
    colours = THEMES[theme]
    rows = [
        {
            "group": GROUPS[row.group],
            "within": f"{row.minutes} min",
            "difference": 100 * row.difference,
            "low": 100 * row.low,
            "high": 100 * row.high,
        }
        for row in effects
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
        "legend": {"title": "within", "symbolType": "circle"},
    }
    axis = {
        "title": "percentage points more than otherwise",
        "format": "+.0f",
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
    return {
        "$schema": SCHEMA,
        "width": width,
        "height": height,
        "background": "transparent" if width == "container" else colours.background,
        "autosize": {"type": "fit-x" if width == "container" else "pad", "contains": "padding"},
        "padding": 2 if width == "container" else 12,
        "config": config_of(colours),
        "data": {"values": list(rows)},
        "layer": list(layers),
    }
