"""What was not recorded, as layers of a Vega-Lite spec: striped bands with a mark on top, which no chart draws in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ps2daemon.analysis.view import Unrecorded
from ps2daemon.web.specs import Spec, Theme

GAP_PIXELS: Final = 2
"""The outline of a band, in the colour of its mark: what is seen of a gap shorter than a pixel's time."""
STRIPE: Final = 4


def gaps_text(gaps: Sequence[Unrecorded]) -> str:
    """What the bands mean, with the reasons; nothing where there are none."""
    reasons = dict.fromkeys(gap.reason for gap in gaps)
    return f"Striped: not recorded ({'; '.join(reasons)})" if reasons else ""


def gap_bands(gaps: Sequence[Unrecorded], x: Spec, theme: Theme, height: int) -> list[Spec]:
    """Two layers: the bands over the height of the plot, and the marks on top of them.

    Args:
        x: the channel that the chart has its times on, without a field.
    """
    rows = [
        {"start": gap.start, "end": gap.end, "middle": (gap.start + gap.end) / 2, "reason": gap.reason}
        for gap in gaps
    ]
    stripes = max(1, height // (2 * STRIPE))
    stops = [
        {"offset": (number + edge) / (2 * stripes), "color": theme.stripe if number % 2 else theme.gap}
        for number in range(2 * stripes)
        for edge in (0, 1)
    ]
    gradient = {"gradient": "linear", "x1": 0, "y1": 0, "x2": 0, "y2": 1, "stops": stops}
    return [
        {
            "data": {"values": rows},
            "mark": {
                "type": "rect",
                "fill": gradient,
                "stroke": theme.mark,
                "strokeOpacity": 0.6,
                "strokeWidth": GAP_PIXELS,
            },
            "encoding": {"x": {**x, "field": "start"}, "x2": {"field": "end"}},
        },
        {
            "data": {"values": rows},
            "mark": {
                "type": "point",
                "shape": "triangle-down",
                "filled": True,
                "size": 70,
                "opacity": 1,
                "color": theme.mark,
            },
            "encoding": {"x": {**x, "field": "middle"}, "y": {"value": 0}},
        },
    ]
