"""The worker of `tests/worker.py` on a real Elasticsearch, a history to feed it with, and what must come of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, Final, cast

import httpx
import msgspec
import pytest
import trio

from bench.content import Content, content
from ps2daemon.census.limits import Backoff
from ps2daemon.census.rest import Identity
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.model.batch import make_batch
from ps2daemon.model.coverage import Interval
from ps2daemon.model.events import Login, Logout, decode_event
from ps2daemon.model.records import DAY, HOUR, EventRecord, Ms, Record
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.stages import enricher, patience
from ps2daemon.stages.handover import WAITING
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.ledger import Ledger
from ps2daemon.web.health import health_app
from tests.elasticsearch import Indices, address, indices
from tests.front import Front, front
from tests.records import T0
from tests.stores import Calls, FaultyStore, faulty_store
from tests.worker import Scene

START: Final[Ms] = T0 - 18 * HOUR
"""Six hours before the end of a month: there are sessions of two."""
SECONDS: Final = 120.0
"""Until a test gives up on what should take a few."""
FRAME: Final = 20
"""Records of a frame: a batch has four of them here."""
SCALE: Final = 0.03
"""Of the players that there really are: some 15 batches, which take two seconds."""
UNNAMED: Final = 7
"""Census knows nothing of each seventh character."""


class Told(msgspec.Struct, frozen=True):
    """What a worker is told, and by whom."""

    records: tuple[Record, ...]
    names: tuple[Identity, ...]

    def frames(self) -> list[Sequence[Record]]:
        """The records, as they lie in the queue."""
        return [self.records[first : first + FRAME] for first in range(0, len(self.records), FRAME)]

    def without(self, character_id: str) -> Told:
        """As if this character had never been there."""
        kept = [record for record in self.records if character_of(record) != character_id]
        return Told(tuple(kept), self.names)


def character_of(record: Record) -> str | None:
    """Whose login or logout a record is."""
    if not isinstance(record, EventRecord):
        return None
    event = decode_event(record.payload)
    return event.character_id if isinstance(event, Login | Logout) else None


@cache
def told() -> Told:
    """Ten hours on two worlds over the end of a month, with a gap; every tenth record comes twice."""
    population = PopulationSettings(seed=5, worlds=(10, 40), scale=SCALE)
    gap = Interval(START + 3 * HOUR, START + 4 * HOUR)
    settings = HistorySettings(population=population, start=START, end=START + 10 * HOUR, gaps=(gap,))
    records, truth = history(settings)
    twice = [
        each for number, record in enumerate(records) for each in [record] * (2 if number % 10 == 0 else 1)
    ]
    names = [
        Identity(character_id, character.name, character.faction_id)
        for number, (character_id, character) in enumerate(sorted(truth.characters.items()))
        if number % UNNAMED
    ]
    return Told(tuple(twice), tuple(names))


async def in_sqlite(what: Told) -> Content:
    """What SQLite holds after the same records."""
    async with faulty_store() as store:
        ledger = Ledger(store, lambda: T0 + 30 * DAY)
        await ledger.apply(make_batch(what.records))
        await ledger.identify(what.names, START)
        await ledger.settle()
        return comparable(await content(store))


async def in_elasticsearch(settings: ElasticsearchSettings) -> Content:
    """What Elasticsearch holds, as another process sees it."""
    store = await ElasticsearchStore.open(settings, read_only=True)
    try:
        await store.refresh()
        return comparable(await content(store))
    finally:
        await store.aclose()


def comparable(found: Content) -> Content:
    """Without the times at which Census answered."""
    characters = {
        key: msgspec.structs.replace(document, enriched_at=None if document.enriched_at is None else START)
        for key, document in found.characters.items()
    }
    return msgspec.structs.replace(found, characters=characters)


def assert_same(found: Content, wanted: Content) -> None:
    """Fails with what is lost, added or different, and not with all of both."""
    for kind in ("characters", "sessions", "alerts", "locks"):
        ours, theirs = getattr(found, kind), getattr(wanted, kind)
        lost, added = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
        assert not lost, f"{kind} lost: {lost}"
        assert not added, f"{kind} that should not be: {added}"
        other = [(ours[key], theirs[key]) for key in theirs if ours[key] != theirs[key]]
        assert not other, f"{len(other)} {kind} differ: {other[0]}"
    assert found == wanted


@contextmanager
def small_batches() -> Iterator[None]:
    """Many commits from few records, and short waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enricher, "FRAMES", 4)
        patch.setattr(enricher, "RECORDS", 4 * FRAME)
        patch.setattr(patience, "BACKOFF", Backoff(first=0.02, highest=0.3))
        yield


async def until(condition: Callable[[], bool]) -> None:
    """Waits until it holds."""
    while True:
        if condition():
            return
        await trio.sleep(0.002)


class Worker(Scene):
    """A worker on Elasticsearch. Its clock follows Trio's."""

    async def readyz(self) -> dict[str, Any]:
        """What `/readyz` says; `/healthz` must say that the process is sound all the while."""
        transport = httpx.ASGITransport(health_app(self.health, self.registry))
        async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
            assert (await client.get("/healthz")).status_code == 200
            answer = await client.get("/readyz")
        found: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if found["ready"] else 503)
        return found

    async def whys(self) -> list[str]:
        """What is wrong with stages that are not ready."""
        return [stage["why"] or "" for stage in (await self.readyz())["stages"] if not stage["ready"]]

    async def says(self, *parts: str) -> str:
        """Waits until `/readyz` says of the writer that something is wrong, in these words; gives the whole."""
        while True:
            for stage in (await self.readyz())["stages"]:
                why = stage["why"] or ""
                if stage["name"] == "writer" and not stage["ready"] and all(part in why for part in parts):
                    return why
            await trio.sleep(0.02)

    @property
    def failures(self) -> int:
        """Attempts so far that found the store away."""
        return int(self.value("store_errors_total") or 0)

    async def holds(self, attempts: int = 3) -> None:
        """The fault lasts for some more attempts: nothing is acked, the queue has the rest, and little of it is in memory."""
        left, failures = self.left, self.failures
        assert left > 0
        await until(lambda: self.failures >= failures + attempts)
        assert self.left == left
        assert len(self.worker.handover) <= WAITING
        assert self.value("store_up") == 0

    @property
    def left(self) -> int:
        """Frames that the queue still holds."""
        return self.queue.statistics().frames

    async def until_left(self, frames: int) -> None:
        """Waits until the queue holds no more than that."""
        await until(lambda: self.left <= frames)

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """Works in the background until everything is in the store, which leaving this waits for."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.drain)
            await trio.lowlevel.checkpoint()
            yield


@asynccontextmanager
async def worker(settings: ElasticsearchSettings, what: Told) -> AsyncIterator[Worker]:
    """A worker with a store that was just opened, and all records in its queue. Ends within `SECONDS`."""
    with small_batches(), trio.fail_after(SECONDS):
        store = await ElasticsearchStore.open(settings)
        try:
            # A scene counts calls through its store's attribute, and asks no more of it than the protocol says.
            found = Worker(cast(FaultyStore, store), what.names, Calls(), max_letters=10_000)
            await found.queue_up(*what.frames())
            yield found
        finally:
            await store.aclose()


HALF: Final = len(told().frames()) // 2


async def assert_whole(found: Worker, settings: ElasticsearchSettings) -> None:
    """Nothing is lost or doubled, nothing is left in the queue, and nothing needs anybody's eyes.

    Args:
        settings: by which the store is reached whatever is between it and the worker.
    """
    assert_same(await in_elasticsearch(settings), await in_sqlite(told()))
    assert found.left == 0
    assert await found.reasons() == []
    assert found.value("stage_restarts_total", stage="writer") == 0


class Fronted:
    """A worker, the front of its server, and what is on that."""

    def __init__(self, ours: Indices, server: Front, each: Worker) -> None:
        self.ours = ours
        self.server = server
        self.worker = each

    async def content(self) -> Content:
        """What is in the store, as another process sees it."""
        return await in_elasticsearch(self.ours.settings())

    async def assert_whole(self) -> None:
        """See `assert_whole`."""
        await assert_whole(self.worker, self.ours.settings())


@asynccontextmanager
async def fronted(major: int, what: Told | None = None, **settings: Any) -> AsyncIterator[Fronted]:
    """A worker with a full queue, and a front without faults between it and the server."""
    async with (
        indices(address(major)) as ours,
        front(ours.url) as server,
        worker(ours.settings(urls=(server.url,), **settings), what or told()) as each,
    ):
        yield Fronted(ours, server, each)
