"""Alerts and locks from the changes of state that were seen, in all the ways in which they come."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.model.alerts import (
    GRACE,
    LOCK_DISTANCE,
    LONGEST_ALERT,
    Alert,
    Lock,
    Territory,
    derive,
    due,
    lock_of,
    runs,
)
from ps2daemon.model.events import (
    BONUS_CHANGED,
    CANCELED,
    ENDED,
    RESTARTED,
    STARTED,
    ContinentLock,
    Metagame,
)
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.times import parse_iso

NOON = parse_iso("2026-03-01T12:00:00Z")
INDAR, ESAMIR, OSHUR = 2, 8, 344
SUPERIORITY = 147  # Indar, 90 minutes
MELTDOWN = 179  # Indar, 45 minutes
ANOMALIES = 228  # Indar, 30 minutes, locks nothing
UNKNOWN_KIND = 9999
NEVER = NOON + 30 * DAY


def change(
    state: int,
    at: Ms,
    *,
    kind: int = SUPERIORITY,
    instance: int = 7,
    zone: int | None = INDAR,
    territory: tuple[float | None, float | None, float | None] = (30.0, 30.0, 40.0),
) -> Metagame:
    return Metagame(10, instance, kind, state, at, zone, *territory)


def locked(at: Ms, winner: int = 3, zone: int = INDAR) -> ContinentLock:
    return ContinentLock(10, zone, at, winner, 0, 0, 30.0, 30.0, 40.0)


def lock(at: Ms, winner: int = 3, zone: int = INDAR) -> Lock:
    found = lock_of(locked(at, winner, zone))
    assert found is not None
    return found


def only(changes: list[Metagame], locks: list[Lock] | None = None, as_of: Ms = NEVER) -> Alert:
    alerts, _ = derive(changes, locks or [], as_of)
    (alert,) = alerts.values()
    assert alert.alert_id in alerts
    return alert


def test_an_alert_from_start_to_end() -> None:
    start = change(STARTED, NOON, territory=(33.0, 33.0, 34.0))
    bonus = change(BONUS_CHANGED, NOON + 10 * MINUTE)
    end = change(ENDED, NOON + 90 * MINUTE + SECOND, territory=(45.5, 30.5, 24.0))
    assert only([end, bonus, start]) == Alert(
        alert_id="10-7-2026-03-01",
        world_id=10,
        instance_id=7,
        metagame_event_id=SUPERIORITY,
        name="Indar Superiority",
        type=9,
        zone_id=INDAR,
        start=NOON,
        end=NOON + 90 * MINUTE + SECOND,
        ended_by="event",
        canceled=False,
        territory_start=Territory(33.0, 33.0, 34.0),
        territory_end=Territory(45.5, 30.5, 24.0),
        winner=1,
        lock_id=None,
        changes=(start, bonus, end),
    )


def test_an_alert_that_runs_has_no_end() -> None:
    until = NOON + 90 * MINUTE + GRACE
    alert = only([change(STARTED, NOON)], as_of=until - 1)
    assert (alert.end, alert.ended_by, alert.winner, alert.territory_end) == (None, None, None, None)
    alert = only([change(STARTED, NOON)], as_of=until)
    assert (alert.end, alert.ended_by, alert.winner) == (NOON + 90 * MINUTE, "duration", None)


def test_an_end_that_is_told_late_replaces_the_nominal_one() -> None:
    overdue = only([change(STARTED, NOON)])
    alert = only([*overdue.changes, change(ENDED, NOON + 91 * MINUTE)])
    assert (alert.end, alert.ended_by) == (NOON + 91 * MINUTE, "event")


def test_an_early_end_counts() -> None:
    alert = only([change(STARTED, NOON), change(ENDED, NOON + 20 * MINUTE)])
    assert (alert.end, alert.ended_by, alert.winner) == (NOON + 20 * MINUTE, "event", 3)


def test_an_alert_whose_recording_stopped_runs_until_its_time_is_up() -> None:
    """Where the records end in it, no end is ever known."""
    (alert,) = derive([change(STARTED, NOON)], [], NOON + MINUTE)[0].values()
    assert alert.end is None
    assert due(alert) == NOON + 90 * MINUTE
    assert [runs(alert, at) for at in (NOON - 1, NOON, due(alert) + GRACE - 1, due(alert) + GRACE)] == [
        False,
        True,
        True,
        False,
    ]
    (over,) = derive([change(STARTED, NOON), change(ENDED, NOON + HOUR)], [], NEVER)[0].values()
    assert not runs(over, NOON + MINUTE)
    (middle,) = derive([change(BONUS_CHANGED, NOON)], [], NOON)[0].values()
    assert not runs(middle, NOON + MINUTE), "nobody knows since when"


def test_an_alert_that_was_not_seen_to_start() -> None:
    alert = only([change(ENDED, NOON)])
    assert (alert.start, alert.end, alert.ended_by, alert.territory_start) == (None, NOON, "event", None)
    middle = only([change(BONUS_CHANGED, NOON)])
    # It began before, so an hour and a half later it is over at the latest.
    assert (middle.start, middle.end, middle.ended_by) == (None, NOON + 90 * MINUTE, "duration")
    middle = only([change(BONUS_CHANGED, NOON)], as_of=NOON + 90 * MINUTE)
    assert (middle.start, middle.end, middle.ended_by) == (None, None, None)


def test_a_canceled_alert_has_no_winner() -> None:
    told = [change(STARTED, NOON), change(CANCELED, NOON + 5 * MINUTE)]
    alert = only(told)
    assert (alert.end, alert.ended_by, alert.canceled, alert.winner) == (
        NOON + 5 * MINUTE,
        "event",
        True,
        None,
    )
    alert = only(told, [lock(NOON + 5 * MINUTE)])
    assert (alert.winner, alert.lock_id) == (None, None)


def test_a_restart_is_the_start_where_there_is_no_other() -> None:
    assert only([change(RESTARTED, NOON)]).start == NOON
    both = only([change(STARTED, NOON), change(RESTARTED, NOON + MINUTE)])
    assert (both.start, both.end) == (NOON, NOON + 90 * MINUTE)


def test_an_alert_that_ended_twice_ended_the_first_time() -> None:
    told = [change(STARTED, NOON), change(ENDED, NOON + HOUR), change(ENDED, NOON + HOUR + 20 * SECOND)]
    alert = only(told)
    assert alert.end == NOON + HOUR
    assert len(alert.changes) == 3


def test_a_start_and_an_end_within_one_second() -> None:
    alert = only([change(ENDED, NOON), change(STARTED, NOON)])
    assert (alert.start, alert.end) == (NOON, NOON)


def test_an_instance_number_that_is_used_again_is_another_alert() -> None:
    later = NOON + LONGEST_ALERT + SECOND
    alerts, _ = derive([change(STARTED, NOON), change(STARTED, later)], [], NEVER)
    assert {key: alert.start for key, alert in alerts.items()} == {
        "10-7-2026-03-01": NOON,
        "10-7-2026-03-01-2": later,
    }
    assert all(key == alert.alert_id for key, alert in alerts.items())


def test_another_kind_of_alert_is_another_alert() -> None:
    told = [
        change(STARTED, NOON),
        change(STARTED, NOON + MINUTE, kind=ANOMALIES),
        change(ENDED, NOON + 31 * MINUTE, kind=ANOMALIES),
    ]
    alerts, _ = derive(told, [], NEVER)
    assert {key: (alert.metagame_event_id, alert.end) for key, alert in alerts.items()} == {
        "10-7-2026-03-01": (SUPERIORITY, NOON + 90 * MINUTE),
        "10-7-2026-03-01-2": (ANOMALIES, NOON + 31 * MINUTE),
    }


@pytest.mark.parametrize("state", [STARTED, RESTARTED])
@pytest.mark.parametrize("over", [ENDED, CANCELED])
def test_what_starts_after_an_end_is_another_alert(state: int, over: int) -> None:
    """As when the server was restarted and counts anew, and of the first one only the end was seen."""
    told = [change(over, NOON), change(state, NOON + HOUR), change(ENDED, NOON + 2 * HOUR)]
    alerts, _ = derive(told, [], NEVER)
    assert [(alert.start, alert.end) for alert in alerts.values()] == [
        (None, NOON),
        (NOON + HOUR, NOON + 2 * HOUR),
    ]


def test_the_zone_of_the_kind_stands_in_for_a_missing_one() -> None:
    alert = only([change(STARTED, NOON, zone=None)], [lock(NOON + 90 * MINUTE)])
    assert (alert.zone_id, alert.ended_by) == (INDAR, "lock")
    assert only([change(STARTED, NOON, zone=None), change(ENDED, NOON + HOUR, zone=ESAMIR)]).zone_id == ESAMIR


def test_an_unknown_kind_is_kept() -> None:
    alert = only([change(STARTED, NOON, kind=UNKNOWN_KIND, zone=None)])
    assert (alert.name, alert.type, alert.zone_id) == ("Alert 9999", None, None)
    assert alert.end == NOON + 90 * MINUTE  # as long as most
    assert only([change(STARTED, NOON, kind=UNKNOWN_KIND)], [lock(NOON + HOUR)]).ended_by == "lock"


@pytest.mark.parametrize("offset", [-LOCK_DISTANCE, -SECOND, 0, SECOND, LOCK_DISTANCE])
def test_a_lock_before_or_behind_the_end_belongs_to_it(offset: int) -> None:
    end = NOON + 90 * MINUTE
    told = [change(STARTED, NOON), change(ENDED, end, territory=(50.0, 30.0, 20.0))]
    alerts, locks = derive(told, [lock(end + offset, winner=2)], NEVER)
    (alert,) = alerts.values()
    (belonging,) = locks.values()
    assert alert.lock_id == belonging.lock_id == f"10-2-{end + offset}"
    assert belonging.alert_id == alert.alert_id
    assert alert.end == end
    assert alert.winner == 2  # the lock says who won, whatever the territory


@pytest.mark.parametrize("offset", [-LOCK_DISTANCE - SECOND, LOCK_DISTANCE + SECOND])
def test_a_lock_further_away_does_not(offset: int) -> None:
    end = NOON + 90 * MINUTE
    alerts, locks = derive([change(STARTED, NOON), change(ENDED, end)], [lock(end + offset)], NEVER)
    assert [alert.lock_id for alert in alerts.values()] == [None]
    assert [found.alert_id for found in locks.values()] == [None]


def test_of_two_locks_the_nearest_belongs_to_the_end() -> None:
    end = NOON + 90 * MINUTE
    told = [change(STARTED, NOON), change(ENDED, end)]
    alert = only(told, [lock(end - 90 * SECOND), lock(end + 30 * SECOND)])
    assert alert.lock_id == f"10-2-{end + 30 * SECOND}"
    alert = only(told, [lock(end - 30 * SECOND), lock(end + 30 * SECOND)])
    assert alert.lock_id == f"10-2-{end - 30 * SECOND}"


def test_a_lock_of_another_zone_belongs_to_nothing() -> None:
    end = NOON + 90 * MINUTE
    alert = only([change(STARTED, NOON), change(ENDED, end)], [lock(end, zone=ESAMIR)])
    assert alert.lock_id is None


def test_an_alert_that_locks_nothing_has_no_lock() -> None:
    told = [change(STARTED, NOON, kind=ANOMALIES), change(ENDED, NOON + 30 * MINUTE, kind=ANOMALIES)]
    assert only(told, [lock(NOON + 30 * MINUTE)]).lock_id is None


@pytest.mark.parametrize(
    ("at", "ended_by"),
    [
        (NOON, "duration"),  # it is the lock of what was there before
        (NOON + SECOND, "lock"),
        (NOON + 20 * MINUTE, "lock"),
        (NOON + 90 * MINUTE + LOCK_DISTANCE, "lock"),
        (NOON + 90 * MINUTE + LOCK_DISTANCE + SECOND, "duration"),
    ],
)
def test_without_an_end_the_lock_ends_an_alert(at: Ms, ended_by: str) -> None:
    alert = only([change(STARTED, NOON)], [lock(at, winner=1)])
    assert alert.ended_by == ended_by
    assert (alert.end, alert.winner) == ((at, 1) if ended_by == "lock" else (NOON + 90 * MINUTE, None))


def test_a_lock_belongs_to_one_alert() -> None:
    """Two of a zone that end at about the same time: the lock is that of the nearer end."""
    end = NOON + 90 * MINUTE
    told = [
        change(STARTED, NOON),
        change(ENDED, end),
        change(STARTED, NOON, kind=MELTDOWN, instance=8),
        change(ENDED, end - MINUTE, kind=MELTDOWN, instance=8),
    ]
    alerts, locks = derive(told, [lock(end + SECOND)], NEVER)
    (only_lock,) = locks.values()
    owners = [alert.alert_id for alert in alerts.values() if alert.lock_id is not None]
    assert owners == [only_lock.alert_id] == ["10-7-2026-03-01"]


@pytest.mark.parametrize(
    ("territory", "winner"),
    [
        ((50.0, 30.0, 20.0), 1),
        ((30.0, 50.0, 20.0), 2),
        ((30.0, 20.0, 50.0), 3),
        ((40.0, 40.0, 20.0), 0),
        ((33.0, 33.0, 33.0), 0),
        ((None, 40.0, 20.0), None),
    ],
)
def test_the_winner_has_most_territory(
    territory: tuple[float | None, float | None, float | None], winner: int | None
) -> None:
    alert = only([change(STARTED, NOON), change(ENDED, NOON + HOUR, territory=territory)])
    assert alert.winner == winner


def test_a_lock_without_a_winner_leaves_it_to_the_territory() -> None:
    end = NOON + HOUR
    told = [change(STARTED, NOON), change(ENDED, end, territory=(50.0, 30.0, 20.0))]
    assert only(told, [lock(end, winner=0)]).winner == 1


def test_an_alert_over_midnight_belongs_to_the_day_of_its_start() -> None:
    start = parse_iso("2026-03-01T23:30:00Z")
    end = parse_iso("2026-03-02T01:00:01Z")
    assert only([change(ENDED, end), change(STARTED, start)]).alert_id == "10-7-2026-03-01"
    # As long as only the end is known, that is where it belongs.
    assert only([change(ENDED, end)]).alert_id == "10-7-2026-03-02"
    assert only([change(STARTED, parse_iso("2026-03-02T00:00:00Z"))]).alert_id == "10-7-2026-03-02"


@pytest.mark.parametrize(
    ("day", "kind", "minutes"),
    [
        ("2024-05-19T23:59:59Z", 222, 90),
        ("2024-05-20T00:00:00Z", 222, 45),
        ("2024-05-19T12:00:00Z", 248, 45),
        ("2024-05-20T12:00:00Z", 248, 30),
        ("2024-05-19T12:00:00Z", SUPERIORITY, 90),
        ("2026-05-19T12:00:00Z", MELTDOWN, 45),
        ("2026-05-19T12:00:00Z", 240, 10),
    ],
)
def test_the_nominal_length_is_that_of_its_day(day: str, kind: int, minutes: int) -> None:
    start = parse_iso(day)
    alert = only([change(STARTED, start, kind=kind, zone=None)], as_of=start + DAY)
    assert alert.end == start + minutes * MINUTE


def test_a_finished_tutorial_locks_nothing() -> None:
    assert lock_of(locked(NOON, zone=364)) is None
    assert lock_of(locked(NOON, zone=1573 << 16 | 364)) is None
    assert lock_of(locked(NOON, zone=1573 << 16 | INDAR)) is None
    assert lock_of(locked(NOON, zone=12345)) is None
    for zone in (2, 4, 6, 8, 344):
        found = lock_of(locked(NOON, zone=zone))
        assert found is not None
        assert found.lock_id == f"10-{zone}-{NOON}"
    assert lock_of(locked(NOON)) == Lock(
        f"10-2-{NOON}",
        10,
        INDAR,
        NOON,
        winner=3,
        previous_winner=0,
        metagame_event_id=0,
        population_vs=30.0,
        population_nc=30.0,
        population_tr=40.0,
    )


slots = st.one_of(
    st.integers(0, 36).map(lambda slot: NOON + slot * 10 * MINUTE),
    st.integers(0, 8).map(lambda slot: NOON + HOUR + slot * 30 * SECOND),
    st.integers(0, 3).map(lambda day: NOON + day * 12 * HOUR),
)
changes = st.builds(
    lambda state, at, kind, instance, zone, vs: change(
        state, at, kind=kind, instance=instance, zone=zone, territory=(vs, 30.0, 40.0)
    ),
    st.sampled_from((STARTED, STARTED, ENDED, ENDED, RESTARTED, CANCELED, BONUS_CHANGED, 142)),
    slots,
    st.sampled_from((SUPERIORITY, SUPERIORITY, MELTDOWN, ANOMALIES, UNKNOWN_KIND)),
    st.sampled_from((7, 7, 8)),
    st.sampled_from((INDAR, INDAR, None, ESAMIR)),
    st.sampled_from((None, 30.0, 50.0)),
)
locks = st.builds(
    lambda at, winner, zone: lock(at, winner, zone),
    slots,
    st.sampled_from((0, 1, 2, 3)),
    st.sampled_from((INDAR, ESAMIR)),
)


@settings(max_examples=400, deadline=None)
@given(
    told=st.lists(changes, max_size=12),
    told_locks=st.lists(locks, max_size=6),
    hours=st.integers(0, 60),
    seed=st.randoms(use_true_random=False),
)
def test_neither_order_nor_repetition_matters_and_nothing_is_lost(
    told: list[Metagame], told_locks: list[Lock], hours: int, seed: random.Random
) -> None:
    as_of = NOON + hours * HOUR
    alerts, derived_locks = derive(told, told_locks, as_of)
    # What was derived is all that has to be kept: it says the same again, in any order, told any number of times.
    again = [c for alert in alerts.values() for c in alert.changes] + told
    locks_again = [*derived_locks.values(), *told_locks]
    seed.shuffle(again)
    seed.shuffle(locks_again)
    assert derive(again, locks_again, as_of) == (alerts, derived_locks)
    assert sorted(map(repr, (c for alert in alerts.values() for c in alert.changes))) == sorted(
        map(repr, set(told))
    )
    assert {(kept.zone_id, kept.at) for kept in derived_locks.values()} == {
        (kept.zone_id, kept.at) for kept in told_locks
    }
    for key, alert in alerts.items():
        check_alert(key, alert, as_of)
        if alert.lock_id is not None:
            assert derived_locks[alert.lock_id].alert_id == key
    for key, kept in derived_locks.items():
        assert kept.lock_id == key
        if kept.alert_id is not None:
            assert alerts[kept.alert_id].lock_id == key
    encoded = msgspec.json.encode(list(alerts.values()))
    assert msgspec.json.decode(encoded, type=list[Alert]) == list(alerts.values())


def check_alert(key: str, alert: Alert, as_of: Ms) -> None:
    """What holds for every alert."""
    assert alert.alert_id == key
    assert {c.metagame_event_id for c in alert.changes} == {alert.metagame_event_id}
    assert {c.instance_id for c in alert.changes} == {alert.instance_id}
    times = [c.at for c in alert.changes]
    assert times == sorted(times)
    assert times[-1] - times[0] <= LONGEST_ALERT
    assert (alert.end is None) == (alert.ended_by is None)
    if alert.start is not None and alert.end is not None:
        assert alert.start <= alert.end
    if alert.ended_by == "duration":
        assert alert.end is not None
        assert alert.end + GRACE <= as_of
    if alert.canceled:
        assert alert.winner is None
