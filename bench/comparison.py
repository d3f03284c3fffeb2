"""What the store says against what really happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, NamedTuple

from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.model.coverage import WorldCoverage, coverage_by_world
from ps2daemon.model.records import LAST_MS, MINUTE, SECOND, Ms
from ps2daemon.simulator.truth import TrueSession, Truth
from ps2daemon.store.base import StoreReader

FACTIONS = (0, 1, 2, 3, 4)


class Fact(NamedTuple):
    """One thing that happened.

    Attributes:
        who: the character; the instance and the new state of an alert; the zone of a lock.
    """

    kind: Literal["login", "logout", "alert", "lock"]
    who: str
    world_id: int
    at: Ms


class Told(NamedTuple):
    """A fact, and the moments that must be vouched for if it is to be stored; none where the service told nobody."""

    fact: Fact
    moments: tuple[Ms, ...]


@dataclass
class Comparison:
    """How much was compared, how much of it was vouched for, how many minutes nobody vouches for, and all that is wrong.

    Attributes:
        compared: sessions, or minutes of an empire.
        edges: facts that had to be stored.
        lost: what was vouched for and is not stored, or not as it was.
        doubled: what is stored more than once.
        invented: what is stored and never was.
    """

    compared: int = 0
    edges: int = 0
    uncovered: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Everything that is."""
        return self.lost + self.doubled + self.invented


async def coverage_of(store: StoreReader) -> dict[int, WorldCoverage]:
    """What the store vouches for."""
    return coverage_by_world(await store.spans())


def covered(coverage: WorldCoverage, start: Ms, end: Ms) -> float:
    """Seconds of a window that are vouched for."""
    return sum(max(0, min(span.end, end) - max(span.start, start)) for span in coverage.spans) / SECOND


async def unnamed(store: StoreReader) -> set[str]:
    """The characters whose empire the store does not know."""
    return {
        character.character_id async for character in store.all_characters() if character.enriched_at is None
    }


async def compare_minutes(
    store: StoreReader, truth: Truth, start: Ms, end: Ms, worlds: Collection[int]
) -> Comparison:
    """Every covered minute, by world and empire. Those whom the store can't name count among faction 0 in the truth too."""
    nobody = await unnamed(store)
    for session in truth.sessions:
        if session.character_id in nobody:
            session.faction_id = 0
    result = Comparison()
    for world_id in worlds:
        query = PopulationQuery(start=start, end=end, step=MINUTE, worlds=(world_id,), factions=FACTIONS)
        found = await population(store, query)
        for index, at in enumerate(found.times):
            stored = [series.online[index] for series in found.series]
            if None in stored:
                assert set(stored) == {None}
                result.uncovered += 1
                continue
            online = truth.online(at, world_id)
            true = [online.get(faction, 0) for faction in FACTIONS]
            result.compared += len(true)
            if stored != true:
                result.lost.append(f"world {world_id} at {at}: stored {stored}, true {true}")
    return result


async def stored_edges(store: StoreReader) -> Counter[Fact]:
    """The logins and logouts that a store holds, by how often; an end that no logout tells is none."""
    facts: Counter[Fact] = Counter()
    async for session in store.all_sessions(None, None, None):
        who, world_id = session.character_id, session.world_id
        if session.login_ts is not None:
            facts[Fact("login", who, world_id, session.login_ts)] += 1
        if session.ended_by == "logout" and session.logout_ts is not None:
            facts[Fact("logout", who, world_id, session.logout_ts)] += 1
    return facts


async def stored_facts(store: StoreReader, worlds: Collection[int]) -> Counter[Fact]:
    """The same, and what it holds of the alerts and locks of some worlds."""
    facts = await stored_edges(store)
    for alert in await store.alerts(0, LAST_MS, worlds):
        facts.update(
            alert_fact(each.world_id, each.instance_id, each.state, each.at) for each in alert.changes
        )
    facts.update(
        Fact("lock", str(lock.zone_id), lock.world_id, lock.at)
        for lock in await store.locks(0, LAST_MS, worlds)
    )
    return facts


def alert_fact(world_id: int, instance_id: int, state: int, at: Ms) -> Fact:
    """A change of an alert's state."""
    return Fact("alert", f"{instance_id}/{state}", world_id, at)


def edges_of(true: TrueSession, *, by_sent: bool) -> list[Told]:
    """A session's login, and its logout if there was one.

    Args:
        by_sent: a live event counts as of the moment at which it was sent (its own time is in whole seconds, and may be earlier).
    """
    who, world_id = true.character_id, true.world_id
    edges = [
        (Fact("login", who, world_id, true.login), true.login_sent),
        *([] if true.logout is None else [(Fact("logout", who, world_id, true.logout), true.logout_sent)]),
    ]
    return [
        Told(fact, (fact.at,) if not by_sent else () if sent is None else (sent,)) for fact, sent in edges
    ]


def vouched(told: Told, coverage: Mapping[int, WorldCoverage]) -> bool:
    """Whether it must be stored."""
    world = coverage.get(told.fact.world_id)
    return world is not None and bool(told.moments) and all(map(world.covers, told.moments))


def compare_facts(
    stored: Mapping[Fact, int], told: Iterable[Told], coverage: Mapping[int, WorldCoverage]
) -> Comparison:
    """Each fact of a moment that is vouched for must be stored once, the others once or not at all, and nothing else."""
    result = Comparison()
    known = set()
    for each in told:
        known.add(each.fact)
        if vouched(each, coverage):
            result.edges += 1
            if not stored.get(each.fact):
                result.lost.append(f"not stored: {each}")
    result.doubled = [f"stored {number} times: {fact}" for fact, number in stored.items() if number > 1]
    result.invented = [f"never was: {fact}" for fact in stored if fact not in known]
    return result


async def compare_sessions(store: StoreReader, truth: Truth, *, by_sent: bool = False) -> Comparison:
    """Every session whose login and logout lie in time that the store vouches for.

    Each must be stored once, with just these times and ended by its logout; each login and each logout in such time must be
    stored; and the store may hold no login and no logout that never was.

    Args:
        by_sent: see `edges_of`.
    """
    coverage = await coverage_of(store)
    edges = [edges_of(true, by_sent=by_sent) for true in truth.sessions]
    result = compare_facts(await stored_edges(store), chain.from_iterable(edges), coverage)
    whole: Counter[tuple[str, int, Ms, Ms | None]] = Counter()
    async for session in store.all_sessions(None, None, None):
        if session.login_ts is not None and session.ended_by == "logout":
            whole[session.character_id, session.world_id, session.login_ts, session.logout_ts] += 1
    for true, (login, *logout) in zip(truth.sessions, edges, strict=True):
        if logout and vouched(login, coverage) and vouched(logout[0], coverage):
            result.compared += 1
            if whole[true.character_id, true.world_id, true.login, true.logout] != 1:
                result.lost.append(f"not stored as it was: {true}")
    return result
