"""Charts of cells, as Vega-Lite specs (see `charts`): a calendar, and the week hour by hour, also against the weeks before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from ps2daemon.analysis.rhythm import WHOLE_DAY, Day, Rhythm, Shown
from ps2daemon.web.specs import SIGNED, THEMES, Spec, Theme, ThemeName, Width, framed, panel_title

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHADES: Final[dict[str, tuple[str, str]]] = {"light": ("#e9edfb", "#1d3fb3"), "dark": ("#1d2333", "#9db4ff")}
"""Few and many people: one hue, told apart by its lightness alone."""
LESS_MORE: Final[dict[str, tuple[str, str, str]]] = {
    "light": ("#b25e00", "#f1f1f1", "#1d3fb3"),
    "dark": ("#ffb454", "#23262e", "#7c9cff"),
}
"""Fewer, as many, more than before: orange and blue stay apart for the colour-blind."""
CELL: Final = 18


def calendar_chart(
    found: Rhythm,
    *,
    by: Shown = "mean",
    theme: ThemeName = "light",
    width: Width = 460,
    title: bool = False,
) -> Spec:
    """A cell a day, a column a week: the more people, the stronger; days that are not wholly recorded have a line through them, and those of which nothing is, a dot.

    Args:
        by: people on average, or at most.
        title: with one, for a file.
    """
    rows: list[dict[str, Any]] = [
        {
            "week": (day.date - timedelta(days=day.date.weekday())).isoformat(),
            "day": WEEKDAYS[day.date.weekday()],
            "date": f"{day.date:%a} {day.date.day} {day.date:%b %Y}",
            "mean": day.mean,
            "peak": day.peak,
            "share": round(100 * day.share, 1),
            "part": _is_part(day),
        }
        for day in found.days
    ]
    said = "people on average" if by == "mean" else "people at most"
    body = _cells(rows, "week", by, theme, said, "%d %b")
    if any(row["part"] for row in rows):
        body["layer"].insert(1, _crossed(body["layer"][0]["encoding"], THEMES[theme]))
    heading = panel_title(f"Day by day, {said}", *filter(None, [missing(found)]))
    return framed(THEMES[theme], width, {"title": heading, **body} if title else body)


def missing(found: Rhythm) -> str:
    """What the marks of its calendar stand for; nothing if all days are wholly recorded."""
    keys = []
    if any(map(_is_part, found.days)):
        keys.append(f"Crossed: less than {WHOLE_DAY:.0%} of the day was recorded.")
    if any(day.mean is None for day in found.days):
        keys.append("Dot: nothing was recorded.")
    return " ".join(keys)


def _is_part(day: Day) -> bool:
    return 0 < day.share < WHOLE_DAY


def _crossed(encoding: Spec, colours: Theme) -> Spec:
    """A line from corner to corner of each cell of a part of a day."""
    x, y = encoding["x"], encoding["y"]
    return {
        "transform": [{"filter": "datum.part"}],
        "mark": {"type": "rule", "strokeWidth": 1.5, "color": colours.mark},
        "encoding": {
            "x": {**x, "bandPosition": 0.1},
            "x2": {"field": x["field"], "bandPosition": 0.9},
            "y": {**y, "bandPosition": 0.9},
            "y2": {"field": y["field"], "bandPosition": 0.1},
        },
    }


def hours_chart(
    found: Rhythm, *, theme: ThemeName = "light", width: Width = 460, title: bool = False
) -> Spec:
    """A cell an hour of the week: the more people on average, the stronger."""
    body = _cells(_hours(found), "hour", "mean", theme, "people on average", None)
    heading = panel_title("The week hour by hour")
    return framed(THEMES[theme], width, {"title": heading, **body} if title else body)


def change_chart(
    found: Rhythm, *, theme: ThemeName = "light", width: Width = 460, title: bool = False
) -> Spec:
    """A cell an hour of the week: people more or fewer than in the weeks before."""
    body = _cells(_hours(found), "hour", "change", theme, "more than before", None)
    heading = panel_title("Against as many weeks before")
    return framed(THEMES[theme], width, {"title": heading, **body} if title else body)


def _hours(found: Rhythm) -> list[dict[str, Any]]:
    return [
        {
            "hour": each.hour,
            "day": WEEKDAYS[each.weekday],
            "change": each.difference,
            "mean": each.mean,
            "before": each.before,
        }
        for each in found.hours
    ]


def _cells(
    rows: Sequence[dict[str, Any]],
    across: str,
    value: str,
    theme: ThemeName,
    legend: str,
    time_format: str | None,
) -> Spec:
    """The body of a chart of cells, a row for each weekday."""
    colours = THEMES[theme]
    axis: Spec = {
        "title": None,
        "labelAngle": 0,
        "labelOverlap": "greedy",
        "labelSeparation": 4,
        "domain": False,
        "ticks": False,
    }
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
                    "scale": _shades(rows, value, theme),
                    "legend": {
                        "title": legend,
                        "titleOrient": "left",
                        "titleFontWeight": "normal",
                        "orient": "top",
                        "direction": "horizontal",
                        "gradientLength": 120,
                        "gradientThickness": 10,
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
    return {"data": {"values": list(rows)}, "height": 7 * CELL, "layer": layers}


def _shades(rows: Sequence[dict[str, Any]], value: str, theme: ThemeName) -> Spec:
    known = [row[value] for row in rows if row[value] is not None]
    if value == "change":
        most = max((abs(each) for each in known), default=1.0) or 1.0
        return {"range": list(LESS_MORE[theme]), "domain": [-most, 0, most]}
    # An evening alone has more people than any day, and would leave all others of one shade.
    whole = [row[value] for row in rows if row[value] is not None and not row.get("part")] or known
    if not whole or min(whole) == max(whole):
        return {"range": list(SHADES[theme])}
    return {"range": list(SHADES[theme]), "domain": [min(whole), max(whole)], "clamp": True}
