"""The daemon in this process: real queue, real store, and the simulated Census over TCP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry

from bench.comparison import compare_minutes, compare_sessions
from bench.programs import free_port
from ps2daemon import daemon
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings, load_settings
from ps2daemon.errors import ConfigError, QueueLocked
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.queue.frames import encode_frames
from ps2daemon.queue.sqlite import SqliteConsumer, SqliteProducer, read_statistics
from ps2daemon.simulator import sources
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.server import Address, Simulator, serve_simulator
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.sources import BusySource, QuietSource
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.telemetry import Telemetry

WORLDS = (10, 40)
STOP_SECONDS = 10.0
PATIENCE = 30.0
"""Seconds until a test gives up on what should take a few."""
QUEUE_BYTES = 64 * 1024 * 1024
CONFIG = """
[census]
service_id = "test"
rest_url = "{rest}"
requests_per_minute = 1000

[[stream]]
url = "{stream}"
worlds = [10, 40]
verify_seconds = 1

[queue]
directory = "queue"

[store]
path = "ps2.db"

[web]
metrics_port = {port}
"""


async def answered(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """The answer to a path, asked for until the daemon listens."""
    while True:
        try:
            return await client.get(path)
        except httpx.ConnectError:
            await trio.sleep(0.05)


class Scene:
    """A simulator that serves, and the settings of a daemon that uses it."""

    def __init__(self, folder: Path, simulator: Simulator, address: Address) -> None:
        self.folder = folder
        self.simulator = simulator
        self.port = free_port(1)
        text = CONFIG.format(rest=address.rest_url, stream=address.stream_url, port=self.port)
        (folder / "config.toml").write_text(text)
        self.settings: Settings = load_settings(folder / "config.toml", {})

    @asynccontextmanager
    async def running(self, *parts: daemon.Part | None) -> AsyncIterator[None]:
        """Runs the parts, and stops them at the end, one after the other."""
        stops = [trio.Event() for _ in parts]
        ended = [trio.Event() for _ in parts]

        async def run(number: int, part: daemon.Part | None) -> None:
            await daemon.run(
                self.settings,
                part,
                telemetry=Telemetry(CollectorRegistry()),
                clock=SystemClock(),
                stop=stops[number],
            )
            ended[number].set()

        async with trio.open_nursery() as nursery:
            for number, part in enumerate(parts):
                nursery.start_soon(run, number, part)
            yield
            for stop, end in zip(stops, ended, strict=True):
                began = trio.current_time()
                stop.set()
                await end.wait()
                assert trio.current_time() - began < STOP_SECONDS

    async def drain(self) -> None:
        await daemon.drain(
            self.settings, telemetry=Telemetry(CollectorRegistry()), clock=SystemClock(), stop=trio.Event()
        )

    async def taken(self) -> None:
        """Waits until the running worker has taken everything out of the queue."""
        while True:
            if not read_statistics(self.settings.queue.directory).frames:
                return
            await trio.sleep(0.05)

    async def ready(self, port: int) -> str:
        """Waits until the daemon says that it is ready, and gives its metrics."""
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
            while (await answered(client, "/readyz")).status_code != HTTPStatus.OK:  # noqa: ASYNC110 (over HTTP)
                await trio.sleep(0.1)
            return (await client.get("/metrics")).text

    @asynccontextmanager
    async def stored(self) -> AsyncIterator[SqliteStore]:
        store = await SqliteStore.open(self.settings.store.path, read_only=True)
        try:
            yield store
        finally:
            await store.aclose()


@asynccontextmanager
async def scene(folder: Path, simulator: Simulator) -> AsyncIterator[Scene]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address: Address = await nursery.start(serve_simulator, simulator)
            yield Scene(folder, simulator, address)
            simulator.stop()


@pytest.mark.parametrize("parts", [(None,), ("subscriber", "worker")])
async def test_what_happens_live_is_in_the_store_as_it_was(
    parts: tuple[daemon.Part | None, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sources, "_BUSY_SECONDS", (1.5, 4.0)
    )  # never all within one second, which events can not tell
    simulator = Simulator(BusySource(rate=600, worlds=WORLDS, seed=3), worlds=WORLDS)
    async with scene(tmp_path, simulator) as census:
        async with census.running(*parts):
            for number in range(len(parts)):
                await census.ready(census.port + number)
            await trio.sleep(3)
            simulator.drop_connections()
            await trio.sleep(3)
            metrics = await census.ready(census.port)
            assert 'ps2_stream_connected{stream="ps2-0-0"} 1.0' in metrics
            simulator.pause()
            await trio.sleep(2.2)  # another verification, so that coverage reaches to what came last
            await census.taken()
        # A verification that was answered at the very end may still be in the queue, where the next start finds it.
        await census.drain()
        assert read_statistics(census.settings.queue.directory).frames == 0
        async with census.stored() as store:
            sessions = await compare_sessions(store, simulator.truth, by_sent=True)
            assert sessions.wrong == []
            assert sessions.compared > 50
            counts = await store.counts()
            assert counts["sessions"] > 300
            assert counts["unnamed"] < counts["characters"], "Census was asked"
            assert {span.after for span in await store.spans()} == {"start", "connection"}


async def test_a_queue_is_drained_into_what_really_happened(tmp_path: Path) -> None:
    start = 1_772_366_400_000 - DAY
    population = PopulationSettings(seed=2, worlds=WORLDS, scale=0.1)
    records, truth = history(HistorySettings(population=population, start=start, end=start + DAY, gaps=()))
    simulator = Simulator(QuietSource(), worlds=WORLDS, truth=Truth())
    simulator.truth.characters.update(truth.characters)
    for character in simulator.truth.characters.values():
        character.first_end = 0
    async with scene(tmp_path, simulator) as census:
        producer = await SqliteProducer.open(census.settings.queue.directory, max_bytes=QUEUE_BYTES)
        for frame in encode_frames(records):
            await producer.append(frame)
        await producer.aclose()
        assert (before := read_statistics(census.settings.queue.directory)).records > 5_000
        began = trio.current_time()
        await census.drain()
        assert before.records / (trio.current_time() - began) > 500
        assert read_statistics(census.settings.queue.directory).frames == 0
        async with census.stored() as store:
            assert await store.records_until() == start + DAY
            sessions = await compare_sessions(store, truth)
            assert sessions.wrong == []
            assert sessions.compared > 500
            minutes = await compare_minutes(store, truth, start + HOUR, start + DAY, WORLDS)
            assert minutes.wrong == []
            assert (await store.counts())["unnamed"] == 0
        await census.drain()  # there is nothing left, and that is soon found


async def test_a_drain_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    start = 1_772_366_400_000
    population = PopulationSettings(seed=2, worlds=WORLDS, scale=0.3)  # more than is in hand
    records, truth = history(HistorySettings(population=population, start=start, end=start + DAY, gaps=()))
    async with scene(tmp_path, simulator) as census:
        producer = await SqliteProducer.open(census.settings.queue.directory, max_bytes=QUEUE_BYTES)
        for frame in encode_frames(records):
            await producer.append(frame)
        await producer.aclose()
        whole = read_statistics(census.settings.queue.directory).frames
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            telemetry = Telemetry(CollectorRegistry())
            nursery.start_soon(
                partial(daemon.drain, census.settings, telemetry=telemetry, clock=SystemClock(), stop=stop)
            )
            await trio.sleep(0.05)
            began = trio.current_time()
            stop.set()
        assert trio.current_time() - began < STOP_SECONDS
        assert 0 < read_statistics(census.settings.queue.directory).frames <= whole
        await census.drain()
        async with census.stored() as store:
            assert (await compare_sessions(store, truth)).wrong == []


async def test_a_port_that_is_taken_ends_it_with_one_clear_line(tmp_path: Path) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with scene(tmp_path, simulator) as census:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", census.port))
            taken.listen()
            with pytest.raises(ConfigError, match=r"web\.metrics_port"):
                await daemon.run(
                    census.settings,
                    None,
                    telemetry=Telemetry(CollectorRegistry()),
                    clock=SystemClock(),
                    stop=trio.Event(),
                )


async def test_a_second_worker_is_refused(tmp_path: Path) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with scene(tmp_path, simulator) as census:
        consumer = await SqliteConsumer.open(census.settings.queue.directory, max_bytes=QUEUE_BYTES)
        try:
            with pytest.raises(QueueLocked):
                await census.drain()
        finally:
            await consumer.aclose()


async def test_a_census_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with scene(tmp_path, simulator) as census:
        simulator.stop()
        with trio.fail_after(PATIENCE):
            async with (
                census.running(None),
                httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{census.port}") as client,
            ):
                answer = await answered(client, "/readyz")
                while "degraded" not in answer.text:
                    await trio.sleep(0.05)
                    answer = await client.get("/readyz")
                assert answer.status_code == 503
                assert (await client.get("/healthz")).status_code == 200
