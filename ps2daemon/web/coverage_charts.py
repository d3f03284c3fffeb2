"""What was recorded as a Vega-Lite spec (see `charts`): a timeline, one row a world, its gaps striped as in every chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from ps2daemon.analysis.population import covered_share
from ps2daemon.analysis.view import Unrecorded, unrecorded
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import Ms
from ps2daemon.model.times import length_text
from ps2daemon.web.axis import time_axis
from ps2daemon.web.gaps import gap_bands
from ps2daemon.web.specs import SCHEMA, THEMES, Spec, Theme, ThemeName, config_of, window_text

BAR: Final = 24
ROW: Final = 58
"""Pixels of a world's bar, and from world to world: a reason has room below the bar."""
LETTER: Final = 5.6
"""Pixels of a letter of a reason, at most, on average."""
_BELOW: Final = 13


class _World(NamedTuple):
    """One row: its spans in the window up to now, and the rest of that."""

    world_id: int
    recorded: list[tuple[Ms, Ms]]
    gaps: Sequence[Unrecorded]
    share: float


def coverage_chart(
    spans: Mapping[int, Sequence[Span]],
    start: Ms,
    end: Ms,
    zone: tzinfo,
    now: Ms,
    *,
    theme: ThemeName = "light",
    width: int = 1000,
) -> Spec:
    """The worlds' recordings in `[start, end)`, of which nothing after `now` is known.

    Args:
        spans: all that are stored of each world; one or more worlds.
    """
    colours = THEMES[theme]
    until = min(end, max(now, start + 1))
    worlds = [_world(world_id, of_world, start, until) for world_id, of_world in spans.items()]
    x = {"type": "quantitative", "scale": {"domain": [start, end], "nice": False, "zero": False}}
    layers: list[Spec] = []
    for place, world in enumerate(worlds):
        layers += _row(world, x, colours, place * ROW, (start, end), width)
    # The axis belongs to the layer that is always there.
    layers[0]["encoding"]["x"] = {**layers[0]["encoding"]["x"], "axis": time_axis(start, end, zone)}
    return {
        "$schema": SCHEMA,
        "width": width,
        "height": len(worlds) * ROW,
        "background": colours.background,
        "autosize": {"type": "pad", "contains": "padding"},
        "padding": 12,
        "config": config_of(colours),
        "title": {
            "text": f"What was recorded of {', '.join(tables.world_name(world.world_id) for world in worlds)}",
            "subtitle": [window_text(start, end, zone), *_reasons(worlds)],
            "offset": 22,
        },
        "layer": layers,
    }


def _world(world_id: int, spans: Sequence[Span], start: Ms, until: Ms) -> _World:
    covered = WorldCoverage(spans)
    recorded = [
        (max(span.start, start), min(span.end, until))
        for span in covered.spans
        if span.start < until and span.end > start
    ]
    return _World(world_id, recorded, unrecorded(spans, start, until), covered_share(covered, start, until))


def _reasons(worlds: Sequence[_World]) -> list[str]:
    """How long nothing was recorded for each reason, of all worlds together, the longest first."""
    lengths: dict[str, list[Ms]] = {}
    for world in worlds:
        for gap in world.gaps:
            lengths.setdefault(gap.reason, []).append(gap.end - gap.start)
    if not lengths:
        return ["Dark: recorded, without a gap"]
    told = [
        f"{reason} ({length_text(sum(each))}{f' in {len(each):,} gaps' if len(each) > 1 else ''})"
        for reason, each in sorted(lengths.items(), key=lambda item: -sum(item[1]))
    ]
    together = ", of all worlds together" if len(worlds) > 1 else ""
    return [f"Dark: recorded. Striped: not recorded. The reasons{together}:", *told]


def _row(world: _World, x: Spec, theme: Theme, top: int, window: tuple[Ms, Ms], width: int) -> list[Spec]:
    bars = [{"start": start, "end": end} for start, end in world.recorded]
    texts = [
        (tables.world_name(world.world_id), top + BAR / 2 - 5, 12, theme.ink),
        (f"{world.share:.2%} recorded", top + BAR / 2 + 9, 10, theme.faint),
    ]
    return [
        {
            "data": {"values": bars},
            "mark": {"type": "rect", "color": theme.faint},
            "encoding": {
                "x": {**x, "field": "start"},
                "x2": {"field": "end"},
                "y": {"value": top},
                "y2": {"value": top + BAR},
            },
        },
        *gap_bands(world.gaps, x, theme, BAR, top=top),
        {
            "data": {"values": _labels(world.gaps, *window, width)},
            "mark": {"type": "text", "fontSize": 10, "color": theme.mark},
            "encoding": {
                "x": {**x, "field": "at"},
                "y": {"value": top + BAR + _BELOW},
                "text": {"field": "text"},
            },
        },
        *(
            {
                "data": {"values": [{"text": text}]},
                "mark": {"type": "text", "align": "right", "fontSize": size, "color": colour},
                "encoding": {"text": {"field": "text"}, "x": {"value": -10}, "y": {"value": y}},
            }
            for text, y, size, colour in texts
        ),
    ]


def _labels(gaps: Sequence[Unrecorded], start: Ms, end: Ms, width: int) -> list[dict[str, object]]:
    """What is written below the bands: the longest first, each with its reason or at least its length, where none is in the way."""
    scale = (end - start) / width
    taken: list[tuple[float, float]] = []
    found: list[dict[str, object]] = []
    for gap in sorted(gaps, key=lambda gap: gap.start - gap.end):
        length = length_text(gap.end - gap.start)
        for text in (f"{gap.reason}, {length}", length):
            half = len(text) * LETTER / 2
            middle = ((gap.start + gap.end) / 2 - start) / scale
            middle = min(max(middle, half), width - half)
            left, right = middle - half, middle + half
            if left >= 0 and all(right + LETTER < other or left - LETTER > behind for other, behind in taken):
                taken.append((left, right))
                found.append({"at": start + middle * scale, "text": text})
                break
    return found
