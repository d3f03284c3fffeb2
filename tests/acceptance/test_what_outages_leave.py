"""What an outage leaves behind when it is over: an hour without the daemon, and a day without Census over REST."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from bench.kept import Kept, knowable, online
from bench.recorded import START, WORLDS, Fault, without_threads
from bench.stored import SLOW_SECONDS, recorder
from ps2daemon.census.characters import HIGHEST_NEGATIVE_SECONDS, NEGATIVE_SECONDS
from ps2daemon.model.records import HOUR, MINUTE, SECOND
from ps2daemon.model.sessions import CAP
from ps2daemon.stages import checks as checks_module
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages import reconciler as reconciler_module
from ps2daemon.stages.naming import SWEEP_SECONDS
from tests.records import T0, login
from tests.worker import scene


async def test_a_restart_after_an_hour_makes_no_wave_of_logouts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour has no number. Up to it and from it on, everybody is counted who was there."""
    before, out, after = 5_400, 3_600, 4_200
    async with recorder(monkeypatch, scale=0.15, slowly=True) as recording:
        async with recording.running():
            await trio.sleep(before)
        await trio.sleep(out)
        async with recording.running():
            await trio.sleep(after)
        kept = await recording.kept()
        drawn = await recording.population(0, before + out + after)
    assert not kept.lost()
    assert not kept.invented()
    assert len(kept.by_end()["offline_check"]) > 20
    for world_id in WORLDS:
        known = knowable(kept, world_id)
        coverage = kept.coverage(world_id)
        ((start, end, reason),) = coverage.gaps(START, kept.end)
        assert START + (before - 61) * SECOND <= start <= START + before * SECOND
        assert START + (before + out) * SECOND <= end <= START + (before + out + 5) * SECOND
        assert reason == "start"
        for each in kept.by_end()["offline_check"]:
            if each.world_id == world_id:
                assert each.ended_after is not None
                assert each.ended_before is not None
                assert start <= each.ended_after < each.ended_before <= end
        covered = told = 0
        for at, by_empire in drawn[world_id].items():
            if coverage.covers(at):
                covered += 1
                assert by_empire is not None
                assert sum(by_empire.values()) == sum(online(known, at).values())
                told += sum(by_empire.values())
            else:
                assert by_empire is None
        assert covered == pytest.approx((before + after) / 60, abs=4)
        assert told > 100


async def test_a_day_without_rest(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is recorded as fast as ever, as people of an unknown empire, who all get their names and empires in hindsight.

    On one world logouts are lost meanwhile: twelve hours end those whom nobody can be asked about.
    """
    day = 86_400
    faults = Fault("rest_down", 0, day), Fault("drop_logouts:20@40", 0)
    async with recorder(monkeypatch, *faults, scale=0.05, slowly=True) as recording, recording.running():
        await trio.sleep(day - 60)
        during = await recording.kept()
        waiting = recording.simulation.queue.statistics()
        unnamed = recording.value("characters_unnamed")
        drawn = await recording.population(0, day)
        await trio.sleep(60 + 2 * 60 + 5 * SLOW_SECONDS)
        left = recording.value("characters_unnamed")
        after = await recording.kept()
        named = await recording.population(0, day)
    assert waiting.records < 10
    for kept in (during, after):
        assert not kept.lost()
        assert not kept.invented()
        assert not kept.letters
    assert len(during.content.sessions) > 400
    check_capped(during)
    assert set(during.unnamed()) == during.content.characters.keys()
    assert unnamed == pytest.approx(len(during.unnamed()), abs=8)
    known = {who for who, each in after.truth.characters.items() if each.first_end is not None}
    waited = {each.character_id for each in during.content.sessions.values()}
    assert not known & waited & set(after.unnamed())
    assert not after.misnamed()
    assert len(after.unnamed()) == pytest.approx(left, abs=8)
    assert left < unnamed / 10
    for world_id in (1, 10):
        sessions = [each for each in knowable(after, world_id) if each.character_id in known]
        for at, by_empire in drawn[world_id].items():
            if during.coverage(world_id).covers(at) and at % (5 * MINUTE) == 0:
                told, people = named[world_id][at], online(sessions, at)
                assert by_empire is not None
                assert told is not None
                assert sum(by_empire.values()) == by_empire[0]
                assert {key: told[key] for key in people} == people


def check_capped(kept: Kept) -> None:
    """No lost logout weighs more than an hour, and nobody counts as there for longer than twelve."""
    ends = kept.by_end()
    assert {*ends} == {"logout", None, "cap", "next_login"}
    for each in ends["cap"]:
        assert each.world_id == 40
        assert each.login_ts is not None
        assert each.ended_after == each.login_ts
        assert each.ended_before == each.login_ts + CAP
        assert each.logout_ts == each.login_ts + HOUR
    for each in ends[None]:
        assert each.login_ts is not None
        assert each.login_ts > kept.end - CAP - 2 * MINUTE


async def test_who_is_never_named_is_asked_about_ever_more_rarely(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_threads(monkeypatch)
    monkeypatch.setattr(enricher_module, "POLL_SECONDS", 30.0)
    monkeypatch.setattr(reconciler_module, "INTERVAL_SECONDS", 300.0)
    monkeypatch.setattr(checks_module, "INTERVAL_SECONDS", 300.0)
    async with scene() as worker:
        times: list[float] = []
        answer = worker.census.characters

        async def asked(ids: list[str]) -> Mapping[str, object]:
            times.append(trio.current_time())
            return await answer(ids)

        monkeypatch.setattr(worker.census, "characters", asked)
        await worker.queue_up([login("1", T0)])
        async with worker.running():
            await trio.sleep(2 * 86_400)
    waits = [behind - first for first, behind in pairwise(times)]
    assert waits[0] == pytest.approx(NEGATIVE_SECONDS, abs=SWEEP_SECONDS)
    for first, behind in pairwise(waits):
        assert behind >= min(1.5 * first, HIGHEST_NEGATIVE_SECONDS)
    assert HIGHEST_NEGATIVE_SECONDS <= waits[-1] <= HIGHEST_NEGATIVE_SECONDS + 2 * SWEEP_SECONDS
    assert len(times) < 25
