"""Frames: the items of the queue, each a batch of records as self-checking bytes.

    offset  size  little-endian
    0       4     magic, b"PS2F"
    4       2     version of the format
    6       2     number of records, 1 to MAX_RECORDS
    8       8     oldest time in it: the least time of receipt, or end of coverage (Ms)
    16      4     length of the body
    20      4     CRC-32 of everything else: the header before it and the body
    24      ...   body: a MessagePack list of records

The version stands before everything that a later version might change. A frame is never repaired: what is not exactly
as it was written raises `FrameError`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from ps2daemon.errors import FrameError, one_line
from ps2daemon.model.records import EventRecord, Ms, Record

MAX_RECORDS: Final = 500
MAX_FRAME_BYTES: Final = 256 * 1024
"""The largest body."""
VERSION: Final = 1

_MAGIC: Final = b"PS2F"
_HEADER: Final = struct.Struct("<4sHHqI")
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size

# MessagePack's own bytes around the values of one record, at most (its list, tag, integers and lengths); see `record_bytes`.
_EVENT_OVERHEAD: Final = 24
_COVERAGE_BYTES: Final = 64
LIST_OVERHEAD: Final = 5

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Record, ...])


class FrameHeader(NamedTuple):
    """What a frame says about itself; `oldest_at` is the least time of receipt, or end of coverage, in it."""

    version: int
    records: int
    oldest_at: Ms


def record_bytes(record: Record) -> int:
    """At most so many bytes does a record take in a frame's body."""
    return len(record.payload) + _EVENT_OVERHEAD if isinstance(record, EventRecord) else _COVERAGE_BYTES


def encode_frame(records: Sequence[Record]) -> bytes:
    """The frame that holds `records`, in their order.

    Raises:
        ValueError: none, or more than `MAX_RECORDS`, or more than `MAX_FRAME_BYTES` (see `encode_frames`).
    """
    if not 1 <= len(records) <= MAX_RECORDS:
        raise ValueError(f"a frame holds 1 to {MAX_RECORDS} records, not {len(records)}")
    body = _encoder.encode(records)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame holds at most {MAX_FRAME_BYTES} bytes, not {len(body)}")
    oldest_at = min(
        record.received_at if isinstance(record, EventRecord) else record.end for record in records
    )
    header = _HEADER.pack(_MAGIC, VERSION, len(records), oldest_at, len(body))
    return b"".join((header, _CRC.pack(zlib.crc32(body, zlib.crc32(header))), body))


def encode_frames(records: Iterable[Record]) -> Iterator[bytes]:
    """All of `records`, in their order, in as few full frames as their bounds allow.

    Raises:
        ValueError: one record alone is too large for a frame.
    """
    batch: list[Record] = []
    size = LIST_OVERHEAD
    for record in records:
        more = record_bytes(record)
        if batch and (len(batch) == MAX_RECORDS or size + more > MAX_FRAME_BYTES):
            yield encode_frame(batch)
            batch, size = [], LIST_OVERHEAD
        batch.append(record)
        size += more
    if batch:
        yield encode_frame(batch)


def frame_header(frame: bytes) -> FrameHeader:
    """What a frame says about itself. Neither the body nor the CRC is looked at.

    Raises:
        FrameError: no frame, torn, or of an unknown version.
    """
    return _header(frame)[0]


def decode_frame(frame: bytes) -> tuple[Record, ...]:
    """The records of a frame, in the order in which they went in.

    Raises:
        FrameError: no frame, torn, of an unknown version, or not the bytes that were written.
    """
    header, crc = _header(frame)
    body = memoryview(frame)[HEADER_BYTES:]
    if zlib.crc32(body, zlib.crc32(frame[: _HEADER.size])) != crc:
        raise FrameError("the frame's CRC does not match: its bytes were changed after they were written")
    try:
        records = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"the frame's body is no list of records: {one_line(error)}") from None
    if len(records) != header.records:
        raise FrameError(f"the frame says {header.records} records and holds {len(records)}")
    return records


def _header(frame: bytes) -> tuple[FrameHeader, int]:
    if frame[: len(_MAGIC)] != _MAGIC[: len(frame)]:
        raise FrameError("the bytes are no frame")
    if len(frame) < HEADER_BYTES:
        raise FrameError(f"the frame is torn: {len(frame)} bytes are less than its header")
    _, version, records, oldest_at, length = _HEADER.unpack_from(frame)
    if version != VERSION:
        raise FrameError(
            f"the frame has version {version}, and this ps2daemon knows {VERSION} only: update it"
        )
    if len(frame) != HEADER_BYTES + length:
        raise FrameError(f"the frame is torn: {len(frame) - HEADER_BYTES} bytes of {length}")
    if not 1 <= records <= MAX_RECORDS or length > MAX_FRAME_BYTES:
        raise FrameError(f"the frame says {records} records in {length} bytes, beyond its bounds")
    return FrameHeader(version, records, oldest_at), _CRC.unpack_from(frame, _HEADER.size)[0]
