from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest
import trio
import trio.lowlevel

from bench.content import Content, content
from bench.recorded import without_threads
from ps2daemon.census.rest import Identity
from ps2daemon.errors import QueueUnwritable, StoreUnavailable
from ps2daemon.health import Health
from ps2daemon.model import sessions as session_model
from ps2daemon.model.batch import make_batch
from ps2daemon.model.events import Login, Logout, decode_event
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, EventRecord, Record
from ps2daemon.queue.frames import decode_frame, encode_frame
from ps2daemon.stages import enricher as enricher_module
from ps2daemon.stages.reconciler import INTERVAL_SECONDS
from ps2daemon.stages.writer import TOO_OLD
from ps2daemon.store.base import Commit, Edge
from ps2daemon.store.ledger import Ledger
from tests.records import T0, change, covered, event, lock, login, logout
from tests.stores import Calls, Death, faulty_store
from tests.worker import Scene, scene

NAMES = [
    Identity(name, f"name of {name}", number % 4 + 1) for number, name in enumerate(("1", "2", "3", "9"))
]
NONSENSE = EventRecord(T0 + 5 * HOUR, b"nonsense")
LATE = login("9", T0 + 90 * MINUTE)
"""From before the sessions that its character still holds when it comes."""


def broken(*records: Record) -> bytes:
    """A frame whose last byte was torn off on the disk."""
    frame = bytearray(encode_frame(records))
    frame[-1] ^= 0xFF
    return bytes(frame)


FRAMES: list[Sequence[Record] | bytes] = [
    [covered(T0 - HOUR, T0 + MINUTE), login("1", T0), login("2", T0 + SECOND)],
    [login("3", T0 + 2 * SECOND), change(T0 + 3 * SECOND, 135), covered(T0 - HOUR, T0 + 30 * MINUTE)],
    broken(login("4", T0)),
    [logout("1", T0 + 40 * MINUTE), covered(T0 + HOUR, T0 + 4 * HOUR)],
    [
        each("9", T0 + hour * HOUR + more)
        for hour in range(1, 7)
        for each, more in ((login, 0), (logout, MINUTE))
    ],
    [NONSENSE, change(T0 + 90 * MINUTE, 138), lock(T0 + 90 * MINUTE)],
    [LATE, login("2", T0 + 6 * HOUR)],
    [covered(T0 + HOUR, T0 + 20 * HOUR)],
]


async def as_told() -> Content:
    """What the store holds if nothing goes wrong."""
    records = [record for frame in FRAMES if not isinstance(frame, bytes) for record in frame]
    async with faulty_store() as store:
        ledger = Ledger(store, lambda: T0 + 30 * DAY)
        for record in records:
            await ledger.apply(make_batch([record]))
        await ledger.identify(NAMES, T0 + 30 * DAY)
        await ledger.settle()
        return named_at_any_time(await content(store))


def named_at_any_time(found: Content) -> Content:
    characters = {
        key: msgspec.structs.replace(document, enriched_at=None if document.enriched_at is None else T0)
        for key, document in found.characters.items()
    }
    return msgspec.structs.replace(found, characters=characters)


def only_what_is_stored_is_acked(scene: Scene) -> Callable[[int], Awaitable[None]]:
    """What to ask before each ack: whether each login and logout up to there is in the store."""
    frames = {item.position: item.frame for item in scene.queue.behind(0, 1_000)}

    async def check(position: int) -> None:
        for number, frame in frames.items():
            if number > position or frame in FRAMES:
                continue
            for events in make_batch(decode_frame(frame)).events.values():
                for each in events:
                    assert isinstance(each, Login | Logout)
                    edge = Edge(each.character_id, each.at, isinstance(each, Login))
                    assert await scene.store.known_edges([edge]) or each.at == T0 + 90 * MINUTE

    return check


async def drain(*crash: int) -> tuple[int, int]:
    """Drains the frames through crashes, and compares everything; how many calls and how many crashes there were."""
    async with scene(names=NAMES, calls=Calls(*crash)) as worker:
        await worker.queue_up(*FRAMES)
        worker.consumer.acking = only_what_is_stored_is_acked(worker)
        await worker.drain()
        calls = worker.calls.number
        await check(worker)
        crashes = sum(
            worker.value("stage_errors_total", stage=stage, kind="Crash") or 0
            for stage in ("enricher", "writer", "reconciler")
        )
        return calls, int(crashes)


async def check(worker: Scene) -> None:
    """All frames are acked, all is in the store, and what can't be is a dead letter."""
    assert named_at_any_time(await content(worker.store)) == await as_told()
    assert worker.queue.statistics().frames == 0
    letters = {letter.reason: letter.frame for letter in await worker.letters.list(100)}
    assert decode_event_of(letters.pop(TOO_OLD)) == Login("9", 10, T0 + 90 * MINUTE)
    assert set(letters.values()) == {FRAMES[2], encode_frame([NONSENSE])}
    assert await worker.letters.count() == 3


def decode_event_of(frame: bytes) -> object:
    (record,) = decode_frame(frame)
    assert isinstance(record, EventRecord)
    return decode_event(record.payload)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)
    monkeypatch.setattr(enricher_module, "FRAMES", 3)
    monkeypatch.setattr(enricher_module, "RECORDS", 4)
    monkeypatch.setattr(session_model, "KEPT_SESSIONS", 3)


@pytest.mark.usefixtures("small_batches")
async def test_everything_is_in_the_store_once_and_what_cannot_be_is_a_dead_letter(
    autojump_clock: trio.abc.Clock,
) -> None:
    calls, crashes = await drain()
    assert (calls > 25, crashes) == (True, 0)


@pytest.mark.logs_errors
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("side", [1, -1])
async def test_a_crash_at_any_call_changes_nothing(side: int, autojump_clock: trio.abc.Clock) -> None:
    """Before the call, or when it was done and nobody heard of it."""
    number, crashes = 0, 1
    while crashes:
        number += 1
        _, crashes = await drain(side * number)
    assert number > 25


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("side", [1, -1])
async def test_neither_does_the_death_of_the_process(side: int, autojump_clock: trio.abc.Clock) -> None:
    number, died = 0, True
    while died:
        number += 1
        async with scene(names=NAMES, calls=Calls(side * number, error=Death)) as worker:
            await worker.queue_up(*FRAMES)
            died = False
            try:
                await worker.drain()
            except* Death:
                died = True
            after = await worker.after_death()
            await after.drain()
            await check(worker)
    assert number > 25


@pytest.mark.logs_errors
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("seed", range(20))
async def test_neither_do_several_crashes(seed: int, autojump_clock: trio.abc.Clock) -> None:
    chance = random.Random(seed)
    calls = chance.sample(range(1, 40), 6)
    _, crashes = await drain(*(chance.choice((1, -1)) * number for number in calls))
    assert crashes > 2


@pytest.mark.usefixtures("small_batches")
async def test_an_outage_of_the_store_is_waited_out(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker, worker.running() as controls:
        worker.store.faults.extend(["before"] * 10_000)
        await worker.queue_up(*FRAMES)
        for _ in range(5):
            await trio.sleep(60)
            assert (controls["writer"].state, controls["writer"].snapshot().why) == ("degraded", "refused")
            assert worker.health.sound(), "waiting for the store is no hanging"
            assert worker.value("store_up") == 0
        assert worker.queue.statistics().frames == len(FRAMES)
        worker.store.faults.clear()
        await trio.sleep(31)
        assert controls["writer"].state == "waiting"
        assert worker.value("store_up") == 1
        assert worker.queue.statistics().frames == 0
        assert worker.health.ready()
        await trio.sleep(70)
        assert named_at_any_time(await content(worker.store)) == await as_told()
        restarts = [worker.value("stage_restarts_total", stage=stage) for stage in controls]
        assert set(restarts) == {0}


@pytest.mark.usefixtures("small_batches")
async def test_a_store_that_can_be_read_and_not_written_is_waited_out_as_well(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its disk is full."""

    async def refuse(commit: Commit) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("full")

    async with scene(names=NAMES) as worker, worker.running() as controls:
        with monkeypatch.context() as patch:
            patch.setattr(worker.store, "commit", refuse)
            await worker.queue_up(*FRAMES)
            for _ in range(10):
                await trio.sleep(60)
                assert controls["writer"].snapshot().why == "full"
                assert controls["enricher"].snapshot().why == "for the writer"
                assert worker.health.sound()
        await trio.sleep(31)
        assert worker.queue.statistics().frames == 0
        assert worker.health.ready()


@pytest.mark.usefixtures("small_batches")
async def test_a_frame_that_can_not_be_read_is_not_vouched_for(autojump_clock: trio.abc.Clock) -> None:
    """Neither by what stands behind it in its batch, nor by what comes later."""
    hour = [(covered(T0, T0 + number * MINUTE), login("1", T0 + number * MINUTE)) for number in range(1, 60)]
    async with scene() as worker, worker.running():
        for number, (claim, event) in enumerate(hour):
            await worker.queue_up(broken(event) if number == 20 else [event], [claim])
        await trio.sleep(10)
        spans = (await content(worker.store)).spans
        assert [(span.start, span.end, span.after) for span in spans] == [
            (T0, T0 + 20 * MINUTE, "connection"),
            (T0 + 22 * MINUTE + SECOND, T0 + 59 * MINUTE, "disk_full"),
        ]
        assert await worker.letters.count() == 1


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("method", ["read", "ack", "put"])
async def test_an_outage_of_the_queue_s_files_is_waited_out(
    method: str, autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(names=NAMES) as worker, worker.running() as controls:
        end = worker.letters if method == "put" else worker.consumer
        call = getattr(end, method)
        failing = True

        async def fail(*values: object) -> object:
            if failing:
                await trio.lowlevel.checkpoint()
                raise QueueUnwritable("an I/O error")
            return await call(*values)

        monkeypatch.setattr(end, method, fail)
        await worker.queue_up(*FRAMES)
        stage = "enricher" if method == "read" else "writer"
        for _ in range(10):
            await trio.sleep(60)
            assert (controls[stage].state, controls[stage].snapshot().why) == ("degraded", "an I/O error")
            assert worker.value("queue_up") == 0
            assert worker.health.sound()
        assert worker.queue.statistics().frames
        failing = False
        await trio.sleep(70)
        assert worker.value("queue_up") == 1
        assert worker.health.ready()
        await check(worker)
        assert {worker.value("stage_restarts_total", stage=each) for each in controls} == {0}


@pytest.mark.usefixtures("small_batches")
async def test_a_stop_during_an_outage_of_the_store_is_quick_and_loses_nothing(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with scene(names=NAMES) as worker:
        async with worker.running():
            worker.store.faults.extend(["before"] * 10_000)
            await worker.queue_up(*FRAMES)
            await trio.sleep(100)
            began = trio.current_time()
        assert trio.current_time() - began < 4
        assert worker.queue.statistics().frames == len(FRAMES)
        assert await worker.letters.count() == 0
        worker.store.faults.clear()
        worker.health = Health()
        await worker.drain()
        assert named_at_any_time(await content(worker.store)) == await as_told()


@pytest.mark.logs_errors
@pytest.mark.usefixtures("small_batches")
async def test_no_room_for_dead_letters_does_not_stop_the_recording(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES, max_letters=1) as worker:
        await worker.queue_up(*FRAMES)
        await worker.drain()
        assert named_at_any_time(await content(worker.store)) == await as_told()
        assert await worker.letters.count() == 1
        assert worker.value("dead_letters_total") == 1
        assert worker.value("dead_letters_lost_total") == 2


@pytest.mark.usefixtures("small_batches")
async def test_what_is_in_hand_is_finished_at_a_stop(autojump_clock: trio.abc.Clock) -> None:
    async with scene(names=NAMES) as worker:
        async with worker.running():
            await worker.queue_up(*FRAMES)
            await worker.worker.handover.first()
        assert not worker.worker.handover
        left = worker.queue.statistics().frames
        assert left < len(FRAMES)
        assert worker.queue.acked == worker.worker.handover.position


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_clock_that_is_set_doubles_nothing_and_ends_nobody(
    by: int, autojump_clock: trio.abc.Clock
) -> None:
    """It is set while records come, and set right again. What they say is stored as it would be if all of them came at the end."""
    told: list[Record] = []
    async with scene(names=NAMES) as worker, worker.running():
        began = worker.clock.now() // SECOND * SECOND
        true, start = began, began
        for number in range(60):
            if number in (20, 40):
                worker.clock.set(worker.clock.now() + (by if number == 20 else -by))
                start = worker.clock.now() // SECOND * SECOND
            who = str(number % 3 + 1)
            name = "PlayerLogin" if number // 3 % 2 == 0 else "PlayerLogout"
            records: list[Record] = [
                event(name, true, received_at=worker.clock.now(), character_id=who, world_id=10),
                covered(start, worker.clock.now() // SECOND * SECOND),
            ]
            told += records
            await worker.queue_up(records)
            true += 6 * SECOND
            await trio.sleep(6)
            assert worker.health.ready()
        await trio.sleep(INTERVAL_SECONDS + 1)
        found = named_at_any_time(await content(worker.store))
        delay = worker.value("delay_seconds_sum")
        assert delay is not None
        assert 0 <= delay < 60 * 2
        assert await worker.letters.count() == 0
        async with faulty_store() as store:
            ledger = Ledger(store, worker.clock.now)
            await ledger.apply(make_batch(told))
            await ledger.identify(NAMES, T0)
            await ledger.settle()
            assert found == named_at_any_time(await content(store))
    assert [session.ended_by for session in found.sessions.values()] == ["logout"] * 30
    assert sum(span.end - span.start for span in found.spans) <= 60 * 6 * SECOND


@pytest.mark.usefixtures("small_batches")
async def test_the_delay_is_told_from_receipt_to_commit(autojump_clock: trio.abc.Clock) -> None:
    async with scene() as worker, worker.running():
        at = worker.clock.now()
        await trio.sleep(5)
        await worker.queue_up([login("1", at // SECOND * SECOND)])
        await trio.sleep(1)
        assert worker.value("writer_records_total") == 1
        delay = worker.value("delay_seconds_sum")
        assert delay is not None
        assert 3.5 < delay < 6
