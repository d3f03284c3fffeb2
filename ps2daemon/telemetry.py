"""What happens in this program: one method a happening, which writes the log line and changes the metric together.

So the two can't drift apart, and no other module names a metric. Nothing here raises or waits, and the log does not flood: what
repeats itself is written when it changes, and otherwise once in `logs.SELDOM_SECONDS`. What happens for every event or frame is counted only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from ps2daemon.census.characters import CharacterObserver
from ps2daemon.census.rest import CensusObserver
from ps2daemon.clock import Clock, SystemClock
from ps2daemon.errors import CensusError
from ps2daemon.health import READY_STATES, StageState
from ps2daemon.logs import Seldom, get_logger
from ps2daemon.metrics import (
    CHECK_ANSWERS,
    EVENT_KINDS,
    OTHER,
    Bounded,
    Metrics,
    default_registry,
    faction_label,
    world_label,
)
from ps2daemon.model import tables
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.outage import MAX_SHOWN, Outage
from ps2daemon.queue.base import QueueStatistics
from ps2daemon.queue.rescue import Damage
from ps2daemon.store.base import Count
from ps2daemon.stream_telemetry import StreamTelemetry

MAX_ERROR_KINDS: Final = 30
ONLINE_SECONDS: Final = 60.0
"""How long a count of people online stands: six rounds of the reconciler."""

_STATES: Final = tuple(StageState)
_EMPIRES: Final = (tables.VS, tables.NC, tables.TR, tables.NSO)


class Telemetry:
    """All happenings of one process.

    Args:
        registry: where the metrics are registered; None for a new one with the process's own figures.
        clock: for what the metrics state as a time.
        monotonic: seconds, for what is written seldom.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = default_registry() if registry is None else registry
        self._metrics = metrics = Metrics(self.registry)
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._seldom = Seldom(monotonic)
        self._error_kinds = Bounded(MAX_ERROR_KINDS)
        self._stages = get_logger("ps2daemon.stages")
        self._queue = get_logger("ps2daemon.queue")
        self._writer = get_logger("ps2daemon.writer")
        self._degraded: set[str] = set()
        self._full = False
        self._received: dict[tuple[str, int | None], _Received] = {}
        self._online: set[tuple[str, str]] = set()
        self._online_told = monotonic()
        self._store = Outage("store", metrics.store_up, metrics.store_errors, monotonic)
        self._queue_outage = Outage("queue", metrics.queue_up, metrics.queue_errors, monotonic)
        self._census_outage = Outage("census", metrics.census_up, metrics.census_errors, monotonic)

    # Stages

    def stage_state(self, stage: str, state: str, why: str | None) -> None:
        """The state of a stage, or the reason for it, changed."""
        metrics = self._metrics
        for each in _STATES:
            metrics.stage_state.labels(stage, each.value).set(each == state)
        metrics.stage_up.labels(stage).set(state in READY_STATES)
        metrics.stage_restarts.labels(stage)  # from 0 on, so that the first restart is an increase
        if state == StageState.DEGRADED:
            self._degraded.add(stage)
            if self._seldom("degraded", stage, why):
                self._stages.warning("stage degraded", stage=stage, why=why)
        elif state == StageState.STOPPED:
            self._stages.info("stage stopped", stage=stage, why=why)
        elif stage in self._degraded and state in READY_STATES:
            self._degraded.discard(stage)
            if self._seldom("recovered", stage):
                self._stages.info("stage recovered", stage=stage)
        else:
            self._stages.debug("stage", stage=stage, state=str(state), why=why)

    def stage_progress(self, stage: str) -> None:
        """A stage got something done."""
        self._metrics.stage_progress.labels(stage).set(self._clock.now() / SECOND)

    def stage_crashed(self, stage: str, error: Exception, seconds: float | None) -> None:
        """A stage met an error that it did not expect; it starts again in `seconds`, or not at all (None)."""
        self._count_error(stage, error)
        then = "it is not started again" if seconds is None else f"it starts again in {seconds:.1f} s"
        self._stages.error(
            "stage crashed", stage=stage, then=then, exc_info=(type(error), error, error.__traceback__)
        )

    def _count_error(self, stage: str, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._metrics.stage_errors.labels(stage, self._error_kinds(type(error).__name__)).inc()

    def stage_restarted(self, stage: str) -> None:
        """A stage is started again."""
        self._metrics.stage_restarts.labels(stage).inc()
        self._stages.info("stage restarted", stage=stage)

    def stage_cut_off(self, stage: str, seconds: float) -> None:
        """A stage did not finish in time and was cancelled."""
        self._stages.warning("stage cut off: it did not finish in time", stage=stage, seconds=seconds)

    # Stream

    def stream(self, name: str | int) -> StreamTelemetry:
        """The observer of one connection; `name` tells it from the others, of which there are few."""
        return StreamTelemetry(str(name), self._metrics, self._monotonic)

    def worlds_wanted(self, worlds: Iterable[int]) -> None:
        """These worlds are subscribed to: their events count from 0, so that a world that never spoke has a number too."""
        for world_id in worlds:
            for kind in EVENT_KINDS:
                self._metrics.events.labels(kind, world_label(world_id))

    def event_received(self, kind: str, world_id: int | None, at: Ms | None, received_at: Ms) -> None:
        """An event arrived. `kind` is its name; what can't be understood has neither world nor time."""
        key = (kind, world_id)
        received = self._received.get(key)
        if received is None:
            # Unknown kinds and worlds share one entry, so that hostile input can't fill the memory.
            world, event = world_label(world_id), kind if kind in EVENT_KINDS else OTHER
            if world == OTHER or event == OTHER:
                key = (event, world_id if world != OTHER else None)
                received = self._received.get(key)
        if received is None:
            received = self._received[key] = _Received(self._metrics, event, world)
        received.events.inc()
        received.last.set(received_at / SECOND)
        if at is not None:
            received.offset.set((received_at - at) / SECOND)

    # Queue

    def frame_appended(self, records: int, bytes_: int, seconds: float) -> None:
        """A frame is on disk."""
        self._metrics.queue_append.observe(seconds)
        self._metrics.queue_appended_records.inc(records)
        self._metrics.queue_appended_bytes.inc(bytes_)

    def queue_statistics(self, statistics: QueueStatistics) -> None:
        """The queue was looked at."""
        metrics = self._metrics
        metrics.queue_frames.set(statistics.frames)
        metrics.queue_records.set(statistics.records)
        metrics.queue_bytes.set(statistics.bytes)
        metrics.queue_max_bytes.set(statistics.max_bytes)
        metrics.queue_retained.set(statistics.retained)
        oldest = statistics.oldest_at
        age = 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest) / SECOND)
        metrics.queue_oldest_age.set(age)

    def disk_space(self, of: str, free: int, total: int) -> None:
        """The disk under the `queue` or the `store` was looked at; bytes."""
        self._metrics.disk_free.labels(of).set(free)
        self._metrics.disk_total.labels(of).set(total)

    def queue_full(self, message: str) -> None:
        """A frame found no room: nothing is recorded until there is some."""
        self._full = True
        self._metrics.queue_full.set(1)
        self._metrics.queue_refusals.inc()
        if self._seldom("full"):
            self._queue.error("queue full: nothing is recorded until there is room", why=message)

    def queue_room(self) -> None:
        """There is room again."""
        self._metrics.queue_full.set(0)
        if self._full:
            self._full = False
            self._seldom.forget("full")
            self._queue.info("queue has room again")

    def queue_unavailable(self, message: str) -> None:
        """The queue's files can't be read or written; it is tried again."""
        self._queue_outage.away(message)

    def queue_available(self) -> None:
        """They can again."""
        self._queue_outage.back()

    def queue_damaged(self, damage: Damage) -> None:
        """The queue was damaged, and was replaced by one with what could be read of it."""
        self._queue.error("queue damaged: it was set aside, and a new one goes on", why=str(damage))

    def queue_damaged_files(self, number: int) -> None:
        """So many damaged queues are set aside and still there."""
        self._metrics.queue_damaged.set(number)

    def coverage_disowned(self, message: str) -> None:
        """Something of the queue was lost: what is vouched for begins anew."""
        self._queue.warning("coverage begins anew", why=message[:MAX_SHOWN])

    # Store

    def batch_committed(self, records: int, seconds: float, delay_seconds: float | None) -> None:
        """A batch is in the store and acked; `delay_seconds` since its oldest record was received."""
        self._metrics.commit.observe(seconds)
        self._metrics.writer_records.inc(records)
        if delay_seconds is not None:
            self._metrics.delay.observe(delay_seconds)
        self._writer.debug("batch committed", records=records, seconds=round(seconds, 4))

    def batch_failed(self, error: BaseException) -> None:
        """Something in a batch can't be applied; it is applied in parts, and what can't be is put among the dead letters."""
        self._count_error("writer", error)
        if self._seldom("batch failed"):
            self._writer.error(
                "batch failed: what is at fault in it is looked for",
                exc_info=(type(error), error, error.__traceback__),
            )

    def commit_conflict(self) -> None:
        """Another writer changed what a commit was based on; it is repeated."""
        self._metrics.conflicts.inc()
        self._writer.debug("commit conflict")

    def dead_letter(self, reason: str) -> None:
        """A record can't be applied and is kept among the dead letters."""
        self._metrics.dead_letters.inc()
        if self._seldom("dead letter"):
            self._writer.warning(
                "record put among the dead letters",
                reason=reason[:MAX_SHOWN],
            )

    def dead_letter_lost(self, reason: str, message: str) -> None:
        """A record can't be applied, and there is no room for it among the dead letters."""
        self._metrics.dead_letters_lost.inc()
        if self._seldom("dead letter lost"):
            self._writer.error(
                "record given up: no room among the dead letters",
                reason=reason[:MAX_SHOWN],
                why=message[:MAX_SHOWN],
            )

    def store_unavailable(self, message: str) -> None:
        """The store is away; what there is to write waits in the queue."""
        self._store.away(message)

    def store_available(self) -> None:
        """The store answered."""
        self._store.back()

    def gaps_settled(self, sessions: int) -> None:
        """Ends of so many sessions were estimated anew after a gap."""
        self._metrics.settled.inc(sessions)
        self._writer.info("gap settled", sessions=sessions)

    def sessions_capped(self, sessions: int) -> None:
        """So many sessions were ended for want of any evidence."""
        self._metrics.capped.inc(sessions)
        self._writer.info("sessions capped", sessions=sessions)

    def sessions_checked(self, online: int, offline: int, unanswered: int) -> None:
        """Census was asked about people whose sessions are open."""
        for answer, number in zip(CHECK_ANSWERS, (online, offline, unanswered), strict=True):
            self._metrics.checked.labels(answer).inc(number)

    def sessions_ended(self, sessions: int) -> None:
        """So many ended by what Census had said of them."""
        if sessions:
            self._writer.info("sessions ended by a check", sessions=sessions)

    def checks_complete(self) -> None:
        """Everybody whose check was due was asked about."""
        self._metrics.check_last.set(self._clock.now() / SECOND)

    def checks_failed(self, message: str) -> None:
        """Census did not say who is online; nobody's session ends by that."""
        self._metrics.check_errors.inc()
        if self._seldom("checks failed"):
            self._writer.warning("Census does not say who is online", why=message[:MAX_SHOWN])

    def online(self, counts: Sequence[Count]) -> None:
        """Who is online now. A world that is not in `counts` is not known of: its series end, rather than stay as they were."""
        values: dict[tuple[str, str], int] = {}
        for count in counts:
            world = world_label(count.world_id)
            for faction_id in _EMPIRES:  # an empire without anybody is known to be 0
                values.setdefault((world, faction_label(faction_id)), 0)
            key = (world, faction_label(count.faction_id))
            values[key] = values.get(key, 0) + count.online
        for gone in self._online - values.keys():
            self._metrics.online.remove(*gone)
        for labels, online in values.items():
            self._metrics.online.labels(*labels).set(online)
        self._online = set(values)
        self._online_told = self._monotonic()

    def online_expires(self) -> None:
        """Ends the counts of people online that nobody renews: the store is away, or their stage hangs."""
        if self._online and self._monotonic() - self._online_told > ONLINE_SECONDS:
            self.online(())

    # Census, by REST

    def characters_named(self, number: int) -> None:
        """So many characters of the store got their names."""
        self._metrics.characters_named.inc(number)

    def characters_unnamed(self, number: int) -> None:
        """So many characters of the store have no name or empire yet."""
        self._metrics.characters_unnamed.set(number)

    def rest_request(self, result: str, seconds: float) -> None:
        """A request to Census ended; `result` is one of `census.rest.RESULTS`."""
        self._metrics.census_requests.labels(result).inc()
        self._metrics.census_request.observe(seconds)

    def rest_tokens(self, left: float) -> None:
        """How many requests could be sent at once; negative while some wait."""
        self._metrics.census_tokens.set(left)

    def cache_hits(self, level: str, number: int) -> None:
        """So many characters were found at one of `census.characters.LEVELS`."""
        self._metrics.cache_hits.labels(level).inc(number)

    def census_unavailable(self, message: str) -> None:
        """Census is out, or refuses; characters are named later."""
        self._census_outage.away(message)

    def census_available(self) -> None:
        """Census answered."""
        self._census_outage.back()

    def characters_waiting(self, number: int) -> None:
        """So many characters have to be asked about."""
        self._metrics.characters_waiting.set(number)

    def census(self) -> CensusObserver:
        """For `CensusClient`."""
        return _Requests(self)

    def characters(self) -> CharacterObserver:
        """For `CharacterSource`."""
        return _Characters(self)


class _Received:
    """The series of one kind of event on one world, found once: they change with every event."""

    __slots__ = ("events", "last", "offset")

    def __init__(self, metrics: Metrics, event: str, world: str) -> None:
        self.events = metrics.events.labels(event, world)
        self.last = metrics.event_last.labels(world)
        self.offset = metrics.clock_offset.labels(world)


class _Requests(CensusObserver):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def requested(self, result: str, seconds: float) -> None:
        self._telemetry.rest_request(result, seconds)

    def tokens(self, left: float) -> None:
        self._telemetry.rest_tokens(left)


class _Characters(CharacterObserver):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def looked_up(self, level: str, characters: int) -> None:
        self._telemetry.cache_hits(level, characters)

    def answered(self, found: int, absent: int) -> None:
        self._telemetry.census_available()

    def failed(self, error: CensusError, seconds: float) -> None:
        self._telemetry.census_unavailable(str(error))

    def waiting(self, characters: int) -> None:
        self._telemetry.characters_waiting(characters)
