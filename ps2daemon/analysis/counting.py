"""How many people were online at events and at their controls, who of them left, and how many there were in the minutes around.

All three are sums over sittings, and so over parts of them. What was counted of a part is kept with it: a year of events is mostly made of days that
ended long ago, and asking again counts the day that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.matching import Matched
from ps2daemon.analysis.sittings import FACTIONS, Counts, Crowds, Times
from ps2daemon.model.records import HOUR, MINUTE, Ms
from ps2daemon.model.sittings import NEVER, Part

HORIZONS: Final = (5, 15, 30)
"""Minutes."""
CURVE: Final = tuple(range(-30, 61))
"""Minutes around the event."""
AROUND: Final = np.array(CURVE, dtype=np.int64) * MINUTE
"""The same in milliseconds."""
AT_ONCE: Final = 2
"""Worlds counted at the same time."""
MOST_KNOWN: Final = 500
"""Instants that counts are kept of with each part, 220 bytes each; of a day those of a year's events are less than 200."""

Small: TypeAlias = NDArray[np.signedinteger[Any]]

_SPANS: Final = tuple(minutes * MINUTE for minutes in HORIZONS)


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


def count(matched: Sequence[Matched], parts: Mapping[int, Sequence[Part]]) -> Counted:
    """Counts the people of each event, in the same order.

    Args:
        parts: by world; who was online around the events and their controls.
    """
    found = _nobody(len(matched))
    places: dict[int, list[int]] = {}
    for place, each in enumerate(matched):
        if each.left_out is None and each.event.world_id in parts:
            places.setdefault(each.event.world_id, []).append(place)

    def count_world(world_id: int) -> None:
        own = places[world_id]
        counted = _count_world([matched[place] for place in own], parts[world_id])
        for column, counts in zip(found, counted, strict=True):
            column[..., own] = counts

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(count_world, places))  # so that what fails in a thread fails here
    return found


def _nobody(events: int) -> Counted:
    return Counted(*_empty(events), *_empty(events))


def _empty(instants: int) -> tuple[Counts, Counts, Counts]:
    shapes = ((len(FACTIONS),), (len(FACTIONS), len(HORIZONS)), (len(CURVE),))
    online, left, around = (np.zeros((*shape, instants), dtype=np.int64) for shape in shapes)
    return online, left, around


def _count_world(matched: Sequence[Matched], parts: Sequence[Part]) -> Counted:
    """Counts those of one world; each event has a control."""
    events = len(matched)
    every = np.fromiter(
        chain((each.event.at for each in matched), *(each.controls for each in matched)), dtype=np.int64
    )
    at, place = np.unique(every, return_inverse=True)
    totals = _empty(len(at))
    for part in parts:
        if len(part):
            first, behind = np.searchsorted(at, _reach(part))
            for total, counts in zip(totals, _tally(part, at[first:behind]), strict=True):
                total[..., first:behind] += counts
    first_of = np.cumsum([events, *(len(each.controls) for each in matched[:-1])])
    counted = [total[..., place] for total in totals]
    return Counted(
        *(each[..., :events] for each in counted),
        *(np.add.reduceat(each, first_of, axis=-1) for each in counted),
    )


class _Known(NamedTuple):
    """What was counted of a part: at these instants, in order, who was online, who left, and how many there were around."""

    at: Times
    counts: tuple[Small, ...]


_NOTHING: Final = _Known(np.empty(0, dtype=np.int64), tuple(counts.astype(np.int16) for counts in _empty(0)))


def _reach(part: Part) -> tuple[Ms, Ms]:
    """From which instant on and before which one somebody of a part may count."""
    since, until = part.reach
    return since - HOUR, min(until, NEVER - HOUR) + HOUR


def _tally(part: Part, at: Times) -> tuple[Small, ...]:
    """Counts the people of one part at these instants, which are in order; not again where it was done before."""
    known = part.counted if isinstance(part.counted, _Known) else _NOTHING
    new = np.setdiff1d(at, known.at, assume_unique=True)
    if len(new):
        if len(known.at) + len(new) > MOST_KNOWN:
            known, new = _NOTHING, at
        instants = np.concatenate([known.at, new])
        order = np.argsort(instants)
        both = zip(known.counts, _counts(part, new), strict=True)
        counts = tuple(np.concatenate(each, axis=-1)[..., order] for each in both)
        part.counted = known = _Known(instants[order], counts)
    places = np.searchsorted(known.at, at)
    return tuple(counts[..., places] for counts in known.counts)


def _counts(part: Part, at: Times) -> tuple[Small, ...]:
    crowds = Crowds(part.sittings())
    around = crowds.together.online(at[:, None] + AROUND).T
    found = crowds.online(at), crowds.leavers(at, _SPANS), around
    return tuple(
        counts.astype(np.int16 if counts.max(initial=0) <= np.iinfo(np.int16).max else np.int64)
        for counts in found
    )
