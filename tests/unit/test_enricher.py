from __future__ import annotations

import pytest
import trio
import trio.testing

from bench.content import content
from bench.recorded import without_threads
from ps2daemon.census.rest import Identity
from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.batch import make_batch
from ps2daemon.model.records import MINUTE, SECOND
from ps2daemon.queue.frames import encode_frame
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages import naming as naming_module
from ps2daemon.stages.enricher import FRAMES
from ps2daemon.stages.handover import WAITING, Handed, Handover
from ps2daemon.stages.naming import SWEEP_SECONDS
from ps2daemon.supervisor import StageControl
from tests.records import T0, covered, login, logout
from tests.stores import Calls
from tests.worker import Scene, scene

NAMES = [Identity(str(number), f"name {number}", number % 4 + 1) for number in range(1, 2_000)]


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)


def handed(position: int) -> Handed:
    return Handed(position, make_batch([]), {})


async def names_of(worker: Scene) -> dict[str, str | None]:
    found = await content(worker.store)
    return {key: document.character_name for key, document in found.characters.items()}


# Between the enricher and the writer


async def test_the_handover_keeps_the_order_and_what_is_not_done() -> None:
    handover = Handover()
    for position in range(1, WAITING + 1):
        await handover.put(handed(position))
    assert (len(handover), handover.position) == (WAITING, WAITING)
    for position in range(1, WAITING + 1):
        for _ in range(2):
            assert (await handover.first()).position == position
        handover.done()
    assert not handover
    assert handover.position == WAITING
    with trio.fail_after(1):
        await handover.empty()


async def test_the_handover_is_bounded_and_what_was_abandoned_is_not_in_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    handover = Handover()
    for position in range(WAITING):
        await handover.put(handed(position))
    with trio.move_on_after(1) as scope:
        await handover.put(handed(WAITING))
    assert scope.cancelled_caught
    assert (len(handover), handover.position) == (WAITING, WAITING - 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handover.put, handed(WAITING))
        await trio.testing.wait_all_tasks_blocked()
        assert len(handover) == WAITING
        handover.done()
    assert (len(handover), handover.position) == (WAITING, WAITING)


async def test_a_waiting_writer_gets_what_comes(autojump_clock: trio.abc.Clock) -> None:
    handover = Handover()
    got: list[int] = []

    async def take() -> None:
        got.append((await handover.first()).position)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        await handover.put(handed(7))
        with trio.move_on_after(1) as scope:
            await handover.empty()
        assert scope.cancelled_caught
    assert got == [7]


# The enricher


async def test_frames_become_batches_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enricher_module, "RECORDS", 1_200)
    async with scene() as worker:
        await worker.queue_up(*([login(str(each), T0) for each in range(500)] for _ in range(8)))
        items = worker.queue.behind(0, 100)
        batches = list(enricher_module._batches(items, worker.worker.source))
    assert [batch.position for batch in batches] == [items[index].position for index in (2, 5, 7)]
    assert [batch.batch.records for batch in batches] == [1_500, 1_500, 1_000]


async def test_a_broken_frame_ends_the_batch_of_what_stands_before_it() -> None:
    torn = bytearray(encode_frame([login("1", T0)]))
    torn[-1] ^= 1
    async with scene() as worker:
        await worker.queue_up([login("1", T0)], bytes(torn), [logout("1", T0 + SECOND)], bytes(torn))
        items = worker.queue.behind(0, 100)
        batch, _ = enricher_module._batches(items, worker.worker.source)
        (alone,) = enricher_module._batches(items[3:], worker.worker.source)
    assert (batch.position, batch.batch.records) == (items[1].position, 1)
    assert [broken.frame for broken in batch.broken] == [bytes(torn)]
    assert "CRC" in batch.broken[0].reason
    assert (alone.position, alone.batch.records, len(alone.broken)) == (items[3].position, 0, 1)


async def test_who_is_in_memory_is_named_at_once_and_nobody_else_is_asked_about_in_the_flow() -> None:
    async with scene(names=NAMES) as worker:
        worker.worker.source.remember(NAMES[:1])
        await worker.queue_up([login("1", T0), login("2", T0)])
        (batch,) = enricher_module._batches(worker.queue.behind(0, 100), worker.worker.source)
        assert batch.identities == {"1": NAMES[0]}
        assert worker.census.asked == []


async def test_an_outage_of_census_holds_up_nothing(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running() as controls:
        worker.census.up = False
        for number in range(10):
            await worker.queue_up([login(str(number + 1), T0 + number * MINUTE)])
            await trio.sleep(1)
            assert worker.queue.statistics().frames == 0
        await trio.sleep(600)
        assert set((await names_of(worker)).values()) == {None}
        assert worker.value("census_up") == 0
        assert worker.health.ready()
        worker.census.up = True
        await trio.sleep(2 * 60)
        assert (await names_of(worker)) == {str(number): f"name {number}" for number in range(1, 11)}
        assert worker.value("census_up") == 1
        assert controls["enricher"].restarts == 0
        factions = {
            each.character_id: each.faction_id for each in (await content(worker.store)).sessions.values()
        }
        assert factions == {each.character_id: each.faction_id for each in NAMES[:10]}


@pytest.mark.logs_errors
async def test_it_goes_on_behind_the_last_frame_that_it_handed_over(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that is with the writer already is not handed over again."""
    monkeypatch.setattr(enricher_module, "FRAMES", 2)
    async with scene(calls=Calls(4)) as worker:  # the second or third reading, with frames in the handover
        positions: list[int] = []
        put = worker.worker.handover.put

        async def kept(given: Handed) -> None:
            await put(given)
            positions.append(given.position)

        monkeypatch.setattr(worker.worker.handover, "put", kept)
        await worker.queue_up(*([login(str(number), T0)] for number in range(1, 12)))
        worker.store.faults.extend(["before"] * 4)
        async with worker.running() as controls:
            await trio.sleep(60)
            assert controls["enricher"].restarts == 1
        assert positions == sorted(set(positions))
        assert positions[-1] == worker.queue.acked == 11


async def test_it_says_what_it_waits_for(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running() as controls:
        await trio.sleep(1)
        snapshot = controls["enricher"].snapshot()
        assert (snapshot.state, snapshot.why) == ("waiting", "for records")


async def test_draining_ends_when_the_queue_is_empty_and_everybody_is_named(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene(names=NAMES) as worker:
        await worker.queue_up(*([login(str(number), T0)] for number in range(1, 3 * FRAMES)))
        await worker.drain()
        assert worker.queue.statistics().frames == 0
        assert await worker.store.unnamed("", 10) == []
        assert [len(asked) <= 100 for asked in worker.census.asked] == [True] * len(worker.census.asked)
        assert len(worker.census.asked) < 10


async def test_draining_ends_without_names_while_census_is_out(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker:
        worker.census.up = False
        await worker.queue_up([login("1", T0), covered(T0, T0 + MINUTE)])
        began = trio.current_time()
        await worker.drain()
        assert trio.current_time() - began < 30
        assert await names_of(worker) == {"1": None}


async def test_draining_an_empty_queue_ends_at_once(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker:
        began = trio.current_time()
        await worker.drain()
        assert trio.current_time() - began < 1


# Naming


async def test_who_was_absent_is_found_by_the_sweep_later(autojump_clock: trio.abc.Clock) -> None:
    """A new character appears in Census after its first session."""
    async with scene() as worker, worker.running():
        await worker.queue_up([login("1", T0)])
        await trio.sleep(10)
        assert await names_of(worker) == {"1": None}
        worker.census.names["1"] = NAMES[0]
        await trio.sleep(3 * SWEEP_SECONDS)
        assert await names_of(worker) == {"1": "name 1"}


async def test_a_row_without_a_name_is_asked_for_again(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=[Identity("1", None, 2)]) as worker, worker.running():
        await worker.queue_up([login("1", T0)])
        await trio.sleep(10)
        found = await content(worker.store)
        assert (found.characters["1"].faction_id, found.characters["1"].character_name) == (2, None)
        worker.census.names["1"] = Identity("1", "one", 2)
        await trio.sleep(3 * SWEEP_SECONDS)
        assert await names_of(worker) == {"1": "one"}


async def test_a_store_with_unnamed_characters_is_swept_at_the_start(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker:
        everybody = [login(str(number), T0) for number in range(1, 1_300)]
        for first in range(0, len(everybody), 500):
            await worker.worker.ledger.apply(make_batch(everybody[first : first + 500]))
        async with worker.running():
            await trio.sleep(30)
        assert await worker.store.unnamed("", 10) == []
        assert worker.value("characters_named_total") == 1_299


async def test_more_than_can_wait_is_found_in_the_store(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming_module, "WAITING", 10)
    async with scene(names=NAMES) as worker, worker.running():
        await worker.queue_up([login(str(number), T0) for number in range(1, 101)])
        await trio.sleep(1)
        assert len(await worker.store.unnamed("", 1_000)) > 50
        await trio.sleep(12 * SWEEP_SECONDS)
        assert await worker.store.unnamed("", 10) == []


async def test_the_store_is_not_searched_for_more_than_can_wait(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming_module, "WAITING", 10)
    async with scene() as worker, worker.running():  # Census knows nobody, and answers only later
        searched: list[tuple[str, int]] = []
        unnamed = worker.store.unnamed

        async def counted(after: str, limit: int) -> list[str]:
            searched.append((after, limit))
            return await unnamed(after, limit)

        async def asleep(control: StageControl) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(worker.store, "unnamed", counted)
        monkeypatch.setattr(worker.worker.naming, "_name", asleep)
        await worker.queue_up([login(str(number), T0) for number in range(1, 101)])
        await trio.sleep(1)
        assert searched == [("", 10)]  # before anything was there
        await trio.sleep(3 * SWEEP_SECONDS)
        assert worker.worker.naming.left == 10
        assert len(searched) == 1


@pytest.mark.logs_errors
async def test_an_outage_of_the_store_forgets_no_answer_of_census(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(names=NAMES) as worker, worker.running():
        identify = worker.worker.ledger.identify
        failures = 3

        async def away(identities: list[Identity], at: int) -> int:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StoreUnavailable("away")
            return await identify(identities, at)

        monkeypatch.setattr(worker.worker.ledger, "identify", away)
        await worker.queue_up([login("1", T0)])
        await trio.sleep(30)
        assert failures < 0
        assert await names_of(worker) == {"1": "name 1"}
        assert len(worker.census.asked) == 1


@pytest.mark.logs_errors
async def test_a_crash_while_names_are_told_leaves_nobody_waiting(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(names=NAMES) as worker:
        identify = worker.worker.ledger.identify
        crashed = False

        async def crash(identities: list[Identity], at: int) -> int:
            nonlocal crashed
            result = await identify(identities, at)
            if not crashed:
                crashed = True
                raise RuntimeError("what nobody expected")
            return result

        monkeypatch.setattr(worker.worker.ledger, "identify", crash)
        await worker.queue_up([login("1", T0)])
        began = trio.current_time()
        await worker.drain()
        assert crashed
        assert trio.current_time() - began < 4, "the end of the draining did not wait in vain"
        assert worker.worker.naming.left == 0
        assert await names_of(worker) == {"1": "name 1"}
