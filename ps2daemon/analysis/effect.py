"""Do people log off when an alert ends or a continent locks?

Of the people online on a world at an event, the share who leave within so many minutes, against the share who do so at its controls (see
`matching` for both). People whose end is an estimate count neither among those who were there nor among those who left: a leaver has a
logout of its own (see `sittings`).

- `share` is of all people at all events together, and so an event counts by its people; `control_share` weighs the share at each event's controls
  with the people at the event.
- The interval of their difference is of a bootstrap over days: the events of one world and day are drawn together, since what makes a day unlike
  others they have in common. Its 2.5 and 97.5 percent quantiles are widened by two factors: by Student's t over the normal quantile, as there are few days; and by
  what two events of different days deviate by together if their controls overlap, since by as much as those people were unlike others both are wrong (their
  products join the sum of squares: Conley 1999, J. Econometrics 92, 1). Neither ever makes it narrower.
- `winner` and `loser` are of events that one of VS, NC and TR won, `nso` those who fight for all of them.

The random numbers are always the same: an answer is a function of what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.matching import KINDS, Kind, Matched
from ps2daemon.analysis.sittings import FACTIONS, Counts, Crowds
from ps2daemon.model import tables
from ps2daemon.model.records import MINUTE
from ps2daemon.model.times import from_ms

HORIZONS: Final = (5, 15, 30)
"""Minutes."""
FEWEST: Final = 10
"""Events, on at least half as many days, below which nothing is said."""
RESAMPLES: Final = 2_000
CURVE: Final = tuple(range(-30, 61))
"""Minutes around the event."""

Group: TypeAlias = Literal["all", "winner", "loser", "nso"]
GROUPS: Final[tuple[Group, ...]] = ("all", "winner", "loser", "nso")
Verdict: TypeAlias = Literal["more", "fewer", "no difference found", "too few events"]

_Numbers: TypeAlias = NDArray[np.float64]
_Z: Final = 1.959963984540054
"""Of the normal distribution, for 95 %."""
_WARRING: Final = (tables.VS, tables.NC, tables.TR)


class Effect(msgspec.Struct, frozen=True):
    """What was found for one kind of event, group of people and span.

    Attributes:
        n: events; `people` at them, together.
        left_out: events of this kind that are not among them.
        share, control_share: who left, 0 to 1; None without events.
        difference: of the two; `low` and `high` are its interval.
    """

    event: Kind
    group: Group
    minutes: int
    n: int
    people: int
    left_out: int
    share: float | None
    control_share: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class Curve(msgspec.Struct, frozen=True):
    """People around an event, as multiples of those at its instant, one value for each of `CURVE`.

    Attributes:
        low, high: the interval of `events`, by the same bootstrap; no control goes into it.
        controls: around the controls.
    """

    event: Kind
    n: int
    events: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    controls: tuple[float, ...]


class _Columns(NamedTuple):
    """The events of one kind that are not left out, in numbers.

    Attributes:
        online: (factions, events); `left` (factions, horizons, events) of them.
        control_online, control_left: the same, summed over the controls of each.
        around, control_around: people by minute, (minutes, events).
        winners: of each event; 0 where nobody won.
        days: the number of each event's day and world.
        pairs: events of different days whose controls overlap, (2, pairs); each pair once.
    """

    online: Counts
    left: Counts
    control_online: Counts
    control_left: Counts
    around: Counts
    control_around: Counts
    winners: Counts
    days: Counts
    pairs: Counts


class Found(NamedTuple):
    """What was found.

    Attributes:
        effects: by kind, group and span.
        curves: of each kind that has events.
        matched: what went in and what was left out, in order.
    """

    effects: tuple[Effect, ...]
    curves: tuple[Curve, ...]
    matched: tuple[Matched, ...]


def measure(matched: Sequence[Matched], crowds: Crowds, zone: tzinfo) -> Found:
    """The effects of all kinds of events.

    Args:
        crowds: who was online around the events and their controls.
        zone: whose days count.
    """
    rows: list[Effect] = []
    curves: list[Curve] = []
    for kind in KINDS:
        of_kind = [each for each in matched if each.event.kind == kind]
        used = [each for each in of_kind if each.left_out is None]
        columns = _columns(used, crowds, zone)
        for group in GROUPS:
            rows += _effects(kind, group, len(of_kind), columns)
        usable = (columns.online.sum(axis=0) > 0) & (columns.control_online.sum(axis=0) > 0)
        if usable.any():
            curves.append(_curve(kind, columns, usable))
    return Found(tuple(rows), tuple(curves), tuple(matched))


def _columns(used: Sequence[Matched], crowds: Crowds, zone: tzinfo) -> _Columns:
    """Counts people, world by world."""
    size, minutes, days = len(used), np.array(CURVE) * MINUTE, _days(used, zone)
    spans = [minute * MINUTE for minute in HORIZONS]
    found = _Columns(
        np.zeros((len(FACTIONS), size), dtype=np.int64),
        np.zeros((len(FACTIONS), len(spans), size), dtype=np.int64),
        np.zeros((len(FACTIONS), size), dtype=np.int64),
        np.zeros((len(FACTIONS), len(spans), size), dtype=np.int64),
        np.zeros((len(CURVE), size), dtype=np.int64),
        np.zeros((len(CURVE), size), dtype=np.int64),
        np.array([each.event.winner for each in used], dtype=np.int64),
        days,
        _pairs(used, days),
    )
    for world_id in sorted({each.event.world_id for each in used}):
        places = np.array([place for place, each in enumerate(used) if each.event.world_id == world_id])
        at = np.array([used[place].event.at for place in places], dtype=np.int64)
        found.online[:, places] = crowds.online(world_id, at)
        found.left[:, :, places] = crowds.leavers(world_id, at, spans)
        everyone = crowds.together(world_id)
        found.around[:, places] = everyone.online(at[:, None] + minutes).T
        sizes = [len(used[place].controls) for place in places]
        first = np.concatenate(([0], np.cumsum(sizes)[:-1]))  # of each event's controls; each has one
        then = np.array([instant for place in places for instant in used[place].controls], dtype=np.int64)
        for whole, parts in (
            (found.control_online, crowds.online(world_id, then)),
            (found.control_left, crowds.leavers(world_id, then, spans)),
            (found.control_around, everyone.online(then[:, None] + minutes).T),
        ):
            whole[..., places] = np.add.reduceat(parts, first, axis=-1)
    return found


def _days(used: Sequence[Matched], zone: tzinfo) -> Counts:
    days = [(each.event.world_id, from_ms(each.event.at).astimezone(zone).date()) for each in used]
    numbers = {day: number for number, day in enumerate(dict.fromkeys(days))}
    return np.array([numbers[day] for day in days], dtype=np.int64)


def _pairs(used: Sequence[Matched], days: Counts) -> Counts:
    """Pairs of events of different days with controls, on one world, less than the longest span apart: people may leave within both."""
    found = [np.empty((2, 0), dtype=np.int64)]
    for world_id in sorted({each.event.world_id for each in used}):
        controls = sorted(
            (at, place)
            for place, each in enumerate(used)
            if each.event.world_id == world_id
            for at in each.controls
        )
        at, whose = np.array(controls, dtype=np.int64).T
        near = np.searchsorted(at, at + max(HORIZONS) * MINUTE, side="left") - np.arange(len(at)) - 1
        first = np.repeat(np.arange(len(at)), near)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(near) - near, near)
        found.append(np.sort(np.stack([whose[first], whose[second]]), axis=0))
    pairs = np.concatenate(found, axis=1)
    pairs = pairs[:, days[pairs[0]] != days[pairs[1]]]
    return np.asarray(np.unique(pairs, axis=1), dtype=np.int64)


def _effects(kind: Kind, group: Group, events: int, columns: _Columns) -> list[Effect]:
    """The rows of one kind and group, one for each of `HORIZONS`."""
    members = _members(group, columns.winners)
    online = (columns.online * members).sum(axis=0)
    control_online = (columns.control_online * members).sum(axis=0)
    usable = (online > 0) & (control_online > 0)
    n = int(usable.sum())
    shared = _Shared(columns.days[usable], _among(columns.pairs, usable))
    rows = []
    for place, minutes in enumerate(HORIZONS):
        people = online[usable].astype(np.float64)
        left = (columns.left[:, place] * members).sum(axis=0)[usable]
        control_left = (columns.control_left[:, place] * members).sum(axis=0)[usable]
        expected = people * control_left / control_online[usable]
        rows.append(_row(kind, group, minutes, events - n, _Sums(people, left, expected, shared)))
    return rows


def _members(group: Group, winners: Counts) -> Counts:
    """1 where a faction belongs to the group at an event, otherwise 0: (factions, events)."""
    members = np.zeros((len(FACTIONS), len(winners)), dtype=np.int64)
    decided = np.isin(winners, _WARRING)
    for row, faction in enumerate(FACTIONS):
        if group == "all":
            members[row] = 1
        elif group == "nso":
            members[row] = decided & (faction == tables.NSO)
        elif faction in _WARRING:
            members[row] = decided & ((winners == faction) == (group == "winner"))
    return members


class _Shared(NamedTuple):
    """What events have in common: the day of each, and the pairs of others with common controls."""

    days: Counts
    pairs: Counts


def _among(pairs: Counts, usable: NDArray[np.bool_]) -> Counts:
    """The pairs of which both are usable, numbered among those."""
    number = np.cumsum(usable) - 1
    return np.asarray(number[pairs[:, usable[pairs].all(axis=0)]], dtype=np.int64)


class _Sums(NamedTuple):
    """Of each event: people, who left of them, how many would have left as at its controls; and what they have in common."""

    people: _Numbers
    left: Counts
    expected: _Numbers
    shared: _Shared


def _row(kind: Kind, group: Group, minutes: int, left_out: int, sums: _Sums) -> Effect:
    n, people = len(sums.people), float(sums.people.sum())
    if not n:
        nothing = (None, None, None, None, None)
        return Effect(kind, group, minutes, 0, 0, left_out, *nothing, "too few events")
    share, control_share = float(sums.left.sum()) / people, float(sums.expected.sum()) / people
    difference = share - control_share
    days = len(np.unique(sums.shared.days))
    low = high = None
    verdict: Verdict = "too few events"
    if n >= FEWEST and days >= FEWEST // 2:
        low, high = _interval(sums, difference)
        verdict = "more" if low > 0 else "fewer" if high < 0 else "no difference found"
    return Effect(
        kind, group, minutes, n, int(people), left_out, share, control_share, difference, low, high, verdict
    )


def _interval(sums: _Sums, difference: float) -> tuple[float, float]:
    days = sums.shared.days
    weights = _weights(days)
    people, more = (weights @ _by_day(np.stack([sums.people, sums.left - sums.expected]), days).T).T
    wider = _wider(sums.left - sums.expected - difference * sums.people, sums.shared)
    low, high = np.quantile(more / people - difference, (0.025, 0.975)) * (wider * _few(weights))
    return difference + float(low), difference + float(high)


def _wider(deviations: _Numbers, shared: _Shared) -> float:
    """By how much shared controls widen an interval, of what each event deviates by from the difference of all."""
    alone = float((_by_day(deviations, shared.days) ** 2).sum())
    first, second = shared.pairs
    common = 2 * float((deviations[first] * deviations[second]).sum())
    return math.sqrt(1 + common / alone) if common > 0 < alone else 1.0


def _by_day(values: _Numbers | Counts, days: Counts) -> _Numbers:
    """The sums of each day, along the last axis."""
    order = np.argsort(days, kind="stable")
    _, first = np.unique(days[order], return_index=True)
    return np.add.reduceat(values[..., order].astype(np.float64), first, axis=-1)


def _weights(days: Counts) -> _Numbers:
    """How often each day is drawn, (resamples, days)."""
    return _draws(len(np.unique(days)))


@lru_cache(maxsize=4)
def _draws(size: int) -> _Numbers:
    """The same for every row of as many days: 6 MB of a year of one world."""
    days = np.random.default_rng(0).integers(size, size=(RESAMPLES, size))
    days += np.arange(RESAMPLES)[:, None] * size
    drawn = np.bincount(days.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def _few(weights: _Numbers) -> float:
    """By how much an interval is wider than its quantiles say, as the days that it comes from are few."""
    days = weights.shape[1]
    return 1.0 if days == 1 else math.sqrt(days / (days - 1)) * student(days - 1) / _Z


def student(freedom: int) -> float:
    """The 97.5 percent quantile of Student's t, to 0.001 from four degrees of freedom on (Abramowitz and Stegun 1964, 26.7.5)."""
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / float(freedom) ** power for power, term in enumerate(terms))


def _curve(kind: Kind, columns: _Columns, usable: NDArray[np.bool_]) -> Curve:
    there = columns.online.sum(axis=0)
    then = columns.control_online.sum(axis=0)
    around, people, days = columns.around[:, usable], there[usable], columns.days[usable]
    expected = columns.control_around[:, usable] * (people / then[usable])
    curve = around.sum(axis=1) / people.sum()
    weights = _weights(days)
    drawn = weights @ _by_day(around, days).T / (weights @ _by_day(people, days))[:, None]
    low, high = curve + np.quantile(drawn - curve, (0.025, 0.975), axis=0) * _few(weights)
    return Curve(
        kind,
        int(usable.sum()),
        tuple(map(float, curve)),
        tuple(map(float, low)),
        tuple(map(float, high)),
        tuple(map(float, expected.sum(axis=1) / people.sum())),
    )
