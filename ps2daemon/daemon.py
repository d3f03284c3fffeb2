"""The only place where stages are wired together.

`run` is the whole program or one half of it: the subscriber with the queue's entrance, or the worker (enricher, writer,
reconciler) with its exit. `drain` is the worker until the queue is empty. Both end in the flow's order when `stop` is set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import disk_usage
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec
import trio

from ps2daemon.census.characters import CharacterSource
from ps2daemon.census.rest import NAMESPACES, CensusClient, Identity, Presence
from ps2daemon.census.stream import StreamSettings
from ps2daemon.clock import Clock
from ps2daemon.config import Settings, StoreSettings, service_id_for
from ps2daemon.errors import QueueUnavailable
from ps2daemon.health import Health, StageControl
from ps2daemon.model.events import glance
from ps2daemon.model.records import Ms
from ps2daemon.queue.base import Consumer, DeadLetters, Producer
from ps2daemon.queue.rescue import damages
from ps2daemon.queue.shared import OnDamage, ignored
from ps2daemon.queue.sqlite import SqliteConsumer, SqliteDeadLetters, SqliteProducer
from ps2daemon.stages.checks import Checks
from ps2daemon.stages.enricher import run_enricher
from ps2daemon.stages.handover import Handover
from ps2daemon.stages.intake import Intake
from ps2daemon.stages.naming import Naming
from ps2daemon.stages.reconciler import reconcile, run_reconciler
from ps2daemon.stages.subscriber import Connection, run_subscriber
from ps2daemon.stages.writer import run_writer
from ps2daemon.store.base import Store, StoreSource
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.supervisor import StageSpec, supervise
from ps2daemon.telemetry import Telemetry
from ps2daemon.web.health import health_app
from ps2daemon.web.server import check_bind, serve_app

T = TypeVar("T")
Part: TypeAlias = Literal["subscriber", "worker"]

SUBSCRIBER_STOP_SECONDS: Final = 3.0
ENRICHER_STOP_SECONDS: Final = 1.0
WRITER_STOP_SECONDS: Final = 3.0
RECONCILER_STOP_SECONDS: Final = 0.5
METRICS_STOP_SECONDS: Final = 2.0
"""Together less than 10 s: SIGTERM ends in that."""
GAUGE_SECONDS: Final = 5.0


class Worker(msgspec.Struct, frozen=True):
    """Everything behind the queue, open."""

    consumer: Consumer
    dead_letters: DeadLetters
    store: Store
    ledger: Ledger
    handover: Handover
    source: CharacterSource
    naming: Naming
    checks: Checks


async def open_reader(settings: StoreSettings) -> StoreSource:
    """The store for reading only.

    Raises:
        StoreError: there is none yet, or it can't be read.
    """
    return await _open(settings, read_only=True)


async def open_store(settings: StoreSettings) -> Store:
    """The store for writing, made if there is none.

    Raises:
        StoreError: it is not this program's, or can't be written.
    """
    return await _open(settings, read_only=False)


async def _open(settings: StoreSettings, *, read_only: bool) -> Store:
    if settings.kind == "elasticsearch":
        # Here, since its client takes as long to load as everything else together.
        from ps2daemon.store.elasticsearch import ElasticsearchStore

        return await ElasticsearchStore.open(settings.elasticsearch, read_only=read_only)
    return await SqliteStore.open(settings.path, read_only=read_only)


async def open_producer(settings: Settings, on_damage: OnDamage = ignored) -> Producer:
    """The queue's entrance."""
    queue = settings.queue
    return await SqliteProducer.open(
        queue.directory, max_bytes=queue.max_bytes, retain=queue.retain, on_damage=on_damage
    )


@asynccontextmanager
async def open_worker(settings: Settings, telemetry: Telemetry, clock: Clock) -> AsyncIterator[Worker]:
    """Opens the queue's exit, the store and the Census client; closes them in reverse."""
    async with AsyncExitStack() as stack:
        queue = settings.queue
        consumer = await SqliteConsumer.open(
            queue.directory,
            max_bytes=queue.max_bytes,
            retain=queue.retain,
            on_damage=telemetry.queue_damaged,
        )
        stack.push_async_callback(consumer.aclose)
        dead_letters = await SqliteDeadLetters.open(queue.directory, on_damage=telemetry.queue_damaged)
        stack.push_async_callback(dead_letters.aclose)
        store = await open_store(settings.store)
        stack.push_async_callback(store.aclose)
        rest_url = settings.census.rest_url
        clients = [
            await stack.enter_async_context(
                CensusClient(
                    rest_url=rest_url,
                    environment=environment,
                    service_id=service_id_for(settings, rest_url),
                    requests_per_minute=settings.census.requests_per_minute,
                    observer=telemetry.census(),
                )
            )
            for environment in _environments(settings)
        ]
        census = _AnyEnvironment(clients)
        source = CharacterSource(census, observer=telemetry.characters())
        ledger = Ledger(store, clock.now)
        naming = Naming(source=source, ledger=ledger, store=store, clock=clock, events=telemetry)
        checks = Checks(client=census, ledger=ledger, clock=clock, events=telemetry)
        yield Worker(consumer, dead_letters, store, ledger, Handover(), source, naming, checks)


async def run(
    settings: Settings,
    part: Part | None,
    *,
    telemetry: Telemetry,
    clock: Clock,
    stop: trio.Event,
    metrics_port: int | None = None,
) -> None:
    """Runs the daemon, or one half of it, until `stop` is set.

    Args:
        part: None for both halves.
        metrics_port: instead of the configured one; a worker of its own takes the next one after that.

    Raises:
        Ps2Error: something that no waiting helps.
    """
    health = Health()
    stages: list[StageSpec] = []
    port = _metrics_port(settings, part) if metrics_port is None else metrics_port
    async with AsyncExitStack() as stack:
        producer: Producer | None = None
        if part != "worker":
            producer = await open_producer(settings, telemetry.queue_damaged)
            stack.push_async_callback(producer.aclose)
            stages.append(_subscriber_stage(settings, producer, telemetry, clock))
        statistics: Producer | Consumer | None = producer
        if part != "subscriber":
            worker = await stack.enter_async_context(open_worker(settings, telemetry, clock))
            stages += _worker_stages(worker, telemetry, clock)
            statistics = worker.consumer
        assert statistics is not None
        # After the queue: of two daemons of one configuration, the second is told of the first, and not only that its port is taken.
        await check_bind(settings.web.host, port, "web.host", "web.metrics_port or --metrics-port")
        stages.append(
            StageSpec(
                name="metrics",
                run=partial(
                    _run_metrics,
                    settings=settings,
                    port=port,
                    health=health,
                    telemetry=telemetry,
                    queue=statistics,
                ),
                stop_seconds=METRICS_STOP_SECONDS,
            )
        )
        await supervise(stages, telemetry, stop=stop, health=health)


async def drain(settings: Settings, *, telemetry: Telemetry, clock: Clock, stop: trio.Event) -> None:
    """Runs the worker until the queue is empty, its end is in the store and nothing is left to reconcile."""
    health = Health()
    async with open_worker(settings, telemetry, clock) as worker:
        await supervise(
            _worker_stages(worker, telemetry, clock, until_empty=True), telemetry, stop=stop, health=health
        )
        if not stop.is_set():
            control = Health().add("reconciler", telemetry)
            await reconcile(control, ledger=worker.ledger, store=worker.store, clock=clock, events=telemetry)


def _metrics_port(settings: Settings, part: Part | None) -> int:
    """The configured one; a worker of its own takes the next."""
    port = settings.web.metrics_port
    return port + 1 if part == "worker" and port != 0 else port


def _environments(settings: Settings) -> list[str]:
    """The platforms whose characters can turn up; a mirror's environment "all" stands for each."""
    wanted = [stream.environment for stream in settings.streams]
    if any(environment not in NAMESPACES for environment in wanted):
        wanted += NAMESPACES
    return [environment for environment in dict.fromkeys(wanted) if environment in NAMESPACES]


class _AnyEnvironment:
    """Asks the platforms in turn: a character lives on one of them."""

    def __init__(self, clients: Sequence[CensusClient]) -> None:
        self._clients = clients

    async def characters(self, ids: Sequence[str]) -> dict[str, Identity]:
        return await self._first([client.characters for client in self._clients], ids)

    async def online(self, ids: Sequence[str]) -> dict[str, Presence]:
        return await self._first([client.online for client in self._clients], ids)

    async def _first(
        self, asked: Iterable[Callable[[Sequence[str]], Awaitable[dict[str, T]]]], ids: Sequence[str]
    ) -> dict[str, T]:
        found: dict[str, T] = {}
        for ask in asked:
            missing = [character_id for character_id in ids if character_id not in found]
            if missing:
                found.update(await ask(missing))
        return found


def _subscriber_stage(
    settings: Settings, producer: Producer, telemetry: Telemetry, clock: Clock
) -> StageSpec:
    intake = Intake(clock)
    connections = []
    for index, stream in enumerate(settings.streams):
        telemetry.worlds_wanted(stream.worlds)
        for number in range(stream.connections):
            observer = telemetry.stream(f"{stream.environment}-{index}-{number}")
            connections.append(
                Connection(
                    StreamSettings(
                        url=stream.url,
                        environment=stream.environment,
                        service_id=service_id_for(settings, stream.url),
                        worlds=stream.worlds,
                        verify_seconds=stream.verify_seconds,
                        reconnect_seconds=stream.reconnect_seconds,
                    ),
                    intake.source(
                        on_event=partial(_tell_event, telemetry),
                        on_oversized=observer.malformed,
                        on_silent=observer.world_silent,
                        on_clock=observer.clock,
                    ),
                    observer,
                )
            )
    return StageSpec(
        name="subscriber",
        run=partial(
            run_subscriber,
            connections=connections,
            intake=intake,
            producer=producer,
            clock=clock,
            events=telemetry,
        ),
        stop_seconds=SUBSCRIBER_STOP_SECONDS,
    )


def _tell_event(telemetry: Telemetry, payload: bytes, received_at: Ms) -> int | None:
    """Counts an event; returns its world, if that can be understood."""
    seen = glance(payload)
    if seen is None:
        telemetry.event_received("malformed", None, None, received_at)
        return None
    world_id = seen.world
    telemetry.event_received(seen.event_name, world_id, seen.at, received_at)
    return world_id


def _worker_stages(
    worker: Worker, telemetry: Telemetry, clock: Clock, *, until_empty: bool = False
) -> list[StageSpec]:
    return [
        StageSpec(
            name="enricher",
            run=partial(
                run_enricher,
                consumer=worker.consumer,
                handover=worker.handover,
                source=worker.source,
                naming=worker.naming,
                events=telemetry,
                until_empty=until_empty,
            ),
            stop_seconds=ENRICHER_STOP_SECONDS,
            may_finish=until_empty,
        ),
        StageSpec(
            name="writer",
            run=partial(
                run_writer,
                handover=worker.handover,
                consumer=worker.consumer,
                ledger=worker.ledger,
                dead_letters=worker.dead_letters,
                naming=worker.naming,
                clock=clock,
                events=telemetry,
            ),
            stop_seconds=WRITER_STOP_SECONDS,
        ),
        StageSpec(
            name="reconciler",
            run=partial(
                run_reconciler,
                ledger=worker.ledger,
                store=worker.store,
                checks=worker.checks,
                clock=clock,
                events=telemetry,
            ),
            stop_seconds=RECONCILER_STOP_SECONDS,
        ),
    ]


async def _run_metrics(
    control: StageControl,
    *,
    settings: Settings,
    port: int,
    health: Health,
    telemetry: Telemetry,
    queue: Producer | Consumer,
) -> None:
    """Serves metrics and health, and keeps the gauges of queue and disks current."""
    disks = {"queue": settings.queue.directory}
    if settings.store.kind == "sqlite":
        disks["store"] = settings.store.path.parent
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(
            partial(
                serve_app,
                health_app(health, telemetry.registry),
                host=settings.web.host,
                port=port,
                stopping=control.stopping,
                port_key="web.metrics_port",
            )
        )
        control.waiting(f"for requests on port {bound}")
        while not control.stopping.is_set():
            with suppress(QueueUnavailable):  # whose stages say so
                telemetry.queue_statistics(await queue.statistics())
            directory = settings.queue.directory
            telemetry.queue_damaged_files(len(await trio.to_thread.run_sync(damages, directory)))
            telemetry.online_expires()
            for of, folder in disks.items():
                if (space := await trio.to_thread.run_sync(_disk_space, folder)) is not None:
                    telemetry.disk_space(of, *space)
            control.progress()
            with trio.move_on_after(GAUGE_SECONDS):
                await control.stopping.wait()


def _disk_space(folder: Path) -> tuple[int, int] | None:
    """Bytes that may still be written there, and the disk's size; None while there is no such folder (a subscriber makes no store) or it may not be looked at."""
    try:
        usage = disk_usage(folder)
    except (FileNotFoundError, PermissionError):
        return None
    return usage.free, usage.total
