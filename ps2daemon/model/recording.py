"""A recording's lines: what `queue import` reads and `queue export` writes, fixed to the letter.

    {"kind": "event", "received_at": "2026-03-01T12:00:00.123Z", "payload": {...as received...}}
    {"kind": "coverage", "world_id": 10, "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z", "after": "start"}

One JSON object a line. A payload's bytes are kept exactly, in both directions. Strict: a line that is not one of the two,
in every key and value, raises `RecordingError` with its number. Times need their offset (`Z`, or another one): without it a
recording of some other program, in its local time, would silently be hours off. Fractions beyond a millisecond are cut off.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

import msgspec

from ps2daemon.errors import RecordingError, UsageError, one_line
from ps2daemon.model.events import MAX_PAYLOAD_BYTES
from ps2daemon.model.records import After, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.times import iso, parse_iso

MAX_LINE_BYTES: Final = MAX_PAYLOAD_BYTES + 1024
"""The largest payload that is decoded, and room for the rest of the line; nothing larger is parsed."""

_MAX_U32: Final = 2**32 - 1
_SHOWN: Final = 100
"""So many characters of a bad line are shown."""


class _Event(msgspec.Struct, tag_field="kind", tag="event", forbid_unknown_fields=True, gc=False):
    received_at: str
    payload: msgspec.Raw


class _Coverage(
    msgspec.Struct,
    tag_field="kind",
    tag="coverage",
    forbid_unknown_fields=True,
    gc=False,
    rename={"start": "from", "end": "to"},
):
    world_id: Annotated[int, msgspec.Meta(ge=1, le=_MAX_U32)]
    start: str
    end: str
    after: After


_decoder = msgspec.json.Decoder(_Event | _Coverage)


def parse_line(line: bytes, number: int) -> Record:
    """The record that a line says, with or without its line break.

    Args:
        number: the line's, counted from 1, for the error.

    Raises:
        RecordingError: too large, no JSON object, an unknown kind or key, a key absent, or a value that can't be.
    """
    if len(line) > MAX_LINE_BYTES:
        raise RecordingError(number, f"it has more than {MAX_LINE_BYTES} bytes")
    try:
        if not line.isascii():
            line.decode()  # a payload is not looked into below, and bytes that are no UTF-8 would pass
        raw = _decoder.decode(line)
    except msgspec.ValidationError as error:
        raise RecordingError(number, one_line(error, _SHOWN)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(number, f"it is no JSON object: {one_line(error, _SHOWN)}") from None
    if isinstance(raw, _Event):
        payload = bytes(raw.payload)
        if payload[:1] != b"{":
            raise RecordingError(number, "payload is not an object")
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise RecordingError(number, f"payload has more than {MAX_PAYLOAD_BYTES} bytes")
        return EventRecord(_time(number, "received_at", raw.received_at), payload)
    start, end = _time(number, "from", raw.start), _time(number, "to", raw.end)
    if start > end:
        raise RecordingError(number, f"from ({raw.start}) is later than to ({raw.end})")
    return CoverageRecord(raw.world_id, start, end, raw.after)


def format_line(record: Record) -> bytes:
    """The line that says `record`, with its line break.

    A line break inside of a payload, which can only stand between its values, becomes a space.
    """
    if isinstance(record, EventRecord):
        payload = record.payload
        if b"\n" in payload or b"\r" in payload:
            payload = payload.replace(b"\n", b" ").replace(b"\r", b" ")
        return b'{"kind": "event", "received_at": "%s", "payload": %s}\n' % (
            _iso(record.received_at).encode(),
            payload,
        )
    return b'{"kind": "coverage", "world_id": %d, "from": "%s", "to": "%s", "after": "%s"}\n' % (
        record.world_id,
        iso(record.start).encode(),
        iso(record.end).encode(),
        record.after.encode(),
    )


# Lines come in the order of receipt, so that one minute's lines follow each other: dates are worked out once a minute.


@lru_cache(maxsize=256)
def _minute(text: str) -> Ms:
    """The time that `2026-03-01T12:00` says, in UTC."""
    return parse_iso(f"{text}:00Z")


@lru_cache(maxsize=256)
def _minute_iso(minute: int) -> str:
    return iso(minute * 60_000)[:17]


def _iso(at: Ms) -> str:
    """As `iso`, fast for times of receipt."""
    minute, rest = divmod(at, 60_000)
    seconds, milliseconds = divmod(rest, 1000)
    if milliseconds:
        return f"{_minute_iso(minute)}{seconds:02d}.{milliseconds:03d}Z"
    return f"{_minute_iso(minute)}{seconds:02d}Z"


def _time(number: int, key: str, text: str) -> Ms:
    try:
        length = len(text)
        if (
            (length == 24 or length == 20)
            and text[-1] == "Z"
            and text[10] == "T"
            and text[16] == ":"
            and text.isascii()
        ):
            seconds = text[17:19]
            milliseconds = text[20:23] if length == 24 and text[19] == "." else "0" if length == 20 else ""
            if seconds.isdigit() and seconds < "60" and milliseconds.isdigit():
                return _minute(text[:16]) + int(seconds) * 1000 + int(milliseconds)
        clock = text.partition("T")[2]
        if len(text) > _SHOWN or not (clock.endswith("Z") or "+" in clock or "-" in clock):
            raise UsageError(
                f"{_shown(text)!r} is no ISO 8601 time with its offset, such as 2026-03-01T12:00:00.123Z"
            )
        return parse_iso(text)
    except UsageError as error:
        raise RecordingError(number, f"{key}: {error}") from None


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
