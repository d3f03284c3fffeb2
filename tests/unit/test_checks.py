"""Whether somebody is still online: asked of a Census in memory, by the stages as the daemon wires them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import trio

from bench.content import content
from bench.recorded import without_threads
from ps2daemon.census.rest import BATCH, IdRefused, Presence
from ps2daemon.errors import CensusRefused, CensusUnavailable
from ps2daemon.metrics import CHECK_ANSWERS
from ps2daemon.model.records import HOUR, MINUTE, SECOND, Ms
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages import reconciler as reconciler_module
from ps2daemon.stages.checks import INTERVAL_SECONDS, PERIOD
from ps2daemon.store.base import SessionDocument
from tests.records import covered, login, logout
from tests.worker import Scene, scene

ROUND = INTERVAL_SECONDS + 3


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)
    monkeypatch.setattr(enricher_module, "POLL_SECONDS", 1.0)  # hours of it take their time otherwise


def second(worker: Scene) -> Ms:
    return worker.clock.now() // SECOND * SECOND


async def goes_on(worker: Scene, start: Ms, seconds: float, world_id: int = 10) -> None:
    """Time passes in which the world is recorded."""
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        await trio.sleep(min(60.0, until - trio.current_time()))
        await worker.queue_up([covered(start, second(worker), world_id)])


async def told(worker: Scene, start: Ms, world_id: int = 10) -> None:
    """It is asked about a world, and what it is recorded by then has come to that moment."""
    await trio.sleep(ROUND)
    await worker.queue_up([covered(start, second(worker), world_id)])
    await trio.sleep(ROUND)


async def session(worker: Scene, character_id: str, login_ts: Ms) -> SessionDocument:
    return (await content(worker.store)).sessions[f"{character_id}-{login_ts}"]


def heard(worker: Scene) -> tuple[float, ...]:
    """How many were said to be online and offline, and of how many nothing was said."""
    return tuple(
        worker.value("reconciler_checked_sessions_total", answer=answer) or 0 for answer in CHECK_ANSWERS
    )


async def test_who_is_offline_is_ended_between_the_two_times_that_are_known(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - HOUR
        await worker.queue_up([login("1", begin), login("2", begin), login("3", begin)])
        worker.census.playing |= {"1": True, "2": False}
        await worker.queue_up([covered(begin, second(worker))])
        first = worker.clock.now()
        await told(worker, begin)
        found = await session(worker, "2", begin)
        assert found.ended_by == "offline_check"
        assert found.ended_before is not None
        assert found.ended_after == begin
        assert found.ended_before == pytest.approx(first, abs=ROUND * SECOND)
        assert found.logout_ts == (begin + found.ended_before) // 2
        assert heard(worker) == (1, 1, 1)
        worker.census.playing["1"] = False
        await goes_on(worker, begin, PERIOD / SECOND)
        await told(worker, begin)
        found = await session(worker, "1", begin)
        assert found.ended_by == "offline_check"
        assert found.ended_after == pytest.approx(first, abs=ROUND * SECOND)
        assert found.ended_before is not None
        assert found.ended_after is not None
        assert found.ended_before - found.ended_after == pytest.approx(PERIOD, abs=2 * ROUND * SECOND)
        assert (await session(worker, "3", begin)).logout_ts is None, (
            "Census does not know it: nothing is said"
        )
        assert heard(worker) == (1, 2, 2)


async def test_a_logout_that_was_under_way_beats_a_check(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - HOUR
        await worker.queue_up([login("1", begin), covered(begin, second(worker))])
        worker.census.playing["1"] = False
        left = second(worker)
        await told(worker, begin)
        assert (await session(worker, "1", begin)).ended_by == "offline_check"
        await worker.queue_up([logout("1", left)])
        await trio.sleep(1)
        found = await session(worker, "1", begin)
        assert (found.ended_by, found.logout_ts, found.ended_after) == ("logout", left, None)


async def test_everybody_is_asked_about_every_ten_minutes_and_at_once_after_a_gap(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - HOUR
        worker.census.playing["1"] = True
        await worker.queue_up([login("1", begin), covered(begin, second(worker))])
        times: list[tuple[float, float]] = []

        async def watch() -> None:
            while True:
                await trio.sleep(1)
                if (told := heard(worker)[0]) > len(times):
                    times.append((told, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await goes_on(worker, begin, 35 * 60)
            await trio.sleep(30)
            again = trio.current_time()
            await goes_on(worker, second(worker), 120)
            nursery.cancel_scope.cancel()
        waits = [after - before for (_, before), (_, after) in pairwise(times[:4])]
        assert waits == pytest.approx([PERIOD / SECOND] * 3, abs=2 * INTERVAL_SECONDS)
        assert times[-1][1] - again <= 60 + ROUND, "as soon as it is known of"
        assert [told for told, _ in times] == [1, 2, 3, 4, 5]


async def test_only_what_is_current_is_asked_about(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - HOUR
        worker.census.playing |= {"1": False, "2": False}
        await worker.queue_up([login("1", begin), login("2", begin, 40)])
        await worker.queue_up(
            [covered(begin, second(worker) - 10 * MINUTE), covered(begin, second(worker), 40)]
        )
        await told(worker, begin, 40)
        assert (await session(worker, "1", begin)).logout_ts is None, (
            "an import, or a backlog: what is open there was long ago"
        )
        assert (await session(worker, "2", begin)).ended_by == "offline_check"
        await trio.sleep(PERIOD / SECOND * 2)
        assert heard(worker) == (0, 1, 0)


@pytest.mark.parametrize("error", [CensusUnavailable("out"), CensusRefused("who are you")])
async def test_nobody_is_ended_by_an_error_and_it_is_asked_again(
    error: Exception, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as worker, worker.running() as controls:
        begin = second(worker) - HOUR
        worker.census.playing["1"] = False
        answer = worker.census.online

        async def fails(ids: Sequence[str]) -> dict[str, Presence]:
            raise error

        monkeypatch.setattr(worker.census, "online", fails)
        await worker.queue_up([login("1", begin), covered(begin, second(worker))])
        await goes_on(worker, begin, 20 * 60)
        assert (await session(worker, "1", begin)).logout_ts is None
        failures = worker.value("reconciler_check_errors_total")
        assert failures is not None
        assert 18 <= failures <= 40
        assert controls["reconciler"].restarts == 0
        monkeypatch.setattr(worker.census, "online", answer)
        await goes_on(worker, begin, 60)
        await told(worker, begin)
        assert (await session(worker, "1", begin)).ended_by == "offline_check"


async def test_an_id_that_is_refused_spoils_nothing_for_the_others(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - HOUR
        ids = [str(number) for number in range(1, 2 * BATCH + 2)]
        batches = []

        async def online(ids: Sequence[str]) -> dict[str, Presence]:
            batches.append(len(ids))
            if "7" in ids:
                raise IdRefused("not a number")
            return dict.fromkeys(ids, Presence(False, trio.current_time()))

        monkeypatch.setattr(worker.census, "online", online)
        await worker.queue_up([*(login(each, begin) for each in ids), covered(begin, second(worker))])
        await told(worker, begin)
        found = (await content(worker.store)).sessions.values()
        assert [each.character_id for each in found if each.logout_ts is None] == ["7"]
        assert max(batches) == BATCH
        assert batches.count(1) <= 3


async def test_who_was_seen_online_is_not_over_after_twelve_hours(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler_module, "INTERVAL_SECONDS", 60.0)
    monkeypatch.setattr(enricher_module, "POLL_SECONDS", 30.0)
    async with scene() as worker, worker.running():
        begin = second(worker) - 13 * HOUR
        worker.census.playing |= {"1": True}
        await worker.queue_up([login("1", second(worker) - HOUR), covered(begin, second(worker))])
        first = second(worker)
        await told(worker, begin)
        worker.census.playing.clear()
        await goes_on(worker, begin, 11 * 3600 + 1800)
        assert (await content(worker.store)).counts["open"] == 1
        await goes_on(worker, begin, 3600)
        (found,) = (await content(worker.store)).sessions.values()
        assert found.ended_by == "cap"
        assert found.ended_after == pytest.approx(first, abs=ROUND * SECOND)
        assert found.ended_after is not None
        assert found.ended_before == found.ended_after + 12 * HOUR


async def test_who_was_seen_online_and_logs_in_again_left_after_that(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene() as worker:
        async with worker.running():
            begin = second(worker) - 2 * HOUR
            worker.census.playing["1"] = True
            await worker.queue_up([login("1", begin), covered(begin, second(worker))])
            first = worker.clock.now()
            await told(worker, begin)
            again = second(worker)
            await worker.queue_up([login("1", again)])
            await trio.sleep(ROUND)
            found = await session(worker, "1", begin)
        assert (found.ended_by, found.ended_before) == ("next_login", again)
        assert found.ended_after == pytest.approx(first, abs=ROUND * SECOND)
        await worker.queue_up([logout("1", again + MINUTE), covered(begin - HOUR, begin - MINUTE)])
        later = await worker.after_death()
        await later.drain()
        assert await session(later, "1", begin) == found, "what was seen is kept with it"


async def test_an_answer_is_told_once_the_record_has_come_to_it(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - 3 * HOUR
        end = second(worker)
        await worker.queue_up([login("1", begin), login("2", begin), covered(begin, end)])
        worker.census.playing |= {"1": False, "2": True}
        await trio.sleep(20 * 60)
        assert heard(worker) == (1, 1, 0)
        assert (await session(worker, "1", begin)).logout_ts is None, (
            "the stream is away: whoever left after it broke off was there until then"
        )
        again = second(worker)
        await goes_on(worker, again, 60 + ROUND)
        found = await session(worker, "1", begin)
        assert found.ended_by == "offline_check"
        assert found.ended_after == end, "the logout fell into the gap"
        assert found.ended_before is not None
        assert end < found.ended_before <= end + ROUND * SECOND
        assert (await session(worker, "2", begin)).logout_ts is None


async def test_what_was_asked_before_the_clock_was_set_back_is_asked_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene() as worker, worker.running():
        begin = second(worker) - 3 * HOUR
        worker.census.playing["1"] = False
        await worker.queue_up([login("1", begin), covered(begin, second(worker))])
        await trio.sleep(ROUND)
        worker.clock.set(worker.clock.now() - 2 * HOUR)
        worker.census.playing["1"] = True
        await goes_on(worker, begin, 3 * HOUR / SECOND)
        assert (await session(worker, "1", begin)).logout_ts is None
        assert heard(worker)[1] == 1


async def test_what_began_or_ended_since_it_was_asked_is_left(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker:
        begin = second(worker)
        await worker.queue_up([login("1", begin), logout("1", begin + MINUTE), login("2", begin + MINUTE)])
        await worker.drain()
        before = await content(worker.store)
        assert await worker.worker.ledger.check({}, {"1": begin + HOUR, "2": begin, "3": begin}) == 0
        assert await content(worker.store) == before
        assert await worker.worker.ledger.check({}, {"2": begin + HOUR}) == 1
