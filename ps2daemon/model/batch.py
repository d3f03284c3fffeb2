"""What a sequence of records says, sorted by what it is about: the step between the queue and the fold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ps2daemon.model.alerts import Lock, lock_of
from ps2daemon.model.coverage import Span, merge_spans
from ps2daemon.model.events import ContinentLock, EventError, Login, Logout, Metagame, Other, decode_event
from ps2daemon.model.records import DAY, CoverageRecord, Ms, Record

MAX_AHEAD: Final = 3 * DAY
"""Worlds' clocks have been a day ahead. What claims to happen later than this after its receipt has no time at all, and would
count for ever. An event of long ago does no harm: captures of old streams are served again."""


class Refused(msgspec.Struct, frozen=True):
    """A record that can't be applied, and why."""

    record: Record
    reason: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Records, decoded.

    Attributes:
        records: how many there were.
        events: logins and logouts by character.
        changes, locks, spans: alerts' changes of state, continent locks, coverage.
        refused: what could not be decoded.
        until: the latest receipt, or end of coverage; None without records.
        oldest: the earliest receipt of an event; None without events.
    """

    records: int
    events: dict[str, list[Login | Logout]]
    changes: list[Metagame]
    locks: list[Lock]
    spans: list[Span]
    refused: list[Refused]
    until: Ms | None
    oldest: Ms | None


def make_batch(records: Iterable[Record]) -> Batch:
    """Decodes records; what can't be decoded is set aside, and what this program doesn't record is left out."""
    number = 0
    events: dict[str, list[Login | Logout]] = {}
    changes: list[Metagame] = []
    locks: list[Lock] = []
    coverage: list[CoverageRecord] = []
    refused: list[Refused] = []
    until: Ms | None = None
    oldest: Ms | None = None
    for record in records:
        number += 1
        if isinstance(record, CoverageRecord):
            coverage.append(record)
            if until is None or record.end > until:
                until = record.end
            continue
        received_at = record.received_at
        if until is None or received_at > until:
            until = received_at
        if oldest is None or received_at < oldest:
            oldest = received_at
        try:
            event = decode_event(record.payload)
        except EventError as error:
            refused.append(Refused(record, str(error)))
            continue
        if not isinstance(event, Other) and event.at - received_at > MAX_AHEAD:
            refused.append(
                Refused(record, f"its time is {(event.at - received_at) / DAY:.0f} days after its receipt")
            )
        elif isinstance(event, Login | Logout):
            events.setdefault(event.character_id, []).append(event)
        elif isinstance(event, Metagame):
            changes.append(event)
        elif isinstance(event, ContinentLock) and (lock := lock_of(event)) is not None:
            locks.append(lock)
    return Batch(
        records=number,
        events=events,
        changes=changes,
        locks=locks,
        spans=list(merge_spans(coverage).values()),
        refused=refused,
        until=until,
        oldest=oldest,
    )
