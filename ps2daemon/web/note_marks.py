"""Notes of the operator in a chart: a dotted line each, with a flag at its foot, and their texts where there are few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ps2daemon.web.specs import Spec, Theme

MOST_TEXTS: Final = 5
"""So many notes have their text beside them, and more have lines alone."""


class Marked(NamedTuple):
    """A note in a chart.

    Attributes:
        at: where, a value of the field of its axis.
        late: whether that is in the second half, where a text has more room on its left.
    """

    at: int | str
    text: str
    late: bool


def note_layers(notes: Sequence[Marked], x: Spec, theme: Theme, height: int) -> list[Spec]:
    """The layers of these notes, along the axis `x`, in a plot of this height."""
    if not notes:
        return []
    field = x["field"]
    places = {"values": [{field: note.at} for note in notes]}
    layers: list[Spec] = [
        {
            "data": places,
            "mark": {"type": "rule", "strokeDash": [1, 3], "color": theme.ink, "opacity": 0.8},
            "encoding": {"x": x},
        },
        {
            "data": places,
            "mark": {
                "type": "point",
                "shape": "triangle-up",
                "filled": True,
                "size": 50,
                "opacity": 1,
                "color": theme.ink,
            },
            "encoding": {"x": x, "y": {"value": height - 4}},
        },
    ]
    if len(notes) > MOST_TEXTS:
        return layers
    for align, shift, late in (("left", 5, False), ("right", -5, True)):
        layers.append(
            {
                "data": {
                    "values": [{field: note.at, "text": note.text} for note in notes if note.late is late]
                },
                "mark": {
                    "type": "text",
                    "align": align,
                    "dx": shift,
                    "fontSize": 10,
                    "color": theme.ink,
                    "limit": 180,
                },
                "encoding": {"x": x, "y": {"value": height - 6}, "text": {"field": "text"}},
            }
        )
    return layers
