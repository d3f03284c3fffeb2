from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import msgspec
import pytest
import trio
from prometheus_client import CollectorRegistry

from ps2daemon.census.stream import StreamSettings, run_stream
from ps2daemon.clock import VirtualClock
from ps2daemon.errors import QueueBusy, QueueFull, QueueUnavailable, QueueUnwritable
from ps2daemon.health import Health, StageControl
from ps2daemon.model.records import SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.queue.base import QueueStatistics
from ps2daemon.queue.frames import decode_frame
from ps2daemon.queue.memory import MemoryQueue
from ps2daemon.secret import Secret
from ps2daemon.stages import subscriber as subscriber_module
from ps2daemon.stages.intake import Intake
from ps2daemon.stages.subscriber import RETRY_SECONDS, Connection, run_subscriber
from ps2daemon.supervisor import StageSpec, supervise
from ps2daemon.telemetry import Telemetry
from tests.records import T0
from tests.stores import Crash
from tests.unit.scripted_census import Network, Server

WORLDS = (10, 40)
VERIFY = 5.0


class FaultyProducer:
    """A queue's entrance that refuses, or crashes, at some calls.

    Args:
        full: whether there is no room at the moment.
        crash: the calls that crash, by number from 1; negative ones after the frame was appended.
    """

    def __init__(self, queue: MemoryQueue, full: Callable[[], bool], crash: Collection[int]) -> None:
        self._producer = queue.producer()
        self._full = full
        self._crash = crash
        self.calls = 0
        self.refused = 0
        self.refusal: QueueUnavailable = QueueFull("no room")

    async def append(self, frame: bytes) -> None:
        self.calls += 1
        number = self.calls
        if number in self._crash:
            raise Crash(f"before append {number}")
        if self._full():
            self.refused += 1
            raise self.refusal
        await self._producer.append(frame)
        if -number in self._crash:
            raise Crash(f"after append {number}")

    async def statistics(self) -> QueueStatistics:
        return await self._producer.statistics()

    async def aclose(self) -> None:
        await self._producer.aclose()


class Scene:
    """A subscriber between a scripted Census, which sends an event every 0.7 s and keeps what it sent, and a queue in memory."""

    def __init__(
        self,
        nursery: trio.Nursery,
        patch: pytest.MonkeyPatch,
        *,
        connections: int = 1,
        full: Callable[[], bool] = lambda: False,
        crash: Collection[int] = (),
    ) -> None:
        self.clock = VirtualClock(T0 + 137)
        self.network = Network(nursery, [self.script])
        self.queue = MemoryQueue()
        self.producer = FaultyProducer(self.queue, full, crash)
        self.intake = Intake(self.clock)
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, clock=self.clock)
        self.sent: list[Ms] = []
        self.connections = [self.connection(f"ps2-{number}") for number in range(connections)]
        stream = partial(run_stream, dial=self.network.dial, chance=lambda: 0.0)
        patch.setattr(subscriber_module, "run_stream", stream)

    def connection(self, name: str) -> Connection:
        settings = StreamSettings(
            url="ws://census.example/streaming",
            environment="ps2",
            service_id=Secret("secret"),
            worlds=WORLDS,
            verify_seconds=VERIFY,
        )
        observer = self.telemetry.stream(name)
        sink = self.intake.source(on_event=lambda payload, at: None, on_oversized=observer.malformed)
        return Connection(settings, sink, observer)

    async def script(self, server: Server) -> None:
        await server.accept()
        await server.greet()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve)
            while True:
                await trio.sleep(0.7)
                if server.worlds:
                    at = self.clock.now()
                    await server.event(f'{{"sent":{at}}}')
                    self.sent.append(at)

    async def run(self, control: StageControl) -> None:
        await run_subscriber(
            control,
            connections=self.connections,
            intake=self.intake,
            producer=self.producer,
            clock=self.clock,
            events=self.telemetry,
        )

    async def supervised(self, seconds: float) -> None:
        """Runs under the supervisor, and stops after some time."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            spec = StageSpec(name="subscriber", run=self.run, stop_seconds=3.0)
            nursery.start_soon(partial(supervise, [spec], self.telemetry, stop=stop, health=Health()))
            await trio.sleep(seconds)
            stop.set()

    def records(self) -> list[Record]:
        """What is in the queue, in order."""
        return [
            record
            for item in self.queue.behind(self.queue.acked, 10_000)
            for record in decode_frame(item.frame)
        ]

    def coverage(self) -> list[CoverageRecord]:
        return [record for record in self.records() if isinstance(record, CoverageRecord)]

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"ps2_{name}", labels)

    def check(self) -> None:
        """What the queue vouches for is in it, before the claim, in the order in which it was sent."""
        seen: list[Ms] = []
        for record in self.records():
            if isinstance(record, EventRecord):
                at = msgspec.json.decode(record.payload)["sent"]
                if at not in seen:  # an append whose success was not heard of is repeated
                    assert not seen or at > seen[-1]
                    seen.append(at)
            else:
                vouched = [at for at in self.sent if record.start <= at < record.end]
                assert set(vouched) <= set(seen)


async def test_events_and_coverage_go_to_the_queue_and_a_stop_flushes(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch)
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(1)
        assert (control.state, control.snapshot().why) == ("waiting", "for events")
        await trio.sleep(60)
        scene.connections[0].sink.event(b'{"sent":%d}' % scene.clock.now(), scene.clock.now())
        scene.sent.append(scene.clock.now())
        control.stopping.set()
    assert scene.network.clients[0].closed.is_set()
    assert len(scene.intake) == 0
    scene.check()
    events = [record for record in scene.records() if isinstance(record, EventRecord)]
    assert len(events) == len(scene.sent) > 80
    claims = scene.coverage()
    assert {(claim.world_id, claim.start, claim.after) for claim in claims} == {
        (world_id, claims[0].start, "start") for world_id in WORLDS
    }
    assert max(claim.end for claim in claims) > scene.clock.now() - 7 * SECOND
    assert scene.value("queue_appended_records_total") == len(scene.records())


async def test_events_that_come_together_share_a_frame(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch, connections=0)
    control = Health().add("subscriber", scene.telemetry)
    source = scene.connection("by hand").sink
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        for number in range(1_200):
            source.event(b'{"sent":%d}' % (T0 + number), T0 + number)
            if number == 100:
                await trio.sleep(1)
                assert len(scene.queue.behind(0, 100)) == 1
        await trio.sleep(1)
        control.stopping.set()
    assert [len(decode_frame(item.frame)) for item in scene.queue.behind(0, 100)] == [101, 500, 500, 99]
    scene.check()


@pytest.mark.logs_errors
async def test_a_full_queue_closes_the_sockets_and_recording_goes_on_by_itself(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    full = False
    scene = Scene(nursery, monkeypatch, full=lambda: full)
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(30)
        full = True
        before = scene.clock.now()
        await trio.sleep(30)
        assert scene.network.clients[-1].closed.is_set()
        assert scene.value("stream_connected", stream="ps2-0") == 0
        assert (control.state, control.snapshot().why) == ("degraded", "no room")
        assert scene.value("queue_full") == 1
        waiting = len(scene.intake)
        assert 0 < waiting < 10
        assert len(scene.network.clients) == 1, "nothing is received that can't be kept"
        full = False
        after = scene.clock.now()
        await trio.sleep(30)
        assert scene.value("queue_full") == 0
        assert (control.state, len(scene.intake)) == ("waiting", 0)
        control.stopping.set()
    scene.check()
    first, second = sorted({(claim.start, claim.after) for claim in scene.coverage() if claim.world_id == 10})
    assert first[1] == "start"
    assert second[1] == "disk_full"
    assert second[0] > after
    assert max(claim.end for claim in scene.coverage() if claim.start == first[0]) <= before + SECOND
    assert scene.producer.refused == 30 // RETRY_SECONDS


async def test_a_queue_that_can_not_be_written_is_waited_for_as_a_full_one_is(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch, full=lambda: 30 < trio.current_time() - began < 60)
    scene.producer.refusal = QueueUnwritable("an I/O error")
    began = trio.current_time()
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(50)
        assert (control.state, control.snapshot().why) == ("degraded", "an I/O error")
        assert scene.value("queue_up") == 0
        assert scene.value("stream_connected", stream="ps2-0") == 0
        await trio.sleep(40)
        assert (control.state, scene.value("queue_up")) == ("waiting", 1)
        control.stopping.set()
    scene.check()
    assert {claim.after for claim in scene.coverage()} == {"start", "disk_full"}


async def test_while_another_program_has_the_queue_locked_the_stream_goes_on(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch, full=lambda: 30 < trio.current_time() - began < 90)
    scene.producer.refusal = QueueBusy("locked")
    began = trio.current_time()
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(80)
        assert (control.state, control.snapshot().why) == ("degraded", "locked")
        assert scene.value("queue_up") == 0
        assert scene.value("stream_connected", stream="ps2-0") == 1
        await trio.sleep(40)
        assert (control.state, scene.value("queue_up")) == ("waiting", 1)
        control.stopping.set()
    scene.check()
    assert len(scene.network.clients) == 1
    assert {claim.after for claim in scene.coverage()} == {"start"}, "nothing of it is a gap"
    assert len(scene.sent) > 160


async def test_what_is_lost_of_the_queue_is_not_vouched_for(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch)
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(30)
        consumer = scene.queue.consumer()
        first = await consumer.read(20)
        await consumer.ack(first[9].position)
        await consumer.ack_lost(first[-1].position, "torn")  # ten frames
        lost = [record for item in first for record in decode_frame(item.frame)]
        lost_at = scene.clock.now()
        await trio.sleep(30)
        control.stopping.set()
    assert len(scene.network.clients) == 1, "the stream goes on"
    scene.sent = [
        at for at in scene.sent if at > max(e.received_at for e in lost if isinstance(e, EventRecord))
    ]
    scene.check()
    claims = scene.coverage()
    assert {claim.after for claim in claims} == {"disk_full"}
    assert min(claim.start for claim in claims) < lost_at - 10 * SECOND, "what came behind it is vouched for"
    assert max(claim.end for claim in claims) > scene.clock.now() - 7 * SECOND


@pytest.mark.logs_errors
async def test_a_stop_while_the_queue_is_full_ends_without_a_crash(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch, full=lambda: scene.producer.calls > 10)
    began = trio.current_time()
    await scene.supervised(30)
    assert trio.current_time() - began < 30.1
    assert scene.producer.refused > 2
    assert not [
        sample for sample in scene.registry.collect() if sample.name == "ps2_stage_errors" and sample.samples
    ]
    scene.check()


@pytest.mark.logs_errors
@pytest.mark.parametrize("crash", [(1,), (-1,), (7,), (-7,), (3, -9, 20, 21, -22)])
async def test_a_crash_loses_and_reorders_nothing(
    crash: tuple[int, ...],
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.abc.Clock,
) -> None:
    scene = Scene(nursery, monkeypatch, crash=crash)
    await scene.supervised(60)
    scene.check()
    assert scene.value("stage_restarts_total", stage="subscriber") == len(crash)
    assert len(scene.network.clients) == 1 + len(crash)
    received = {
        msgspec.json.decode(record.payload)["sent"]
        for record in scene.records()
        if isinstance(record, EventRecord)
    }
    assert received == set(scene.sent)
    afters = {claim.after for claim in scene.coverage()}
    assert afters <= {"start", "connection"}


async def test_one_connection_of_two_that_fails_is_told(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    scene = Scene(nursery, monkeypatch, connections=2)
    control = Health().add("subscriber", scene.telemetry)
    async with trio.open_nursery() as stage:
        stage.start_soon(scene.run, control)
        await trio.sleep(10)
        assert control.state == "waiting"
        scene.network.clients[0].dead.set()
        seen: set[str | None] = set()
        for _ in range(600):
            await trio.sleep(0.1)
            if control.state == "degraded":
                seen.add(control.snapshot().why)
        assert any(why is not None and why.startswith("1 of 2 connections") for why in seen)
        assert control.state == "waiting"
        control.stopping.set()
    assert len(scene.network.clients) == 3
    # The other connection went on: nothing that was sent to it is missing.
    covered = sorted((claim.start, claim.end) for claim in scene.coverage() if claim.world_id == 10)
    assert covered[-1][1] > scene.clock.now() - 7 * SECOND
