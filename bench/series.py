"""How long the store takes to answer for a population, and how that grows with the history behind it.

The history is made up: seven worlds of different size, a daily rhythm, sessions of an hour in the mean and twelve at most. It is written with
the store's own documents into the store's own indices, in bulk. The older part is written behind the recent one and in the same indices,
so that the same windows are asked for before and after.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from itertools import accumulate, islice
from random import Random
from typing import Final, NamedTuple

import trio

from bench.figures import Figures
from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sessions import CAP, MEAN_SESSION
from ps2daemon.store.base import Commit, SessionDocument, first_known
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.elasticsearch.bulk import send
from ps2daemon.store.elasticsearch.documents import Line, index_line, session_source
from ps2daemon.store.elasticsearch.schema import Names, Schema
from ps2daemon.store.elasticsearch.server import Server

RECENT_DAYS: Final = 120
END: Final[Ms] = 1_775_001_600_000  # 2026-04-01T00:00Z
WORLD: Final = 10
"""The largest of them is asked for."""
WORLDS: Final = (1, WORLD, 13, 17, 19, 40, 1000)
WORLD_WEIGHTS: Final = tuple(accumulate((0.22, 0.24, 0.14, 0.13, 0.08, 0.15, 0.04)))
FACTIONS: Final = (0, 1, 2, 3, 4)
FACTION_WEIGHTS: Final = tuple(accumulate((0.01, 0.30, 0.31, 0.33, 0.05)))
CHARACTERS: Final = 400_000
UNSEEN_SHARE: Final = 0.002
"""Sessions whose login fell into a gap."""
CHECKED_SHARE: Final = 0.04
"""Sessions whose logout did."""

WINDOW: Final = 28 * DAY
STEP: Final = 5 * MINUTE
WINDOWS: Final = 15
"""Asked for in one run, each from another minute on, since the server remembers what it answered."""
WARM_UP: Final = 10
CHUNK: Final = 4_000
IN_FLIGHT: Final = 2
QUIET_SECONDS: Final = 1.0


class Part(NamedTuple):
    """So many sessions in `[start, end)`."""

    start: Ms
    end: Ms
    sessions: int


def recent(sessions: int) -> Part:
    """The last days of the history."""
    return Part(END - RECENT_DAYS * DAY, END, sessions)


def older(sessions: int, growth: int) -> Part:
    """What makes the history `growth` times as long, and as many sessions a day."""
    start = END - RECENT_DAYS * DAY
    return Part(start - (growth - 1) * RECENT_DAYS * DAY, start, (growth - 1) * sessions)


async def fill(settings: ElasticsearchSettings, part: Part) -> float:
    """Writes a part of the history, and vouches for it; returns the documents a second."""
    names = Names(settings.index_prefix)
    began = time.monotonic()
    store = await ElasticsearchStore.open(settings)
    server = Server(settings)
    try:
        schema = Schema(server, names, settings.replicas)
        giver, taker = trio.open_memory_channel[list[Line]](0)
        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(_send, server, schema, taker.clone())
            taker.close()
            async with giver:
                lines = _lines(names, part)
                while chunk := list(islice(lines, CHUNK)):
                    await giver.send(chunk)
        seconds = time.monotonic() - began
        await store.commit(Commit(spans=[Span(world, part.start, part.end, "start") for world in WORLDS]))
        await store.refresh()
    finally:
        await server.aclose()
        await store.aclose()
    return part.sessions / seconds


async def _send(server: Server, schema: Schema, taker: trio.MemoryReceiveChannel[list[Line]]) -> None:
    async with taker:
        async for lines in taker:
            await schema.ensure({line.index for line in lines})
            sent = await send(server, lines)
            if sent.refused:
                raise RuntimeError(f"refused: {next(iter(sent.refused.values()))}")


def _lines(names: Names, part: Part) -> Iterator[Line]:
    for session in _sessions(part):
        index = names.month(first_known(session))
        yield index_line(index, session.session_id, session.character_id, session_source(session))


def _sessions(part: Part) -> Iterator[SessionDocument]:
    """In the order of their logins, or nearly."""
    random = Random(part.start)
    spacing = (part.end - part.start) / part.sessions
    # People a quarter of an hour by the rhythm of a day, so that the mean is one.
    rhythm = [1 + 0.6 * math.sin((quarter / 96 - 0.55) * math.tau) for quarter in range(96)]
    at = float(part.start)
    for _ in range(part.sessions):
        at += random.expovariate(1.0) * spacing / rhythm[int(at) % DAY // (15 * MINUTE)]
        yield _session(random, int(at) // 1000 * 1000)


def _session(random: Random, login: Ms) -> SessionDocument:
    character = f"542801{random.randrange(CHARACTERS):013d}"
    world = random.choices(WORLDS, cum_weights=WORLD_WEIGHTS)[0]
    faction = random.choices(FACTIONS, cum_weights=FACTION_WEIGHTS)[0]
    logout = login + min(int(random.expovariate(1 / MEAN_SESSION)), CAP) // 1000 * 1000
    fate = random.random()
    if fate < UNSEEN_SHARE:
        key = f"{character}-{logout}-out"
        return SessionDocument(
            key, character, world, faction, None, logout, "unknown", "logout", None, None, login - DAY
        )
    key, before = f"{character}-{login}", login - DAY
    if fate < UNSEEN_SHARE + CHECKED_SHARE:
        until = login + 2 * (logout - login)
        return SessionDocument(
            key, character, world, faction, login, logout, "login", "offline_check", login, until, before
        )
    return SessionDocument(
        key, character, world, faction, login, logout, "login", "logout", None, None, before
    )


async def settled(settings: ElasticsearchSettings) -> None:
    """Waits until the server has nothing to do with what was written: merges would be measured with the answers."""
    server = Server(settings)
    try:
        while True:
            answer = await server.ask(
                "GET",
                f"/{settings.index_prefix}-*/_stats/merge",
                params={"filter_path": "_all.total.merges.current"},
                type=dict[str, dict[str, dict[str, dict[str, int]]]],
            )
            if answer["_all"]["total"]["merges"]["current"] == 0:
                return
            await trio.sleep(QUIET_SECONDS)
    finally:
        await server.aclose()


async def ask(settings: ElasticsearchSettings, seed: int, *, warm_up: bool = False) -> Figures:
    """Medians of several windows, in milliseconds: of the counting alone, and of the whole answer."""
    random = Random(seed)
    store = await ElasticsearchStore.open(settings, read_only=True)
    counting: list[float] = []
    whole: list[float] = []
    try:
        for _ in range(WARM_UP if warm_up else WINDOWS):
            start = END - WINDOW - HOUR - random.randrange((RECENT_DAYS - 30) * DAY // MINUTE) * MINUTE
            began = time.perf_counter()
            await store.online_at(start, [WORLD])
            changes = await store.changes(start, start + WINDOW, STEP, [WORLD])
            counting.append((time.perf_counter() - began) * 1000)
            if not changes:
                raise RuntimeError("the store has nothing to answer with")
            start += random.randrange(1, 60) * MINUTE  # the server must not know it yet
            query = PopulationQuery(start=start, end=start + WINDOW, step=STEP, worlds=(WORLD,))
            began = time.perf_counter()
            await population(store, query)
            whole.append((time.perf_counter() - began) * 1000)
    finally:
        await store.aclose()
    return {
        "online_at and changes, ms": statistics.median(counting),
        "population(), ms": statistics.median(whole),
    }
