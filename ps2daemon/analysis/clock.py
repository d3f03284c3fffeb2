"""What the clock on the wall shows, for many instants at once: a `datetime` for each of 100,000 takes a second."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Final

import numpy as np

from ps2daemon.analysis.sittings import Times
from ps2daemon.model.records import DAY, SECOND, Ms

LOOK: Final = DAY
"""Between two looks at a clock; in less than that, none is put forward and back again."""


class WallClock:
    """The clock of one zone.

    Args:
        first, last: the instants between which it is asked, both included; with a day to spare for clocks that were put back or forward.
    """

    def __init__(self, zone: tzinfo, first: Ms, last: Ms) -> None:
        looks = range(first // SECOND * SECOND, last + LOOK, LOOK)
        offsets = [_offset(at, zone) for at in looks]
        changes = [
            (_change(at - LOOK, at, zone), offset)
            for at, before, offset in zip(looks[1:], offsets, offsets[1:], strict=False)
            if before != offset
        ]
        self._changes = np.array([at for at, _ in changes], dtype=np.int64)
        self._offsets = np.array([offsets[0], *(offset for _, offset in changes)], dtype=np.int64)
        self._shown = self._changes + np.maximum(self._offsets[:-1], self._offsets[1:])

    def shown(self, at: Times) -> Times:
        """What it shows at each instant, of any shape, in milliseconds since its 1 January 1970."""
        return at + self._offsets[np.searchsorted(self._changes, at, side="right")]

    def instant(self, shown: Times) -> Times:
        """When it shows that: for the first time if it does twice; if never, when it would if it had not been put forward."""
        return shown - self._offsets[np.searchsorted(self._shown, shown, side="right")]


def _change(before: Ms, after: Ms, zone: tzinfo) -> Ms:
    """The instant between these two, whole seconds, at which the clock is put forward or back."""
    old = _offset(before, zone)
    while after - before > SECOND:
        middle = before + (after - before) // (2 * SECOND) * SECOND
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(at: Ms, zone: tzinfo) -> Ms:
    offset = datetime.fromtimestamp(at // SECOND, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)
