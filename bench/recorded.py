"""A simulated time in virtual time, with faults: what the subscriber puts into its queue of it, and what is to be said about that.

The simulator is in memory, the subscriber is the real one, and the queue is in memory too. What happens follows from the seed.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
import trio
import trio.testing
from prometheus_client import CollectorRegistry

from bench.comparison import covered
from ps2daemon.census.stream import StreamObserver, StreamSettings, run_stream
from ps2daemon.clock import VirtualClock
from ps2daemon.errors import StreamLost
from ps2daemon.health import Health, StageControl
from ps2daemon.model.coverage import WorldCoverage, coverage_by_world
from ps2daemon.model.events import ContinentLock, glance
from ps2daemon.model.records import MINUTE, SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.queue.frames import decode_frame
from ps2daemon.queue.memory import MemoryQueue
from ps2daemon.secret import Secret
from ps2daemon.simulator.faults.plan import Planned, parse_fault
from ps2daemon.simulator.faults.telling import telling_of
from ps2daemon.simulator.server import Simulator
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.sources import LiveSource
from ps2daemon.simulator.truth import Truth
from ps2daemon.stages import subscriber as subscriber_module
from ps2daemon.stages.intake import Intake
from ps2daemon.stages.subscriber import Connection, run_subscriber
from ps2daemon.supervisor import StageSpec, supervise
from ps2daemon.telemetry import Telemetry

if TYPE_CHECKING:
    import pytest

T = TypeVar("T")

START: Final[Ms] = 1_772_391_600_000  # 2026-03-01T19:00:00Z, a busy hour
WORLDS: Final = (1, 10, 40)
LATENCY: Final = SECOND
"""An event is told within that of its time."""
LISTEN_SECONDS: Final = 1.0
"""Between two looks at whether events would arrive."""


UNDIALLED: Final[dict[str, Callable[[], Exception]]] = {
    "dns_failure": lambda: socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "tls_untrusted": lambda: StreamLost("tls", "no TLS with census.example: certificate verify failed"),
}
"""What dialling ends with while these faults are on, which no simulator can make (see `census.websocket.dial_tcp`)."""


def without_threads(patch: pytest.MonkeyPatch) -> None:
    """Calls of worker threads run in the event loop: a clock that jumps would not wait for threads."""

    async def run_sync(function: Callable[..., T], *args: object, **options: object) -> T:
        await trio.lowlevel.checkpoint()
        return function(*args)

    patch.setattr(trio.to_thread, "run_sync", run_sync)


class Fault(NamedTuple):
    """A fault, with its time in seconds after the start; without `seconds` it stays."""

    text: str
    start: float
    seconds: float | None = None


class Edge(NamedTuple):
    """A login or logout, of the truth or recorded."""

    character_id: str
    world_id: int
    at: Ms
    login: bool


class Told(NamedTuple):
    """What the subscriber noticed: in which second after the start, and what."""

    second: float
    what: str


class Recorded(NamedTuple):
    """What is in the queue, and what is true.

    Attributes:
        edges: logins and logouts, by how often each is there.
        told: the ends of connections and wrong subscriptions, in order.
        deaf: for each world, the moments at which an event of it could not have arrived, out of one each `LISTEN_SECONDS`.
    """

    records: Sequence[Record]
    edges: dict[Edge, int]
    payloads: list[dict[str, Any]]
    coverage: dict[int, WorldCoverage]
    told: list[Told]
    truth: Truth
    end: Ms
    malformed: int
    deaf: dict[int, list[Ms]]

    def true_edges(self) -> set[Edge]:
        """What really happened since the start."""
        found = set()
        for each in self.truth.sessions:
            if each.login >= START:
                found.add(Edge(each.character_id, each.world_id, each.login, True))
            if each.logout is not None and START <= each.logout < self.end:
                found.add(Edge(each.character_id, each.world_id, each.logout, False))
        return found

    def missing(self) -> set[Edge]:
        """What happened in time that is vouched for, and is not recorded."""
        return {
            edge
            for edge in self.true_edges() - self.edges.keys()
            if self._vouched(edge.world_id, edge.at) and self._vouched(edge.world_id, edge.at + LATENCY)
        }

    def invented(self) -> set[Edge]:
        """What is recorded and did not happen."""
        return self.edges.keys() - self.true_edges()

    def gaps(self, world_id: int = 10) -> list[tuple[float, float, str | None]]:
        """The gaps after the first span, in seconds after the start, with what the span behind each says."""
        coverage = self.coverage[world_id]
        first = coverage.spans[0].start
        return [
            ((gap.start - START) / SECOND, (gap.end - START) / SECOND, gap.after)
            for gap in coverage.gaps(first, self.end)
        ]

    def covered(self, start: float, end: float, world_id: int = 10) -> float:
        """Seconds that are vouched for between two seconds after the start."""
        first, behind = START + round(start * SECOND), START + round(end * SECOND)
        return covered(self.coverage.get(world_id, WorldCoverage()), first, behind)

    def falsely_covered(self) -> float:
        """Seconds that are vouched for and in which an event could not have arrived; of all worlds together."""
        return falsely_covered(self.coverage, self.deaf)

    def noticed(self, after: float) -> float:
        """Seconds from then on until something was noticed."""
        return min(told.second for told in self.told if told.second >= after) - after

    def _vouched(self, world_id: int, at: Ms) -> bool:
        return world_id in self.coverage and self.coverage[world_id].covers(at)


def falsely_covered(coverage: Mapping[int, WorldCoverage], deaf: Mapping[int, Sequence[Ms]]) -> float:
    """Seconds that are vouched for, of those in which an event could not have arrived; see `Recorded.deaf`."""
    found = (coverage[world_id].covers(at) for world_id in coverage for at in deaf.get(world_id, ()))
    return sum(found) * LISTEN_SECONDS


class _Observer(StreamObserver):
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.told: list[Told] = []
        self.bad = 0

    def disconnected(self, cause: str, message: str) -> None:
        self.told.append(Told(self._now(), cause))

    def verified(self, ok: bool) -> None:
        if not ok:
            self.told.append(Told(self._now(), "subscription"))

    def malformed(self, reason: str) -> None:
        self.bad += 1

    def world_state(self, world_id: int, online: bool) -> None:
        if not online:
            self.told.append(Told(self._now(), f"world {world_id} down"))

    def world_silent(self, world_id: int, silent: bool) -> None:
        if silent:
            self.told.append(Told(self._now(), f"world {world_id} silent"))

    def clock(self, ahead: Ms, wrong: bool) -> None:
        if wrong:
            self.told.append(Told(self._now(), "clock"))


class Simulation:
    """A Census in memory, and the queue that is recorded into.

    Attributes:
        clock: the recording machine's.
        dial: opens a connection to the simulator, as `trio.open_tcp_stream` would.
    """

    def __init__(
        self, *faults: Fault, scale: float = 0.3, queue_bytes: int = 64 * 1024 * 1024, seed: int = 1
    ) -> None:
        self.clock, true_clock = VirtualClock(START), VirtualClock(START)
        self._began = began = trio.current_time()
        self.truth = truth = Truth()
        settings = PopulationSettings(seed=seed, worlds=WORLDS, scale=scale)
        self.simulator = Simulator(
            LiveSource(settings, truth, START), worlds=WORLDS, truth=truth, clock=true_clock, seed=seed
        )
        self.deaf: dict[int, list[Ms]] = {world_id: [] for world_id in WORLDS}
        self.simulator.faults.plan(
            [
                Planned(parse_fault(each.text), each.start, each.seconds)
                for each in faults
                if each.text not in UNDIALLED
            ]
        )
        self._undialled = [each for each in faults if each.text in UNDIALLED]
        self.observer = _Observer(lambda: trio.current_time() - began)
        self.queue = MemoryQueue(max_bytes=queue_bytes)
        self.telemetry = Telemetry(
            CollectorRegistry(), clock=self.clock, monotonic=lambda: trio.current_time()
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Things happen."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.simulator.run)
            yield
            nursery.cancel_scope.cancel()

    async def dial(self, host: str, port: int, tls: object) -> trio.abc.Stream:
        now = trio.current_time() - self._began
        for text, start, seconds in self._undialled:
            if start <= now < start + (math.inf if seconds is None else seconds):
                raise UNDIALLED[text]()
        if self.simulator.hidden.is_set():
            raise ConnectionRefusedError(111, "Connection refused")
        mine, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.simulator.serve_stream, theirs)
        return mine

    async def listen(self) -> None:
        """Takes down when events could not arrive, for ever."""
        await trio.sleep(LISTEN_SECONDS / math.e)  # so that nothing else happens in the same moment
        while True:
            for world_id, moments in self.deaf.items():
                if not self._arrives(world_id):
                    moments.append(self.simulator.clock.now())
            await trio.sleep(LISTEN_SECONDS)

    def _arrives(self, world_id: int) -> bool:
        """Whether an event would reach anybody now; a lock, since single logins and logouts get lost without a reason."""
        event = ContinentLock(world_id, 2, self.simulator.clock.now(), 1, 0, 0, 0.0, 0.0, 0.0)
        if not self.simulator.audience(event):
            return False
        faults = self.simulator.faults
        return not faults.touch_events or any(each.genuine for each in faults.tellings(telling_of(event)))

    @asynccontextmanager
    async def daemon(
        self, patch: pytest.MonkeyPatch, *stages: StageSpec, connections: int = 1
    ) -> AsyncIterator[Health]:
        """It is recorded, and the other stages run; stopped in order at the end."""
        patch.setattr(
            subscriber_module, "run_stream", partial(run_stream, dial=self.dial, chance=lambda: 0.5)
        )
        intake, producer, health = Intake(self.clock), self.queue.producer(), Health()
        streams = [_connection(intake, self.observer) for _ in range(connections)]

        async def subscribe(control: StageControl) -> None:
            await run_subscriber(
                control,
                connections=streams,
                intake=intake,
                producer=producer,
                clock=self.clock,
                events=self.telemetry,
            )

        stop = trio.Event()
        subscriber = StageSpec(name="subscriber", run=subscribe, stop_seconds=3.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(supervise, [subscriber, *stages], self.telemetry, stop=stop, health=health)
            )
            yield health
            stop.set()
        await producer.aclose()


async def record(
    patch: pytest.MonkeyPatch,
    *faults: Fault,
    minutes: int = 20,
    connections: int = 1,
    scale: float = 0.3,
    clock_set: Sequence[tuple[float, float]] = (),
    seed: int = 1,
    listening: bool = False,
) -> Recorded:
    """Records so many minutes of three worlds; wants an `autojump_clock`.

    Args:
        clock_set: when the recording machine's clock is set, and by how much, in seconds.
        listening: it is taken down when events could not arrive.
    """
    simulation = Simulation(*faults, scale=scale, seed=seed)
    async with simulation.running(), trio.open_nursery() as nursery:
        nursery.start_soon(_set_clock, simulation.clock, clock_set)
        if listening:
            nursery.start_soon(simulation.listen)
        async with simulation.daemon(patch, connections=connections):
            await trio.sleep(minutes * MINUTE / SECOND)
        nursery.cancel_scope.cancel()
    return _recorded(simulation, START + minutes * MINUTE)


async def _set_clock(clock: VirtualClock, times: Sequence[tuple[float, float]]) -> None:
    began = trio.current_time()
    for second, by in times:
        await trio.sleep_until(began + second)
        clock.set(clock.now() + round(by * SECOND))


def _connection(intake: Intake, observer: _Observer) -> Connection:
    settings = StreamSettings(
        url="ws://census.example/streaming", environment="ps2", service_id=Secret("me"), worlds=WORLDS
    )
    sink = intake.source(
        on_event=_world_of,
        on_oversized=observer.malformed,
        on_silent=observer.world_silent,
        on_clock=observer.clock,
    )
    return Connection(settings, sink, observer)


def _world_of(payload: bytes, at: Ms) -> int | None:
    seen = glance(payload)
    return None if seen is None else seen.world


def _recorded(simulation: Simulation, end: Ms) -> Recorded:
    frames = simulation.queue.behind(0, 1_000_000)
    records: Sequence[Record] = [each for item in frames for each in decode_frame(item.frame)]
    payloads = [msgspec.json.decode(each.payload) for each in records if isinstance(each, EventRecord)]
    edges: dict[Edge, int] = {}
    for each in payloads:
        name = each.get("event_name")
        if name in ("PlayerLogin", "PlayerLogout"):
            edge = Edge(
                str(each["character_id"]),
                int(each["world_id"]),
                int(each["timestamp"]) * SECOND,
                name == "PlayerLogin",
            )
            edges[edge] = edges.get(edge, 0) + 1
    spans = [each for each in records if isinstance(each, CoverageRecord)]
    return Recorded(
        records,
        edges,
        payloads,
        coverage_by_world(spans),
        simulation.observer.told,
        simulation.truth,
        end,
        simulation.observer.bad,
        simulation.deaf,
    )
