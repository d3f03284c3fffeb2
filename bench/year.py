"""A year of several worlds, made up and written into a store: for measuring how long readers wait.

People come by the simulator's rhythm of each world and stay for an hour in the mean and twelve at most; alerts and locks are those of the simulator's schedule
(8.6 alerts a day and world); the recording has a gap about once a week. Everything is written with the store's own documents, except for
characters, which nothing of the page reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ps2daemon.model.alerts import Alert, Lock, derive, lock_of
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import CANCELED, ENDED, STARTED, ContinentLock, Metagame
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import CAP, MEAN_SESSION
from ps2daemon.simulator.schedule import Schedule
from ps2daemon.simulator.settings import PopulationSettings, faction_shares, level
from ps2daemon.store.base import Commit, SessionDocument, Store

WORLDS: Final = (1, 10, 19, 40)
"""Those that run today."""
DAYS: Final = 365
CHARACTERS: Final = 400_000
CHECKED_SHARE: Final = 0.02
"""Sessions whose logout was not seen."""
UNSEEN_SHARE: Final = 0.002
"""Sessions whose login was not seen."""
UNNAMED_SHARE: Final = 0.005
MEAN_RECORDED: Final = 7 * DAY
"""Between two gaps."""
CHUNK: Final = 20_000
"""Documents of one commit."""
_QUARTER: Final = 15 * MINUTE
_FACTIONS: Final = (1, 2, 3, 4, 0)

T = TypeVar("T")


class Year(NamedTuple):
    """What is written: so many days of these worlds up to `end`, with `scale` times the people of today."""

    end: Ms
    scale: float
    days: int = DAYS
    worlds: tuple[int, ...] = WORLDS

    @property
    def start(self) -> Ms:
        """The midnight where it begins."""
        return (self.end - self.days * DAY) // DAY * DAY


async def fill(store: Store, year: Year) -> int:
    """Writes it all, and returns how many sessions that are."""
    settings = PopulationSettings(worlds=year.worlds, scale=year.scale)
    written = 0
    for chunk in chunks(sessions(year, settings)):
        await store.commit(Commit(sessions=chunk))
        written += len(chunk)
    for world_id in year.worlds:
        alerts, locks = world_events(year, settings, world_id)
        for some in chunks(alerts):
            await store.commit(Commit(alerts=some))
        for few in chunks(locks):
            await store.commit(Commit(locks=few))
        await store.commit(Commit(spans=spans(year, world_id), records_until=year.end))
    await store.refresh()
    return written


def chunks(documents: Iterable[T]) -> Iterator[list[T]]:
    """As many documents as one commit takes at a time."""
    left = iter(documents)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def sessions(year: Year, settings: PopulationSettings) -> Iterator[SessionDocument]:
    """Day by day, those of each by their logins."""
    random = np.random.default_rng(settings.seed)
    for day in range(year.start, year.end, DAY):
        of_day = [
            document
            for world_id in year.worlds
            for document in _of_day(random, settings, world_id, day, min(day + DAY, year.end), year.end)
        ]
        yield from sorted(of_day, key=lambda document: document.login_ts or document.logout_ts or 0)


def _of_day(
    random: np.random.Generator, settings: PopulationSettings, world_id: int, day: Ms, behind: Ms, now: Ms
) -> Iterator[SessionDocument]:
    quarters = np.arange(day, behind, _QUARTER)
    people = np.array([level(settings, world_id, int(at)) for at in quarters])
    counts = random.poisson(people * (_QUARTER / MEAN_SESSION))
    number = int(counts.sum())
    logins = _whole(np.repeat(quarters, counts) + random.integers(0, _QUARTER, number))
    logouts = logins + SECOND + _whole(np.minimum(random.exponential(MEAN_SESSION, number), CAP))
    shares = [(1 - UNNAMED_SHARE) * share for share in faction_shares(settings, world_id, day)]
    factions = random.choice(_FACTIONS, number, p=[*shares, 1 - sum(shares)])
    owners = random.integers(0, CHARACTERS, number)
    fates = random.random(number)
    for login, logout, faction, owner, fate in zip(
        *(column.tolist() for column in (logins, logouts, factions, owners, fates)), strict=True
    ):
        if login < now:
            yield _session(f"542801{world_id:04d}{owner:09d}", world_id, faction, login, logout, fate, now)


def _session(
    character: str, world_id: int, faction: int, login: Ms, logout: Ms, fate: float, now: Ms
) -> SessionDocument:
    own = (character, world_id, faction)
    key, before = f"{character}-{login}", login - DAY
    if logout >= now:
        return SessionDocument(key, *own, login, None, "login", None, None, None, before)
    if fate < UNSEEN_SHARE:
        key = f"{character}-{logout}-out"
        return SessionDocument(key, *own, None, logout, "unknown", "logout", None, None, before)
    if fate < UNSEEN_SHARE + CHECKED_SHARE:
        until = 2 * logout - login
        return SessionDocument(key, *own, login, logout, "login", "offline_check", login, until, before)
    return SessionDocument(key, *own, login, logout, "login", "logout", None, None, before)


def _whole(times: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
    return times.astype(np.int64) // SECOND * SECOND


def world_events(
    year: Year, settings: PopulationSettings, world_id: int
) -> tuple[Sequence[Alert], Sequence[Lock]]:
    """The alerts and locks of one world, as the events that tell them would be stored."""
    schedule = Schedule(settings, world_id, year.start)
    schedule.reach(year.end)
    changes, locks = [], []
    for alert in schedule.alerts:
        common = (world_id, alert.instance_id, alert.metagame_event_id)
        for state, at, territory in (
            (STARTED, alert.start, alert.territory_start),
            (CANCELED if alert.canceled else ENDED, alert.end, alert.territory_end),
        ):
            if at < year.end:
                changes.append(Metagame(*common, state, at, alert.zone_id, *territory))
    for lock in schedule.locks:
        event = ContinentLock(
            world_id, lock.zone_id, lock.at, lock.winner, lock.previous_winner, 0, *lock.population
        )
        if lock.at < year.end and (found := lock_of(event)) is not None:
            locks.append(found)
    derived, known = derive(changes, locks, year.end)
    return list(derived.values()), list(known.values())


def spans(year: Year, world_id: int) -> list[Span]:
    """What is recorded of a world: all but a few minutes to hours about once a week."""
    random = Random(f"gaps/{world_id}")
    found: list[Span] = []
    at = year.start
    while at < year.end:
        until = min(year.end, at + int(random.expovariate(1 / MEAN_RECORDED)) + HOUR)
        found.append(Span(world_id, at, until, "connection" if found else "start"))
        at = until + int(random.expovariate(1 / (20 * MINUTE))) + MINUTE
    return found
