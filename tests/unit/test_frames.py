from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.errors import FrameError
from ps2daemon.model.records import AFTERS, LAST_MS, CoverageRecord, EventRecord, Record
from ps2daemon.queue.frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_RECORDS,
    VERSION,
    FrameHeader,
    decode_frame,
    encode_frame,
    encode_frames,
    frame_header,
    record_bytes,
)

EVENT = EventRecord(1_772_366_400_123, b'{"event_name":"PlayerLogin"}')
COVERAGE = CoverageRecord(10, 1_772_366_400_000, 1_772_366_460_000, "start")

times = st.integers(0, 253_402_300_799_999)
events = st.builds(EventRecord, times, st.binary(max_size=2_000))
coverages = st.builds(
    lambda world_id, ends, after: CoverageRecord(world_id, min(ends), max(ends), after),
    st.integers(1, 2**32 - 1),
    st.tuples(times, times),
    st.sampled_from(AFTERS),
)
records = st.one_of(events, coverages)


@given(st.lists(records, min_size=1, max_size=30))
def test_what_goes_in_comes_out(batch: list[Record]) -> None:
    frame = encode_frame(batch)
    assert decode_frame(frame) == tuple(batch)
    oldest = min(record.received_at if isinstance(record, EventRecord) else record.end for record in batch)
    assert frame_header(frame) == FrameHeader(VERSION, len(batch), oldest)


@given(records)
def test_a_record_takes_no_more_than_what_is_reckoned(record: Record) -> None:
    assert len(encode_frame([record])) <= HEADER_BYTES + 1 + record_bytes(record)


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_torn_frame_is_refused_wherever_it_is_torn(batch: list[Record], data: st.DataObject) -> None:
    frame = encode_frame(batch)
    with pytest.raises(FrameError):
        decode_frame(frame[: data.draw(st.integers(0, len(frame) - 1))])


@given(st.lists(records, min_size=1, max_size=4), st.data(), st.integers(1, 255))
def test_one_changed_byte_is_noticed_wherever_it_is(
    batch: list[Record], data: st.DataObject, change: int
) -> None:
    frame = bytearray(encode_frame(batch))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= change
    with pytest.raises(FrameError):
        decode_frame(bytes(frame))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_refused(garbage: bytes) -> None:
    for read in (decode_frame, frame_header):
        with pytest.raises(FrameError):
            read(garbage)


@pytest.mark.parametrize(
    "record",
    [
        ("event", -1, b"{}"),
        ("event", LAST_MS + 1, b"{}"),
        ("event", 2**64 - 1, b"{}"),
        ("coverage", 2**32, 0, 1, "start"),
        ("coverage", 0, 0, 1, "start"),
        ("coverage", 10, -1, 1, "start"),
        ("coverage", 10, 0, LAST_MS + 1, "start"),
        ("coverage", 10, 2, 1, "start"),
        ("coverage", 10, 0, 1, "pruned"),
        ("eve\n\x1bnt" * 1_000, 1, b"{}"),
    ],
)
def test_a_record_that_can_not_be_is_refused(record: tuple[object, ...]) -> None:
    """Behind a right CRC as well: what was written by a defect must not stop what reads it."""
    body = msgspec.msgpack.encode([record])
    header = struct.pack("<4sHHqI", b"PS2F", VERSION, 1, 0, len(body))
    frame = header + struct.pack("<I", zlib.crc32(header + body)) + body
    with pytest.raises(FrameError, match="no list of records") as caught:
        decode_frame(frame)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_newer_version_is_named() -> None:
    frame = bytearray(encode_frame([EVENT]))
    struct.pack_into("<H", frame, 4, VERSION + 1)
    for read in (decode_frame, frame_header):
        with pytest.raises(FrameError, match=r"has version 2.*update it"):
            read(bytes(frame))


def test_something_behind_a_frame_is_refused() -> None:
    with pytest.raises(FrameError, match="the frame is torn"):
        decode_frame(encode_frame([EVENT]) + b"x")


def test_the_header_needs_no_body() -> None:
    frame = bytearray(encode_frame([EVENT, COVERAGE]))
    frame[-1] ^= 1
    assert frame_header(bytes(frame)) == FrameHeader(VERSION, 2, 1_772_366_400_123)
    with pytest.raises(FrameError, match="CRC"):
        decode_frame(bytes(frame))


def test_a_frame_has_bounds() -> None:
    assert len(decode_frame(encode_frame([COVERAGE] * MAX_RECORDS))) == MAX_RECORDS
    for batch in ([], [COVERAGE] * (MAX_RECORDS + 1), [EventRecord(1, b"x" * MAX_FRAME_BYTES)]):
        with pytest.raises(ValueError, match="a frame holds"):
            encode_frame(batch)


@given(st.lists(st.integers(0, 60_000), max_size=40), st.integers(0, 3))
def test_many_records_go_into_frames_within_the_bounds(sizes: list[int], hundreds: int) -> None:
    batch = [EventRecord(index, b"x" * size) for index, size in enumerate(sizes + [10] * 300 * hundreds)]
    frames = list(encode_frames(batch))
    assert [record for frame in frames for record in decode_frame(frame)] == batch
    assert all(len(frame) <= HEADER_BYTES + MAX_FRAME_BYTES for frame in frames)
    # No two neighbours would have fitted into one.
    for one, other in pairwise(frames):
        together = decode_frame(one) + decode_frame(other)[:1]
        assert len(together) > MAX_RECORDS or sum(map(record_bytes, together)) > MAX_FRAME_BYTES - 10


def test_a_record_too_large_for_any_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 262144 bytes"):
        list(encode_frames([EVENT, EventRecord(1, b"x" * MAX_FRAME_BYTES)]))
