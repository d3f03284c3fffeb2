"""Ends of alerts and continent locks as events, and the instants that each is compared with.

- An event is the end of an alert that was not called off, a continent lock, or both, where an alert ended with it: at the earlier of the two
  instants. An alert of which neither start nor end was seen is none: when it ended is not known.
- A control of an event is the same wall-clock time of the same weekday `WEEKS` weeks before to after, on the same world; or the nearest instant
  within `SLACK` of it. Nothing ended or locked there from `QUIET` before to `QUIET` after, and coverage is whole from `BEFORE` before to `AFTER` after.
- An event that is as near to another one, or to a gap, is left out, and so is one without a control; each with the first of these reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.clock import WallClock
from ps2daemon.analysis.sittings import Times
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sittings import NEVER

WEEKS: Final = 4
SLACK: Final = tuple(minutes * MINUTE for minutes in (0, 5, -5, 10, -10, 15, -15))
"""In the order of preference."""
QUIET: Final = 30 * MINUTE
BEFORE: Final = 30 * MINUTE
AFTER: Final = HOUR
REACH: Final = WEEKS * 7 * DAY + 2 * HOUR
"""How far from the window of its events anything is looked at; an hour is for changes of the clock."""
EARLY: Final = MINUTE
"""An alert that ends so much before its time was won by domination."""

_order: Final = attrgetter("at", "world_id", "kind", "alert_id", "lock_id")
"""An id is None for all events of a kind, or for none."""

Kind: TypeAlias = Literal["alert_end", "alert_end_and_lock", "lock"]
KINDS: Final[tuple[Kind, ...]] = ("alert_end", "alert_end_and_lock", "lock")
Reason: TypeAlias = Literal["overlapping", "gap", "no control"]
REASONS: Final[tuple[Reason | None, ...]] = (None, "overlapping", "gap", "no control")


class Event(NamedTuple):
    """Something that people may leave because of.

    Attributes:
        at: its instant; `also` is that of the lock, or of the alert's end, that comes with it.
        winner: a faction id; 0 where there is none.
        minutes: how long the alert was to last; None where that is not known, or without an alert.
        dominated: it ended before that; None likewise.
        alert_id, lock_id: which they were.
    """

    kind: Kind
    world_id: int
    at: Ms
    also: Ms
    winner: int
    name: str | None = None
    minutes: int | None = None
    dominated: bool | None = None
    zone_id: int | None = None
    alert_id: str | None = None
    lock_id: str | None = None


class Matched(NamedTuple):
    """An event with its controls; or without any, and why it is left out."""

    event: Event
    controls: tuple[Ms, ...] = ()
    left_out: Reason | None = None


@dataclass(frozen=True, eq=False)
class Matches:
    """Events with their controls, in columns: a year has 15,000 of the one, and 100,000 of the other.

    Attributes:
        controls: (events, most); of each event in order, and behind the last one `NEVER`.
        reasons: of `REASONS` the number of each event's.
    """

    events: Sequence[Event]
    controls: Times
    reasons: NDArray[np.int8]

    def __iter__(self) -> Iterator[Matched]:
        for event, controls, reason in zip(
            self.events, self.controls.tolist(), self.reasons.tolist(), strict=True
        ):
            yield Matched(event, tuple(at for at in controls if at != NEVER), REASONS[reason])

    def of(self, places: Sequence[int]) -> Matches:
        """Those of the events at these places."""
        return Matches([self.events[place] for place in places], self.controls[places], self.reasons[places])

    def others_than(self, matched: Matches) -> Matches:
        """Those that have other controls there, where the same events stand in the same order."""
        return self.of(np.flatnonzero((self.controls != matched.controls).any(axis=1)).tolist())

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which of them are not left out."""
        return np.asarray(self.reasons == 0, dtype=np.bool_)

    def left_out(self, kind: Kind) -> list[Reason | None]:
        """Why each event of a kind is left out, or that it is not."""
        return [
            REASONS[reason]
            for event, reason in zip(self.events, self.reasons.tolist(), strict=True)
            if event.kind == kind
        ]


def column_of(events: Sequence[Event], name: Literal["at", "also", "world_id", "winner"]) -> Times:
    """One of the numbers of each event."""
    return np.fromiter(map(attrgetter(name), events), dtype=np.int64, count=len(events))


def numbers_of_kinds(events: Sequence[Event]) -> NDArray[np.intp]:
    """The number of each event's kind among `KINDS`."""
    numbers = {kind: number for number, kind in enumerate(KINDS)}
    return np.fromiter((numbers[event.kind] for event in events), dtype=np.intp, count=len(events))


def events_of(alerts: Iterable[Alert], locks: Iterable[Lock], start: Ms, end: Ms) -> list[Event]:
    """The events in `[start, end)`, in order, whatever that of the alerts and locks is."""
    by_id = {lock.lock_id: lock for lock in locks}
    events = []
    ended_with = set()
    for alert in alerts:
        known = alert.end is not None and (alert.start is not None or alert.ended_by != "duration")
        if alert.canceled or alert.end is None or not known:
            continue
        lock = by_id.get(alert.lock_id) if alert.lock_id is not None else None
        if lock is not None:
            ended_with.add(lock.lock_id)
        events.append(_alert_event(alert, alert.end, lock))
    events += [
        Event(
            "lock", lock.world_id, lock.at, lock.at, lock.winner, zone_id=lock.zone_id, lock_id=lock.lock_id
        )
        for lock in by_id.values()
        if lock.lock_id not in ended_with
    ]
    return sorted((event for event in events if start <= event.at < end), key=_order)


def _alert_event(alert: Alert, end: Ms, lock: Lock | None) -> Event:
    kind = tables.metagame_events().get(alert.metagame_event_id)
    minutes = dominated = None
    if kind is not None and alert.start is not None:
        length = kind.duration(alert.start)
        minutes = length // MINUTE
        dominated = end < alert.start + length - EARLY
    return Event(
        "alert_end" if lock is None else "alert_end_and_lock",
        alert.world_id,
        end if lock is None else min(end, lock.at),
        end if lock is None else max(end, lock.at),
        alert.winner or 0,
        alert.name,
        minutes,
        dominated,
        alert.zone_id,
        alert.alert_id,
        None if lock is None else lock.lock_id,
    )


class Calm:
    """When nothing ended on one world and everything was recorded."""

    def __init__(self, disturbances: Iterable[Ms], coverage: WorldCoverage) -> None:
        self._disturbances = np.sort(np.fromiter(disturbances, dtype=np.int64))
        spans = coverage.spans
        self._starts = np.array([span.start for span in spans], dtype=np.int64)
        self._ends = np.array([span.end for span in spans], dtype=np.int64)

    def disturbed(self, start: Times, end: Times) -> Times:
        """How much ended from `start` to `end`, for each pair."""
        first = np.searchsorted(self._disturbances, start, side="left")
        return np.asarray(np.searchsorted(self._disturbances, end, side="right") - first, dtype=np.int64)

    def undisturbed(self, start: Times, end: Times) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether nothing ended from `start` to `end`; in half the time."""
        if not len(self._disturbances):
            return np.ones(start.shape, dtype=np.bool_)
        first = np.searchsorted(self._disturbances, start, side="left")
        behind = first == len(self._disturbances)
        return np.asarray(behind | (self._disturbances.take(first, mode="clip") > end), dtype=np.bool_)

    def covered(self, at: Times) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether there is no gap from `BEFORE` before to `AFTER` after each instant."""
        if not len(self._starts):
            return np.zeros(at.shape, dtype=np.bool_)
        index = np.searchsorted(self._starts, at - BEFORE, side="right") - 1
        return (index >= 0) & (self._ends[np.maximum(index, 0)] >= at + AFTER)


def disturbances_of(alerts: Iterable[Alert], locks: Iterable[Lock]) -> dict[int, list[Ms]]:
    """By world, whatever may have made people leave: ends of alerts, also of those that were called off, and locks."""
    found: dict[int, list[Ms]] = {}
    for alert in alerts:
        if alert.end is not None:
            found.setdefault(alert.world_id, []).append(alert.end)
    for lock in locks:
        found.setdefault(lock.world_id, []).append(lock.at)
    return found


def match(
    events: Sequence[Event],
    disturbances: Mapping[int, Iterable[Ms]],
    coverage: Mapping[int, WorldCoverage],
    zone: tzinfo,
) -> Matches:
    """Each event with its controls, in the same order.

    Args:
        disturbances: all from `REACH` before the first event to `REACH` after the last one, those of the events among them.
        zone: whose clock and weekdays count.
    """
    at, also, worlds = (column_of(events, name) for name in ("at", "also", "world_id"))
    own = 1 + (numbers_of_kinds(events) == KINDS.index("alert_end_and_lock"))
    controls = np.full((len(events), 2 * WEEKS), NEVER)
    reasons = np.empty(len(events), dtype=np.int8)
    for world_id in np.unique(worlds).tolist():
        calm = Calm(disturbances.get(world_id, ()), coverage.get(world_id) or WorldCoverage())
        there = np.flatnonzero(worlds == world_id)
        alone = calm.disturbed(at[there] - QUIET, also[there] + QUIET) <= own[there]
        whole = calm.covered(at[there])
        usable = there[alone & whole]
        controls[usable] = _controls(at[usable], calm, zone)
        alike = (controls[there] != NEVER).any(axis=1)
        why = np.select((~alone, ~whole, ~alike), [REASONS.index(reason) for reason in REASONS[1:]])
        reasons[there] = why
    return Matches(events, controls, reasons)


def _controls(at: Times, calm: Calm, zone: tzinfo) -> Times:
    """Of each instant, those in other weeks that it is compared with, in order; `NEVER` behind them."""
    if not len(at):
        return np.empty((0, 2 * WEEKS), dtype=np.int64)
    weeks = [week for number in range(1, WEEKS + 1) for week in (-number, number)]
    clock = WallClock(zone, int(at.min()) - REACH, int(at.max()) + REACH)
    then = clock.instant(clock.shown(at)[:, None] + np.array(weeks) * (7 * DAY))
    choices = then[:, :, None] + np.array(SLACK, dtype=np.int64)
    good = calm.undisturbed(choices - QUIET, choices + QUIET) & calm.covered(choices)
    best = np.argmax(good, axis=2)
    found = np.take_along_axis(choices, best[:, :, None], axis=2)[:, :, 0]
    return np.sort(np.where(good.any(axis=2), found, NEVER), axis=1)
