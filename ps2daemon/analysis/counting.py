"""How many people were online at events and at their controls, who of them left, and how many there were in the minutes around.

All three are sums over sittings, and so over parts of them. What was counted of a part is kept with it: a year of events is mostly made of days that
ended long ago, and asking again counts the day that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.matching import Matches, column_of
from ps2daemon.analysis.sittings import FACTIONS, Crowds, Times
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sittings import NEVER, Part

HORIZONS: Final = (5, 15, 30)
"""Minutes."""
AGES: Final = (15, 60)
"""Minutes since the login, between which people are told apart: who has just come leaves sooner."""
CURVE: Final = tuple(range(-30, 61))
"""Minutes around the event."""
AROUND: Final = np.array(CURVE, dtype=np.int64) * MINUTE
"""The same in milliseconds."""
MOST_KNOWN: Final = 500
"""Instants that counts are kept of with each part, 300 bytes each, for every day that it reaches over; those of a year's events are less than 200."""

_GROUPS: Final = (len(FACTIONS), len(AGES) + 1)
_ONLINE: Final = math.prod(_GROUPS)
_LEFT: Final = _ONLINE * len(HORIZONS)
WIDTH: Final = _ONLINE + _LEFT + len(CURVE)
"""Numbers of one instant."""

Small: TypeAlias = NDArray[np.signedinteger[Any]]

_SPANS: Final = tuple(minutes * MINUTE for minutes in HORIZONS)
_SINCE: Final = tuple(minutes * MINUTE for minutes in AGES)


class Counted(NamedTuple):
    """People; of an event that is left out there are none.

    Attributes:
        online: (factions, ages, events); `left` (factions, ages, horizons, events) of them. Ages are those less than each of `AGES`, and all others.
        around: people by minute, (minutes, events).
        control_online, control_left, control_around: the same, summed over the controls of each.
    """

    online: Small
    left: Small
    around: Small
    control_online: Small
    control_left: Small
    control_around: Small

    def of(self, places: NDArray[np.intp]) -> Counted:
        """Those of the events at these places; in memory those of an event after the other, since sums are over events."""
        return Counted(*(np.ascontiguousarray(column[..., places]) for column in self))


def count(matched: Matches, parts: Mapping[int, Sequence[Part]]) -> Counted:
    """Counts the people of each event, in the same order.

    Args:
        parts: by world; who was online around the events and their controls.
    """
    events = len(matched.events)
    rows = np.zeros((2 * events, WIDTH), dtype=np.int32)
    worlds, at = (column_of(matched.events, name) for name in ("world_id", "at"))
    for world_id, of_world in parts.items():
        own = np.flatnonzero(matched.used & (worlds == world_id))
        if len(own):
            rows[own], rows[events + own] = _count_world(at[own], matched.controls[own], of_world)
    return Counted(*_columns(rows, events))


def _columns(rows: Small, events: int) -> list[Small]:
    """The columns of `Counted` from the counts of so many events and, behind them, of their controls."""
    numbers = rows.T
    every = (
        numbers[:_ONLINE].reshape(*_GROUPS, -1),
        numbers[_ONLINE : _ONLINE + _LEFT].reshape(*_GROUPS, len(HORIZONS), -1),
        numbers[_ONLINE + _LEFT :],
    )
    return [column[..., part] for part in (slice(events), slice(events, None)) for column in every]


def _count_world(events: Times, controls: Times, parts: Sequence[Part]) -> tuple[Small, Small]:
    """Counts those of one world, at its events and at the controls of each, of which there are some."""
    at, place = np.unique(np.vstack([events, controls.T]), return_inverse=True)
    total = np.zeros((len(at), WIDTH), dtype=np.int32)
    for part in parts:
        if len(part):
            first, behind = np.searchsorted(at, _reach(part))  # nobody is there at `NEVER`
            total[first:behind] += _tally(part, at[first:behind])
    of_controls = total[place[1]]
    for row in place[2:]:  # a fifth of the time of one sum over rows so few
        of_controls += total[row]
    return total[place[0]], of_controls


class _Known(NamedTuple):
    """What was counted of a part: at these instants, in order, a row for each.

    Attributes:
        rows: who was online by faction and age, who left by faction, age and horizon, and how many there were around.
    """

    at: Times
    rows: Small


_NOTHING: Final = _Known(np.empty(0, dtype=np.int64), np.empty((0, WIDTH), dtype=np.int16))


def _reach(part: Part) -> tuple[Ms, Ms]:
    """From which instant on and before which one somebody of a part may count."""
    since, until = part.reach
    return since - HOUR, min(until, NEVER - HOUR) + HOUR


def _tally(part: Part, at: Times) -> Small:
    """Counts the people of one part at these instants, which are in order; not again where it was done before."""
    known = part.counted if isinstance(part.counted, _Known) else _NOTHING
    new = at[~_among(at, known.at)]
    if len(new):
        if len(known.at) + len(new) > _most_known(part):
            known, new = _NOTHING, at
        instants = np.concatenate([known.at, new])
        order = np.argsort(instants)
        rows = np.concatenate([known.rows, _counts(part, new)])[order]
        part.counted = known = _Known(instants[order], rows)
    if len(at) == len(known.at):
        return known.rows
    return known.rows[np.searchsorted(known.at, at)]


def _most_known(part: Part) -> int:
    since, until = part.reach
    return MOST_KNOWN * (1 if until == NEVER else 1 + (until - since) // DAY)


def _among(at: Times, known: Times) -> NDArray[np.bool_]:
    """Which of these instants are among the known ones; both are in order."""
    if not len(known):
        return np.zeros(len(at), dtype=np.bool_)
    places = np.searchsorted(known, at)
    return np.asarray(known.take(places, mode="clip") == at, dtype=np.bool_)


def _counts(part: Part, at: Times) -> Small:
    crowds = Crowds(part.sittings())
    online, left = crowds.at(at, _SPANS, _SINCE)
    around = crowds.together.online(at[:, None] + AROUND)
    rows = np.concatenate(
        [online.reshape(_ONLINE, -1).T, left.reshape(_LEFT, -1).T, around], axis=1, dtype=np.int64
    )
    return rows.astype(np.int16 if rows.max(initial=0) <= np.iinfo(np.int16).max else np.int32)
