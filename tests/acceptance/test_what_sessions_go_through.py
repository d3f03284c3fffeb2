"""What the store holds of each thing that logins, logouts, alerts and locks go through: no session lost, none invented, and ends within the times that are stated.

Each is an hour or so of three worlds in virtual time, at a busy hour, recorded by everything that a daemon has and held against the
simulator's truth.
"""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from bench.kept import Kept, knowable, online
from bench.recorded import LATENCY, START, WORLDS, Fault
from bench.sessions import BOUNDS, measure
from bench.stored import keep, recorder
from ps2daemon.model.records import SECOND
from ps2daemon.simulator.truth import TrueSession
from ps2daemon.stages.checks import INTERVAL_SECONDS, PERIOD

ROUND = PERIOD + round(3 * INTERVAL_SECONDS * SECOND)
"""The longest from one check to the next."""
SEEN = 5 * SECOND
"""What happened in the last seconds may still be under way."""


def check_true(kept: Kept, *, sessions: int = 120) -> None:
    """Nothing is invented and nothing lost, nobody has another name or empire, and no event was refused."""
    assert not kept.invented()
    assert not kept.lost()
    assert not kept.misnamed()
    assert not kept.letters
    assert len(kept.content.sessions) > sessions


def recorded(kept: Kept) -> list[TrueSession]:
    """The true sessions that began and ended in the time."""
    return [
        each
        for each in kept.true_sessions()
        if each.login >= START + SEEN and each.logout is not None and each.logout < kept.end - SEEN
    ]


def check_exact(kept: Kept, *, sessions: int = 120) -> None:
    """Each session that began and ended is stored as it was, and there are no others."""
    check_true(kept, sessions=sessions)
    assert kept.by_end().keys() <= {"logout", None}
    stored = {(each.character_id, each.login_ts, each.logout_ts) for each in kept.content.sessions.values()}
    assert {(each.character_id, each.login, each.logout) for each in recorded(kept)} <= stored


# Logins and logouts


async def test_lost_logouts(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever's logout was lost is found offline at the next check, or comes back before."""
    kept = await keep(monkeypatch, Fault("drop_logouts:30", 0), minutes=45)
    check_true(kept)
    untold = {(each.character_id, each.login) for each in recorded(kept) if each.logout_sent is None}
    estimated = {
        (each.character_id, each.login_ts)
        for each in kept.content.sessions.values()
        if each.ended_by not in ("logout", None)
    }
    assert len(untold) > 20
    assert estimated <= untold
    late = {
        (each.character_id, each.login)
        for each in recorded(kept)
        if each.logout is not None and each.logout > kept.end - ROUND
    }
    assert untold - late <= estimated
    assert {*kept.by_end()} == {"logout", None, "offline_check", "next_login"}
    for each in kept.by_end()["offline_check"]:
        assert each.ended_after is not None
        assert each.ended_before is not None
        new = kept.truth.characters[each.character_id].first_end != 0
        assert new or each.ended_before - each.ended_after <= ROUND, "the new are not known to Census yet"


@pytest.mark.parametrize("checking", [True, False])
async def test_lost_logouts_hardly_change_the_population_in_hindsight(checking: bool) -> None:
    """A shorter one of `python -m bench sessions`."""
    found = await measure(days=0.75, checking=checking, scale=0.12, seed=1)
    assert found.lost > 100
    assert found.apart <= BOUNDS[checking]
    assert abs(found.bias) <= BOUNDS[checking] / 2
    assert (found.live <= BOUNDS[checking]) is checking, (
        "at the moment, who left untold is counted for twelve hours"
    )


async def test_everybody_is_asked_about_within_the_rate_limit(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred at a time, and at ten requests a minute in time all the same."""
    limit = 10
    faults = Fault("drop_logouts:20", 0)
    async with recorder(monkeypatch, faults, scale=1.0, requests_per_minute=limit) as recording:
        async with recording.running():
            before = 0.0
            for _ in range(32):
                await trio.sleep(60)
                requests = recording.value("census_requests_total", result="ok")
                assert requests - before <= limit
                before = requests
            asked = sum(recording.checked().values())
        kept = await recording.kept()
    assert asked > 700
    for each in recorded(kept):
        if each.logout_sent is None and each.logout is not None and each.logout < kept.end - ROUND:
            stored = kept.content.sessions[f"{each.character_id}-{each.login}"]
            assert stored.ended_by is not None


async def test_lost_logins(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of them is the logout, of a session whose start is not known."""
    kept = await keep(monkeypatch, Fault("drop_logins:20", 0))
    assert not kept.invented()
    untold = {each.character_id: each for each in recorded(kept) if each.login_sent is None}
    unknown = {
        each.character_id: each
        for each in kept.content.sessions.values()
        if each.login_ts is None and each.character_id in untold
    }
    assert unknown.keys() == untold.keys()
    assert len(unknown) > 5
    assert {each.started_by for each in unknown.values()} == {"unknown"}
    assert all(each.login_sent is None for each in kept.lost()), "online since, and nobody said so"


async def test_a_world_that_restarts(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """All logouts are lost, and then everybody logs in at once: they ended in the gap, and there is no wave of logouts."""
    at = 1_400
    async with recorder(monkeypatch, Fault("world_restart:10", at)) as recording:
        async with recording.running():
            await trio.sleep(28 * 60)
        kept = await recording.kept()
        drawn = await recording.population(0, 28 * 60)
    assert not kept.invented()
    assert not kept.lost()
    ends = kept.by_end()
    thrown_out = ends["next_login"] + ends["offline_check"]
    assert len(thrown_out) > 60
    assert len(ends["next_login"]) > 30
    assert {each.world_id for each in thrown_out} == {10}
    ((start, end, after),) = kept.coverage(10).gaps(START, kept.end)
    assert after == "world_down"
    assert start <= START + at * SECOND + LATENCY
    assert {each.ended_before for each in thrown_out} == {end}
    for each in thrown_out:
        assert each.ended_after == max(start, each.login_ts or 0)
    assert {each.world_id for each in ends["logout"]} == set(WORLDS)
    for world_id in WORLDS:
        coverage, known = kept.coverage(world_id), knowable(kept, world_id)
        for minute, by_empire in drawn[world_id].items():
            if coverage.covers(minute):
                assert by_empire is not None
                assert sum(by_empire.values()) == sum(online(known, minute).values())


async def test_whoever_stays_away_after_a_restart_was_thrown_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop of everything, and people whose logouts are in it: the check at once after it says who is gone."""
    faults = Fault("stream_down", 900, 600), Fault("reset:1", 900, 2)
    kept = await keep(monkeypatch, *faults, minutes=30)
    assert not kept.invented()
    gone = kept.by_end()["offline_check"]
    assert len(gone) > 20
    for world_id in WORLDS:
        ((start, end),) = [gap[:2] for gap in kept.coverage(world_id).gaps(START, kept.end)]
        for each in gone:
            if each.world_id == world_id:
                assert each.ended_after is not None
                assert start <= each.ended_after, "some were seen after the last time that is vouched for"
                assert each.ended_before is not None
                assert each.ended_before <= end
    ended = {
        each.character_id
        for each in kept.truth.sessions
        if each.logout is not None and each.logout < START + 1_490 * SECOND
    }
    online = {
        each.character_id
        for each in kept.truth.sessions
        if each.logout is None or each.logout > kept.end - ROUND
    }
    assert not {each.character_id for each in kept.by_end()[None]} & ended - online, (
        "of them nobody counts as there"
    )


@pytest.mark.parametrize(
    "faults",
    [
        ("same_second_relog:30@1", "swapped_order:30@10"),
        ("out_of_order:3@1", "duplicate:50@10", "duplicate_late:20@40"),
    ],
    ids=" ".join,
)
async def test_relogs_and_order_and_copies(
    faults: tuple[str, ...], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await keep(monkeypatch, *(Fault(each, 0) for each in faults), minutes=25)
    # Of whoever was there before, a logout and a login of one second could be a session of no time as well.
    check_exact(kept.newly_seen(), sessions=100)
    short = Counter(each.world_id for each in recorded(kept) if each.logout == each.login + SECOND)
    assert (min(short[1], short[10]) > 5) is ("swapped_order:30@10" in faults)


async def test_double_logins(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await keep(monkeypatch, Fault("double_login:30", 0))
    check_true(kept)
    ended = kept.by_end()["next_login"]
    assert len(ended) > 3
    logins = {(each.character_id, each.login_ts) for each in kept.content.sessions.values()}
    assert all((each.character_id, each.ended_before) in logins for each in ended)
    assert {*kept.by_end()} == {"logout", None, "next_login"}


async def test_logouts_of_who_was_never_there(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can't be told from those whose login was lost, and are a session without a login: the others are as they were."""
    kept = await keep(monkeypatch, Fault("orphan_logout:20", 0))
    strangers = kept.invented()
    assert len(strangers) > 20
    assert {(each.login_ts, each.started_by, each.ended_by) for each in strangers} == {
        (None, "unknown", "logout")
    }
    assert not {each.character_id for each in strangers} & kept.truth.characters.keys()
    assert not kept.lost()
    assert kept.by_end().keys() == {"logout", None}


# Clocks


@pytest.mark.parametrize("seconds", [-309, 86_400])
async def test_a_world_s_clock_that_is_off(
    seconds: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sessions are at its own time, no check ends them for that, and the other worlds are as they were."""
    kept = await keep(monkeypatch, Fault(f"world_clock:{seconds}@10", 0))
    assert not kept.letters
    assert {each.world_id for each in kept.lost()} <= {10}
    assert {each.world_id for each in kept.invented()} == {10}
    by = seconds * SECOND
    stored = {
        (each.character_id, each.login_ts, each.logout_ts)
        for each in kept.content.sessions.values()
        if each.world_id == 10
    }
    true = [each for each in kept.true_sessions() if each.world_id == 10]
    both = {
        (each.character_id, each.login + by, each.logout + by)
        for each in recorded(kept)
        if each in true and each.logout
    }
    assert len(both) > 10
    assert both <= stored
    assert kept.by_end().keys() == {"logout", None}


async def test_a_clock_that_is_set_back_again_and_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By up to ten seconds: each session is there once, at most so much off."""
    kept = await keep(monkeypatch, Fault("clock_rollback:10", 0))
    stored = Counter(
        each.character_id for each in kept.content.sessions.values() if each.login_ts is not None
    )
    true = Counter(
        each.character_id for each in kept.true_sessions() if START + SEEN <= each.login < kept.end - 3 * SEEN
    )
    assert {who: number for who, number in true.items() if stored[who] != number} == {}
    assert kept.by_end().keys() <= {"logout", None, "next_login"}
    assert not kept.letters


# Frames


@pytest.mark.parametrize(
    "faults",
    [
        ("unknown_event:50@1", "payload_without_name:50@10"),
        ("missing_team_id:50@1", "numbers_for_strings@10"),
        ("unknown_world:9999",),
    ],
    ids=" ".join,
)
async def test_strange_frames(
    faults: tuple[str, ...], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_exact(await keep(monkeypatch, *(Fault(each, 0) for each in faults)))
