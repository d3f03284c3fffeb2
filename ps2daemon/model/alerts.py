"""Alerts and continent locks: what the changes of state that were seen say.

Like sessions, alerts are a function of the set of events: of a world's changes of state, its locks, and how far the records
reach. An alert's instance number is unique only until the server restarts, so that changes more than `LONGEST_ALERT`
apart, or of another kind of alert, belong to another alert; and so does a start that comes after an end.

An alert ends by its first `ended` or `canceled`; without one, by the lock of its continent; without that, when its time is
up (`duration`), once the records reach `GRACE` beyond. A lock belongs to at most one alert: to the one whose end is
nearest, before any that has no end of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.events import CANCELED, ENDED, RESTARTED, STARTED, ContinentLock, Metagame
from ps2daemon.model.records import HOUR, MINUTE, Ms

LONGEST_ALERT: Final = 3 * HOUR
"""Longer than any alert: of all kinds that ever were, the longest nominally lasts two hours."""
GRACE: Final = 5 * MINUTE
"""How long after its nominal end an alert is waited for; `ended` comes about a second after (CENSUS.md 4.4)."""
LOCK_DISTANCE: Final = 2 * MINUTE
"""A lock and the end of its alert are at most so far apart."""

STARTS: Final = (STARTED, RESTARTED)
ENDS: Final = (ENDED, CANCELED)

AlertEnd: TypeAlias = Literal["event", "duration", "lock"]


class Territory(msgspec.Struct, frozen=True, gc=False):
    """Shares in percent, or None where the event did not say."""

    vs: float | None
    nc: float | None
    tr: float | None

    def winner(self) -> int | None:
        """The faction with the largest share: 0 for a tie, None where shares are missing."""
        if self.vs is None or self.nc is None or self.tr is None:
            return None
        best = max(self.vs, self.nc, self.tr)
        ahead = [
            faction
            for faction, share in ((tables.VS, self.vs), (tables.NC, self.nc), (tables.TR, self.tr))
            if share == best
        ]
        return ahead[0] if len(ahead) == 1 else 0


class Alert(msgspec.Struct, frozen=True, gc=False):
    """One alert.

    Attributes:
        alert_id: `<world>-<instance>-<start day>`, unique.
        start: None where it was not seen to start.
        end: None while it runs. Where the start was not seen and no end either, the latest that it can be.
        canceled: it was called off and has no winner.
        winner: a faction id; 0 for a tie; None where not known.
        lock_id: the lock that it ended with.
        changes: what was seen, from which all else follows.
    """

    alert_id: str
    world_id: int
    instance_id: int
    metagame_event_id: int
    name: str
    type: int | None
    zone_id: int | None
    start: Ms | None
    end: Ms | None
    ended_by: AlertEnd | None
    canceled: bool
    territory_start: Territory | None
    territory_end: Territory | None
    winner: int | None
    lock_id: str | None
    changes: tuple[Metagame, ...]


class Lock(msgspec.Struct, frozen=True, gc=False):
    """One continent lock; `alert_id` is the alert that ended with it. Populations are in percent."""

    lock_id: str
    world_id: int
    zone_id: int
    at: Ms
    winner: int
    previous_winner: int
    metagame_event_id: int
    population_vs: float | None
    population_nc: float | None
    population_tr: float | None
    alert_id: str | None = None


def lock_of(event: ContinentLock) -> Lock | None:
    """The lock that an event tells; None for zones that are no continents: each finished tutorial "locks" its own."""
    if not tables.is_continent(event.zone_id):
        return None
    return Lock(
        lock_id=f"{event.world_id}-{event.zone_id}-{event.at}",
        world_id=event.world_id,
        zone_id=event.zone_id,
        at=event.at,
        winner=event.winner,
        previous_winner=event.previous_winner,
        metagame_event_id=event.metagame_event_id,
        population_vs=event.population_vs,
        population_nc=event.population_nc,
        population_tr=event.population_tr,
    )


def derive(
    changes: Iterable[Metagame], locks: Iterable[Lock], as_of: Ms
) -> tuple[dict[str, Alert], dict[str, Lock]]:
    """The alerts and locks of one world.

    Args:
        changes: all that are nearer to each other than `LONGEST_ALERT`, in any order, repetitions allowed.
        locks: with or without an alert, in any order, repetitions allowed.
        as_of: how far the records reach.
    """
    by_zone: dict[int, list[Lock]] = {}
    for lock in sorted(locks, key=_lock_order):
        kept = by_zone.setdefault(lock.zone_id, [])
        # Of two that differ in anything else, the first by value counts.
        if not kept or kept[-1].at != lock.at:
            kept.append(msgspec.structs.replace(lock, alert_id=None))
    alerts: dict[str, Alert] = {}
    runs = [_run(cluster) for cluster in _clusters(changes)]
    owned = _owned(runs, by_zone)
    for index, run in enumerate(runs):
        alert = _alert(run, owned.get(index), as_of)
        number = 1
        alert_id = alert.alert_id
        while alert_id in alerts:
            number += 1
            alert_id = f"{alert.alert_id}-{number}"
        alerts[alert_id] = msgspec.structs.replace(alert, alert_id=alert_id)
    owners = {alert.lock_id: alert.alert_id for alert in alerts.values() if alert.lock_id is not None}
    return alerts, {
        lock.lock_id: msgspec.structs.replace(lock, alert_id=owners.get(lock.lock_id))
        for zone in by_zone.values()
        for lock in zone
    }


def _lock_order(lock: Lock) -> tuple[Ms, str]:
    return lock.at, repr(lock)


def _order(change: Metagame) -> tuple[int, Ms, bool, int, str]:
    # At one second, starts come before ends.
    return (
        change.instance_id,
        change.at,
        change.state not in STARTS,
        change.state,
        repr(change),
    )


def _clusters(changes: Iterable[Metagame]) -> list[list[Metagame]]:
    clusters: list[list[Metagame]] = []
    by_kind = sorted(set(changes), key=lambda change: (change.metagame_event_id, _order(change)))
    for change in by_kind:
        first = clusters[-1][0] if clusters else None
        if (
            first is None
            or (first.metagame_event_id, first.instance_id) != (change.metagame_event_id, change.instance_id)
            or change.at - first.at > LONGEST_ALERT
            or (change.state in STARTS and any(known.state in ENDS for known in clusters[-1]))
        ):
            clusters.append([])
        clusters[-1].append(change)
    return sorted(clusters, key=lambda cluster: (cluster[0].at, _order(cluster[0])))


def _territory(change: Metagame) -> Territory:
    return Territory(change.territory_vs, change.territory_nc, change.territory_tr)


class _Run(NamedTuple):
    """The changes of one alert, and what they say by themselves."""

    changes: Sequence[Metagame]
    kind: tables.MetagameEvent | None
    zone_id: int | None
    started: Metagame | None
    ended: Metagame | None

    @property
    def due(self) -> Ms:
        """When its time is up, at the latest: where it was not seen to start, the time counts from its first change."""
        begun = self.changes[0].at if self.started is None else self.started.at
        return begun + _duration(self.kind, begun)


def _duration(kind: tables.MetagameEvent | None, begun: Ms) -> Ms:
    return tables.DEFAULT_ALERT if kind is None else kind.duration(begun)


def due(alert: Alert) -> Ms:
    """When an alert's time is up, at the latest."""
    begun = alert.changes[0].at if alert.start is None else alert.start
    return begun + _duration(tables.metagame_events().get(alert.metagame_event_id), begun)


def runs(alert: Alert, at: Ms) -> bool:
    """Whether it runs then, as far as is known: it started, no end is known, and its time is not up.

    An alert stays without an end where the recording stopped in it.
    """
    return alert.start is not None and alert.end is None and alert.start <= at < due(alert) + GRACE


def _run(changes: Sequence[Metagame]) -> _Run:
    kind = tables.metagame_events().get(changes[0].metagame_event_id)
    zone_id = next((change.zone_id for change in changes if change.zone_id is not None), None)
    if zone_id is None and kind is not None:
        zone_id = kind.zone_id
    return _Run(
        changes,
        kind,
        zone_id,
        started=next((change for change in changes if change.state in STARTS), None),
        ended=next((change for change in changes if change.state in ENDS), None),
    )


def _owned(runs: Sequence[_Run], by_zone: Mapping[int, Sequence[Lock]]) -> dict[int, Lock]:
    """The lock of each run that ended with one, by the run's index; no lock twice."""
    claims: list[tuple[bool, Ms, Ms, int, Lock]] = []
    for index, run in enumerate(runs):
        if run.zone_id is None or (run.kind is not None and not run.kind.locks):
            continue
        ended, started, due = run.ended, run.started, run.due
        for lock in by_zone.get(run.zone_id, ()):
            if ended is not None:
                distance = abs(lock.at - ended.at)
                if ended.state != CANCELED and distance <= LOCK_DISTANCE:
                    claims.append((False, distance, lock.at, index, lock))
            elif started is not None and started.at < lock.at <= due + LOCK_DISTANCE:
                claims.append((True, lock.at, lock.at, index, lock))
    owned: dict[int, Lock] = {}
    taken: set[str] = set()
    for _, _, _, index, lock in sorted(claims, key=lambda claim: claim[:4]):
        if index not in owned and lock.lock_id not in taken:
            owned[index] = lock
            taken.add(lock.lock_id)
    return owned


def _alert(run: _Run, lock: Lock | None, as_of: Ms) -> Alert:
    first, kind, started, ended = run.changes[0], run.kind, run.started, run.ended
    end: Ms | None = None
    ended_by: AlertEnd | None = None
    if ended is not None:
        end, ended_by = ended.at, "event"
    elif lock is not None:
        end, ended_by = lock.at, "lock"
    elif as_of >= run.due + GRACE:
        end, ended_by = run.due, "duration"
    canceled = ended is not None and ended.state == CANCELED
    territory_end = None if ended is None else _territory(ended)
    winner = None
    if lock is not None and lock.winner in (tables.VS, tables.NC, tables.TR):
        winner = lock.winner
    elif territory_end is not None and not canceled:
        winner = territory_end.winner()
    return Alert(
        alert_id=f"{first.world_id}-{first.instance_id}-{tables.start_day(first.at)}",
        world_id=first.world_id,
        instance_id=first.instance_id,
        metagame_event_id=first.metagame_event_id,
        name=f"Alert {first.metagame_event_id}" if kind is None else kind.name,
        type=None if kind is None else kind.type,
        zone_id=run.zone_id,
        start=None if started is None else started.at,
        end=end,
        ended_by=ended_by,
        canceled=canceled,
        territory_start=None if started is None else _territory(started),
        territory_end=territory_end,
        winner=winner,
        lock_id=None if lock is None else lock.lock_id,
        changes=tuple(run.changes),
    )
