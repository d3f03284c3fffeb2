"""How many people were online at events and at their controls, who of them left, and how many there were in the minutes around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.matching import Matched
from ps2daemon.analysis.sittings import FACTIONS, Counts, Crowds
from ps2daemon.model.records import MINUTE
from ps2daemon.model.sittings import Sittings

HORIZONS: Final = (5, 15, 30)
"""Minutes."""
CURVE: Final = tuple(range(-30, 61))
"""Minutes around the event."""
AT_ONCE: Final = 2
"""Worlds counted at the same time; with a year of events each takes 150 MB while it is."""

_SPANS: Final = tuple(minutes * MINUTE for minutes in HORIZONS)
_AROUND: Final = np.array(CURVE, dtype=np.int64) * MINUTE


class Counted(NamedTuple):
    """People; of an event that is left out there are none.

    Attributes:
        online: (factions, events); `left` (factions, horizons, events) of them.
        around: people by minute, (minutes, events).
        control_online, control_left, control_around: the same, summed over the controls of each.
    """

    online: Counts
    left: Counts
    around: Counts
    control_online: Counts
    control_left: Counts
    control_around: Counts

    def of(self, places: NDArray[np.intp]) -> Counted:
        """Those of the events at these places."""
        return Counted(*(column[..., places] for column in self))


def count(matched: Sequence[Matched], sittings: Mapping[int, Sittings]) -> Counted:
    """Counts the people of each event, in the same order.

    Args:
        sittings: by world; who was online around the events and their controls.
    """
    found = _nobody(len(matched))
    places: dict[int, list[int]] = {}
    for place, each in enumerate(matched):
        if each.left_out is None and each.event.world_id in sittings:
            places.setdefault(each.event.world_id, []).append(place)

    def count_world(world_id: int) -> None:
        own = places[world_id]
        counted = _count_world([matched[place] for place in own], Crowds(sittings[world_id]))
        for column, counts in zip(found, counted, strict=True):
            column[..., own] = counts

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(count_world, places))  # so that what fails in a thread fails here
    return found


def _nobody(events: int) -> Counted:
    shapes = [(len(FACTIONS),), (len(FACTIONS), len(HORIZONS)), (len(CURVE),)]
    return Counted(*(np.zeros((*shape, events), dtype=np.int64) for shape in (*shapes, *shapes)))


def _count_world(matched: Sequence[Matched], crowds: Crowds) -> Counted:
    """Counts those of one world; each event has a control."""
    events = len(matched)
    at = np.fromiter(
        chain((each.event.at for each in matched), *(each.controls for each in matched)), dtype=np.int64
    )
    first = np.cumsum([events, *(len(each.controls) for each in matched[:-1])])
    everyone = crowds.together.online(at[:, None] + _AROUND).T
    counts = crowds.online(at), crowds.leavers(at, _SPANS), everyone
    return Counted(
        *(each[..., :events] for each in counts), *(np.add.reduceat(each, first, axis=-1) for each in counts)
    )
