"""Telemetry: that the metric and the line come together, that labels are bounded, that the log does not flood and keeps no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ps2daemon.census.rest import RESULTS
from ps2daemon.census.stream import CAUSES
from ps2daemon.errors import CensusUnavailable
from ps2daemon.logs import configure_logging, get_logger
from ps2daemon.metrics import Bounded
from ps2daemon.queue.base import QueueStatistics
from ps2daemon.secret import Secret
from ps2daemon.store.base import Count
from ps2daemon.telemetry import Telemetry

NOW = 1_772_366_400_000


class Times:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return NOW + int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def telemetry(times: Times) -> Telemetry:
    return Telemetry(CollectorRegistry(), clock=times, monotonic=times.monotonic)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def told(lines: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.msg for record in lines.records if isinstance(record.msg, dict)]


def events(lines: pytest.LogCaptureFixture) -> list[str]:
    return [line["event"] for line in told(lines)]


def value(telemetry: Telemetry, name: str, /, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_a_stage(telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture) -> None:
    telemetry.stage_state("writer", "starting", None)
    assert value(telemetry, "ps2_stage_up", stage="writer") == 0
    telemetry.stage_state("writer", "working", None)
    assert value(telemetry, "ps2_stage_up", stage="writer") == 1
    assert value(telemetry, "ps2_stage_state", stage="writer", state="working") == 1
    assert value(telemetry, "ps2_stage_state", stage="writer", state="starting") == 0
    times.seconds = 5
    telemetry.stage_progress("writer")
    assert value(telemetry, "ps2_stage_last_progress_timestamp_seconds", stage="writer") == NOW / 1000 + 5
    telemetry.stage_state("writer", "degraded", "the store is away")
    assert value(telemetry, "ps2_stage_up", stage="writer") == 0
    telemetry.stage_state("writer", "working", None)
    telemetry.stage_state("writer", "stopped", None)
    assert events(lines) == ["stage degraded", "stage recovered", "stage stopped"]


@pytest.mark.logs_errors
def test_a_crash(telemetry: Telemetry, lines: pytest.LogCaptureFixture) -> None:
    error = ExceptionGroup("nursery", [KeyError("x")])
    telemetry.stage_crashed("writer", error, 0.5)
    telemetry.stage_restarted("writer")
    telemetry.stage_crashed("writer", error, None)
    telemetry.stage_cut_off("writer", 3.0)
    assert value(telemetry, "ps2_stage_errors_total", stage="writer", kind="KeyError") == 2
    assert value(telemetry, "ps2_stage_restarts_total", stage="writer") == 1
    assert events(lines) == [
        "stage crashed",
        "stage restarted",
        "stage crashed",
        "stage cut off: it did not finish in time",
    ]
    assert lines.records[0].levelno == logging.ERROR
    assert told(lines)[0]["then"] == "it starts again in 0.5 s"


def test_a_flapping_stage_does_not_flood(
    telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        times.seconds += 1
        telemetry.stage_state("writer", "degraded", "the store is away")
        telemetry.stage_state("writer", "waiting", "for batches")
    assert len(told(lines)) == 4
    telemetry.stage_state("writer", "degraded", "something else")
    assert len(told(lines)) == 5


def test_received_events(telemetry: Telemetry) -> None:
    telemetry.event_received("PlayerLogin", 10, NOW - 2_000, NOW)
    telemetry.event_received("PlayerLogin", 10, NOW + 300_000, NOW + 1_000)
    assert value(telemetry, "ps2_events_total", event="PlayerLogin", world="10") == 2
    assert value(telemetry, "ps2_event_last_timestamp_seconds", world="10") == NOW / 1000 + 1
    assert value(telemetry, "ps2_world_clock_offset_seconds", world="10") == -299


def test_labels_are_bounded_whatever_arrives(telemetry: Telemetry) -> None:
    for number in range(10_000):
        telemetry.event_received(f"Event{number}", 1_000_000 + number, NOW, NOW)
        telemetry.event_received("PlayerLogout", 1_000_000 + number, NOW, NOW)
        telemetry.event_received(f"Event{number}", 10, NOW, NOW)
        telemetry.stream("ps2").message(f"Kind{number}")
    telemetry.event_received("other", None, None, NOW)
    text = generate_latest(telemetry.registry).decode()
    assert len([line for line in text.splitlines() if line.startswith("ps2_events_total")]) == 3
    assert value(telemetry, "ps2_events_total", event="other", world="other") == 10_001
    assert value(telemetry, "ps2_events_total", event="PlayerLogout", world="other") == 10_000
    assert value(telemetry, "ps2_events_total", event="other", world="10") == 10_000
    assert len(telemetry._received) < 10


def test_a_connection(telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture) -> None:
    stream = telemetry.stream(0)
    assert value(telemetry, "ps2_stream_connected", stream="0") == 0
    stream.connecting()
    stream.connected()
    stream.message("Heartbeat")
    stream.message("Heartbeat")
    stream.verified(True)
    stream.world_state(10, False)
    assert value(telemetry, "ps2_stream_connected", stream="0") == 1
    assert value(telemetry, "ps2_stream_messages_total", stream="0", kind="Heartbeat") == 2
    assert value(telemetry, "ps2_stream_verifications_total", stream="0", result="right") == 1
    assert value(telemetry, "ps2_world_up", world="10") == 0
    stream.closed()
    stream.disconnected("silent", "no frame for 65 s")
    for _ in range(50):
        times.seconds += 1
        stream.connecting()
        stream.disconnected("connect", "can't reach it")
        stream.malformed("no JSON")
    assert value(telemetry, "ps2_stream_connected", stream="0") == 0
    assert value(telemetry, "ps2_stream_reconnects_total", stream="0", cause="connect") == 50
    assert value(telemetry, "ps2_stream_malformed_total", stream="0") == 50
    assert events(lines) == [
        "stream connected",
        "world is down",
        "stream disconnected; another attempt follows",
        "stream disconnected; another attempt follows",
        "a frame was left out",
    ]
    for cause in CAUSES:
        stream.disconnected(cause, "why")


@pytest.mark.logs_errors
def test_a_refusal_is_an_error_but_not_every_time(
    telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture
) -> None:
    stream = telemetry.stream(0)
    for _ in range(12):
        times.seconds += 10
        stream.refused("is the service id registered?")
    assert [record.levelno for record in lines.records] == [logging.ERROR] * 2


@pytest.mark.logs_errors
def test_the_queue(telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture) -> None:
    telemetry.frame_appended(500, 60_000, 0.004)
    assert value(telemetry, "ps2_queue_append_seconds_count") == 1
    assert value(telemetry, "ps2_queue_appended_records_total") == 500
    assert value(telemetry, "ps2_queue_appended_bytes_total") == 60_000
    telemetry.queue_statistics(QueueStatistics(3, 700, 90_000, NOW - 5_000, 1_000_000, 2))
    assert value(telemetry, "ps2_queue_records") == 700
    assert value(telemetry, "ps2_queue_oldest_age_seconds") == 5
    telemetry.queue_statistics(QueueStatistics(0, 0, 0, None, 1_000_000, 2))
    assert value(telemetry, "ps2_queue_oldest_age_seconds") == 0
    telemetry.queue_room()
    for _ in range(10):
        times.seconds += 5
        telemetry.queue_full("the bound of 1 GB is reached")
    assert value(telemetry, "ps2_queue_full") == 1
    telemetry.queue_room()
    telemetry.queue_room()
    assert value(telemetry, "ps2_queue_full") == 0
    assert value(telemetry, "ps2_queue_refusals_total") == 10
    assert events(lines) == ["queue full: nothing is recorded until there is room", "queue has room again"]


@pytest.mark.logs_errors
def test_the_writer_and_the_store(
    telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture
) -> None:
    assert value(telemetry, "ps2_store_up") == 1
    telemetry.batch_committed(2_000, 0.06, 0.5)
    telemetry.batch_committed(1, 0.01, None)
    assert value(telemetry, "ps2_writer_commit_seconds_count") == 2
    assert value(telemetry, "ps2_writer_records_total") == 2_001
    assert value(telemetry, "ps2_delay_seconds_count") == 1
    telemetry.commit_conflict()
    assert value(telemetry, "ps2_writer_conflicts_total") == 1
    for _ in range(3):
        telemetry.dead_letter("no character_id")
    telemetry.dead_letter_lost("no character_id", "full")
    assert value(telemetry, "ps2_dead_letters_total") == 3
    assert value(telemetry, "ps2_dead_letters_lost_total") == 1
    lines.clear()
    telemetry.store_available()
    for _ in range(90):
        times.seconds += 1
        telemetry.store_unavailable("connection refused")
    assert value(telemetry, "ps2_store_up") == 0
    assert value(telemetry, "ps2_store_errors_total") == 90
    telemetry.store_available()
    telemetry.store_available()
    assert value(telemetry, "ps2_store_up") == 1
    telemetry.store_unavailable("connection refused")
    assert events(lines) == ["store is away", "store is away", "store is back", "store is away"]
    assert told(lines)[2]["seconds"] == 89.0


def test_the_reconciler(telemetry: Telemetry, lines: pytest.LogCaptureFixture) -> None:
    telemetry.gaps_settled(7)
    telemetry.sessions_capped(2)
    telemetry.characters_named(30)
    telemetry.characters_unnamed(7)
    assert value(telemetry, "ps2_characters_unnamed") == 7
    telemetry.sessions_checked(90, 3, 7)
    telemetry.sessions_ended(2)
    telemetry.sessions_ended(0)
    telemetry.checks_failed("out")
    telemetry.checks_complete()
    for answer, number in (("online", 90), ("offline", 3), ("unanswered", 7)):
        assert value(telemetry, "ps2_reconciler_checked_sessions_total", answer=answer) == number
    assert value(telemetry, "ps2_reconciler_check_errors_total") == 1
    assert value(telemetry, "ps2_reconciler_last_check_timestamp_seconds")
    assert value(telemetry, "ps2_reconciler_settled_sessions_total") == 7
    assert value(telemetry, "ps2_reconciler_capped_sessions_total") == 2
    assert value(telemetry, "ps2_characters_named_total") == 30
    assert [line["sessions"] for line in told(lines) if line["event"] == "sessions ended by a check"] == [2]


def test_online_has_no_stale_series(telemetry: Telemetry) -> None:
    telemetry.online([Count(10, 1, 212), Count(10, 0, 3), Count(40, 2, 5)])
    assert value(telemetry, "ps2_online", world="10", faction="1") == 212
    assert value(telemetry, "ps2_online", world="10", faction="0") == 3
    assert value(telemetry, "ps2_online", world="10", faction="3") == 0
    assert value(telemetry, "ps2_online", world="40", faction="2") == 5
    telemetry.online([Count(10, 1, 200)])
    assert value(telemetry, "ps2_online", world="10", faction="1") == 200
    assert value(telemetry, "ps2_online", world="10", faction="0") is None
    assert value(telemetry, "ps2_online", world="40", faction="2") is None
    telemetry.online([])
    assert value(telemetry, "ps2_online", world="10", faction="1") is None


def test_census(telemetry: Telemetry, lines: pytest.LogCaptureFixture) -> None:
    requests, characters = telemetry.census(), telemetry.characters()
    for result in RESULTS:
        requests.requested(result, 0.2)
    requests.tokens(7.5)
    characters.looked_up("memory", 90)
    characters.waiting(12)
    characters.failed(CensusUnavailable("no answer within 30 s"), 2.0)
    assert value(telemetry, "ps2_census_requests_total", result="ok") == 1
    assert value(telemetry, "ps2_census_request_seconds_count") == len(RESULTS)
    assert value(telemetry, "ps2_census_tokens") == 7.5
    assert value(telemetry, "ps2_cache_hits_total", level="memory") == 90
    assert value(telemetry, "ps2_characters_waiting") == 12
    assert value(telemetry, "ps2_census_up") == 0
    characters.answered(10, 2)
    assert value(telemetry, "ps2_census_up") == 1
    assert events(lines) == ["census is away", "census is back"]


def test_names_follow_the_conventions_and_the_tables_are_told(telemetry: Telemetry) -> None:
    for family in telemetry.registry.collect():
        assert family.name.startswith("ps2_")
        assert family.documentation.endswith(".")
        assert family.type in {"counter", "gauge", "histogram"}
    assert value(telemetry, "ps2_world_info", world="10", name="Wainwright", environment="ps2") == 1
    assert value(telemetry, "ps2_faction_info", faction="1", tag="VS", name="Vanu Sovereignty") == 1


def test_the_default_registry_tells_of_the_process() -> None:
    assert value(Telemetry(), "process_start_time_seconds") is not None


def test_bounded_values() -> None:
    bounded = Bounded(2)
    assert [bounded(each) for each in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


# Lines


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


SECRET = 'Id"42%x'


def written(json_lines: bool) -> tuple[io.StringIO, Any]:
    stream = io.StringIO()
    configure_logging(secrets=[Secret(SECRET)], level="DEBUG", stream=stream, json=json_lines)
    return stream, get_logger("ps2daemon.test")


@pytest.mark.logs_errors
@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("json_lines", [True, False])
def test_no_line_has_a_secret(json_lines: bool) -> None:
    stream, log = written(json_lines)
    try:
        raise ValueError(f"asked wss://x/?service-id=s:{SECRET} and s:Id%2242%25x")
    except ValueError as error:
        log.error(f"event with {SECRET}", key=SECRET, nested={"deep": [SECRET]}, exc_info=True)
        logging.getLogger("httpx.other").exception("foreign %s", SECRET, exc_info=error)
    logging.getLogger("foreign").warning("GET %s", "https://c/s:Id%2242%25x/get")
    text = stream.getvalue()
    assert "***" in text
    assert SECRET not in text
    assert "Id" not in text.replace("ValueError", "")
    assert text.count("ValueError") >= 2, "the tracebacks are there"


@pytest.mark.usefixtures("restored_logging")
def test_json_lines_are_json_with_what_a_reader_needs() -> None:
    stream, log = written(True)
    log.info("stage degraded", stage="writer", why="line one\nline two \x1b[31mred")
    logging.getLogger("trio-websocket").info("left out")
    logging.getLogger("foreign").warning("say %d", 3)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["event"] == "stage degraded"
    assert first["level"] == "info"
    assert first["logger"] == "ps2daemon.test"
    assert first["stage"] == "writer"
    assert first["why"] == "line one\\nline two \\x1b[31mred"
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["level"], second["logger"]) == ("say 3", "warning", "foreign")


@pytest.mark.usefixtures("restored_logging")
def test_readable_lines_stay_lines_whatever_is_in_them() -> None:
    stream, log = written(False)
    log.info("stage degraded", why="one\nERROR two \x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("restored_logging")
def test_a_terminal_gets_colours_and_everything_else_json() -> None:
    for stream, environ, is_json in (
        (_Terminal(), {}, False),
        (io.StringIO(), {}, True),
        (_Terminal(), {"JOURNAL_STREAM": "8:1"}, True),
    ):
        configure_logging(stream=stream, environ=environ)
        get_logger("ps2daemon.test").info("hello")
        assert ("\x1b[" in stream.getvalue()) is not is_json
        assert stream.getvalue().startswith("{") is is_json


@pytest.mark.usefixtures("restored_logging")
def test_configuring_again_replaces_the_first_one() -> None:
    first, _ = written(True)
    second, log = written(True)
    log.info("once")
    assert (first.getvalue(), len(second.getvalue().splitlines())) == ("", 1)


def test_online_ends_when_nobody_renews_it(telemetry: Telemetry, times: Times) -> None:
    telemetry.online([Count(10, 1, 212)])
    times.seconds = 60
    telemetry.online_expires()
    assert value(telemetry, "ps2_online", world="10", faction="1") == 212
    times.seconds = 61
    telemetry.online_expires()
    assert value(telemetry, "ps2_online", world="10", faction="1") is None


def test_disks(telemetry: Telemetry) -> None:
    telemetry.disk_space("queue", 5, 20)
    assert value(telemetry, "ps2_disk_free_bytes", of="queue") == 5
    assert value(telemetry, "ps2_disk_total_bytes", of="queue") == 20


def test_a_world_that_never_spoke_has_a_number(telemetry: Telemetry) -> None:
    telemetry.worlds_wanted([10])
    assert value(telemetry, "ps2_events_total", event="PlayerLogin", world="10") == 0
    assert value(telemetry, "ps2_event_last_timestamp_seconds", world="10") is None
    telemetry.event_received("PlayerLogin", 10, NOW, NOW)
    assert value(telemetry, "ps2_events_total", event="PlayerLogin", world="10") == 1


@pytest.mark.logs_errors
def test_a_clock_that_is_wrong_is_said_and_not_all_the_time(
    telemetry: Telemetry, times: Times, lines: pytest.LogCaptureFixture
) -> None:
    stream = telemetry.stream("ps2")
    stream.clock(250, False)
    assert value(telemetry, "ps2_clock_ahead_seconds", stream="ps2") == 0.25
    assert told(lines) == []
    for _ in range(3):
        stream.clock(-3_600_000, True)
    assert value(telemetry, "ps2_clock_ahead_seconds", stream="ps2") == -3600
    (line,) = told(lines)
    assert line["seconds_ahead"] == -3600
    assert "timedatectl" in line["event"]
