"""What every queue promises (`queue/base.py`), asked of each implementation, and of random operations against a list."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ps2daemon.errors import FrameError, QueueFull, QueueLocked
from ps2daemon.model.records import CoverageRecord, EventRecord, Record
from ps2daemon.queue import base
from ps2daemon.queue.base import Item, Producer, QueueStatistics
from ps2daemon.queue.frames import encode_frame, frame_header
from ps2daemon.queue.memory import MemoryDeadLetters, MemoryQueue
from ps2daemon.queue.sqlite import SqliteConsumer, SqliteDeadLetters, SqliteProducer

MAX_BYTES = 1024 * 1024
LARGE = 64 * 1024
"""The payload of a frame of which about 16 fill a queue."""

Result = TypeVar("Result")


class Consumer(base.Consumer, Protocol):
    """Both implementations can also take acks back."""

    async def replay(self, frames: int) -> int: ...


class Queue:
    """Opens the two ends of one queue."""

    def __init__(
        self,
        producer: Callable[[], Awaitable[Producer]],
        consumer: Callable[[], Awaitable[Consumer]],
    ) -> None:
        self.producer = producer
        self.consumer = consumer


def memory_queue(directory: Path, retain: int = 0) -> Queue:
    queue = MemoryQueue(max_bytes=MAX_BYTES, retain=retain)

    async def producer() -> Producer:
        return queue.producer()

    async def consumer() -> Consumer:
        return queue.consumer()

    return Queue(producer, consumer)


def sqlite_queue(directory: Path, retain: int = 0) -> Queue:
    async def producer() -> Producer:
        return await SqliteProducer.open(directory, max_bytes=MAX_BYTES, retain=retain)

    async def consumer() -> Consumer:
        return await SqliteConsumer.open(directory, max_bytes=MAX_BYTES, retain=retain)

    return Queue(producer, consumer)


MakeQueue = Callable[..., Queue]


@pytest.fixture(params=[memory_queue, sqlite_queue], ids=["memory", "sqlite"])
def make_queue(request: pytest.FixtureRequest, tmp_path: Path) -> MakeQueue:
    return partial(request.param, tmp_path / "queue")


def frame(number: int, *, records: int = 1, payload_bytes: int = 2) -> bytes:
    """A frame that differs from those of other numbers; its oldest time is `number`."""
    payload = b"{%s}" % (b" " * (payload_bytes - 2))
    batch: list[Record] = [EventRecord(number + index, payload) for index in range(records)]
    return encode_frame(batch)


def frames(items: list[Item]) -> list[bytes]:
    return [item.frame for item in items]


async def test_frames_come_out_as_they_went_in_and_in_order(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    assert await consumer.read(10) == []
    sent = [frame(number, records=1 + number % 3) for number in range(20)]
    for one in sent:
        await producer.append(one)
    first, second, rest = await consumer.read(7), await consumer.read(7), await consumer.read(100)
    assert frames(first + second + rest) == sent
    positions = [item.position for item in first + second + rest]
    assert positions == sorted(set(positions))
    assert await consumer.read(10) == []
    await producer.append(sent[0])
    assert frames(await consumer.read(10)) == sent[:1]
    await producer.aclose()
    await consumer.aclose()


@pytest.mark.parametrize("retain", [0, 3])
async def test_what_is_not_acked_comes_again_after_a_rewind_and_after_a_restart(
    make_queue: MakeQueue, retain: int
) -> None:
    queue = make_queue(retain=retain)
    producer, consumer = await queue.producer(), await queue.consumer()
    sent = [frame(number) for number in range(6)]
    for one in sent:
        await producer.append(one)
    read = await consumer.read(4)
    await consumer.ack(read[1].position)
    assert frames(await consumer.read(1)) == sent[4:5]  # an ack does not move the cursor back
    await consumer.rewind()
    assert frames(await consumer.read(10)) == sent[2:]
    await consumer.aclose()
    consumer = await queue.consumer()
    assert frames(await consumer.read(10)) == sent[2:]
    await producer.aclose()
    await consumer.aclose()


@pytest.mark.parametrize("retain", [0, 3])
async def test_an_ack_after_a_rewind_moves_the_cursor_on(make_queue: MakeQueue, retain: int) -> None:
    queue = make_queue(retain=retain)
    producer, consumer = await queue.producer(), await queue.consumer()
    for number in range(4):
        await producer.append(frame(number))
    read = await consumer.read(4)
    await consumer.rewind()
    await consumer.ack(read[2].position)
    assert await consumer.read(10) == read[3:]
    await producer.aclose()
    await consumer.aclose()


async def test_acks_are_cumulative_and_may_be_repeated(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    for number in range(5):
        await producer.append(frame(number))
    read = await consumer.read(3)
    await consumer.ack(read[2].position)
    for item in read:
        await consumer.ack(item.position)
    assert (await consumer.statistics()).frames == 2
    with pytest.raises(ValueError, match="was never read"):
        await consumer.ack(read[2].position + 1)  # it is there, but nobody has seen it
    assert (await consumer.statistics()).frames == 2
    await producer.aclose()
    await consumer.aclose()


async def test_both_ends_and_both_lives_tell_the_same_statistics(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    nothing = QueueStatistics(frames=0, records=0, bytes=0, oldest_at=None, max_bytes=MAX_BYTES, retained=0)
    assert await producer.statistics() == await consumer.statistics() == nothing
    span = CoverageRecord(1, 0, 500, "start")
    sent = [frame(1_000, records=3), encode_frame([EventRecord(2_000, b"{}"), span]), frame(3_000, records=2)]
    for one in sent:
        await producer.append(one)
    assert await consumer.statistics() == QueueStatistics(
        frames=3,
        records=7,
        bytes=sum(map(len, sent)),
        oldest_at=1_000,
        max_bytes=MAX_BYTES,
        retained=0,
    )
    read = await consumer.read(3)
    await consumer.ack(read[0].position)
    left = QueueStatistics(
        frames=2,
        records=4,
        bytes=len(sent[1]) + len(sent[2]),
        oldest_at=500,
        max_bytes=MAX_BYTES,
        retained=0,
    )
    assert await producer.statistics() == await consumer.statistics() == left
    await producer.aclose()
    await consumer.aclose()
    producer, consumer = await queue.producer(), await queue.consumer()
    assert await producer.statistics() == await consumer.statistics() == left
    read = await consumer.read(3)
    await consumer.ack(read[1].position)
    assert await producer.statistics() == await consumer.statistics() == nothing
    await producer.append(sent[1])  # counted from nothing, though the queue's totals are not
    again = QueueStatistics(
        frames=1, records=2, bytes=len(sent[1]), oldest_at=500, max_bytes=MAX_BYTES, retained=0
    )
    assert await producer.statistics() == await consumer.statistics() == again
    await producer.aclose()
    await consumer.aclose()


async def test_a_full_queue_refuses_and_keeps_what_it_has(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    sent: list[bytes] = []

    async def fill() -> None:
        for number in range(100):
            one = frame(number, payload_bytes=LARGE)
            await producer.append(one)
            sent.append(one)

    with pytest.raises(QueueFull, match="has reached its 1048576 bytes"):
        await fill()
    assert len(sent) * LARGE > MAX_BYTES / 2
    statistics = await producer.statistics()
    assert (statistics.frames, statistics.bytes) == (len(sent), sum(map(len, sent)))
    assert statistics.bytes <= MAX_BYTES
    with pytest.raises(QueueFull):
        await producer.append(frame(1_000, payload_bytes=LARGE))
    read = await consumer.read(100)
    assert frames(read) == sent
    await consumer.ack(read[0].position)
    await producer.append(frame(1_000, payload_bytes=LARGE))  # there is room again
    assert frames(await consumer.read(100)) == [frame(1_000, payload_bytes=LARGE)]
    await producer.aclose()
    await consumer.aclose()


async def test_acked_frames_are_kept_for_a_replay(make_queue: MakeQueue) -> None:
    queue = make_queue(retain=3)
    producer, consumer = await queue.producer(), await queue.consumer()
    sent = [frame(number, records=number + 1) for number in range(8)]
    for one in sent:
        await producer.append(one)
    read = await consumer.read(6)
    assert await consumer.replay(3) == 0  # nothing is acked yet
    await consumer.read(6)
    await consumer.ack(read[5].position)
    before = await consumer.statistics()
    assert (before.frames, before.records, before.retained) == (2, 15, 3)
    assert await consumer.replay(2) == 2
    after = await producer.statistics()
    assert (after.frames, after.records, after.retained) == (4, 26, 1)
    assert (after.bytes, after.oldest_at) == (sum(map(len, sent[4:])), 4)
    assert frames(await consumer.read(10)) == sent[4:]
    assert await consumer.replay(100) == 1
    await consumer.aclose()
    consumer = await queue.consumer()
    assert frames(await consumer.read(10)) == sent[3:]
    await producer.aclose()
    await consumer.aclose()


async def test_frames_kept_for_a_replay_give_way_to_new_ones(make_queue: MakeQueue) -> None:
    queue = make_queue(retain=1_000)
    producer, consumer = await queue.producer(), await queue.consumer()
    for number in range(60):  # several times what fits
        await producer.append(frame(number, payload_bytes=LARGE))
        [item] = await consumer.read(10)
        assert item.frame == frame(number, payload_bytes=LARGE)
        await consumer.ack(item.position)
    statistics = await consumer.statistics()
    assert statistics.frames == 0
    assert 0 < statistics.retained < 20
    await producer.aclose()
    await consumer.aclose()


async def test_only_frames_are_accepted(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer = await queue.producer()
    for garbage in (b"", b"garbage", frame(1)[:-1], frame(1)[:10]):
        with pytest.raises(FrameError):
            await producer.append(garbage)
    assert (await producer.statistics()).frames == 0
    await producer.aclose()


async def test_each_end_is_held_once(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    for end in (queue.producer, queue.consumer):
        with pytest.raises(QueueLocked, match=str(os.getpid())) as caught:
            await end()
        assert caught.value.pid == os.getpid()
    await producer.append(frame(1))  # being refused disturbed nobody
    await producer.aclose()
    await consumer.aclose()
    producer, consumer = await queue.producer(), await queue.consumer()
    assert len(await consumer.read(10)) == 1
    await producer.aclose()
    await consumer.aclose()


async def test_a_closed_end_says_so(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    for end in (producer, consumer, producer, consumer):
        await end.aclose()
    for call in (
        partial(producer.append, frame(1)),
        partial(consumer.read, 1),
        consumer.rewind,
        producer.statistics,
    ):
        with pytest.raises(trio.ClosedResourceError):
            await call()


async def test_a_cancelled_append_is_whole_or_not_there(make_queue: MakeQueue) -> None:
    queue = make_queue()
    producer, consumer = await queue.producer(), await queue.consumer()
    with trio.CancelScope() as scope:
        scope.cancel()
        await producer.append(frame(1))
    assert scope.cancelled_caught
    assert (await producer.statistics()).frames == 0
    for number in range(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(producer.append, frame(number))
            for _ in range(number % 6):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    statistics = await producer.statistics()
    read = await consumer.read(100)
    assert statistics.frames == statistics.records == len(read) <= 30
    times = [frame_header(item.frame).oldest_at for item in read]
    assert times == sorted(times)
    assert statistics.bytes == sum(len(item.frame) for item in read)
    await producer.aclose()
    await consumer.aclose()


# Dead letters


async def memory_letters(directory: Path) -> base.DeadLetters:
    return MemoryDeadLetters(max_letters=5)


async def sqlite_letters(directory: Path) -> base.DeadLetters:
    return await SqliteDeadLetters.open(directory, max_letters=5)


MakeLetters = Callable[[], Awaitable[base.DeadLetters]]


@pytest.fixture(params=[memory_letters, sqlite_letters], ids=["memory", "sqlite"])
def make_letters(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLetters:
    return partial(request.param, tmp_path / "queue")


async def test_dead_letters_are_kept_in_order_with_their_reason(make_letters: MakeLetters) -> None:
    letters = await make_letters()
    assert (await letters.list(10), await letters.count()) == ([], 0)
    await letters.put(frame(1), "the store refused it", 3, 1_000)
    await letters.put(b"broken", "it is no frame", 1, 2_000)
    first, second = await letters.list(10)
    assert (first.frame, first.reason, first.attempts, first.at) == (
        frame(1),
        "the store refused it",
        3,
        1_000,
    )
    assert (second.frame, second.reason, second.attempts, second.at) == (
        b"broken",
        "it is no frame",
        1,
        2_000,
    )
    assert first.id < second.id
    assert await letters.list(1) == [first]
    assert await letters.count() == 2
    await letters.aclose()


async def test_a_repeated_dead_letter_changes_nothing(make_letters: MakeLetters) -> None:
    letters = await make_letters()
    await letters.put(frame(1), "first", 1, 1_000)
    before = await letters.list(10)
    await letters.put(frame(1), "again", 2, 2_000)
    assert await letters.list(10) == before
    await letters.aclose()


async def test_dead_letters_are_bounded_and_the_oldest_stay(make_letters: MakeLetters) -> None:
    letters = await make_letters()
    for number in range(5):
        await letters.put(frame(number), "reason", 1, number)
    before = await letters.list(10)
    with pytest.raises(QueueFull, match="5 dead letters already"):
        await letters.put(frame(5), "reason", 1, 5)
    await letters.put(frame(0), "a repetition is no new letter", 1, 6)
    assert await letters.list(10) == before
    assert await letters.count() == 5
    await letters.aclose()


# Random operations against the obvious model


class QueueMachine(RuleBasedStateMachine):
    """A list of all frames ever appended, and three indices into it: kept from, acked, cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.frames: list[bytes] = []
        self.kept = self.acked = self.cursor = self.read_to = 0
        self.positions: dict[int, int] = {}
        self.opened = False

    @staticmethod
    def make(directory: Path, retain: int) -> Queue:
        raise NotImplementedError

    def run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        return trio.run(call)

    @initialize(retain=st.integers(0, 3))
    def open(self, retain: int) -> None:
        self.retain = retain
        self.queue = self.make(Path(self.folder.name), retain)
        self.producer = self.run(self.queue.producer)
        self.consumer = self.run(self.queue.consumer)
        self.opened = True

    @rule(sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(2, 300)), min_size=1, max_size=4))
    def append(self, sizes: list[tuple[int, int]]) -> None:
        for records, payload_bytes in sizes:
            one = frame(len(self.frames), records=records, payload_bytes=payload_bytes)
            self.run(partial(self.producer.append, one))
            self.frames.append(one)

    @rule(limit=st.integers(1, 4))
    def read(self, limit: int) -> None:
        items = self.run(partial(self.consumer.read, limit))
        assert frames(items) == self.frames[self.cursor : self.cursor + limit]
        for index, item in enumerate(items, self.cursor):
            assert self.positions.setdefault(index, item.position) == item.position
        self.cursor += len(items)
        self.read_to = max(self.read_to, self.cursor)

    @precondition(lambda self: self.read_to > 0)
    @rule(back=st.integers(0, 3))
    def ack(self, back: int) -> None:
        index = max(0, self.read_to - 1 - back)
        if index not in self.positions:  # it was acked in an earlier life, which this one has not read
            return
        self.run(partial(self.consumer.ack, self.positions[index]))
        if index + 1 > self.acked:
            self.acked = index + 1
            self.cursor = max(self.cursor, self.acked)
            self.kept = max(self.kept, self.acked - self.retain)

    @rule(number=st.integers(0, 4))
    def go_back(self, number: int) -> None:
        if number == 0:
            self.run(self.consumer.rewind)
        else:
            expected = min(number, self.acked - self.kept)
            assert self.run(partial(self.consumer.replay, number)) == expected
            self.acked -= expected
        self.cursor = self.acked

    @rule(ends=st.sampled_from(["producer", "consumer", "both"]))
    def reopen(self, ends: str) -> None:
        if ends != "consumer":
            self.run(self.producer.aclose)
        if ends != "producer":
            self.run(self.consumer.aclose)
            self.consumer = self.run(self.queue.consumer)
            self.cursor = self.read_to = self.acked
        if ends != "consumer":
            self.producer = self.run(self.queue.producer)

    @precondition(lambda self: self.opened)
    @invariant()
    def statistics_are_right(self) -> None:
        headers = [frame_header(one) for one in self.frames[self.acked :]]
        expected = QueueStatistics(
            frames=len(headers),
            records=sum(header.records for header in headers),
            bytes=sum(map(len, self.frames[self.acked :])),
            oldest_at=headers[0].oldest_at if headers else None,
            max_bytes=MAX_BYTES,
            retained=self.acked - self.kept,
        )
        assert self.run(self.producer.statistics) == expected
        assert self.run(self.consumer.statistics) == expected

    def teardown(self) -> None:
        if self.opened:
            self.run(self.producer.aclose)
            self.run(self.consumer.aclose)
        self.folder.cleanup()


class MemoryMachine(QueueMachine):
    make = staticmethod(memory_queue)


class SqliteMachine(QueueMachine):
    make = staticmethod(sqlite_queue)


_SETTINGS = settings(
    deadline=None,
    max_examples=40,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = _SETTINGS
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = _SETTINGS
