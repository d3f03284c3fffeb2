"""Do people log off when an alert ends or a continent locks?

Of the people online on a world at an event, the share who leave within so many minutes, against the share who do so at its controls (see
`matching` for both). People whose end is an estimate count neither among those who were there nor among those who left: a leaver has a
logout of its own (see `sittings`).

- `share` is of all people at all events together, and so an event counts by its people; `control_share` weighs the share at each event's controls
  with the people at the event: those who came in the last quarter of an hour, in the last hour, and before, each with their own (direct
  standardisation). Who has just come leaves sooner, and where many leave at each event, fewer of those at the next one have.
- The interval of their difference is of a bootstrap over days: the events of one world and day are drawn together, since what makes a day unlike
  others they have in common. Its 2.5 and 97.5 percent quantiles are widened by two factors: by Student's t over the normal quantile, as there are few days, and those
  with more people weigh more (Carter, Schnepel and Steigerwald 2017, Rev. Econ. Stat. 99, 698); and by what two events of different days deviate by together if their controls overlap, since by as much as those people were unlike others both are wrong (their
  products join the sum of squares: Conley 1999, J. Econometrics 92, 1). Neither ever makes it narrower.
- `winner` and `loser` are of events that one of VS, NC and TR won, `nso` those who fight for all of them.

The random numbers are always the same: an answer is a function of what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache
from itertools import chain
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.clock import WallClock
from ps2daemon.analysis.counting import HORIZONS, Counted
from ps2daemon.analysis.matching import KINDS, Kind, Matched
from ps2daemon.analysis.sittings import FACTIONS, Counts
from ps2daemon.model import tables
from ps2daemon.model.records import DAY, MINUTE

FEWEST: Final = 10
"""Events, on at least half as many days, below which nothing is said."""
RESAMPLES: Final = 2_000

Group: TypeAlias = Literal["all", "winner", "loser", "nso"]
GROUPS: Final[tuple[Group, ...]] = ("all", "winner", "loser", "nso")
Verdict: TypeAlias = Literal["more", "fewer", "no difference found", "too few events"]

_Numbers: TypeAlias = NDArray[np.float64]
_WORLDS_APART: Final = 2**32
"""More than there are days."""
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
        people: at them.
        winners: of each event; 0 where nobody won.
        days: the number of each event's day and world.
        pairs: events of different days whose controls overlap, (2, pairs); each pair once.
    """

    people: Counted
    winners: Counts
    days: Counts
    pairs: Counts


class Found(NamedTuple):
    """What was found.

    Attributes:
        effects: by kind, group and span.
        curves: of each kind that has events, if wanted.
        matched: what went in and what was left out, in order.
    """

    effects: tuple[Effect, ...]
    curves: tuple[Curve, ...]
    matched: tuple[Matched, ...]


def measure(matched: Sequence[Matched], counted: Counted, zone: tzinfo, *, curves: bool = True) -> Found:
    """The effects of all kinds of events.

    Args:
        counted: the people of each event.
        zone: whose days count.
        curves: whether they are wanted.
    """
    rows: list[Effect] = []
    drawn: list[Curve] = []
    for kind in KINDS:
        of_kind = [place for place, each in enumerate(matched) if each.event.kind == kind]
        places = [place for place in of_kind if matched[place].left_out is None]
        columns = _columns(
            [matched[place] for place in places], counted.of(np.array(places, dtype=np.intp)), zone
        )
        for group in GROUPS:
            rows += _effects(kind, group, len(of_kind), columns)
        usable = (columns.people.online.sum(axis=(0, 1)) > 0) & (
            columns.people.control_online.sum(axis=(0, 1)) > 0
        )
        if curves and usable.any():
            drawn.append(_curve(kind, columns, usable))
    return Found(tuple(rows), tuple(drawn), tuple(matched))


def _columns(used: Sequence[Matched], people: Counted, zone: tzinfo) -> _Columns:
    days = _days(used, zone)
    winners = np.array([each.event.winner for each in used], dtype=np.int64)
    return _Columns(people, winners, days, _pairs(used, days))


def _days(used: Sequence[Matched], zone: tzinfo) -> Counts:
    """Numbers the days of all worlds, in the order of their first events."""
    if not used:
        return np.empty(0, dtype=np.int64)
    at = np.array([each.event.at for each in used], dtype=np.int64)
    worlds = np.array([each.event.world_id for each in used], dtype=np.int64)
    shown = WallClock(zone, int(at.min()), int(at.max())).shown(at)
    _, first, number = np.unique(
        worlds * _WORLDS_APART + shown // DAY, return_index=True, return_inverse=True
    )
    return np.argsort(np.argsort(first))[number]


def _pairs(used: Sequence[Matched], days: Counts) -> Counts:
    """Pairs of events of different days with controls, on one world, less than the longest span apart: people may leave within both."""
    found = [np.empty((2, 0), dtype=np.int64)]
    numbers = [len(each.controls) for each in used]
    worlds = np.repeat(np.array([each.event.world_id for each in used], dtype=np.int64), numbers)
    places = np.repeat(np.arange(len(used)), numbers)
    instants = np.fromiter(chain.from_iterable(each.controls for each in used), dtype=np.int64)
    order = np.argsort(instants, kind="stable")
    for world_id in np.unique(worlds):
        of_world = order[worlds[order] == world_id]
        at, whose = instants[of_world], places[of_world]
        near = np.searchsorted(at, at + max(HORIZONS) * MINUTE, side="left") - np.arange(len(at)) - 1
        first = np.repeat(np.arange(len(at)), near)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(near) - near, near)
        found.append(np.sort(np.stack([whose[first], whose[second]]), axis=0))
    pairs = np.concatenate(found, axis=1)
    pairs = pairs[:, days[pairs[0]] != days[pairs[1]]]
    return np.stack(np.divmod(np.unique(pairs[0] * len(used) + pairs[1]), max(1, len(used))))


def _effects(kind: Kind, group: Group, events: int, columns: _Columns) -> list[Effect]:
    """The rows of one kind and group, one for each of `HORIZONS`."""
    members = _members(group, columns.winners)
    by_age = (columns.people.online * members[:, None]).sum(axis=0)
    control_by_age = (columns.people.control_online * members[:, None]).sum(axis=0)
    online = by_age.sum(axis=0)
    usable = (online > 0) & (control_by_age.sum(axis=0) > 0)
    n, people = int(usable.sum()), online[usable]
    if not n:
        nothing = (None, None, None, None, None)
        return [
            Effect(kind, group, minutes, 0, 0, events, *nothing, "too few events") for minutes in HORIZONS
        ]
    left = (columns.people.left * members[:, None, None]).sum(axis=(0, 1))[:, usable]
    control_left = (columns.people.control_left * members[:, None, None]).sum(axis=0)[:, :, usable]
    expected = _expected(by_age[:, usable], control_by_age[:, usable], control_left)
    shares, control_shares = left.sum(axis=1) / people.sum(), expected.sum(axis=1) / people.sum()
    shared = _Shared(columns.days[usable], _among(columns.pairs, usable))
    bands = _bands(people, left - expected, shared)
    return [
        Effect(kind, group, minutes, n, int(people.sum()), events - n, share, control, share - control, *band)
        for minutes, share, control, band in zip(
            HORIZONS, shares.tolist(), control_shares.tolist(), bands, strict=True
        )
    ]


def _expected(people: Counts, controls: Counts, left: Counts) -> _Numbers:
    """How many of the people at each event would leave as those at its controls do, (horizons, events).

    Where nobody of an age is at the controls, those of that age are taken to leave as everybody there does.

    Args:
        people, controls: (ages, events).
        left: of the controls, (ages, horizons, events).
    """
    everybody = left.sum(axis=0) / controls.sum(axis=0)
    own = left / np.maximum(controls, 1)[:, None]
    shares = np.where((controls > 0)[:, None], own, everybody)
    return np.asarray((people[:, None] * shares).sum(axis=0))


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


def _bands(
    people: Counts, more: _Numbers, shared: _Shared
) -> list[tuple[float | None, float | None, Verdict]]:
    """The interval of each difference, and what it says.

    Args:
        people: at each event.
        more: how many of them left more than as at its controls, (differences, events).
    """
    of_days = _by_day(people.astype(np.float64), shared.days)
    if len(people) < FEWEST or len(of_days) < FEWEST // 2:
        return [(None, None, "too few events")] * len(more)
    found: list[tuple[float | None, float | None, Verdict]] = []
    few = _few(of_days)
    for row, drawn in zip(more, _drawn(more, people, shared.days), strict=True):
        difference = float(row.sum() / people.sum())
        wider = _wider(row - difference * people, shared) * few
        low, high = (difference + np.quantile(drawn - difference, (0.025, 0.975)) * wider).tolist()
        found.append((low, high, "more" if low > 0 else "fewer" if high < 0 else "no difference found"))
    return found


def _drawn(values: _Numbers | Counts, people: Counts, days: Counts) -> _Numbers:
    """What a row of values comes to for each of the people, with other days drawn: (rows, resamples).

    In single precision, half the time: that is seven digits, and the draw itself tells no more than two.
    """
    by_day = _by_day(np.vstack([values, people]).astype(np.float64), days)
    sums = by_day.astype(np.float32) @ _weights(by_day.shape[1]).astype(np.float32).T
    return np.asarray(sums[:-1] / sums[-1], dtype=np.float64)


def _wider(deviations: _Numbers, shared: _Shared) -> float:
    """By how much shared controls widen an interval, of what each event deviates by from the difference of all."""
    alone = float((_by_day(deviations, shared.days) ** 2).sum())
    first, second = shared.pairs
    common = 2 * float((deviations[first] * deviations[second]).sum())
    return math.sqrt(1 + common / alone) if common > 0 < alone else 1.0


def _by_day(values: _Numbers, days: Counts) -> _Numbers:
    """The sums of each day, along the last axis."""
    order = np.argsort(days, kind="stable")
    _, first = np.unique(days[order], return_index=True)
    return np.add.reduceat(values[..., order], first, axis=-1)


@lru_cache(maxsize=16)
def _weights(days: int) -> NDArray[np.uint8]:
    """How often each day is drawn, (resamples, days); 3 MB of a year of four worlds, the same for every row of as many days."""
    drawn = np.random.default_rng(0).integers(days, size=(RESAMPLES, days))
    drawn += np.arange(RESAMPLES)[:, None] * days
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * days)
    weights = counts.reshape(RESAMPLES, days).astype(np.uint8)
    weights.setflags(write=False)
    return weights


def _few(people: _Numbers) -> float:
    """By how much an interval is wider than its quantiles say, as the days that it comes from are few.

    Days of unlike numbers of people are worth fewer of the same (effective number of clusters, at worst: whatever makes a day unlike others, all of its
    people have in common).

    Args:
        people: of each day.
    """
    days = len(people)
    if days == 1:
        return 1.0
    squares = people**2
    worth = days / (1 + float(squares.var() / squares.mean() ** 2))
    return math.sqrt(days / (days - 1)) * student(max(1.0, worth - 1)) / _Z


def student(freedom: float) -> float:
    """The 97.5 percent quantile of Student's t, to 0.001 from four degrees of freedom on, to a tenth at one (Abramowitz and Stegun 1964, 26.7.5)."""
    z = _Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def _curve(kind: Kind, columns: _Columns, usable: NDArray[np.bool_]) -> Curve:
    there = columns.people.online.sum(axis=(0, 1))
    then = columns.people.control_online.sum(axis=(0, 1))
    around, people, days = columns.people.around[:, usable], there[usable], columns.days[usable]
    expected = columns.people.control_around[:, usable] * (people / then[usable])
    curve = around.sum(axis=1) / people.sum()
    off = np.quantile(_drawn(around, people, days) - curve[:, None], (0.025, 0.975), axis=1)
    low, high = curve + off * _few(_by_day(people.astype(np.float64), days))
    return Curve(
        kind,
        int(usable.sum()),
        tuple(map(float, curve)),
        tuple(map(float, low)),
        tuple(map(float, high)),
        tuple(map(float, expected.sum(axis=1) / people.sum())),
    )
