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
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.clock import WallClock
from ps2daemon.analysis.counting import HORIZONS, Counted, Small
from ps2daemon.analysis.matching import KINDS, Kind, Matches, column_of, numbers_of_kinds
from ps2daemon.analysis.sittings import FACTIONS, Counts, Times
from ps2daemon.model import tables
from ps2daemon.model.records import DAY, MINUTE
from ps2daemon.model.sittings import NEVER

FEWEST: Final = 10
"""Events, on at least half as many days, below which nothing is said."""
RESAMPLES: Final = 2_000
_DRAWN_AT_ONCE: Final = 2**15
"""So that they stay in the processor's cache: an eighth of the time of all together."""

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


class _Days(NamedTuple):
    """On which day of which world each event is.

    Attributes:
        number: of each event that of its day, in the order of their first events.
        order: the events by that; the first ones of the days are at `first`.
    """

    number: Counts
    order: NDArray[np.intp]
    first: NDArray[np.intp]

    def sums(self, values: _Numbers) -> _Numbers:
        """Of each day, along the last axis."""
        return np.add.reduceat(values[..., self.order], self.first, axis=-1)


class _Columns(NamedTuple):
    """The events of one kind that are not left out, in numbers.

    Attributes:
        people: at them.
        winners: of each event; 0 where nobody won.
        pairs: events of different days whose controls overlap, (2, pairs); each pair once.
    """

    people: Counted
    winners: Counts
    days: _Days
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
    matched: Matches


def measure(matched: Matches, counted: Counted, zone: tzinfo, *, curves: bool = True) -> Found:
    """The effects of all kinds of events.

    Args:
        counted: the people of each event.
        zone: whose days count.
        curves: whether they are wanted.
    """
    rows: list[Effect] = []
    drawn: list[Curve] = []
    anybody = (counted.online.sum(axis=(0, 1)) > 0) & (counted.control_online.sum(axis=(0, 1)) > 0)
    usable = matched.used & anybody
    kinds = numbers_of_kinds(matched.events)
    at, worlds, winners = (column_of(matched.events, name) for name in ("at", "world_id", "winner"))
    for number, kind in enumerate(KINDS):
        events = int((kinds == number).sum())
        places = np.flatnonzero((kinds == number) & usable)
        days = _days(at[places], worlds[places], zone)
        pairs = _pairs(worlds[places], matched.controls[places], days.number)
        columns = _Columns(counted.of(places), winners[places], days, pairs)
        groups = [_leaving(group, columns) for group in GROUPS]
        around = columns.people.around[: None if curves else 0]
        *sums, sums_around = _resampled(groups, around, columns.days)
        for group, of_group in zip(groups, sums, strict=True):
            rows += _effects(kind, group, events, columns, of_group)
        if curves and len(places):
            drawn.append(_curve(kind, columns, sums_around / sums[0][-1]))
    return Found(tuple(rows), tuple(drawn), matched)


def _days(at: Times, worlds: Counts, zone: tzinfo) -> _Days:
    if not len(at):
        return _Days(*np.empty((3, 0), dtype=np.intp))
    shown = WallClock(zone, int(at.min()), int(at.max())).shown(at)
    _, first, number = np.unique(
        worlds * _WORLDS_APART + shown // DAY, return_index=True, return_inverse=True
    )
    number = np.argsort(np.argsort(first))[number]
    order = np.argsort(number, kind="stable")
    return _Days(number, order, np.searchsorted(number[order], np.arange(len(first))))


def _pairs(worlds: Counts, controls: Times, days: Counts) -> Counts:
    """Pairs of events of different days with controls, on one world, less than the longest span apart: people may leave within both."""
    found = [np.empty((2, 0), dtype=np.int64)]
    events = len(worlds)
    there = controls != NEVER
    places, instants = np.nonzero(there)[0], controls[there]
    worlds = worlds[places]
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
    return np.stack(np.divmod(np.unique(pairs[0] * events + pairs[1]), max(1, events)))


class _Leaving(NamedTuple):
    """What a group did at each event of one kind; nothing where nobody of it was there, or at the controls.

    Attributes:
        people: (events,).
        left: (horizons, events); `expected` are as many as would leave as those at the controls do.
    """

    group: Group
    people: Counts
    left: Counts
    expected: _Numbers


def _leaving(group: Group, columns: _Columns) -> _Leaving:
    members = _members(group, columns.winners)
    by_age, control_by_age = (
        np.einsum("fae,fe->ae", each, members)
        for each in (columns.people.online, columns.people.control_online)
    )
    left = np.einsum("fahe,fe->he", columns.people.left, members)
    control_left = np.einsum("fahe,fe->ahe", columns.people.control_left, members)
    usable = (by_age.sum(axis=0) > 0) & (control_by_age.sum(axis=0) > 0)
    expected = np.zeros(left.shape)
    expected[:, usable] = _expected(by_age[:, usable], control_by_age[:, usable], control_left[:, :, usable])
    return _Leaving(group, by_age.sum(axis=0) * usable, left * usable, expected)


def _effects(kind: Kind, leaving: _Leaving, events: int, columns: _Columns, sums: _Numbers) -> list[Effect]:
    """The rows of one kind and group, one for each of `HORIZONS`.

    Args:
        events: of the kind, with those that are left out.
        sums: see `_resampled`.
    """
    n, people = int((leaving.people > 0).sum()), int(leaving.people.sum())
    if not n:
        nothing = (None, None, None, None, None)
        return [
            Effect(kind, leaving.group, minutes, 0, 0, events, *nothing, "too few events")
            for minutes in HORIZONS
        ]
    shares, control_shares = leaving.left.sum(axis=1) / people, leaving.expected.sum(axis=1) / people
    bands = _bands(leaving, columns, sums)
    return [
        Effect(kind, leaving.group, minutes, n, people, events - n, share, control, share - control, *band)
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


def _members(group: Group, winners: Counts) -> Small:
    """1 where a faction belongs to the group at an event, otherwise 0: (factions, events)."""
    members = np.zeros((len(FACTIONS), len(winners)), dtype=np.int32)
    decided = np.isin(winners, _WARRING)
    for row, faction in enumerate(FACTIONS):
        if group == "all":
            members[row] = 1
        elif group == "nso":
            members[row] = decided & (faction == tables.NSO)
        elif faction in _WARRING:
            members[row] = decided & ((winners == faction) == (group == "winner"))
    return members


def _bands(
    leaving: _Leaving, columns: _Columns, sums: _Numbers
) -> list[tuple[float | None, float | None, Verdict]]:
    """The interval of each difference, and what it says."""
    people = leaving.people
    of_days = columns.days.sums(people.astype(np.float64))
    of_days = of_days[of_days > 0]
    if np.count_nonzero(people) < FEWEST or len(of_days) < FEWEST // 2:
        return [(None, None, "too few events")] * len(HORIZONS)
    found: list[tuple[float | None, float | None, Verdict]] = []
    few = _few(of_days)
    drawn = sums[:, sums[-1] > 0]  # of a group that is at few events, some draws have nobody
    for row, more in zip(leaving.left - leaving.expected, drawn[:-1], strict=True):
        difference = float(row.sum() / people.sum())
        wider = _wider(row - difference * people, columns) * few
        off = np.quantile(more / drawn[-1] - difference, (0.025, 0.975)) * wider
        low, high = (difference + off).tolist()
        found.append((low, high, "more" if low > 0 else "fewer" if high < 0 else "no difference found"))
    return found


def _resampled(groups: Sequence[_Leaving], around: Small, days: _Days) -> list[_Numbers]:
    """Sums over all events with other days drawn: for each group, of how many more left than as at the controls, and of its people; and of `around`.

    Once for all of them, since most of the time goes into the days that are drawn, and in single precision, half the time: that is seven digits, and the draw
    itself tells no more than two.

    Returns:
        (horizons and one, resamples) of each group, and (minutes, resamples).
    """
    rows = [np.vstack([each.left - each.expected, each.people]) for each in groups]
    by_day = days.sums(np.concatenate([*rows, around]))
    sums = by_day.astype(np.float32) @ _weights(by_day.shape[1]).astype(np.float32).T
    return np.split(sums.astype(np.float64), np.cumsum([len(row) for row in rows]))


def _wider(deviations: _Numbers, columns: _Columns) -> float:
    """By how much shared controls widen an interval, of what each event deviates by from the difference of all."""
    alone = float((columns.days.sums(deviations) ** 2).sum())
    first, second = columns.pairs
    common = 2 * float((deviations[first] * deviations[second]).sum())
    return math.sqrt(1 + common / alone) if common > 0 < alone else 1.0


@lru_cache(maxsize=16)
def _weights(days: int) -> NDArray[np.uint8]:
    """How often each day is drawn, (resamples, days); 3 MB of a year of four worlds, the same for every row of as many days."""
    random = np.random.default_rng(0)
    weights = np.empty((RESAMPLES, days), dtype=np.uint8)
    rows = max(1, _DRAWN_AT_ONCE // max(1, days))
    for first in range(0, RESAMPLES, rows):
        block = weights[first : first + rows]
        drawn = random.integers(days, size=block.shape)
        drawn += np.arange(len(block))[:, None] * days
        block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)
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


def _curve(kind: Kind, columns: _Columns, drawn: _Numbers) -> Curve:
    """Around the events of one kind.

    Args:
        drawn: the same with other days drawn, (minutes, resamples).
    """
    people, then = (each.sum(axis=(0, 1)) for each in (columns.people.online, columns.people.control_online))
    expected = columns.people.control_around * (people / then)
    curve = columns.people.around.sum(axis=1) / people.sum()
    off = np.quantile(drawn - curve[:, None], (0.025, 0.975), axis=1)
    low, high = curve + off * _few(columns.days.sums(people.astype(np.float64)))
    return Curve(
        kind,
        len(people),
        tuple(map(float, curve)),
        tuple(map(float, low)),
        tuple(map(float, high)),
        tuple(map(float, expected.sum(axis=1) / people.sum())),
    )
