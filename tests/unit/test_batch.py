from __future__ import annotations

from itertools import permutations

import pytest

from ps2daemon.model.batch import MAX_AHEAD, make_batch
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, CoverageRecord, EventRecord, Record
from tests.records import T0, change, covered, event, lock, login, logout


def test_nothing_says_nothing() -> None:
    batch = make_batch([])
    assert (batch.records, batch.until, batch.oldest) == (0, None, None)
    assert (batch.events, batch.changes, batch.locks, batch.spans, batch.refused) == ({}, [], [], [], [])


def test_records_are_sorted_by_what_they_are_about() -> None:
    batch = make_batch(
        [
            login("1", T0),
            covered(T0 - HOUR, T0),
            change(T0 + SECOND, 135),
            logout("1", T0 + MINUTE),
            lock(T0 + 2 * SECOND),
            login("2", T0 + MINUTE, 40),
        ]
    )
    assert batch.events == {
        "1": [Login("1", 10, T0), Logout("1", 10, T0 + MINUTE)],
        "2": [Login("2", 40, T0 + MINUTE)],
    }
    assert [each.at for each in batch.changes] == [T0 + SECOND]
    assert [each.at for each in batch.locks] == [T0 + 2 * SECOND]
    assert batch.spans == [Span(10, T0 - HOUR, T0, "connection")]
    assert (batch.records, batch.refused) == (6, [])


def test_it_reaches_to_the_latest_receipt_or_end_of_coverage() -> None:
    records: list[Record] = [login("1", T0), covered(T0 - HOUR, T0 + MINUTE), logout("1", T0 + SECOND)]
    for order in permutations(records):
        batch = make_batch(order)
        assert (batch.until, batch.oldest) == (T0 + MINUTE, T0 + 700)
    assert make_batch(records[::2]).until == T0 + SECOND + 700
    assert make_batch([covered(T0, T0 + HOUR)]).oldest is None


def test_a_span_told_many_times_is_told_once() -> None:
    ends = [T0 + MINUTE, T0 + 3 * MINUTE, T0 + 2 * MINUTE]
    records = [covered(T0, end) for end in ends] + [covered(T0, T0 + SECOND, 40)]
    assert sorted(make_batch(records).spans, key=lambda span: span.world_id) == [
        Span(10, T0, T0 + 3 * MINUTE, "connection"),
        Span(40, T0, T0 + SECOND, "connection"),
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"nonsense", "not an object"),
        (b"", "not an object"),
        (b'{"event_name":"PlayerLogin","world_id":"10","timestamp":"1"}', "character_id"),
        (b'{"event_name":"PlayerLogout","character_id":"x","world_id":"10","timestamp":"1"}', "character_id"),
        (b'{"event_name":"MetagameEvent","world_id":"10","timestamp":"1"}', "instance_id"),
    ],
)
def test_what_cannot_be_decoded_is_set_aside_with_a_reason(payload: bytes, reason: str) -> None:
    record = EventRecord(T0, payload)
    batch = make_batch([record, login("1", T0)])
    (refused,) = batch.refused
    assert refused.record is record
    assert reason in refused.reason
    assert list(batch.events) == ["1"]
    assert batch.records == 2


def test_what_this_program_does_not_record_is_left_out() -> None:
    records = [
        event("GainExperience", T0, world_id=10, character_id="1"),
        event("PlayerLogin", T0, character_id="0", world_id=10),
        lock(T0, zone_id=96),  # the tutorial
        EventRecord(T0, b"{}"),
    ]
    batch = make_batch(records)
    assert (batch.events, batch.locks, batch.refused) == ({}, [], [])
    assert batch.records == 4


def test_what_claims_to_come_from_the_future_is_refused() -> None:
    ahead = T0 + MAX_AHEAD
    kept = make_batch([event("PlayerLogin", ahead, received_at=T0, character_id="1", world_id=10)])
    assert kept.events == {"1": [Login("1", 10, ahead)]}
    for late in (
        event("PlayerLogin", ahead + SECOND, received_at=T0, character_id="1", world_id=10),
        EventRecord(T0, change(ahead + DAY, 135).payload),
        EventRecord(T0, lock(ahead + DAY).payload),
    ):
        batch = make_batch([late])
        assert "days after its receipt" in batch.refused[0].reason
        assert (batch.events, batch.changes, batch.locks) == ({}, [], [])
        assert batch.until == T0


def test_an_event_of_long_ago_is_kept() -> None:
    batch = make_batch([event("PlayerLogin", T0, received_at=T0 + 1000 * DAY, character_id="1", world_id=10)])
    assert batch.events == {"1": [Login("1", 10, T0)]}


def test_records_may_come_from_anywhere() -> None:
    batch = make_batch(iter([CoverageRecord(1, 0, 0, "start")]))
    assert batch.spans == [Span(1, 0, 0, "start")]
