"""What the Vega-Lite specs of all charts have in common: colours, how they are set, one below the other, and a window in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ps2daemon.analysis.view import ALL
from ps2daemon.model.records import Ms
from ps2daemon.model.times import clock_text

Spec: TypeAlias = dict[str, Any]
ThemeName: TypeAlias = Literal["light", "dark"]
Width: TypeAlias = int | Literal["container"]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
SIGNED: Final[Spec] = {"format": "+,d", "labelExpr": "datum.value ? datum.label : '0'"}
"""Whole numbers of an axis or a legend with their sign, which nothing has none of."""


class Theme(msgspec.Struct, frozen=True):
    """Colours. Those of the empires differ in lightness too, so that they stay apart for the colour-blind and in print."""

    background: str
    ink: str
    faint: str
    grid: str
    gap: str
    stripe: str
    mark: str
    neutral: str
    factions: dict[int, str]


THEMES: Final[dict[str, Theme]] = {
    "light": Theme(
        background="#ffffff",
        ink="#1f2430",
        faint="#667085",
        grid="#e6e8ee",
        gap="#eceef2",
        stripe="#c9ced8",
        mark="#b25e00",
        neutral="#c08a2d",
        factions={ALL: "#1f2430", 0: "#a08a3c", 1: "#6a2bb8", 2: "#2191f0", 3: "#d4213d", 4: "#8a919e"},
    ),
    "dark": Theme(
        background="#171a21",
        ink="#e7e9ee",
        faint="#98a1b2",
        grid="#2a2f3a",
        gap="#20242d",
        stripe="#3d4452",
        mark="#ffb454",
        neutral="#c9a14a",
        factions={ALL: "#e7e9ee", 0: "#cbb86a", 1: "#9a5cf0", 2: "#5cc0ff", 3: "#ff6b66", 4: "#a9b0bd"},
    ),
}


def config_of(theme: Theme) -> Spec:
    """What all charts of a theme have in common."""
    return {
        "font": "system-ui, 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": theme.faint,
            "titleColor": theme.faint,
            "gridColor": theme.grid,
            "domainColor": theme.grid,
            "tickColor": theme.grid,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        "legend": {"labelColor": theme.ink, "titleColor": theme.faint, "labelFontSize": 11, "orient": "top"},
        "title": {"color": theme.ink, "subtitleColor": theme.faint, "anchor": "start", "fontSize": 15},
    }


def framed(colours: Theme, width: Width, body: Spec) -> Spec:
    """A whole chart from its body: as wide as its place on the page, or for a file, with a background and some room around it."""
    return {
        "$schema": SCHEMA,
        "width": width,
        "background": "transparent" if width == "container" else colours.background,
        "autosize": {"type": "fit-x" if width == "container" else "pad", "contains": "padding"},
        "padding": 2 if width == "container" else 12,
        "config": config_of(colours),
        **body,
    }


def panel_title(text: str, *subtitle: str) -> Spec:
    """What stands above one of several charts in a file."""
    return {"text": text, "subtitle": list(subtitle), "fontSize": 13, "frame": "group"}


def stacked(specs: Sequence[Spec], *, columns: int = 1, title: Spec | None = None) -> Spec:
    """Whole charts as one, for a file: one below the other, or in rows of so many.

    Args:
        specs: one or more, of one theme; each keeps its scales.
        title: above all of them.
    """
    if len(specs) == 1 and title is None:
        return specs[0]
    whole = ("$schema", "background", "padding", "config")
    within = (*whole, "autosize")
    return {
        **{key: value for key, value in specs[0].items() if key in whole},
        **({} if title is None else {"title": title}),
        "concat": [{key: value for key, value in one.items() if key not in within} for one in specs],
        "columns": columns,
        "resolve": {"scale": {"x": "independent", "y": "independent", "color": "independent"}},
        "spacing": 28,
    }


def window_text(start: Ms, end: Ms, zone: tzinfo) -> str:
    """A window by the clock on the wall, and whose clock it is."""
    return f"{clock_text(start, zone)} to {clock_text(end, zone)}, {zone}"
