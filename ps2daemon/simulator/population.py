"""Who is online on one world: arrivals follow the world's rhythm, and each draws a character and a length.

People come as a Poisson process whose rate is such that the level (`settings.level`) is met on average; sessions are
lognormal. Some log in again within three minutes. What an alert's end or a lock does to somebody online is decided when
the session is made, since the schedule does not depend on people.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

from ps2daemon.model import tables
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.simulator.names import HOSTILE_NAME, character_id, character_name
from ps2daemon.simulator.schedule import Schedule
from ps2daemon.simulator.settings import (
    LEAVE_MEAN_SECONDS,
    PopulationSettings,
    faction_shares,
    level,
    shape_of,
)
from ps2daemon.simulator.truth import TrueCharacter

MEDIAN_SECONDS: Final = 35 * 60
SIGMA: Final = math.sqrt(2 * math.log(60 / 35))
"""The mean of a lognormal is its median times exp(sigma² / 2); here 60 minutes before it is cut."""
SHORTEST_SECONDS: Final = 20
LONGEST_SECONDS: Final = 11 * 3600
"""Under the 12 hours after which a session without evidence counts as over."""
RELOG_SHARE: Final = 0.08
RELOG_SECONDS: Final = (3, 170)
"""A login within three minutes of the logout is no leaving."""
ANOTHER_DAY: Final = 4 * MINUTE
"""Nobody comes back sooner than this but by a relog, so that the two can be told apart."""
NEW_SHARE: Final = 0.04
RETURNING_SHARE: Final = 0.4
"""Of new characters that are ever seen again."""
POOL_PER_PEAK: Final = 12.0
"""Regulars for each person online at the peak."""
_HEAVIEST: Final = 16.0
_STEP: Final = 5 * MINUTE
_MEAN_SECONDS: Final = 58.5 * 60  # of the lognormal, cut at `LONGEST_SECONDS`
_LEAD: Final = (
    75 * MINUTE
)  # who arrives makes the level of later: half the mean square of a session over its mean
_TRIES: Final = 6
_FACTIONS: Final = (tables.VS, tables.NC, tables.TR, tables.NSO)


class Sitting(NamedTuple):
    """One session to come: `login <= t < logout`.

    Attributes:
        planned: when it would end if no alert ended and nothing locked; the logout or later.
    """

    login: Ms
    logout: Ms
    character: TrueCharacter
    planned: Ms


class _Person:
    __slots__ = ("character", "free_at")

    def __init__(self, character: TrueCharacter) -> None:
        self.character = character
        self.free_at: Ms = 0


class _Pool:
    """The regulars of one empire, with how often each is drawn."""

    def __init__(self) -> None:
        self.people: list[_Person] = []
        self.weights: list[float] = []  # cumulated

    def add(self, person: _Person, weight: float) -> None:
        self.people.append(person)
        self.weights.append(weight + (self.weights[-1] if self.weights else 0.0))


class WorldPopulation:
    """The people of one world from `origin` on, when it is empty; it takes `LONGEST_SECONDS` to fill."""

    def __init__(
        self, settings: PopulationSettings, world_id: int, schedule: Schedule, origin: Ms, *, hostile: bool
    ) -> None:
        self._settings = settings
        self._world_id = world_id
        self._schedule = schedule
        self._at = origin
        self._random = Random(f"{settings.seed}/people/{world_id}")
        self._number = 0
        shape = shape_of(world_id)
        self._pools = []
        for faction_id, share in zip(_FACTIONS, shape.shares, strict=True):
            pool = _Pool()
            for _ in range(4 + round(shape.peak * settings.scale * share * POOL_PER_PEAK)):
                created = origin - int(self._random.expovariate(1 / (900 * DAY))) - DAY
                pool.add(self._person(faction_id, created, 0), self._weight())
            self._pools.append(pool)
        if hostile:  # the first of the VS, and the one seen most often
            self._pools[0].people[0].character.name = HOSTILE_NAME
            self._pools[0].weights = [weight + _HEAVIEST for weight in self._pools[0].weights]

    def sittings(self, until: Ms) -> list[Sitting]:
        """The sessions of everybody who arrives before `until` and after the last call's, with their relogs, which may
        begin later; in the order of arrival."""
        made: list[Sitting] = []
        while self._at < until:
            self._step(made)
        return made

    def _step(self, made: list[Sitting]) -> None:
        random = self._random
        start = self._at
        self._at = end = start + _STEP
        middle = start + _STEP // 2
        people = level(self._settings, self._world_id, middle + _LEAD)
        rate = people * (1 - RELOG_SHARE) / (_MEAN_SECONDS * SECOND)  # arrivals a millisecond
        shares = list(accumulate(faction_shares(self._settings, self._world_id, middle)))
        self._schedule.reach(end + HOUR)
        arrival = start + random.expovariate(rate)
        while arrival < end:
            login = int(arrival) // SECOND * SECOND
            faction = min(bisect_right(shares, random.random()), len(_FACTIONS) - 1)
            person = self._draw(faction, login)
            again: Ms | None = login
            while again is not None:
                again = self._sit(person, again, made)
            arrival += random.expovariate(rate)

    def _sit(self, person: _Person, login: Ms, made: list[Sitting]) -> Ms | None:
        """Adds one session; returns when the person logs in again, if that is at once."""
        random = self._random
        seconds = MEDIAN_SECONDS * math.exp(random.gauss(0.0, SIGMA))
        logout = planned = login + int(min(LONGEST_SECONDS, max(SHORTEST_SECONDS, seconds))) * SECOND
        left = self._leaves(person.character.faction_id, login, planned)
        if left is not None:
            logout = left
        made.append(Sitting(login, logout, person.character, planned))
        if left is None and random.random() < RELOG_SHARE:
            return logout + random.randrange(*RELOG_SECONDS) * SECOND
        person.free_at = logout + ANOTHER_DAY
        return None

    def _leaves(self, faction_id: int, login: Ms, logout: Ms) -> Ms | None:
        """When somebody goes because of an alert's end or a lock, if that is before the planned logout."""
        schedule = self._schedule
        schedule.reach(logout)
        left = None
        for effect in schedule.effects[bisect_left(schedule.effect_times, login) :]:
            if effect.at >= logout:
                break
            if self._random.random() < effect.probability(faction_id):
                seconds = 1 + int(self._random.expovariate(1 / LEAVE_MEAN_SECONDS))
                if effect.at + seconds * SECOND < logout:
                    left = logout = max(effect.at + seconds * SECOND, login + SECOND)
        return left

    def _draw(self, faction: int, at: Ms) -> _Person:
        random = self._random
        pool = self._pools[faction]
        if random.random() >= NEW_SHARE:
            for _ in range(_TRIES):
                person = pool.people[bisect_right(pool.weights, random.random() * pool.weights[-1])]
                if person.free_at <= at:
                    return person
        person = self._person(_FACTIONS[faction], at, None)
        if random.random() < RETURNING_SHARE:
            pool.add(person, 0.5 * self._weight())
        return person

    def _person(self, faction_id: int, created: Ms, first_end: Ms | None) -> _Person:
        number = self._number
        self._number += 1
        return _Person(
            TrueCharacter(
                character_id=character_id(self._world_id, number),
                name=character_name(number),
                faction_id=faction_id,
                world_id=self._world_id,
                created=created,
                first_end=first_end,
            )
        )

    def _weight(self) -> float:
        return min(_HEAVIEST, self._random.paretovariate(1.25))
