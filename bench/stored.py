"""A simulated time in virtual time, with faults: what is in the store of it, and what is to be said about that.

Simulator, Census over REST, and queue are in memory; the subscriber, the stages behind the queue, the client of Census and the store are
the real ones. What happens follows from the seed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpcore
import httpx
import pytest
import trio

from bench.content import content
from bench.kept import Kept
from bench.recorded import START, WORLDS, Fault, Simulation, without_threads
from ps2daemon import daemon
from ps2daemon.analysis.population import FACTIONS, PopulationQuery, population
from ps2daemon.census.characters import CharacterSource
from ps2daemon.census.rest import RESULTS, CensusClient
from ps2daemon.metrics import CHECK_ANSWERS
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.queue.memory import MemoryDeadLetters
from ps2daemon.secret import Secret
from ps2daemon.stages import checks as checks_module
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages import naming as naming_module
from ps2daemon.stages import reconciler as reconciler_module
from ps2daemon.stages.checks import Checks
from ps2daemon.stages.handover import Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.sqlite import SqliteStore

POLL_SECONDS: Final = 3.0
"""The enricher's, since an hour of its usual ones takes a while."""
SLOW_SECONDS: Final = 60.0
"""That, and the rounds of the reconciler, where many hours are recorded; the sweep for names is five times that."""


class RestStream(httpcore.AsyncNetworkStream):
    """One connection to the simulator's REST, in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.send_all(buffer)
        except trio.BrokenResourceError as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class RestNetwork(httpcore.AsyncNetworkBackend):
    """Dials the simulator."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return RestStream(await self._simulation.dial(host, port, None))
        except OSError as error:
            raise httpcore.ConnectError from error


class Recorder:
    """A daemon of which everything is real but the network and the queue, over a simulation; it may be stopped and started again.

    Args:
        folder: where its store is.
        checking: whether it is asked who is online.
        slowly: nothing is done as often as usual, so that many hours take seconds.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        simulation: Simulation,
        folder: Path,
        *,
        requests_per_minute: int = 100,
        checking: bool = True,
        slowly: bool = False,
    ) -> None:
        self._patch = patch
        self.simulation = simulation
        self._path = folder / "ps2.db"
        self._requests_per_minute = requests_per_minute
        self._checking = checking
        self.letters = MemoryDeadLetters()
        self.store: SqliteStore
        without_threads(patch)
        patch.setattr(enricher_module, "POLL_SECONDS", SLOW_SECONDS if slowly else POLL_SECONDS)
        if slowly:
            patch.setattr(reconciler_module, "INTERVAL_SECONDS", SLOW_SECONDS)
            patch.setattr(checks_module, "INTERVAL_SECONDS", SLOW_SECONDS)
            patch.setattr(naming_module, "SWEEP_SECONDS", 5 * SLOW_SECONDS)

    @asynccontextmanager
    async def running(self, connections: int = 1) -> AsyncIterator[daemon.Worker]:
        """It records; stopped in order at the end, and its store closed."""
        simulation = self.simulation
        clock, telemetry = simulation.clock, simulation.telemetry
        async with AsyncExitStack() as stack:
            self.store = store = await SqliteStore.open(self._path)
            stack.push_async_callback(store.aclose)
            consumer = simulation.queue.consumer()
            stack.push_async_callback(consumer.aclose)
            transport = httpx.AsyncHTTPTransport()
            transport._pool = httpcore.AsyncConnectionPool(network_backend=RestNetwork(simulation))
            client = await stack.enter_async_context(
                CensusClient(
                    rest_url="http://census.example",
                    environment="ps2",
                    service_id=Secret("me"),
                    requests_per_minute=self._requests_per_minute,
                    observer=telemetry.census(),
                    transport=transport,
                )
            )
            source = CharacterSource(client, observer=telemetry.characters(), chance=lambda: 0.0)
            ledger = Ledger(store, clock.now)
            naming = Naming(source=source, ledger=ledger, store=store, clock=clock, events=telemetry)
            checks = Checks(client=client, ledger=ledger, clock=clock, events=telemetry, chance=lambda: 0.0)
            if not self._checking:
                self._patch.setattr(checks, "run", _nothing)
            worker = daemon.Worker(consumer, self.letters, store, ledger, Handover(), source, naming, checks)
            stages = daemon._worker_stages(worker, telemetry, clock)
            async with simulation.daemon(self._patch, *stages, connections=connections):
                yield worker

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteStore]:
        """Its store, whether it runs or not."""
        store = await SqliteStore.open(self._path, read_only=True)
        try:
            yield store
        finally:
            await store.aclose()

    async def kept(self) -> Kept:
        """What its store holds, whether it runs or not."""
        async with self.reading() as store:
            found = await content(store)
        letters = [letter.reason for letter in await self.letters.list(1_000)]
        return Kept(found, self.simulation.truth, self.simulation.clock.now(), letters)

    async def population(
        self, start: float, end: float, worlds: Sequence[int] = WORLDS
    ) -> dict[int, dict[Ms, dict[int, int] | None]]:
        """The people of each world by minute and empire, as readers are told; None where nobody knows. Times are seconds after the start."""
        query = PopulationQuery(
            start=START + round(start * SECOND),
            end=START + round(end * SECOND),
            step=MINUTE,
            worlds=tuple(worlds),
            factions=FACTIONS,
        )
        async with self.reading() as store:
            told = await population(store, query)
        found: dict[int, dict[Ms, dict[int, int] | None]] = {world_id: {} for world_id in worlds}
        for number, at in enumerate(told.times):
            for world_id in worlds:
                people = {
                    each.faction_id: each.online[number] for each in told.series if each.world_id == world_id
                }
                known = {faction: online for faction, online in people.items() if online is not None}
                found[world_id][at] = known if len(known) == len(people) else None
        return found

    def checked(self) -> dict[str, float]:
        """Of how many it was asked whether they are online, by answer."""
        return {
            answer: self.value("reconciler_checked_sessions_total", answer=answer) for answer in CHECK_ANSWERS
        }

    def results(self) -> dict[str, float]:
        """Requests to Census, by result; of those that there were."""
        found = {each: self.value("census_requests_total", result=each) for each in RESULTS}
        return {each: number for each, number in found.items() if number}

    def value(self, name: str, **labels: str) -> float:
        """A metric."""
        return self.simulation.telemetry.registry.get_sample_value(f"ps2_{name}", labels) or 0.0


async def _nothing(control: object) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def recorder(
    patch: pytest.MonkeyPatch, *faults: Fault, scale: float = 0.3, seed: int = 1, **settings: Any
) -> AsyncIterator[Recorder]:
    """A simulation that runs, and a daemon with a new store, which is not started."""
    with TemporaryDirectory() as folder:
        simulation = Simulation(*faults, scale=scale, seed=seed)
        async with simulation.running():
            yield Recorder(patch, simulation, Path(folder), **settings)


async def keep(
    patch: pytest.MonkeyPatch, *faults: Fault, minutes: float = 18, scale: float = 0.3, **settings: Any
) -> Kept:
    """Records so many minutes of three worlds into a store; wants an `autojump_clock`."""
    async with recorder(patch, *faults, scale=scale, **settings) as recording:
        async with recording.running():
            await trio.sleep(minutes * MINUTE / SECOND)
        return await recording.kept()
