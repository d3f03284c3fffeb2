"""What the store says against what really happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import pairwise

from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.base import StoreReader


async def coverage_of(store: StoreReader) -> dict[int, WorldCoverage]:
    """What the store vouches for."""
    coverage: dict[int, WorldCoverage] = {}
    for span in await store.spans():
        coverage.setdefault(span.world_id, WorldCoverage()).add(span)
    return coverage


async def minute_differences(
    store: StoreReader, truth: Truth, start: Ms, end: Ms, worlds: Collection[int], *, by_empire: bool = True
) -> tuple[int, int, list[tuple[Ms, int, int, int]]]:
    """Compares every covered minute.

    Returns:
        how many values were compared, how many minutes are not covered, and where they differ: time, world, stored, true;
        empires apart, or (`by_empire` False) in sum.
    """
    factions = (0, 1, 2, 3, 4)
    compared = uncovered = 0
    different = []
    for world_id in worlds:
        query = PopulationQuery(start=start, end=end, step=MINUTE, worlds=(world_id,), factions=factions)
        found = await population(store, query)
        for index, at in enumerate(found.times):
            values = [series.online[index] for series in found.series]
            if values[0] is None:
                uncovered += 1
                continue
            online = truth.online(at, world_id)
            true = [online.get(faction, 0) for faction in factions]
            stored = [value or 0 for value in values]
            if not by_empire:
                true, stored = [sum(true)], [sum(stored)]
            compared += len(true)
            different += [(at, world_id, a, b) for a, b in zip(stored, true, strict=True) if a != b]
    return compared, uncovered, different


async def session_differences(store: StoreReader, truth: Truth) -> tuple[int, list[str]]:
    """Compares the sessions whose every event lies in covered time.

    A true session counts if the store vouches for the time of its login and of its logout. It must be stored with just these times,
    ended by its logout; and the store may hold no session that begins or ends, by an event, in covered time and never was.

    Returns:
        how many were compared, and what is wrong.
    """
    coverage = await coverage_of(store)

    def covered(world_id: int, at: Ms) -> bool:
        world = coverage.get(world_id)
        return world is not None and world.covers(at)

    stored: Counter[tuple[str, int, Ms, Ms]] = Counter()
    logins: Counter[tuple[str, Ms]] = Counter()
    logouts: Counter[tuple[str, Ms]] = Counter()
    async for session in store.all_sessions(None, None, None):
        if session.login_ts is not None:
            logins[session.character_id, session.login_ts] += 1
        if session.ended_by == "logout":
            assert session.logout_ts is not None
            logouts[session.character_id, session.logout_ts] += 1
            if session.login_ts is not None:
                key = (session.character_id, session.world_id, session.login_ts, session.logout_ts)
                stored[key] += 1
    wrong = [f"stored {count} times: {key}" for key, count in stored.items() if count != 1]
    compared = 0
    by_character: dict[str, list[tuple[Ms, Ms | None]]] = {}
    for true in truth.sessions:
        by_character.setdefault(true.character_id, []).append((true.login, true.logout))
        if covered(true.world_id, true.login) and not logins.get((true.character_id, true.login)):
            wrong.append(f"login not stored: {true}")
        if true.logout is None or not covered(true.world_id, true.logout):
            continue
        if not logouts.get((true.character_id, true.logout)):
            wrong.append(f"logout not stored: {true}")
        if covered(true.world_id, true.login):
            compared += 1
            if not stored.get((true.character_id, true.world_id, true.login, true.logout)):
                wrong.append(f"session not stored as it was: {true}")
    true_logins = {(true.character_id, true.login) for true in truth.sessions}
    true_logouts = {(true.character_id, true.logout) for true in truth.sessions}
    wrong += [f"login that never was: {key}" for key in logins if key not in true_logins]
    wrong += [f"logout that never was: {key}" for key in logouts if key not in true_logouts]
    for character_id, times in by_character.items():
        for (_, end), (start, _) in pairwise(sorted(times, key=lambda pair: pair[0])):
            assert end is not None and end <= start, f"the truth itself overlaps: {character_id}"
    return compared, wrong
