"""What the store says against what really happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.model.coverage import WorldCoverage, coverage_by_world
from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.base import StoreReader

FACTIONS = (0, 1, 2, 3, 4)


@dataclass
class Comparison:
    """How much was compared, how many logins and logouts were looked for, how many minutes nobody vouches for, and all that is wrong."""

    compared: int = 0
    edges: int = 0
    uncovered: int = 0
    wrong: list[str] = field(default_factory=list)


async def coverage_of(store: StoreReader) -> dict[int, WorldCoverage]:
    """What the store vouches for."""
    return coverage_by_world(await store.spans())


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
                result.wrong.append(f"world {world_id} at {at}: stored {stored}, true {true}")
    return result


async def compare_sessions(store: StoreReader, truth: Truth, *, by_sent: bool = False) -> Comparison:
    """Every session whose login and logout lie in time that the store vouches for.

    Each must be stored once, with just these times and ended by its logout; each login and each logout in such time must be
    stored; and the store may hold no login and no logout that never was.

    Args:
        by_sent: a live event counts as of the moment at which it was sent (its own time is in whole seconds, and may be earlier).
    """
    coverage = await coverage_of(store)
    sessions: Counter[tuple[str, int, Ms, Ms]] = Counter()
    logins: Counter[tuple[str, Ms]] = Counter()
    logouts: Counter[tuple[str, Ms]] = Counter()
    async for session in store.all_sessions(None, None, None):
        if session.login_ts is not None:
            logins[session.character_id, session.login_ts] += 1
        if session.ended_by == "logout" and session.logout_ts is not None:
            logouts[session.character_id, session.logout_ts] += 1
            if session.login_ts is not None:
                key = (session.character_id, session.world_id, session.login_ts, session.logout_ts)
                sessions[key] += 1

    def vouched(world_id: int, at: Ms | None, sent: Ms | None) -> bool:
        moment = sent if by_sent else at
        return moment is not None and world_id in coverage and coverage[world_id].covers(moment)

    result = Comparison()
    for true in truth.sessions:
        login = vouched(true.world_id, true.login, true.login_sent)
        logout = vouched(true.world_id, true.logout, true.logout_sent)
        result.edges += login + logout
        if login and logins[true.character_id, true.login] != 1:
            result.wrong.append(f"login not stored: {true}")
        if logout and true.logout is not None:
            if logouts[true.character_id, true.logout] != 1:
                result.wrong.append(f"logout not stored: {true}")
            if login:
                result.compared += 1
                if sessions[true.character_id, true.world_id, true.login, true.logout] != 1:
                    result.wrong.append(f"session not stored as it was: {true}")
    true_logins = {(true.character_id, true.login) for true in truth.sessions}
    true_logouts = {(true.character_id, true.logout) for true in truth.sessions}
    result.wrong += [f"login that never was: {key}" for key in logins if key not in true_logins]
    result.wrong += [f"logout that never was: {key}" for key in logouts if key not in true_logouts]
    return result
