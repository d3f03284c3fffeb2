"""A simulated time in virtual time, with faults: what is in the store of it, and what is to be said about that.

Simulator, Census over REST, and queue are in memory; the subscriber, the stages behind the queue, the client of Census and the store are
the real ones. What happens follows from the seed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import httpcore
import httpx
import msgspec
import pytest
import trio

from bench.content import Content, content
from bench.recorded import LATENCY, START, WORLDS, Fault, Simulation, without_threads
from ps2daemon import daemon
from ps2daemon.analysis.population import FACTIONS, PopulationQuery, population
from ps2daemon.census.characters import CharacterSource
from ps2daemon.census.rest import CensusClient
from ps2daemon.metrics import CHECK_ANSWERS
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.queue.memory import MemoryDeadLetters
from ps2daemon.secret import Secret
from ps2daemon.simulator.truth import TrueSession, Truth
from ps2daemon.stages import checks as checks_module
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages import naming as naming_module
from ps2daemon.stages import reconciler as reconciler_module
from ps2daemon.stages.checks import Checks
from ps2daemon.stages.handover import Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.store.base import SessionDocument
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


class Kept(NamedTuple):
    """What is in the store, and what is true.

    Attributes:
        letters: reasons of dead letters.
    """

    content: Content
    truth: Truth
    end: Ms
    letters: list[str]

    def newly_seen(self) -> Kept:
        """The same, without those who were online at the start."""
        ids = self.truth.characters.keys() - {
            each.character_id for each in self.truth.sessions if each.login < START
        }
        truth = Truth()
        truth.sessions = [each for each in self.truth.sessions if each.character_id in ids]
        truth.characters = {who: each for who, each in self.truth.characters.items() if who in ids}
        sessions = {key: each for key, each in self.content.sessions.items() if each.character_id in ids}
        return self._replace(truth=truth, content=msgspec.structs.replace(self.content, sessions=sessions))

    def true_sessions(self) -> list[TrueSession]:
        """Those of whom anything happened in the time."""
        return [
            each
            for each in self.truth.sessions
            if START <= each.login < self.end or (each.logout is not None and START <= each.logout < self.end)
        ]

    def true_of(self, session: SessionDocument) -> TrueSession | None:
        """What a stored session is of: by its login, or by the logout where that is all there is."""
        for each in self.truth.sessions:
            if each.character_id == session.character_id and (
                each.login == session.login_ts
                or (session.login_ts is None and each.logout == session.logout_ts)
            ):
                return each
        return None

    def by_end(self) -> dict[str | None, list[SessionDocument]]:
        """The stored sessions by how they ended."""
        found: dict[str | None, list[SessionDocument]] = {}
        for each in self.content.sessions.values():
            found.setdefault(each.ended_by, []).append(each)
        return found

    def invented(self) -> list[SessionDocument]:
        """Sessions that nobody had, with a login or logout that did not happen, or an end outside of the times that are stated."""
        return [each for each in self.content.sessions.values() if not self._is_true(each)]

    def _is_true(self, session: SessionDocument) -> bool:
        true = self.true_of(session)
        if true is None or true.world_id != session.world_id:
            return False
        if session.faction_id not in (0, true.faction_id):
            return False
        if session.ended_by == "logout":
            return session.logout_ts == true.logout
        if session.ended_by is None:
            return True
        assert session.ended_after is not None
        assert session.ended_before is not None
        # What happens is told, and true for Census, up to a second later.
        return true.logout is not None and (
            session.ended_after - LATENCY <= true.logout <= session.ended_before
        )

    def lost(self) -> list[TrueSession]:
        """Sessions of which something was told in covered time and nothing is stored."""
        logins = {(each.character_id, each.login_ts) for each in self.content.sessions.values()}
        logouts = {(each.character_id, each.logout_ts) for each in self.content.sessions.values()}
        coverage = {world_id: self.coverage(world_id) for world_id in WORLDS}

        def told(world_id: int, at: Ms | None, sent: Ms | None) -> bool:
            return (
                at is not None
                and sent is not None
                and coverage[world_id].covers(at)
                and coverage[world_id].covers(sent)
            )

        return [
            each
            for each in self.truth.sessions
            if (
                told(each.world_id, each.login, each.login_sent)
                or told(each.world_id, each.logout, each.logout_sent)
            )
            and (each.character_id, each.login) not in logins
            and (each.character_id, each.logout) not in logouts
        ]

    def coverage(self, world_id: int) -> WorldCoverage:
        """When a world was recorded."""
        return WorldCoverage(each for each in self.content.spans if each.world_id == world_id)

    def misnamed(self) -> list[str]:
        """Characters with another name or empire than their own."""
        wrong = []
        for each in self.content.characters.values():
            true = self.truth.characters.get(each.character_id)
            if true is not None and (
                each.character_name not in (None, true.name) or each.faction_id not in (0, true.faction_id)
            ):
                wrong.append(each.character_id)
        return wrong

    def unnamed(self) -> list[str]:
        """Characters without a name or an empire."""
        return [
            each.character_id
            for each in self.content.characters.values()
            if each.character_name is None or each.faction_id == 0
        ]


class Known(NamedTuple):
    """A true session, as far as it can be known."""

    character_id: str
    faction_id: int
    since: Ms
    until: Ms | None


def knowable(kept: Kept, world_id: int) -> list[Known]:
    """When those of a world were there of whom anybody can know it.

    Of whom only the logout was told, it is known as far back as the recording before that is unbroken. Who left and came back untold is taken for
    there all the time, and was.
    """
    coverage = kept.coverage(world_id)
    found = []
    untold: set[str] = set()
    for each in kept.truth.sessions:
        since: Ms | None = each.login
        if each.login_sent is None and each.character_id not in untold:
            since = None
            if each.logout_sent is not None and each.logout is not None:
                since = coverage.covered_from(each.logout)
        if since is not None and each.logout_sent is None:
            untold.add(each.character_id)
        else:
            untold.discard(each.character_id)
        if each.world_id == world_id and since is not None:
            found.append(Known(each.character_id, each.faction_id, max(since, each.login), each.logout))
    return found


def online(known: Iterable[Known], at: Ms) -> dict[int, int]:
    """How many of each empire were there."""
    found = {1: 0, 2: 0, 3: 0, 4: 0}
    for _, faction_id, since, until in known:
        if since <= at and (until is None or at < until):
            found[faction_id] += 1
    return found


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

    async def kept(self) -> Kept:
        """What its store holds, whether it runs or not."""
        store = await SqliteStore.open(self._path, read_only=True)
        try:
            found = await content(store)
        finally:
            await store.aclose()
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
        store = await SqliteStore.open(self._path, read_only=True)
        try:
            told = await population(store, query)
        finally:
            await store.aclose()
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

    def value(self, name: str, **labels: str) -> float:
        """A metric."""
        return self.simulation.telemetry.registry.get_sample_value(f"ps2_{name}", labels) or 0.0


async def _nothing(control: object) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def recorder(
    patch: pytest.MonkeyPatch, *faults: Fault, scale: float = 0.3, **settings: Any
) -> AsyncIterator[Recorder]:
    """A simulation that runs, and a daemon with a new store, which is not started."""
    with TemporaryDirectory() as folder:
        simulation = Simulation(*faults, scale=scale)
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
