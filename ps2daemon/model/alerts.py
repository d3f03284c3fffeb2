"""Alerts and continent locks: what the changes of state that were seen say.

Like sessions, alerts are a function of the set of events: of a world's changes of state, its locks, and how far the records
reach. An alert's instance number is unique only until the server restarts, so that changes more than `LONGEST_ALERT`
apart, or of another kind of alert, belong to another alert; and so does a start that comes after an end.

An alert ends by its first `ended` or `canceled`; without one, by the lock of its continent; without that, when its time is
up (`duration`), once the records reach `GRACE` beyond.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.events import CANCELED, ENDED, RESTARTED, STARTED, ContinentLock, Metagame
from ps2daemon.model.records import HOUR, MINUTE, Ms

LONGEST_ALERT: Final = 3 * HOUR
"""Twice the longest nominal duration."""
GRACE: Final = 5 * MINUTE
"""How long after its nominal end an alert is waited for; `ended` comes about a second after (CENSUS.md 4.4)."""
LOCK_DISTANCE: Final = 2 * MINUTE
"""A lock and the end of its alert are at most so far apart."""

STARTS: Final = (STARTED, RESTARTED)
ENDS: Final = (ENDED, CANCELED)

AlertEnd: TypeAlias = Literal["event", "duration", "lock"]


class Territory(msgspec.Struct, frozen=True):
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


class Alert(msgspec.Struct, frozen=True):
    """One alert.

    Attributes:
        alert_id: `<world>-<instance>-<start day>`, unique.
        start: None where it was not seen to start.
        end: None while it runs, or where only a change in its middle was seen.
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


class Lock(msgspec.Struct, frozen=True):
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
        if (
            not kept or kept[-1].at != lock.at
        ):  # of two that differ in anything else, the first by value counts
            kept.append(msgspec.structs.replace(lock, alert_id=None))
    alerts: dict[str, Alert] = {}
    for cluster in _clusters(changes):
        alert = _alert(cluster, by_zone, as_of)
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


def _alert(cluster: Sequence[Metagame], locks: dict[int, list[Lock]], as_of: Ms) -> Alert:
    first = cluster[0]
    kind = tables.metagame_events().get(first.metagame_event_id)
    started = next((change for change in cluster if change.state in (STARTED, RESTARTED)), None)
    ended = next((change for change in cluster if change.state in (ENDED, CANCELED)), None)
    zone_id = next((change.zone_id for change in cluster if change.zone_id is not None), None)
    if zone_id is None and kind is not None:
        zone_id = kind.zone_id
    start = None if started is None else started.at
    duration = tables.DEFAULT_ALERT if kind is None else kind.duration(first.at)
    end: Ms | None = None
    ended_by: AlertEnd | None = None
    zone_locks = [] if zone_id is None or (kind is not None and not kind.locks) else locks.get(zone_id, [])
    lock: Lock | None = None
    if ended is not None:
        end, ended_by = ended.at, "event"
        near = [lock for lock in zone_locks if abs(lock.at - ended.at) <= LOCK_DISTANCE]
        lock = min(near, key=lambda lock: (abs(lock.at - ended.at), lock.at), default=None)
    elif start is not None:
        lock = next(
            (lock for lock in zone_locks if start < lock.at <= start + duration + LOCK_DISTANCE), None
        )
        if lock is not None:
            end, ended_by = lock.at, "lock"
        elif as_of >= start + duration + GRACE:
            end, ended_by = start + duration, "duration"
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
        zone_id=zone_id,
        start=start,
        end=end,
        ended_by=ended_by,
        canceled=canceled,
        territory_start=None if started is None else _territory(started),
        territory_end=territory_end,
        winner=winner,
        lock_id=None if lock is None else lock.lock_id,
        changes=tuple(cluster),
    )
