"""What is recorded of each thing that the stream does wrong: nothing invented, and no time vouched for in which events could not have arrived.

Each is twenty minutes of three worlds in virtual time, at a busy hour. For each it is asserted when it is noticed, and what is vouched for then.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from trio.testing import MockClock

from bench.recorded import WORLDS, Fault, Recorded, record

T = 330.0
"""When faults begin, in seconds: between two verifications, which come every minute."""
LONG = 300.0
"""How long they last."""
PERIOD = 60.0
"""Between two verifications, so that what is vouched for ends so long before something goes wrong at most."""
WAIT = 60.0
"""The longest wait between two attempts to connect, and `JITTER` of it more or less."""
JITTER = 1.5


def check_true(found: Recorded, *, orphans: bool = False) -> None:
    """Nothing that is vouched for is missing, and nothing is recorded that did not happen."""
    assert not found.missing()
    assert orphans or not found.invented()
    assert len(found.edges) > 150
    for world_id in WORLDS:
        assert found.covered(5, T - PERIOD, world_id) == pytest.approx(T - PERIOD - 5), "it began well"


def check_gap(found: Recorded, start: float, end: float, after: str, world_id: int = 10) -> None:
    """There is one gap, which begins at most a period before it was to, and it says why."""
    ((first, behind, reason),) = found.gaps(world_id)
    assert start - PERIOD - 1 <= first <= start
    assert end <= behind
    assert reason == after
    assert found.covered(start, end, world_id) == 0


# TCP, TLS, the upgrade


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("refuse_upgrade", "refused"),
        ("refuse_upgrade:503", "handshake"),
        ("refuse_tcp", "connect"),
        ("tls_failure", "protocol"),
        ("tls_untrusted", "tls"),
        ("dns_failure", "connect"),
        ("close_at_once", "closed"),
        ("stream_down", "handshake"),
        ("accept_silent", "not_connected"),
    ],
)
async def test_connections_that_are_refused_or_silent(
    fault: str, cause: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, T, LONG), Fault("reset:1", T, 1.5))
    check_true(found)
    check_gap(found, T + 1, T + LONG, "connection")
    ((_, behind, _),) = found.gaps()
    assert behind <= T + LONG + JITTER * WAIT + 25, "it went on by itself"
    causes = Counter(told.what for told in found.told if T + 1.1 < told.second < T + LONG)
    assert set(causes) == {cause}
    assert 4 <= causes[cause] <= 35, "it tries again, and does not hammer"


async def test_a_refusal_for_an_hour_is_tried_every_minute(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault("refuse_upgrade", T, 3600), Fault("reset:1", T, 1.5), minutes=80)
    check_true(found)
    check_gap(found, T + 1, T + 3600, "connection")
    assert 3600 / (JITTER * WAIT) <= Counter(told.what for told in found.told)["refused"] <= 100


# Abrupt ends


async def test_resets_in_the_middle_of_a_frame(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault("reset:100", T, LONG))
    check_true(found)
    assert found.noticed(T) == pytest.approx(100, abs=1)
    assert {reason for _, _, reason in found.gaps()} == {"connection"}
    assert found.covered(T + LONG + 60, 20 * 60 - PERIOD) == pytest.approx(14 * 60 - T - LONG + 240)


async def test_a_half_open_connection(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """No FIN and no data: the ping tells, within 20 s and 15 more for its answer."""
    found = await record(monkeypatch, Fault("half_open:1", T, 2))
    check_true(found)
    assert found.noticed(T + 1) <= 36
    assert [told.what for told in found.told] == ["ping"]
    check_gap(found, T + 1, T + 1 + found.noticed(T + 1), "connection")


# Subscriptions


@pytest.mark.parametrize("fault", ["subscription_emptied", "subscription_narrowed"])
async def test_a_subscription_that_is_silently_lost(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats go on; the next verification tells, and what lies between it and the right one before is not vouched for."""
    found = await record(monkeypatch, Fault(f"{fault}:1", T, 5))
    check_true(found)
    assert found.noticed(T + 1) <= PERIOD
    check_gap(found, T + 1, T + found.noticed(T + 1), "subscription")
    assert [told.what for told in found.told] == ["subscription"]


async def test_subscriptions_that_are_not_answered(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events go on all the same, and yet nothing is vouched for; after three periods another connection is tried."""
    found = await record(monkeypatch, Fault("no_ack", T, LONG))
    check_true(found)
    assert found.noticed(T) <= 3.5 * PERIOD + 1
    assert {told.what for told in found.told} == {"unanswered"}
    check_gap(found, T, T + LONG - PERIOD, "connection")


# Heartbeats and worlds


@pytest.mark.parametrize("fault", ["heartbeat_without_timestamp", "ghost_world", "renamed_endpoint"])
async def test_strange_heartbeats_change_nothing(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, T, LONG))
    check_true(found)
    assert found.told == []
    assert found.gaps() == []


async def test_a_world_that_is_said_to_be_down_while_its_events_come(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said is believed where it means less coverage: of that world alone, and its events are kept."""
    found = await record(monkeypatch, Fault("false_while_flowing:10", T, LONG))
    check_true(found)
    assert found.noticed(T) <= 31
    check_gap(found, T + found.noticed(T), T + LONG - 30, "world_down")
    assert found.gaps(40) == []
    assert found.true_edges() == set(found.edges)


async def test_a_world_that_restarts(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is thrown out, and no logout says so: the time of that is a gap."""
    found = await record(monkeypatch, Fault("world_restart:10", T))
    check_true(found)
    assert found.noticed(T) <= 1
    check_gap(found, T, T + 30, "world_down")
    thrown_out = {edge for edge in found.true_edges() - found.edges.keys() if not edge.login}
    assert len(thrown_out) > 100
    assert found.gaps(40) == []


# Silence


@pytest.mark.parametrize("fault", ["heartbeats_only", "world_silent:10"])
async def test_events_stop_while_heartbeats_and_subscriptions_are_right(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, 1_830, 1_200), minutes=60, listening=True)
    check_true(found)
    assert found.falsely_covered() == 0
    assert len(found.deaf[10]) == 1_200
    ((start, end, reason),) = found.gaps()
    assert 1_790 < start <= 1_830, "up to the latest event"
    assert found.noticed(1_830) <= 20 / 0.1 + PERIOD, "twenty events later, at a verification"
    assert reason == "world_silent"
    assert 3_030 <= end < 3_030 + 2 * PERIOD


async def test_a_restart_does_not_make_silence_known(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections come and go in a silence, and none of them vouches for it."""
    found = await record(
        monkeypatch, Fault("world_silent:10", 1_830, 1_200), Fault("reset:100", 1_850, 1_000), minutes=60
    )
    check_true(found)
    assert found.covered(1_830, 3_030) == 0
    assert found.covered(1_900, 3_000, 40) > 100


@pytest.mark.parametrize("scale", [0.02, 0.3])
async def test_a_night_is_no_silence(
    scale: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the evening to the next: people go, and few are left."""
    found = await record(monkeypatch, minutes=24 * 60, scale=scale)
    assert not found.missing()
    assert found.told == []
    for world_id in WORLDS:
        assert found.gaps(world_id) == []
        assert found.covered(60, 22 * 3600, world_id) == pytest.approx(22 * 3600 - 60)


@pytest.mark.parametrize("fault", ["numbers_for_strings", "world_clock:86400@10", "alert_missing_zone"])
async def test_strange_events_break_a_silence_too(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, 1_830, 1_200), minutes=60)
    assert found.told == []
    assert found.covered(1_830, 3_030) == pytest.approx(1_200)


# Events


@pytest.mark.parametrize(("fault", "copies"), [("duplicate:50", 2), ("duplicate_late:20", 2)])
async def test_duplicates(
    fault: str, copies: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, T, LONG))
    check_true(found)
    assert max(found.edges.values()) == copies
    assert found.true_edges() == set(found.edges)
    assert found.gaps() == []


@pytest.mark.parametrize("fault", ["", "duplicate_across:2"])
async def test_two_connections_at_once(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [Fault(fault, T, LONG)] if fault else []
    found = await record(monkeypatch, *faults, connections=2)
    check_true(found)
    assert set(found.edges.values()) == {2}
    assert found.gaps() == []


@pytest.mark.parametrize(
    ("fault", "untold"), [("drop_logouts:20", False), ("drop_logins:20", True), ("double_login:30", False)]
)
async def test_logins_and_logouts_that_are_not_told(
    fault: str, untold: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells of it; what is recorded of them happened."""
    found = await record(monkeypatch, Fault(fault, T, LONG))
    assert found.invented() == set()
    assert {edge.login for edge in found.missing()} == {untold}
    assert found.gaps() == []


@pytest.mark.parametrize("fault", ["same_second_relog:30", "swapped_order:30", "out_of_order:3"])
async def test_order_and_relogs(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, T, LONG))
    check_true(found)
    assert found.true_edges() == set(found.edges)
    assert set(found.edges.values()) == {1}


async def test_logouts_of_who_was_never_there(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault("orphan_logout:20", T, LONG))
    check_true(found, orphans=True)
    assert found.invented()
    assert not any(edge.login for edge in found.invented())


@pytest.mark.parametrize("seconds", [-309, 86_400])
async def test_a_world_s_clock_that_is_off(
    seconds: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events keep their own time, coverage is by the time of receipt."""
    found = await record(monkeypatch, Fault(f"world_clock:{seconds}@10", 0))
    shifted = {
        edge._replace(at=edge.at + seconds * 1000) for edge in found.true_edges() if edge.world_id == 10
    }
    assert {edge for edge in found.edges if edge.world_id == 10} == shifted
    assert len(shifted) > 100
    assert found.gaps() == []
    assert {edge.world_id for edge in found.missing() | found.invented()} == {10}


@pytest.mark.parametrize("by", [-3_600, -30, 30])
async def test_the_machine_s_own_clock_is_set(
    by: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And set right again after ten minutes: no time is vouched for that did not pass."""
    found = await record(monkeypatch, clock_set=[(1_830, by), (2_430, -by)], minutes=60)
    assert found.true_edges() == set(found.edges)
    assert found.covered(1_800, 2_400) <= max(0, 600 - abs(by))
    assert {after for _, _, after in found.gaps()} == {"clock"}
    assert found.covered(2_550, 3_500) > 900


async def test_the_machine_s_clock_is_set_to_a_time_in_which_the_stream_was_down(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault("stream_down", 60, 600), clock_set=[(3_700, -3_600)], minutes=80)
    assert not found.missing()
    assert found.covered(61, 660) == 0
    assert found.noticed(3_700) <= 31
    assert {told.what for told in found.told if told.second > 3_700} == {"clock"}


async def test_the_machine_s_clock_is_set_back_a_little_into_a_gap(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By less than is told from the service's: nothing is vouched for until the clock is where it was."""
    found = await record(monkeypatch, Fault("stream_down", 60, 600), clock_set=[(1_500, -1_200)], minutes=60)
    assert not found.missing()
    assert found.covered(61, 660) == 0
    assert found.covered(660, 1_500) == pytest.approx(840, abs=120)
    assert found.covered(1_500, 2_400) > 700


@pytest.mark.parametrize("by", [-3_600, 3_600])
async def test_the_machine_s_clock_was_always_an_hour_off(
    by: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are kept, and neither of the right time nor of the other anything is vouched for."""
    found = await record(monkeypatch, clock_set=[(0, by)])
    assert found.true_edges() == set(found.edges)
    assert found.coverage == {}
    assert found.told[0].second <= 31


# Frames


@pytest.mark.parametrize(
    ("fault", "bad"),
    [
        ("unknown_event:50", False),
        ("payload_without_name:50", False),
        ("missing_team_id:50", False),
        ("numbers_for_strings", False),
        ("unparseable_frame:50", True),
        ("truncated_json:50", True),
        ("tutorial_lock:50", False),
        ("packed_zones", False),
        ("unknown_metagame", False),
        ("alert_ended_twice", False),
        ("alert_missing_zone", False),
        ("alert_missing_state_name", False),
    ],
)
async def test_strange_frames_change_nothing(
    fault: str, bad: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await record(monkeypatch, Fault(fault, T, LONG))
    check_true(found)
    assert (found.malformed > 0) is bad
    assert found.told == []
    assert found.gaps() == []


async def test_a_frame_of_ten_megabytes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read, and costs its connection."""
    found = await record(monkeypatch, Fault("large_frame", T, LONG))
    check_true(found)
    assert {told.what for told in found.told} == {"closed"}
    assert {reason for _, _, reason in found.gaps()} == {"connection"}


# All of them

TOLD = (
    "refuse_upgrade", "refuse_tcp", "tls_failure", "close_at_once", "stream_down", "accept_silent", "reset:20", "half_open:20",
    "subscription_emptied:5", "subscription_narrowed:5", "no_ack", "false_while_flowing:10", "ghost_world", "renamed_endpoint",
    "heartbeat_without_timestamp", "duplicate:50", "duplicate_late:20", "same_second_relog:20", "swapped_order:20", "out_of_order:3",
    "unknown_event:50", "payload_without_name:50", "numbers_for_strings", "unparseable_frame:20", "truncated_json:20", "large_frame",
)  # fmt: skip
"""Those after which all that is vouched for is recorded, and nothing else."""


@pytest.mark.parametrize("seed", range(8))
async def test_many_at_once(seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours in which something goes wrong every two minutes or so."""
    random = Random(seed)
    faults = [Fault(random.choice(TOLD), random.uniform(T, 6_000), random.uniform(1, 300)) for _ in range(50)]
    found = await record(monkeypatch, *faults, minutes=120, connections=1 + seed % 2)
    check_true(found)
    assert 0 < found.covered(T, 6_300) < 6_300 - T
    assert found.covered(6_300 + 2 * JITTER * WAIT, 7_130) > 0, "it went on by itself"
