from __future__ import annotations

import pytest
import trio

from bench.content import content
from bench.recorded import without_threads
from ps2daemon.census.rest import Identity
from ps2daemon.model.batch import make_batch
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND
from ps2daemon.queue.frames import decode_frame
from ps2daemon.stages.reconciler import INTERVAL_SECONDS
from tests.records import T0, change, covered, login, logout
from tests.stores import Calls, Crash
from tests.worker import scene

NAMES = [Identity("1", "one", 1), Identity("2", "two", 2), Identity("3", "three", 3)]


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)


async def test_a_session_that_was_open_before_a_gap_ends_in_it(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running():
        gap = (T0 + HOUR, T0 + 2 * HOUR)
        await worker.queue_up(
            [login("1", T0), login("2", T0), covered(T0 - HOUR, gap[0])],
            [login("1", T0 + 3 * HOUR), logout("2", T0 + 4 * HOUR), covered(gap[1], gap[1] + 2 * HOUR)],
        )
        await trio.sleep(INTERVAL_SECONDS + 1)
        found = (await content(worker.store)).sessions
        first = found[f"1-{T0}"]
        assert (first.ended_by, first.ended_after, first.ended_before) == ("next_login", *gap)
        assert first.logout_ts == sum(gap) // 2
        assert found[f"2-{T0}"].ended_by == "logout", "a logout that was seen needs no gap"
        assert await worker.store.unsettled() == []


async def test_a_gap_that_is_told_later_is_settled_within_a_round(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running():
        await worker.queue_up([login("1", T0), covered(T0 - HOUR, T0 + HOUR)])
        await worker.queue_up([login("1", T0 + 5 * HOUR)])
        await trio.sleep(30)
        found = (await content(worker.store)).sessions[f"1-{T0}"]
        assert (found.ended_after, found.ended_before) == (T0, T0 + 5 * HOUR)
        await worker.queue_up([covered(T0 + 2 * HOUR, T0 + 6 * HOUR)])
        await trio.sleep(INTERVAL_SECONDS + 1)
        found = (await content(worker.store)).sessions[f"1-{T0}"]
        assert (found.ended_after, found.ended_before) == (T0 + HOUR, T0 + 2 * HOUR)
        settled = worker.value("reconciler_settled_sessions_total")
        assert settled == 2  # the next one's `not_before` changed with it


async def test_sessions_and_alerts_whose_time_is_up_are_ended(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running():
        await worker.queue_up([login("1", T0), login("2", T0 + HOUR), change(T0, 135)])
        await trio.sleep(3 * INTERVAL_SECONDS)
        found = await content(worker.store)
        assert found.counts["open"] == 2, "by the time of the records, which is not the present"
        assert [alert.end for alert in found.alerts.values()] == [None]
        await worker.queue_up([covered(T0, T0 + 12 * HOUR)])
        await trio.sleep(INTERVAL_SECONDS + 1)
        found = await content(worker.store)
        assert found.sessions[f"1-{T0}"].ended_by == "cap"
        assert found.counts["open"] == 1
        assert [alert.ended_by for alert in found.alerts.values()] == ["duration"]
        assert worker.value("reconciler_capped_sessions_total") == 1


async def test_who_is_online_is_told_where_the_record_is_current(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker:
        now = worker.clock.now() // SECOND * SECOND
        await worker.queue_up(
            [
                login("1", now - HOUR),
                login("2", now - HOUR, 40),
                login("3", now - HOUR),
                logout("3", now - MINUTE),
            ],
            [covered(now - DAY, now), covered(now - DAY, now - HOUR // 2, 40)],
        )
        async with worker.running():
            await trio.sleep(INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") == 1
            assert worker.value("online", world="10", faction="3") == 0
            assert worker.value("online", world="40", faction="2") is None, "nobody knows since half an hour"
            later = worker.clock.now() // SECOND * SECOND + 10 * MINUTE
            worker.clock.set(later)
            await worker.queue_up([covered(now - DAY, later, 40)])
            await trio.sleep(INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") is None
            assert worker.value("online", world="40", faction="2") == 1


async def test_who_was_online_is_not_told_as_known_while_nothing_arrives(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene(names=NAMES) as worker:
        now = worker.clock.now() // SECOND * SECOND
        await worker.queue_up([login("1", now - HOUR), covered(now - DAY, now)])
        async with worker.running():
            await trio.sleep(2 * MINUTE // SECOND)
            assert worker.value("online", world="10", faction="1") == 1
            await trio.sleep(MINUTE // SECOND + INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") is None
            later = worker.clock.now() // SECOND * SECOND
            await worker.queue_up([covered(now - DAY, later)])
            await trio.sleep(INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") == 1


async def test_who_was_online_by_a_clock_that_was_set_back_is_not_told_as_known(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene(names=NAMES) as worker:
        now = worker.clock.now() // SECOND * SECOND
        await worker.queue_up([login("1", now - 2 * HOUR), covered(now - DAY, now)])
        async with worker.running():
            await trio.sleep(INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") == 1
            worker.clock.set(now - HOUR)
            await trio.sleep(INTERVAL_SECONDS + 1)
            assert worker.value("online", world="10", faction="1") is None


@pytest.mark.parametrize("side", [1, -1])
async def test_a_crash_at_any_call_leaves_nothing_undone(side: int, autojump_clock: trio.abc.Clock) -> None:
    number, crashed = 0, True
    while crashed:
        number += 1
        async with scene(names=NAMES) as worker:
            await worker.queue_up([login("1", T0), covered(T0 - HOUR, T0 + HOUR), login("3", T0)])
            await worker.queue_up([login("1", T0 + 5 * HOUR), covered(T0 + 2 * HOUR, T0 + 12 * HOUR)])
            worker.clock.set(T0 + 12 * HOUR)  # so that those who are online are asked for, too
            for item in worker.queue.behind(0, 10):
                await worker.worker.ledger.apply(make_batch(decode_frame(item.frame)))
            worker.store.calls = Calls(side * number)
            try:
                await worker.reconcile()
            except Crash:
                crashed = True
            else:
                crashed = False
            worker.store.calls = None
            await worker.reconcile()
            found = (await content(worker.store)).sessions
            assert (found[f"1-{T0}"].ended_after, found[f"3-{T0}"].ended_by) == (T0 + HOUR, "cap")
            assert await worker.store.unsettled() == []
    assert number > 6


async def test_an_outage_is_waited_out(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running() as controls:
        worker.store.faults.extend(["before"] * 10_000)
        for _ in range(5):
            await trio.sleep(60)
            assert controls["reconciler"].state == "degraded"
            assert worker.health.sound()
        worker.store.faults.clear()
        await trio.sleep(31)
        assert (controls["reconciler"].state, controls["reconciler"].restarts) == ("waiting", 0)
