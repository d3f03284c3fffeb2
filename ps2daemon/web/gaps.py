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


def gap_mark(theme: Theme, height: int) -> Spec:
    """The mark of a band that is so many pixels high."""
    stripes = max(1, height // (2 * STRIPE))
    stops = [
        {"offset": (number + edge) / (2 * stripes), "color": theme.stripe if number % 2 else theme.gap}
        for number in range(2 * stripes)
        for edge in (0, 1)
    ]
    return {
        "type": "rect",
        "fill": {"gradient": "linear", "x1": 0, "y1": 0, "x2": 0, "y2": 1, "stops": stops},
        "stroke": theme.mark,
        "strokeOpacity": 0.6,
        "strokeWidth": GAP_PIXELS,
    }


def gap_bands(
    gaps: Sequence[Unrecorded], x: Spec, theme: Theme, height: int, *, top: int | None = None
) -> list[Spec]:
    """Two layers: the bands, and the marks on top of them.

    Args:
        x: the channel that the chart has its times on, without a field.
        height: of the bands, in pixels.
        top: where they begin, from the top of the plot; None if they are as high as that.
    """
    rows = [
        {"start": gap.start, "end": gap.end, "middle": (gap.start + gap.end) / 2, "reason": gap.reason}
        for gap in gaps
    ]
    y: Spec = {} if top is None else {"y": {"value": top}, "y2": {"value": top + height}}
    return [
        {
            "data": {"values": rows},
            "mark": gap_mark(theme, height),
            "encoding": {"x": {**x, "field": "start"}, "x2": {"field": "end"}, **y},
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
            "encoding": {"x": {**x, "field": "middle"}, "y": {"value": top or 0}},
        },
    ]
