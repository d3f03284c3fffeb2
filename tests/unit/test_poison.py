"""Records that make the fold or the store fail: they are found, and all around them is applied."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from math import ceil, log2
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from bench.content import Content, content
from bench.recorded import without_threads
from ps2daemon.errors import StoreRefused, StoreUnavailable
from ps2daemon.model.batch import make_batch
from ps2daemon.model.records import MINUTE, SECOND, EventRecord, Record
from ps2daemon.model.sessions import fold
from ps2daemon.queue.frames import decode_frame, encode_frame
from ps2daemon.stages.poison import apply_around
from ps2daemon.store import deciding
from ps2daemon.store.base import Commit, Committed
from ps2daemon.store.sqlite import rows
from tests.records import T0, change, covered, lock, login, logout
from tests.stores import faulty_store
from tests.worker import Scene, scene

POISON = "666"


class Meal:
    """What is given some records, and fails if there is poison among them."""

    def __init__(self, poison: Collection[Record]) -> None:
        self._poison = set(poison)
        self.tries: list[Sequence[Record]] = []
        self.taken: list[Record] = []

    async def __call__(self, part: Sequence[Record]) -> int:
        await trio.lowlevel.checkpoint()
        self.tries.append(part)
        for record in part:
            if record in self._poison:
                raise ValueError(f"poison\nin {part.index(record)}")
        self.taken += part
        return len(part)


def records_of(number: int) -> list[Record]:
    return [login(str(each), T0 + each * SECOND) for each in range(1, number + 1)]


@pytest.mark.parametrize("number", [1, 2, 3, 100, 128, 3_000])
@pytest.mark.parametrize("where", ["beginning", "middle", "end", "several", "all"])
async def test_they_are_found_in_few_tries_and_all_others_are_applied_in_order(
    where: str, number: int
) -> None:
    records = records_of(number)
    places = {
        "beginning": [0],
        "middle": [number // 2],
        "end": [number - 1],
        "several": sorted(random.Random(number).sample(range(number), min(7, number))),
        "all": range(number),
    }[where]
    meal = Meal([records[place] for place in places])
    results, poison = await apply_around(records, meal, ValueError("poison"))
    assert [each.record for each in poison] == [records[place] for place in places]
    assert meal.taken == [record for place, record in enumerate(records) if place not in set(places)]
    assert sum(results) == len(meal.taken)
    tries = 1 + len(meal.tries)
    assert tries <= 1 + 2 * len(places) * ceil(log2(number))
    assert tries < 2 * number
    took_part = Counter(record for part in meal.tries for record in part)
    for each in poison:
        assert each.attempts == 1 + took_part[each.record]
        assert each.attempts <= 1 + ceil(log2(number))
        assert each.reason.startswith("it can't be applied: ValueError: poison")
        assert "\n" not in each.reason


@pytest.mark.parametrize("error", [StoreUnavailable("away"), KeyboardInterrupt(), OSError("what")])
async def test_what_is_no_record_s_fault_is_none(error: BaseException) -> None:
    async def fail(part: Sequence[Record]) -> int:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("some", [ValueError("x"), error]) if isinstance(error, Exception) else error

    with pytest.raises((ExceptionGroup, KeyboardInterrupt)):
        await apply_around(records_of(10), fail, ValueError("poison"))


# On the worker


FRAMES: list[list[Record]] = [
    [login("1", T0), login(POISON, T0), login("2", T0 + SECOND)],
    [change(T0 + 3 * SECOND, 135), covered(T0, T0 + MINUTE)],
    [logout("1", T0 + 40 * MINUTE), login("3", T0 + 41 * MINUTE), lock(T0 + 42 * MINUTE)],
    [logout("2", T0 + 50 * MINUTE), covered(T0, T0 + 60 * MINUTE), logout(POISON, T0 + 61 * MINUTE)],
]


def is_poison(record: Record) -> bool:
    return isinstance(record, EventRecord) and POISON in record.payload.decode()


async def without_poison() -> Content:
    """What the store would hold had the poison never come."""
    async with scene() as worker:
        await worker.queue_up(*([each for each in frame if not is_poison(each)] for frame in FRAMES))
        await worker.drain()
        return await content(worker.store)


def in_the_fold(patch: pytest.MonkeyPatch) -> None:
    def failing(state: Any, events: Any, *more: Any) -> Any:
        if events[0].character_id == POISON:
            raise LookupError("nobody thought of that")
        return fold(state, events, *more)

    patch.setattr(deciding, "fold", failing)


def in_a_row(patch: pytest.MonkeyPatch) -> None:
    row = rows.session_row

    def failing(document: Any) -> Any:
        return row(
            msgspec.structs.replace(document, world_id=2**70) if document.character_id == POISON else document
        )

    patch.setattr(rows, "session_row", failing)


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)


async def check(worker: Scene, wanted: Content, reason: str) -> None:
    assert await content(worker.store) == wanted
    assert worker.queue.statistics().frames == 0
    letters = await worker.letters.list(100)
    assert [letter.frame for letter in letters] == [
        encode_frame([each]) for frame in FRAMES for each in frame if is_poison(each)
    ]
    assert {letter.reason for letter in letters} == {reason}
    assert all(1 < letter.attempts <= 1 + ceil(log2(sum(map(len, FRAMES)))) for letter in letters)
    assert worker.value("stage_restarts_total", stage="writer") == 0


@pytest.mark.logs_errors
@pytest.mark.parametrize(
    ("poisoned", "reason"),
    [
        (in_the_fold, "LookupError: nobody thought of that"),
        (in_a_row, "OverflowError: Python int too large to convert to SQLite INTEGER"),
    ],
)
async def test_all_around_them_gets_through(
    poisoned: Callable[[pytest.MonkeyPatch], None],
    reason: str,
    autojump_clock: trio.abc.Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = await without_poison()
    async with scene() as worker:
        with monkeypatch.context() as patch:
            poisoned(patch)
            await worker.queue_up(*FRAMES)
            await worker.drain()
            await check(worker, wanted, f"it can't be applied: {reason}")
            kind = reason.partition(":")[0]
            assert worker.value("stage_errors_total", stage="writer", kind=kind) == 1
        # Once what was wrong is mended, they are what was missing.
        async with faulty_store() as other:
            batch = make_batch([each for frame in FRAMES for each in frame])
            await type(worker.worker.ledger)(other, worker.clock.now).apply(batch)
            letters = [
                record for letter in await worker.letters.list(9) for record in decode_frame(letter.frame)
            ]
            await worker.worker.ledger.apply(make_batch(letters))
            sessions = (await content(worker.store)).sessions
            assert sessions == (await content(other)).sessions


@pytest.mark.logs_errors
async def test_a_batch_may_be_all_poison(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_fold(monkeypatch)
    async with scene() as worker:
        await worker.queue_up([login(POISON, T0 + number) for number in range(0, 50 * SECOND, SECOND)])
        await worker.drain()
        assert await worker.letters.count() == 50
        assert worker.queue.statistics().frames == 0
        await worker.queue_up([login("1", T0)])
        worker.health = type(worker.health)()
        await worker.drain()
        assert set((await content(worker.store)).sessions) == {f"1-{T0}"}


@pytest.mark.logs_errors
async def test_where_there_is_no_room_for_them_they_are_not_given_up(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike garbage: a defect of this program must not lose what is sound."""
    in_the_fold(monkeypatch)
    async with scene(max_letters=3) as worker, worker.running() as controls:
        await worker.queue_up([login(POISON, T0 + number * SECOND) for number in range(5)])
        await trio.sleep(120)
        assert controls["writer"].state == "degraded"
        assert worker.queue.statistics().frames == 1
        assert worker.value("dead_letters_lost_total") == 0
        worker.letters.inner._max_letters = 5
        await trio.sleep(60)
        assert worker.queue.statistics().frames == 0
        assert await worker.letters.count() == 5


@pytest.mark.logs_errors
async def test_a_store_that_takes_nothing_at_all_is_no_fault_of_records(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(commit: Commit) -> Committed:
        await trio.lowlevel.checkpoint()
        raise StoreRefused("whatever it is")

    async with scene() as worker:
        monkeypatch.setattr(worker.store, "commit", refuse)
        await worker.queue_up(*FRAMES)
        with pytest.raises(StoreRefused):
            await worker.drain()
        assert await worker.letters.count() == 0
        assert worker.queue.statistics().frames == len(FRAMES)
