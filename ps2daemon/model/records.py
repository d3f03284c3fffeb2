"""What the subscriber knows at one moment; all that lies downstream is a function of records alone.

Times are integers, milliseconds since 1970-01-01 UTC, everywhere in this program (`Ms`). Event times come in whole
seconds; times of receipt have milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

Ms: TypeAlias = int

SECOND: Ms = 1_000
MINUTE: Ms = 60 * SECOND
HOUR: Ms = 60 * MINUTE
DAY: Ms = 24 * HOUR

LAST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last time that ISO 8601 writes with four digits of a year."""
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]  # checked where a record is decoded
_WorldId: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]

After: TypeAlias = Literal[
    "start", "connection", "subscription", "world_down", "world_silent", "clock", "disk_full"
]
"""Why there was no coverage before a span; `clock` is the machine's, `disk_full` also stands for a disk that failed."""

AFTERS: tuple[str, ...] = get_args(After)


class EventRecord(msgspec.Struct, frozen=True, gc=False, tag="event", array_like=True):
    """One event of the stream.

    Attributes:
        received_at: this machine's clock when the frame arrived.
        payload: the payload's JSON exactly as received (never parsed and written again).
    """

    received_at: _Time
    payload: bytes


class CoverageRecord(msgspec.Struct, frozen=True, gc=False, tag="coverage", array_like=True):
    """For one world: from `start` to `end` the subscription was verified and the world's endpoint was up.

    `start` stays the same for as long as the span is unbroken, so that a later record extends an earlier one.

    Attributes:
        start: when the first right answer arrived (`from` in documents and recordings).
        end: when the latest verification that came out right was asked (`to`); never before `start`.
    """

    world_id: _WorldId
    start: _Time
    end: _Time
    after: After

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError("a span can't end before it begins")


Record: TypeAlias = EventRecord | CoverageRecord
