"""Times as people and files write them: ISO 8601, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final

from ps2daemon.errors import UsageError
from ps2daemon.model.records import DAY, HOUR, LAST_MS, MINUTE, SECOND, Ms

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LONGEST_MONTH: Final = 31 * DAY


def from_ms(at: Ms) -> datetime:
    """The UTC datetime of `at`."""
    return _EPOCH + timedelta(milliseconds=at)


def to_ms(at: datetime) -> Ms:
    """Milliseconds since the epoch of an aware datetime, rounded down."""
    return (at - _EPOCH) // _MILLISECOND


def iso(at: Ms) -> str:
    """`2026-03-01T12:00:00Z`, with milliseconds where there are some: `2026-03-01T12:00:00.123Z`."""
    seconds, rest = divmod(at, 1000)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def month_of(at: Ms) -> Ms:
    """The first moment of the calendar month (UTC) that `at` is in."""
    return to_ms(from_ms(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def next_month(at: Ms) -> Ms:
    """The first moment of the calendar month after the one that `at` is in."""
    return month_of(month_of(at) + _LONGEST_MONTH)


def parse_iso(text: str) -> Ms:
    """The time that `text` says; without an offset it is UTC.

    Raises:
        UsageError: it is no ISO 8601 date or time between 1970 and 9999.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no ISO 8601 time such as 2026-03-01T12:00:00Z") from None
    try:
        ms = to_ms(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
    except OverflowError:
        ms = -1
    if not 0 <= ms <= LAST_MS:
        raise UsageError(f"{text!r} is not between the years 1970 and 9999")
    return ms


def clock_text(at: Ms, zone: tzinfo) -> str:
    """Day and minute by the clock of `zone`."""
    return from_ms(at).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def length_text(span: Ms) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `12 min`, `8 s`."""
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))
    for (unit, name), (smaller, smaller_name) in pairwise(units):
        if span >= unit:
            rest = span % unit // smaller
            more = f" {rest} {smaller_name}" if rest and unit > MINUTE else ""
            return f"{span // unit} {name}{more}"
    return f"{span // SECOND} s" if span >= SECOND else f"{span} ms"
