"""Who is online now as a Vega-Lite spec (see `charts`): a row a world, its people by empire beside all of them over the last day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from ps2daemon.analysis.overview import STEP, Ago, Overview, WorldNow
from ps2daemon.analysis.view import ALL, Line, Unrecorded, View, faction_label
from ps2daemon.model import tables
from ps2daemon.model.records import Ms
from ps2daemon.model.times import clock_text
from ps2daemon.web.charts import chart
from ps2daemon.web.gaps import gaps_text
from ps2daemon.web.specs import THEMES, Spec, Theme, ThemeName, config_of, stacked

BARS: Final = 380
LINE: Final = 520
"""Pixels across of the two halves of a row."""
HEIGHT: Final = 104
ROOM: Final = 1.9
"""The longest bar is one part of this, so that what is written behind it fits."""
NAMED: Final = 8
"""Worlds whose names fit into the title; as many as run."""
_AGO: Final = {1: "a day ago", 7: "a week ago"}
_SINCE: Final = {1: "day", 7: "week"}


class _Row(NamedTuple):
    """What one row is of."""

    name: str
    world_id: int
    at: Ms
    stale: bool
    online: Mapping[int, int]
    ago: Sequence[Ago]
    line: tuple[int | None, ...]
    gaps: tuple[Unrecorded, ...]


def overview_chart(found: Overview, zone: tzinfo, now: Ms, *, theme: ThemeName = "light") -> Spec:
    """The worlds that were ever recorded, those that are not up to date last, and several that are first together.

    Args:
        found: one such world or more.
    """
    colours = THEMES[theme]
    worlds = [row for world in found.worlds if (row := _world(world)) is not None]
    worlds.sort(key=lambda row: row.stale)
    top = max(max(row.online.values(), default=0) for row in worlds)
    panels = [
        panel
        for row in worlds
        for panel in (_bars(row, top, zone, colours), _day(row, found, zone, now, theme))
    ]
    together = _together(found)
    if together is not None:
        most = max(together.online.values(), default=0)
        panels = [
            _bars(together, most, zone, colours),
            _day(together, found, zone, now, theme),
            *panels,
        ]
    names = ", ".join(row.name for row in worlds) if len(worlds) <= NAMED else f"{len(worlds)} worlds"
    keys = ["Behind a bar: how many more or fewer than a day and a week ago"]
    if striped := gaps_text([gap for row in worlds for gap in row.gaps]):
        keys.append(striped)
    title: Spec = {
        "text": f"Who is online in PlanetSide 2: {names}",
        "subtitle": [f"{clock_text(worlds[0].at, zone)}, {zone}", ". ".join(keys)],
        "offset": 14,
    }
    return stacked(panels, columns=2, title=title)


def _world(world: WorldNow) -> _Row | None:
    if world.at is None:
        return None
    name, stale = tables.world_name(world.world_id), world.state != "recorded"
    return _Row(name, world.world_id, world.at, stale, world.online, world.ago, world.line, world.gaps)


def _together(found: Overview) -> _Row | None:
    number = sum(world.state == "recorded" for world in found.worlds)
    if found.at is None or number < 2:
        return None
    return _Row(
        f"{number} worlds together", 0, found.at, False, found.online, found.ago, found.line, found.gaps
    )


def _change(now: int, then: int) -> str:
    return f"{now - then:+,}".replace("-", "−") if now != then else "±0"


def _changes(row: _Row) -> str:
    """All of them against earlier, in words."""
    people = sum(row.online.values())
    told = []
    for ago in row.ago:
        if ago.people is None:
            told.append(f"not recorded {_AGO[ago.days]}")
            continue
        percent = f" ({_change(round(100 * people / ago.people), 100)} %)" if ago.people else ""
        told.append(f"{_change(people, ago.people)}{percent} against {_AGO[ago.days]}")
    return "; ".join(told)


def _empires(row: _Row, theme: Theme) -> list[dict[str, object]]:
    """Its people by empire, as the data of its bars."""
    return [
        {
            "empire": faction_label(faction),
            "people": people,
            "color": theme.factions[faction],
            "count": f"{people:,}",
            "changes": ", ".join(
                f"{_SINCE[ago.days]} {_change(people, ago.online.get(faction, 0))}"
                for ago in row.ago
                if ago.people is not None
            ),
        }
        for faction, people in row.online.items()
    ]


def _bars(row: _Row, top: int, zone: tzinfo, theme: Theme) -> Spec:
    """Its people by empire, each with its changes.

    Args:
        top: people of the longest bar of all that are compared.
    """
    values = _empires(row, theme)
    labels = [each["empire"] for each in values]
    y: Spec = {
        "field": "empire",
        "type": "nominal",
        "scale": {"domain": labels, "paddingInner": 0.25},
        "axis": {"title": None, "domain": False, "ticks": False, "labelColor": theme.ink},
    }
    x: Spec = {
        "field": "people",
        "type": "quantitative",
        "scale": {"domain": [0, max(1, top) * ROOM], "nice": False},
        "axis": None,
    }
    count: Spec = {"type": "text", "align": "left", "dx": 6, "fontWeight": "bold", "color": theme.ink}
    changes: Spec = {"type": "text", "align": "right", "fontSize": 11, "color": theme.faint}
    stale = f" then, not up to date: {clock_text(row.at, zone)}" if row.stale else ""
    return {
        "width": BARS,
        "height": HEIGHT,
        "background": theme.background,
        "padding": 12,
        "config": config_of(theme),
        "title": {
            "text": f"{row.name}: {sum(row.online.values()):,} online{stale}",
            "subtitle": _changes(row),
            "fontSize": 13,
            "frame": "group",
        },
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadius": 2},
                "encoding": {"y": y, "x": x, "color": {"field": "color", "type": "nominal", "scale": None}},
            },
            {"mark": count, "encoding": {"y": y, "x": x, "text": {"field": "count"}}},
            {
                "mark": changes,
                "encoding": {"y": y, "x": {"value": BARS - 4}, "text": {"field": "changes"}},
            },
        ],
    }


def _day(row: _Row, found: Overview, zone: tzinfo, now: Ms, theme: ThemeName) -> Spec:
    """All empires together over the last day, as the chart of a world shows it."""
    start = found.times[0]
    view = View(
        world_id=row.world_id,
        start=start,
        end=max(now, found.times[-1] + 1),
        step=STEP,
        zone=zone,
        now=now,
        by=None,
        times=found.times,
        lines=(Line(ALL, 0, row.line),),
        unit="people",
        nso="apart",
        unrecorded=row.gaps,
        alerts=(),
        locks=(),
        notes=(),
        comparisons=(),
        trends=(),
        recorded_until=None,
        share=1.0,
    )
    return {
        **chart(view, theme=theme, width=LINE, height=HEIGHT, title=False),
        "background": THEMES[theme].background,
        "padding": 12,
        "title": {"text": "The last 24 hours", "fontSize": 12, "frame": "group", "fontWeight": "normal"},
    }
