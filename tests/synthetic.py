"""A made-up fortnight on a few worlds, with a daily rhythm, a gap, alerts, locks and a note; the same for the same seed."""

from __future__ import annotations

import math
import random

from ps2daemon.model.alerts import Alert, Lock, derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED, Metagame
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.store.base import SessionDocument
from tests.memory_reader import MemoryReader, session

NOTE = "Patch 5.3, <b>hotfix</b>"
WEIGHTS = (0.0, 0.31, 0.33, 0.3, 0.06)
ZONES = ((2, 147), (4, 150), (6, 153), (8, 156))
"""Continents, each with an alert that can happen there."""


def fortnight(
    end: Ms,
    *,
    worlds: tuple[int, ...] = (1, 10),
    days: int = 14,
    people: float = 300,
    gaps: tuple[tuple[Ms, Ms], ...] = ((6 * DAY, 5 * HOUR), (8 * HOUR, 3 * MINUTE)),
    seed: int = 1,
) -> MemoryReader:
    """The days before `end`.

    Args:
        people: about how many are online at the busiest hour of the first world; later worlds have fewer.
        gaps: how long before `end` each begins, and how long it is.
    """
    rng = random.Random(seed)
    start = end - days * DAY
    sessions: list[SessionDocument] = []
    spans: list[Span] = []
    alerts: list[Alert] = []
    locks: list[Lock] = []
    for place, world in enumerate(worlds):
        size = people / (1 + 0.6 * place)
        sessions += _sessions(rng, world, start - 6 * HOUR, end, size)
        edges = [start]
        for before, length in gaps:
            edges += [end - before, end - before + length]
        edges.append(end)
        for number in range(0, len(edges), 2):
            spans.append(Span(world, edges[number], edges[number + 1], "connection" if number else "start"))
        some_alerts, some_locks = _alerts(rng, world, start, end)
        alerts += some_alerts
        locks += some_locks
    notes = [make_note(end - 4 * DAY, worlds[-1:], NOTE)]
    return MemoryReader(sessions, spans, alerts, locks, notes=notes)


def _sessions(rng: random.Random, world: int, start: Ms, end: Ms, people: float) -> list[SessionDocument]:
    found: list[SessionDocument] = []
    at = start
    while at < end:
        hour = at % DAY / HOUR
        weekend = 1.25 if (at // DAY + 4) % 7 in (0, 6) else 1.0
        rate = people / HOUR * weekend * (0.55 + 0.45 * math.sin((hour - 13) / 24 * math.tau))
        at += max(SECOND, int(rng.expovariate(max(rate, 1e-9))) // SECOND * SECOND)
        length = int(rng.lognormvariate(math.log(35), 1) * MINUTE) // SECOND * SECOND + SECOND
        logout = at + length
        faction = rng.choices(range(5), WEIGHTS)[0]
        if at < end:
            found.append(
                session(
                    f"{world}{len(found):08d}",
                    at,
                    logout if logout < end else None,
                    world_id=world,
                    faction_id=faction,
                )
            )
    return found


def _alerts(rng: random.Random, world: int, start: Ms, end: Ms) -> tuple[list[Alert], list[Lock]]:
    changes: list[Metagame] = []
    locks: list[Lock] = []
    at = start + rng.randrange(2 * HOUR) // SECOND * SECOND
    number = 0
    while at < end:
        zone, kind = ZONES[number % len(ZONES)]
        number += 1
        shares = [33.0, 30.0, 37.0]
        rng.shuffle(shares)
        for state, when in ((STARTED, at), (ENDED, at + 90 * MINUTE)):
            if when < end:
                changes.append(
                    Metagame(
                        at=when,
                        world_id=world,
                        instance_id=number,
                        metagame_event_id=kind,
                        state=state,
                        zone_id=zone,
                        territory_vs=shares[0],
                        territory_nc=shares[1],
                        territory_tr=shares[2],
                    )
                )
        if number % 2 and at + 90 * MINUTE < end:
            winner = shares.index(max(shares)) + 1
            lock_at = at + 90 * MINUTE
            locks.append(
                Lock(
                    lock_id=f"{world}-{zone}-{lock_at}",
                    world_id=world,
                    zone_id=zone,
                    at=lock_at,
                    winner=winner,
                    previous_winner=0,
                    metagame_event_id=kind,
                    population_vs=30.0,
                    population_nc=33.0,
                    population_tr=37.0,
                )
            )
        at += rng.choice([60, 100, 150, 240]) * MINUTE
    derived, tied = derive(changes, locks, end)
    return list(derived.values()), list(tied.values())
