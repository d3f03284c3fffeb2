"""One story of all worlds, in the order in which things happen: a function of the settings and its origin.

It is made as far as somebody asks, so that it has no end. It begins in an empty game; a day of warming up before the
time of interest (`origin_before`) has everybody online who should be, with a login that lies before it.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Final

import msgspec

from ps2daemon.model.events import CANCELED, ENDED, STARTED, ContinentLock, Login, Logout, Metagame
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.simulator.payloads import Happening
from ps2daemon.simulator.population import WorldPopulation
from ps2daemon.simulator.schedule import Schedule, start_of_day
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.truth import Shares, TrueAlert, TrueCharacter, TrueLock, Truth

_CHUNK: Final = HOUR


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One thing that happens.

    Attributes:
        about: the character that came or went, the alert that changed, or the lock.
    """

    at: Ms
    event: Happening
    about: TrueCharacter | TrueAlert | TrueLock


_AT: Final = attrgetter("at")


class Timeline:
    """Everything that happens from `origin` on.

    Args:
        origin: a UTC midnight (`origin_before`).
    """

    def __init__(self, settings: PopulationSettings, origin: Ms) -> None:
        self.origin = origin
        self._made = origin
        self._schedules = {world_id: Schedule(settings, world_id, origin) for world_id in settings.worlds}
        hostile = min(settings.worlds)
        self._populations = [
            WorldPopulation(settings, world_id, schedule, origin, hostile=world_id == hostile)
            for world_id, schedule in self._schedules.items()
        ]
        self._pending: list[Moment] = []

    def advance(self, until: Ms) -> list[Moment]:
        """What happens before `until` and was not told before, in order."""
        while self._made < until:
            self._make(self._made + _CHUNK)
        cut = bisect_left(self._pending, until, key=_AT)
        told, self._pending = self._pending[:cut], self._pending[cut:]
        return told

    def _make(self, until: Ms) -> None:
        """Makes one chunk; all of its moments are known once every arrival in it is."""
        since, self._made = self._made, until
        add = self._pending.append
        for population in self._populations:
            for login, logout, character, _ in population.sittings(until):
                who, world_id = character.character_id, character.world_id
                add(Moment(login, Login(who, world_id, login), character))
                add(Moment(logout, Logout(who, world_id, logout), character))
        for schedule in self._schedules.values():
            schedule.reach(until)
            for event, about in _world_events(schedule, since, until):
                add(Moment(event.at, event, about))
        self._pending.sort(key=_AT)  # stable: what was made first comes first in one second


def _world_events(
    schedule: Schedule, since: Ms, until: Ms
) -> list[tuple[Metagame | ContinentLock, TrueAlert | TrueLock]]:
    found: list[tuple[Metagame | ContinentLock, TrueAlert | TrueLock]] = []
    for alert in schedule.alerts_from(since - 3 * HOUR):
        if since <= alert.start < until:
            found.append((_change(alert, STARTED, alert.start, alert.territory_start), alert))
        if since <= alert.end < until:
            state = CANCELED if alert.canceled else ENDED
            found.append((_change(alert, state, alert.end, alert.territory_end), alert))
    first = bisect_left(schedule.locks, since, key=lambda lock: lock.at)
    for lock in schedule.locks[first:]:
        if lock.at >= until:
            break
        found.append((_lock(lock), lock))
    return found


def _change(alert: TrueAlert, state: int, at: Ms, territory: Shares) -> Metagame:
    return Metagame(
        world_id=alert.world_id,
        instance_id=alert.instance_id,
        metagame_event_id=alert.metagame_event_id,
        state=state,
        at=at,
        zone_id=alert.zone_id,
        territory_vs=territory[0],
        territory_nc=territory[1],
        territory_tr=territory[2],
    )


def _lock(lock: TrueLock) -> ContinentLock:
    return ContinentLock(
        world_id=lock.world_id,
        zone_id=lock.zone_id,
        at=lock.at,
        winner=lock.winner,
        previous_winner=lock.previous_winner,
        metagame_event_id=0,
        population_vs=lock.population[0],
        population_nc=lock.population[1],
        population_tr=lock.population[2],
    )


def origin_before(at: Ms) -> Ms:
    """Where a timeline must begin so that at `at` it is warm: the midnight of the day before."""
    return start_of_day(at) - DAY


def tell(truth: Truth, moment: Moment, sent: Ms | None = None) -> None:
    """Adds a moment to a truth."""
    match moment.about:
        case TrueCharacter() as character:
            if isinstance(moment.event, Login):
                truth.login(character, moment.at, sent)
            else:
                truth.logout(character.character_id, moment.at, sent)
        case TrueAlert() as alert:
            if isinstance(moment.event, Metagame) and moment.event.state == STARTED:
                truth.alerts.append(alert)
        case TrueLock() as lock:
            truth.locks.append(lock)
