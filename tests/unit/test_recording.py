from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.errors import RecordingError, UsageError
from ps2daemon.model.events import MAX_PAYLOAD_BYTES
from ps2daemon.model.recording import MAX_LINE_BYTES, format_line, parse_line
from ps2daemon.model.records import AFTERS, LAST_MS, CoverageRecord, EventRecord, Record
from ps2daemon.model.times import iso, parse_iso
from ps2daemon.queue.recordings import read_recording

NOON = parse_iso("2026-03-01T12:00:00Z")
EVENT_LINE = b'{"kind": "event", "received_at": "2026-03-01T12:00:00.123Z", "payload": {"event_name":"PlayerLogin", "x" : 1.50}}\n'
COVERAGE_LINE = b'{"kind": "coverage", "world_id": 10, "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z", "after": "start"}\n'
EVENT = EventRecord(NOON + 123, b'{"event_name":"PlayerLogin", "x" : 1.50}')
COVERAGE = CoverageRecord(10, NOON, NOON + 3_600_000, "start")

times = st.integers(0, LAST_MS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
payloads = st.dictionaries(st.text(), json_values, max_size=5).map(msgspec.json.encode)
events = st.builds(EventRecord, times, payloads)
coverages = st.builds(
    lambda world, ends, after: CoverageRecord(world, min(ends), max(ends), after),
    st.integers(1, 2**32 - 1),
    st.tuples(times, times),
    st.sampled_from(AFTERS),
)


def coverage(**changed: Any) -> bytes:
    """A line of coverage with some keys changed, or left out where the value is `...`."""
    line = msgspec.json.decode(COVERAGE_LINE) | changed
    return msgspec.json.encode({key: value for key, value in line.items() if value is not ...})


def event(received_at: str) -> bytes:
    return b'{"kind": "event", "received_at": %s, "payload": {}}' % msgspec.json.encode(received_at)


def test_the_two_kinds_of_lines_to_the_letter() -> None:
    assert parse_line(EVENT_LINE, 1) == EVENT
    assert parse_line(COVERAGE_LINE, 1) == COVERAGE
    assert format_line(EVENT) == EVENT_LINE
    assert format_line(COVERAGE) == COVERAGE_LINE


@given(st.one_of(events, coverages))
def test_a_line_says_the_record_that_made_it(record: Record) -> None:
    line = format_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_line(line, 1) == record
    assert isinstance(msgspec.json.decode(line), dict)


def test_a_payload_keeps_its_bytes() -> None:
    payload = b'{ "a":1.0,\t"b" :"\\u00e9\xc3\xa9",  "a":2 }'
    line = b'{"payload":  ' + payload + b' ,"received_at":"2026-03-01T12:00:00Z","kind":"event"}'
    record = parse_line(line, 1)
    assert record == EventRecord(NOON, payload)
    assert parse_line(format_line(record), 1) == record


def test_a_line_break_in_a_payload_becomes_a_space() -> None:
    line = format_line(EventRecord(NOON, b'{"a":\r\n1}'))
    assert line == b'{"kind": "event", "received_at": "2026-03-01T12:00:00Z", "payload": {"a":  1}}\n'


@given(times)
def test_times_are_read_as_they_are_written(at: int) -> None:
    assert parse_line(event(iso(at)), 1) == EventRecord(at, b"{}")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T13:00:00+01:00", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("20260301T120000Z", NOON),
        ("2026-03-01T12:00:00.1Z", NOON + 100),
        ("2026-03-01T12:00:00.123999Z", NOON + 123),
        ("2026-03-01T12:00:59.999Z", NOON + 59_999),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", LAST_MS),
    ],
)
def test_other_forms_of_a_time(text: str, at: int) -> None:
    assert parse_line(event(text), 1) == EventRecord(at, b"{}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00.123",
        "2026-03-01 12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-03-01T24:00:01Z",
        "2026-03-01T12:00:60Z",
        "2026-03-01T12:00:6xZ",
        "2026-03-01T12:00:00.12xZ",
        "2026-03-01T12:00:00,12xZ",
        "2026-03-01T12:00:0²Z",
        "2026-03-01T12:60:00Z",
        "1969-12-31T23:59:59Z",
        "1772366400",
        "Z" * 24,
        "x" * 5_000,
    ],
)
def test_bad_times_are_refused(text: str) -> None:
    with pytest.raises(RecordingError, match=r"^line 7: received_at: ") as caught:
        parse_line(event(text), 7)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "it is no JSON object"),
        (b"what?", "it is no JSON object"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`"),
        (COVERAGE_LINE[:-5], "it is no JSON object"),
        (COVERAGE_LINE + COVERAGE_LINE, "it is no JSON object"),
        (b"[" * 60_000, "it is no JSON object|Expected `object`"),
        (b"{}", "missing required field `kind`"),
        (coverage(kind="coverages"), "Invalid value 'coverages'"),
        (coverage(kind=...), "missing required field `kind`"),
        (coverage(world_id=...), "missing required field `world_id`"),
        (coverage(after=...), "missing required field `after`"),
        (coverage(to=...), "missing required field `to`"),
        (coverage(world_id=0), "`int` >= 1"),
        (coverage(world_id=-1), "`int` >= 1"),
        (coverage(world_id=2**32), "`int` <= 4294967295"),
        (coverage(world_id=10**30), "Expected `int`|out of range"),
        (coverage(world_id="10"), "Expected `int`, got `str`"),
        (coverage(world_id=10.5), "Expected `int`, got `float`"),
        (coverage(world_id=True), "Expected `int`, got `bool`"),
        (coverage(after="x" * 60_000), "Invalid enum value 'x+"),
        (coverage(after="lunch"), "Invalid enum value 'lunch'"),
        (coverage(to="2026-03-01T11:59:59Z"), "from .2026-03-01T12:00:00Z. is later than to"),
        (coverage(**{"from": "yesterday"}), "from: 'yesterday' is no ISO 8601 time"),
        (coverage(to="tomorrow"), "to: 'tomorrow' is no ISO 8601 time"),
        (coverage(to=1_772_366_400), "Expected `str`, got `int`"),
        (coverage(extra=1), "unknown field `extra`"),
        (coverage(kind="eve\0\n\x1bnt"), "Invalid value 'eve"),
        (b'{"kind":"event","payload":{}}', "missing required field `received_at`"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z"}', "missing required field `payload`"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z","payload":[]}', "payload is not an object"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z","payload":"{}"}', "payload is not an object"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z","payload":null}', "payload is not an object"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z","payload":{"a":}}', "it is no JSON object"),
        (b'{"kind":"event","received_at":"2026-03-01T12:00:00Z","payload":{"a":"\xff"}}', "it is no JSON object"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_with_its_number(line: bytes, reason: str) -> None:
    with pytest.raises(RecordingError, match=f"^line 41: .*({reason})") as caught:
        parse_line(line, 41)
    assert caught.value.line == 41
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_a_span_may_be_empty() -> None:
    assert parse_line(coverage(to="2026-03-01T12:00:00Z"), 1) == CoverageRecord(10, NOON, NOON, "start")


def test_lines_and_payloads_have_bounds() -> None:
    def line(size: int) -> bytes:
        return format_line(EventRecord(NOON, b'{"a":"%s"}' % (b"x" * (size - 8))))

    assert len(line(MAX_PAYLOAD_BYTES)) <= MAX_LINE_BYTES
    assert isinstance(parse_line(line(MAX_PAYLOAD_BYTES), 1), EventRecord)
    with pytest.raises(RecordingError, match="line 2: payload has more than"):
        parse_line(line(MAX_PAYLOAD_BYTES + 1), 2)
    with pytest.raises(RecordingError, match="line 2: it has more than"):
        parse_line(line(MAX_LINE_BYTES), 2)


# Files and pipes


def test_plain_and_compressed_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    text = EVENT_LINE + COVERAGE_LINE
    plain, packed = tmp_path / "a.gz", tmp_path / "b.ndjson"  # by the name, each looks like the other
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(EVENT_LINE) + gzip.compress(COVERAGE_LINE))
    for source in (plain, packed, io.BytesIO(text), io.BytesIO(gzip.compress(text))):
        assert list(read_recording(source)) == [EVENT, COVERAGE]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_that_gives_one_byte_at_first(packed: bool) -> None:
    text = gzip.compress(EVENT_LINE) if packed else EVENT_LINE
    reader, writer = os.pipe()

    def feed() -> None:
        with open(writer, "wb", buffering=0) as pipe:
            for index in range(len(text)):
                pipe.write(text[index : index + 1])

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reader, "rb") as pipe:
        assert list(read_recording(pipe)) == [EVENT]
    thread.join()


def test_a_stream_that_was_given_stays_open() -> None:
    stream = io.BytesIO(EVENT_LINE)
    assert list(read_recording(stream)) == [EVENT]
    assert not stream.closed


@pytest.mark.parametrize("text", [b"", b"\n", gzip.compress(b"", mtime=0)])
def test_nothing_is_a_recording_too(text: bytes) -> None:
    assert list(read_recording(io.BytesIO(text))) == []


def test_the_last_line_needs_no_break_and_lines_may_end_as_on_windows() -> None:
    text = EVENT_LINE[:-1] + b"\r\n" + COVERAGE_LINE[:-1]
    assert list(read_recording(io.BytesIO(text))) == [EVENT, COVERAGE]


def test_empty_lines_are_accepted_at_the_end_only() -> None:
    assert list(read_recording(io.BytesIO(EVENT_LINE + b"\n \r\n\n"))) == [EVENT]
    with pytest.raises(RecordingError, match="line 2: it is empty, and more lines follow"):
        list(read_recording(io.BytesIO(EVENT_LINE + b"\n\n" + COVERAGE_LINE)))


def test_what_stands_before_a_bad_line_is_given() -> None:
    records = read_recording(io.BytesIO(EVENT_LINE + COVERAGE_LINE + b"{}\n" + EVENT_LINE))
    assert [next(records), next(records)] == [EVENT, COVERAGE]
    with pytest.raises(RecordingError, match="line 3: "):
        next(records)


def test_a_line_without_an_end_is_not_taken_into_memory() -> None:
    bomb = io.BytesIO(gzip.compress(b" " * 50_000_000))
    with pytest.raises(RecordingError, match="line 1: it has more than"):
        list(read_recording(bomb))


@pytest.mark.parametrize(
    "text", [gzip.compress(EVENT_LINE * 50, mtime=0)[:-9], gzip.compress(EVENT_LINE, mtime=0)[:5]]
)
def test_a_broken_compression_is_refused(text: bytes) -> None:
    with pytest.raises(RecordingError, match="the gzip stream is broken here"):
        list(read_recording(io.BytesIO(text)))


def test_changed_compressed_bytes_are_refused() -> None:
    text = bytearray(gzip.compress(EVENT_LINE * 50))
    text[-6] ^= 1  # in its own CRC
    with pytest.raises(RecordingError, match="the gzip stream is broken here: CRC check failed"):
        list(read_recording(io.BytesIO(bytes(text))))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can't read .*nothing.ndjson: No such file"):
        list(read_recording(tmp_path / "nothing.ndjson"))
    with pytest.raises(UsageError, match=r"can't read .*: Is a directory"):
        list(read_recording(tmp_path))
