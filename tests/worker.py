"""The stages behind the queue, wired as the daemon wires them, with everything around them in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import msgspec
import trio
import trio.lowlevel
from prometheus_client import CollectorRegistry

from ps2daemon import daemon
from ps2daemon.census.characters import CharacterSource
from ps2daemon.census.rest import Identity, Presence
from ps2daemon.clock import VirtualClock
from ps2daemon.errors import CensusUnavailable
from ps2daemon.health import Health, StageControl
from ps2daemon.model.records import DAY, Ms, Record
from ps2daemon.queue.base import DeadLetter, Item, QueueStatistics
from ps2daemon.queue.frames import encode_frame
from ps2daemon.queue.memory import MemoryConsumer, MemoryDeadLetters, MemoryQueue
from ps2daemon.stages.checks import Checks
from ps2daemon.stages.handover import Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.stages.reconciler import reconcile
from ps2daemon.store.ledger import Ledger
from ps2daemon.supervisor import StageSpec, supervise
from ps2daemon.telemetry import Telemetry
from tests.records import T0
from tests.stores import Calls, FaultyStore, faulty_store

T = TypeVar("T")


class Census:
    """Answers about characters, as long as it is up.

    Args:
        names: its characters.
    """

    def __init__(self, calls: Calls, names: Iterable[Identity]) -> None:
        self._calls = calls
        self.names = {identity.character_id: identity for identity in names}
        self.up = True
        self.asked: list[Sequence[str]] = []
        self.playing: dict[str, bool] = {}
        """Of whom it says whether they are online."""

    async def characters(self, ids: Sequence[str]) -> dict[str, Identity]:
        async def answer() -> dict[str, Identity]:
            self.asked.append(ids)
            if not self.up:
                raise CensusUnavailable("out")
            return {name: self.names[name] for name in ids if name in self.names}

        return await self._calls(answer)

    async def online(self, ids: Sequence[str]) -> dict[str, Presence]:
        if not self.up:
            raise CensusUnavailable("out")
        asked = trio.current_time()
        await trio.sleep(1)
        return {name: Presence(self.playing[name], asked) for name in ids if name in self.playing}


class CountedConsumer:
    """A consumer whose calls are counted, and that tells what is acked before it is.

    Attributes:
        acking: told each position before it is acked.
    """

    def __init__(self, calls: Calls, inner: MemoryConsumer) -> None:
        self._calls = calls
        self._inner = inner
        self.acking: Callable[[int], Awaitable[None]] | None = None

    async def read(self, limit: int) -> list[Item]:
        return await self._calls(partial(self._inner.read, limit))

    async def ack(self, position: int) -> None:
        if self.acking is not None:
            await self.acking(position)
        await self._calls(partial(self._inner.ack, position))

    async def ack_lost(self, position: int, reason: str) -> None:
        if self.acking is not None:
            await self.acking(position)
        await self._calls(partial(self._inner.ack_lost, position, reason))

    async def rewind(self) -> None:
        await self._calls(self._inner.rewind)

    async def statistics(self) -> QueueStatistics:
        return await self._calls(self._inner.statistics)

    async def aclose(self) -> None:
        await self._inner.aclose()


class CountedDeadLetters:
    """Dead letters whose calls are counted."""

    def __init__(self, calls: Calls, inner: MemoryDeadLetters) -> None:
        self._calls = calls
        self.inner = inner

    async def put(self, frame: bytes, reason: str, attempts: int, at: Ms) -> None:
        await self._calls(partial(self.inner.put, frame, reason, attempts, at))

    async def list(self, limit: int) -> list[DeadLetter]:
        return await self.inner.list(limit)

    async def count(self) -> int:
        return await self.inner.count()

    async def aclose(self) -> None:
        await self.inner.aclose()


class Scene:
    """A worker, and what it works on. Its clock follows Trio's.

    Args:
        calls: which of the calls that the stages make to anything outside crash.
        max_letters: how many dead letters there is room for.
    """

    def __init__(self, store: FaultyStore, names: Iterable[Identity], calls: Calls, max_letters: int) -> None:
        self.calls = calls
        self.queue = MemoryQueue()
        self.producer = self.queue.producer()
        self.consumer = CountedConsumer(self.calls, self.queue.consumer())
        self.letters = CountedDeadLetters(self.calls, MemoryDeadLetters(max_letters=max_letters))
        self.clock = VirtualClock(T0 + 30 * DAY)
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, clock=self.clock, monotonic=trio.current_time)
        self.store = store
        self.census = Census(self.calls, names)
        self.health = Health()
        ledger = Ledger(store, self.clock.now)
        source = CharacterSource(self.census, observer=self.telemetry.characters(), chance=lambda: 0.0)
        naming = Naming(source=source, ledger=ledger, store=store, clock=self.clock, events=self.telemetry)
        checks = Checks(
            client=self.census, ledger=ledger, clock=self.clock, events=self.telemetry, chance=lambda: 0.0
        )
        self._names = names
        self.worker = daemon.Worker(
            self.consumer, self.letters, store, ledger, Handover(), source, naming, checks
        )

    async def after_death(self) -> Scene:
        """A new process on the same queue, dead letters and store."""
        await self.consumer.aclose()
        self.store.calls = None
        scene = Scene(self.store, self._names, Calls(), 1)
        scene.queue = self.queue
        scene.worker = msgspec.structs.replace(
            scene.worker,
            consumer=CountedConsumer(scene.calls, self.queue.consumer()),
            dead_letters=CountedDeadLetters(scene.calls, self.letters.inner),
        )
        return scene

    async def queue_up(self, *frames: Sequence[Record] | bytes) -> None:
        """Appends frames, of records or as they are."""
        for frame in frames:
            await self.producer.append(frame if isinstance(frame, bytes) else encode_frame(frame))

    def stages(self, *, until_empty: bool) -> list[StageSpec]:
        return daemon._worker_stages(self.worker, self.telemetry, self.clock, until_empty=until_empty)

    async def drain(self) -> None:
        """As `daemon.drain`: until the queue is empty and nothing is left to do."""
        self.store.calls = self.calls
        await supervise(
            self.stages(until_empty=True),
            self.telemetry,
            stop=trio.Event(),
            health=self.health,
            chance=lambda: 0.0,
        )
        self.store.calls = None
        await self.reconcile()

    async def reconcile(self) -> None:
        control = Health().add("reconciler", self.telemetry)
        await reconcile(
            control,
            ledger=self.worker.ledger,
            store=self.store,
            clock=self.clock,
            events=self.telemetry,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, StageControl]]:
        """The stages as in `daemon.run`; stopped at the end. Gives their controls."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(
                    supervise,
                    self.stages(until_empty=False),
                    self.telemetry,
                    stop=stop,
                    health=self.health,
                    chance=lambda: 0.0,
                )
            )
            await trio.lowlevel.checkpoint()
            yield self.health._controls
            stop.set()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"ps2_{name}", labels)

    async def reasons(self) -> list[str]:
        """Why there are dead letters."""
        return [letter.reason for letter in await self.letters.list(1_000)]


@asynccontextmanager
async def scene(
    *, names: Sequence[Identity] = (), calls: Calls | None = None, max_letters: int = 1_000
) -> AsyncIterator[Scene]:
    """A worker with a new store."""
    async with faulty_store() as store:
        yield Scene(store, names, calls or Calls(), max_letters)
