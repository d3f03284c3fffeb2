"""Every metric of this program, by name, in one place; `telemetry.py` alone changes them.

Label values are bounded: worlds and factions are ids of the tables (`ps2_world_info` and `ps2_faction_info` say their names), and
anything else is "other". Times are Unix seconds, durations seconds.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from ps2daemon.model import tables

OTHER: Final = "other"
EVENT_KINDS: Final = frozenset({"PlayerLogin", "PlayerLogout", "MetagameEvent", "ContinentLock"})
CHECK_ANSWERS: Final = ("online", "offline", "unanswered")
"""What comes of asking whether somebody is online."""

_FSYNC_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_COMMIT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REQUEST_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_DELAY_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)


def default_registry() -> CollectorRegistry:
    """A registry with the process's own figures: its start, memory, CPU time, open files, garbage collections."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def world_label(world_id: int | None) -> str:
    """A world's id, or "other"."""
    return str(world_id) if world_id in tables.worlds() else OTHER


def faction_label(faction_id: int) -> str:
    """A faction's id, or "other"."""
    return str(faction_id) if faction_id in tables.factions() else OTHER


class Bounded:
    """Label values whose set is not known beforehand: the first `limit` of them, then "other"."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(value)
        return value


class Metrics:
    """Registers them all; one such object a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._stages()
        self._stream()
        self._queue()
        self._store()
        self._census()
        self._info()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self._registry)

    def _stages(self) -> None:
        self.stage_up = self._gauge("ps2_stage_up", "1 while a stage does what it is for.", "stage")
        self.stage_state = self._gauge(
            "ps2_stage_state", "1 for the state that a stage is in.", "stage", "state"
        )
        self.stage_restarts = self._counter(
            "ps2_stage_restarts", "How often a stage was started again.", "stage"
        )
        self.stage_progress = self._gauge(
            "ps2_stage_last_progress_timestamp_seconds", "When a stage last got something done.", "stage"
        )
        self.stage_errors = self._counter(
            "ps2_stage_errors", "Errors that a stage did not expect, by class.", "stage", "kind"
        )

    def _stream(self) -> None:
        self.stream_connected = self._gauge("ps2_stream_connected", "1 while a connection is open.", "stream")
        self.stream_messages = self._counter(
            "ps2_stream_messages", "Frames by kind, heartbeats included.", "stream", "kind"
        )
        self.stream_attempts = self._counter("ps2_stream_attempts", "Attempts to connect.", "stream")
        self.stream_reconnects = self._counter(
            "ps2_stream_reconnects", "Ends of a connection or an attempt, by cause.", "stream", "cause"
        )
        self.stream_verifications = self._counter(
            "ps2_stream_verifications",
            "Comparisons of the subscription with what is wanted: right or wrong.",
            "stream",
            "result",
        )
        self.stream_malformed = self._counter(
            "ps2_stream_malformed", "Frames that could not be understood.", "stream"
        )
        self.world_up = self._gauge("ps2_world_up", "1 while the stream says that a world is up.", "world")
        self.world_silent = self._gauge(
            "ps2_world_silent",
            "1 while a world that is said to be up is silent for longer than chance allows, or all of a connection are.",
            "stream",
            "world",
        )
        self.clock_ahead = self._gauge(
            "ps2_clock_ahead_seconds",
            "By how much this machine's clock is ahead of the service's, by the latest heartbeat that told it; NaN before.",
            "stream",
        )
        self.events = self._counter("ps2_events", "Events received.", "event", "world")
        self.event_last = self._gauge(
            "ps2_event_last_timestamp_seconds", "When a world's latest event was received.", "world"
        )
        self.clock_offset = self._gauge(
            "ps2_world_clock_offset_seconds", "Receipt minus event time of the latest event.", "world"
        )

    def _queue(self) -> None:
        self.queue_append = self._histogram(
            "ps2_queue_append_seconds", "Until a frame was on disk, its fsync included.", _FSYNC_BUCKETS
        )
        self.queue_appended_records = self._counter("ps2_queue_appended_records", "Records put on disk.")
        self.queue_appended_bytes = self._counter("ps2_queue_appended_bytes", "Bytes of frames put on disk.")
        self.queue_frames = self._gauge("ps2_queue_frames", "Frames that are not acked yet.")
        self.queue_records = self._gauge("ps2_queue_records", "Records that are not acked yet.")
        self.queue_bytes = self._gauge("ps2_queue_bytes", "Bytes that are not acked yet.")
        self.queue_max_bytes = self._gauge("ps2_queue_max_bytes", "The queue's bound.")
        self.queue_oldest_age = self._gauge(
            "ps2_queue_oldest_age_seconds", "Age of the oldest record that is not acked; 0 if there is none."
        )
        self.queue_retained = self._gauge("ps2_queue_retained_frames", "Acked frames kept for a replay.")
        self.queue_full = self._gauge("ps2_queue_full", "1 while the queue or the disk is full.")
        self.queue_refusals = self._counter("ps2_queue_refusals", "Frames that found no room.")
        self.queue_up = self._gauge("ps2_queue_up", "0 while the queue's files can't be read or written.")
        self.queue_damaged = self._gauge(
            "ps2_queue_damaged_files", "Damaged queues that were set aside and that nobody removed."
        )
        self.queue_errors = self._counter(
            "ps2_queue_errors", "Attempts that could not read or write the queue's files."
        )
        self.dead_letters = self._counter("ps2_dead_letters", "Records put among the dead letters.")
        self.disk_free = self._gauge(
            "ps2_disk_free_bytes",
            "What the daemon may still write to the disk under its queue or store.",
            "of",
        )
        self.disk_total = self._gauge("ps2_disk_total_bytes", "The size of that disk.", "of")
        self.dead_letters_lost = self._counter(
            "ps2_dead_letters_lost", "Records that could not even be put among the dead letters."
        )

    def _store(self) -> None:
        self.commit = self._histogram(
            "ps2_writer_commit_seconds", "Until a batch was in the store and acked.", _COMMIT_BUCKETS
        )
        self.writer_records = self._counter("ps2_writer_records", "Records put into the store.")
        self.conflicts = self._counter("ps2_writer_conflicts", "Commits repeated because of another writer.")
        self.delay = self._histogram(
            "ps2_delay_seconds", "From a batch's oldest receipt to its being in the store.", _DELAY_BUCKETS
        )
        self.store_up = self._gauge("ps2_store_up", "0 while the store is away.")
        self.store_errors = self._counter("ps2_store_errors", "Attempts that found the store away.")
        self.settled = self._counter(
            "ps2_reconciler_settled_sessions", "Sessions whose end was estimated anew because of a gap."
        )
        self.capped = self._counter(
            "ps2_reconciler_capped_sessions", "Sessions ended for want of any evidence."
        )
        self.checked = self._counter(
            "ps2_reconciler_checked_sessions",
            "Open sessions that Census was asked about, by answer.",
            "answer",
        )
        for answer in CHECK_ANSWERS:
            self.checked.labels(answer)
        self.check_errors = self._counter(
            "ps2_reconciler_check_errors", "Questions who is online that Census did not answer."
        )
        self.check_last = self._gauge(
            "ps2_reconciler_last_check_timestamp_seconds",
            "When everybody whose check was due had been asked about.",
        )
        self.online = self._gauge("ps2_online", "People online.", "world", "faction")

    def _census(self) -> None:
        self.census_up = self._gauge("ps2_census_up", "0 while Census is out or refuses.")
        self.census_errors = self._counter("ps2_census_errors", "Lookups that Census did not answer.")
        self.census_requests = self._counter("ps2_census_requests", "Requests by result.", "result")
        self.census_request = self._histogram(
            "ps2_census_request_seconds", "From sending to the last byte.", _REQUEST_BUCKETS
        )
        self.census_tokens = self._gauge(
            "ps2_census_tokens", "Requests that could be sent at once; negative while some wait."
        )
        self.cache_hits = self._counter("ps2_cache_hits", "Characters by where they were found.", "level")
        self.characters_waiting = self._gauge(
            "ps2_characters_waiting", "Characters that Census has to be asked about."
        )
        self.characters_unnamed = self._gauge(
            "ps2_characters_unnamed",
            "Characters in the store without a name or an empire, when all of them were last looked at.",
        )
        self.characters_named = self._counter("ps2_characters_named", "Characters named in the store.")

    def _info(self) -> None:
        worlds = self._gauge("ps2_world_info", "The name of a world.", "world", "name", "environment")
        for world in tables.worlds().values():
            name = tables.world_name(world.world_id)
            worlds.labels(str(world.world_id), name, world.environment).set(1)
        factions = self._gauge("ps2_faction_info", "The name of a faction.", "faction", "tag", "name")
        for faction in tables.factions().values():
            factions.labels(str(faction.faction_id), faction.tag, faction.name).set(1)
