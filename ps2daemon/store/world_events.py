"""What new changes of state and locks make of a world's stored alerts and locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ps2daemon.model.alerts import LONGEST_ALERT, Alert, Lock, derive
from ps2daemon.model.events import Metagame
from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import Commit, StoreReader

AFFECTED: Final = DAY + LONGEST_ALERT
"""No alert or lock that is further from a new one changes by it: changes that belong together are within `LONGEST_ALERT`, and alerts that
would have the same id, and are numbered for it, began on one day."""
LOOKED_AT: Final = 2 * AFFECTED
"""Whatever decides about an affected one is no further away."""


class WorldEvents(msgspec.Struct, frozen=True):
    """The documents to write, and the ids of those to delete."""

    alerts: tuple[Alert, ...] = ()
    gone_alerts: tuple[str, ...] = ()
    locks: tuple[Lock, ...] = ()
    gone_locks: tuple[str, ...] = ()

    def __add__(self, other: WorldEvents) -> WorldEvents:
        return WorldEvents(
            self.alerts + other.alerts,
            self.gone_alerts + other.gone_alerts,
            self.locks + other.locks,
            self.gone_locks + other.gone_locks,
        )

    @property
    def commit(self) -> Commit:
        """What writes and deletes them."""
        return Commit(
            alerts=self.alerts,
            gone_alerts=self.gone_alerts,
            locks=self.locks,
            gone_locks=self.gone_locks,
        )


async def events_of_worlds(
    store: StoreReader, changes: Sequence[Metagame], locks: Sequence[Lock], as_of: Ms
) -> WorldEvents:
    """What differs once these changes of state and locks are known; `as_of` is how far the records reach."""
    found = WorldEvents()
    for world_id in sorted({change.world_id for change in changes} | {lock.world_id for lock in locks}):
        of_world = [change for change in changes if change.world_id == world_id]
        locks_of_world = [lock for lock in locks if lock.world_id == world_id]
        times = [change.at for change in of_world] + [lock.at for lock in locks_of_world]
        found += await world_events(store, world_id, min(times), max(times), as_of, of_world, locks_of_world)
    return found


async def world_events(
    store: StoreReader,
    world_id: int,
    first: Ms,
    last: Ms,
    as_of: Ms,
    changes: Sequence[Metagame] = (),
    locks: Sequence[Lock] = (),
) -> WorldEvents:
    """The same for one world, whose new changes and locks lie in `[first, last]`."""
    start, end = first - LOOKED_AT, last + LOOKED_AT
    known = {alert.alert_id: alert for alert in await store.alerts(start, end, (world_id,))}
    known_locks = {lock.lock_id: lock for lock in await store.locks(start, end, (world_id,))}
    alerts, all_locks = derive(
        [change for alert in known.values() for change in alert.changes] + list(changes),
        [*known_locks.values(), *locks],
        as_of,
    )

    def affected(at: Ms) -> bool:
        return first - AFFECTED <= at <= last + AFFECTED

    return WorldEvents(
        tuple(a for key, a in alerts.items() if known.get(key) != a and affected(a.changes[0].at)),
        tuple(key for key, a in known.items() if key not in alerts and affected(a.changes[0].at)),
        tuple(lock for key, lock in all_locks.items() if known_locks.get(key) != lock and affected(lock.at)),
        tuple(key for key, lock in known_locks.items() if key not in all_locks and affected(lock.at)),
    )
