"""What the store holds of each thing that alerts and locks go through: none lost, none invented, and no end that nobody told or that time did not bring.

Each is some hours of three worlds in virtual time, recorded by everything that a daemon has and held against the simulator's truth.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from trio.testing import MockClock

from bench.kept import Kept
from bench.recorded import START, WORLDS, Fault
from bench.stored import keep
from ps2daemon.model import tables
from ps2daemon.model.alerts import GRACE, Alert
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.simulator.truth import TrueAlert

MINUTES = 225
OVER = GRACE + 2 * MINUTE
"""So long after its end, what there is to be known of an alert is known."""


class Pair(NamedTuple):
    """An alert that is over, as it was and as it is stored."""

    true: TrueAlert
    stored: Alert

    @property
    def due(self) -> Ms:
        """When its time was up."""
        return self.true.start + tables.metagame_events()[self.true.metagame_event_id].duration(
            self.true.start
        )

    @property
    def lock_at(self) -> Ms | None:
        """When the lock was that it is said to have ended with."""
        return None if self.stored.lock_id is None else int(self.stored.lock_id.split("-")[2])


async def kept_of(patch: pytest.MonkeyPatch, *faults: str) -> Kept:
    kept = await keep(patch, *(Fault(each, 0) for each in faults), minutes=MINUTES, scale=0.02, slowly=True)
    assert not kept.letters
    return kept


def pairs(kept: Kept) -> list[Pair]:
    """Each alert that began and ended in the time, with the one that is stored of it, of which there is no other."""
    known = [each for each in kept.content.alerts.values() if each.world_id in WORLDS]
    true = [each for each in kept.truth.alerts if each.start >= START]
    by_start = {(each.world_id, each.zone_id, each.start): each for each in known if each.start is not None}
    assert len(by_start) == len([each for each in known if each.start is not None])
    found = {(each.world_id, each.start): each for each in by_start.values()}
    assert len(by_start) == len([each for each in true if each.start < kept.end - SECOND]), (
        "none lost or invented"
    )
    both = [Pair(each, found[each.world_id, each.start]) for each in true if each.end < kept.end - OVER]
    assert len(both) >= 4
    assert {pair.true.world_id for pair in both} >= {1, 10}
    return both


def said(pair: Pair) -> dict[str, Any]:
    """What is stored of it and could be known."""
    stored = pair.stored
    return {
        "kind": stored.metagame_event_id,
        "zone": stored.zone_id,
        "start": stored.start,
        "end": stored.end,
        "ended_by": stored.ended_by,
        "canceled": stored.canceled,
        "winner": stored.winner,
        "lock_at": pair.lock_at,
    }


def true(pair: Pair, **changes: Any) -> dict[str, Any]:
    """What is to be stored of it, where all of it was told."""
    each = pair.true
    return {
        "kind": each.metagame_event_id,
        "zone": each.zone_id,
        "start": each.start,
        "end": each.end,
        "ended_by": "event",
        "canceled": each.canceled,
        "winner": each.winner,
        "lock_at": each.lock_at,
    } | changes


def check_locks(kept: Kept) -> None:
    """Each lock is stored, and no other; those of alerts with their alert."""
    known = {each.lock_id: each for each in kept.content.locks.values() if each.world_id in WORLDS}
    told = {
        f"{each.world_id}-{each.zone_id}-{each.at}": each
        for each in kept.truth.locks
        if START <= each.at < kept.end - 2 * SECOND
    }
    assert known.keys() == told.keys()
    assert len(told) >= 2
    for key, lock in known.items():
        assert (lock.winner, lock.previous_winner) == (told[key].winner, told[key].previous_winner)


@pytest.mark.parametrize(
    "faults",
    [
        ("alert_restarted:60@1", "alert_ended_twice@10"),
        ("alert_missing_zone@1", "alert_missing_state_name@10", "tutorial_lock:50"),
        ("numbers_for_strings@1", "duplicate_late:20@10"),
    ],
    ids=" ".join,
)
async def test_what_changes_nothing(
    faults: tuple[str, ...], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart is no second start and a second end no second alert; what is left out is in a table; tutorials lock nothing."""
    kept = await kept_of(monkeypatch, *faults)
    for pair in pairs(kept):
        assert said(pair) == true(pair)
    check_locks(kept)


async def test_a_missing_end(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock tells it, and otherwise the alert's time being up does: never an event."""
    kept = await kept_of(monkeypatch, "alert_missing_end")
    by = set()
    for pair in pairs(kept):
        lock_at = pair.true.lock_at
        if pair.due > kept.end - OVER:
            continue
        expected = ("duration", pair.due, None) if lock_at is None else ("lock", lock_at, pair.true.winner)
        assert (pair.stored.ended_by, pair.stored.end, pair.stored.winner) == expected
        by.add(pair.stored.ended_by)
    assert by == {"lock", "duration"}
    check_locks(kept)
    for alert in kept.content.alerts.values():
        assert alert.end is not None or (alert.start or kept.end) > kept.end - 90 * MINUTE - OVER, (
            "it runs on"
        )


async def test_an_early_end(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await kept_of(monkeypatch, "alert_early_end:60")
    for pair in pairs(kept):
        assert pair.true.end == pair.true.start + 60 * SECOND
        if not pair.true.canceled:  # such a one is told to end as well
            assert said(pair) == true(pair, lock_at=None)
    check_locks(kept)


async def test_a_cancellation(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await kept_of(monkeypatch, "alert_canceled")
    for pair in pairs(kept):
        assert said(pair) == true(pair, canceled=True, winner=None, lock_at=None)


async def test_instance_ids_that_come_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of alerts of one kind with one id, those that follow each other are told apart by the end in between."""
    kept = await kept_of(monkeypatch, "alert_instance_reset:1", "unknown_metagame:9999@1")
    for pair in pairs(kept):
        assert pair.stored.instance_id == 1
        assert said(pair) == true(pair, **({"kind": 9999} if pair.true.world_id == 1 else {}))
    of_one = [each for each in kept.content.alerts.values() if each.world_id == 1]
    assert len(of_one) > 1
    assert len({(each.metagame_event_id, each.instance_id) for each in of_one}) == 1


async def test_an_alert_of_an_unknown_kind(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await kept_of(monkeypatch, "unknown_metagame:9999")
    for pair in pairs(kept):
        assert said(pair) == true(pair, kind=9999)
        assert (pair.stored.name, pair.stored.type) == ("Alert 9999", None)


async def test_packed_zones(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance of a zone keeps its whole number, and no continent locks with one."""
    kept = await kept_of(monkeypatch, "packed_zones:1573")
    for pair in pairs(kept):
        winner = None if pair.true.winner is None else pair.stored.winner
        assert said(pair) == true(pair, zone=1573 << 16 | pair.true.zone_id, lock_at=None, winner=winner)
        assert pair.true.lock_at is not None or winner == pair.true.winner
    assert kept.content.locks == {}


async def test_an_unknown_world(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of it is kept apart, and the others are as they were."""
    kept = await kept_of(monkeypatch, "unknown_world:9999")
    for pair in pairs(kept):
        assert said(pair) == true(pair)
        (twin,) = (
            each
            for each in kept.content.alerts.values()
            if each.world_id == 9999
            and each.start == pair.true.start
            and each.instance_id == pair.true.instance_id
        )
        assert msgspec.structs.replace(
            twin, world_id=1, alert_id="", lock_id=None, changes=()
        ) == msgspec.structs.replace(pair.stored, world_id=1, alert_id="", lock_id=None, changes=())
    check_locks(kept)
    assert {each.world_id for each in kept.content.sessions.values()} <= set(WORLDS)
