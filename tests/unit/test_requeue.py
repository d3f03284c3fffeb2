"""Dead letters on their way back into the queue: beside a worker, beside a subscriber, into a full queue, killed in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from ps2daemon.errors import LettersMissing, QueueFull, QueueLocked, QueueMissing
from ps2daemon.model.records import EventRecord, Record
from ps2daemon.queue import requeue as requeueing
from ps2daemon.queue.files import Lock
from ps2daemon.queue.frames import decode_frame, encode_frame, encode_frames
from ps2daemon.queue.letters import Chosen, by_number, choose, drop, latest
from ps2daemon.queue.requeue import MOST_FULL, Requeued, requeue
from ps2daemon.queue.sqlite import (
    LEAST_MAX_BYTES,
    RESERVE_BYTES,
    SqliteConsumer,
    SqliteDeadLetters,
    SqliteProducer,
    peek,
    read_dead_letters,
    read_statistics,
)
from ps2daemon.queue.table import FrameTable

MAX_BYTES = 64 * 1024 * 1024


def record(number: int, size: int = 0) -> EventRecord:
    return EventRecord(number, b"{}" + b" " * size)


async def bury(folder: Path, records: Sequence[Record], reason: str = "no use") -> None:
    """Each record as a letter."""
    letters = await SqliteDeadLetters.open(folder)
    for each in records:
        await letters.put(encode_frame([each]), reason, 1, 1_000)
    await letters.aclose()


async def make(folder: Path, records: Sequence[Record], max_bytes: int = MAX_BYTES) -> None:
    """An empty queue with dead letters."""
    await (await SqliteProducer.open(folder, max_bytes=max_bytes)).aclose()
    await bury(folder, records)


def queued(folder: Path) -> list[Record]:
    return [each for item in peek(folder, 100_000) for each in decode_frame(item.frame)]


def buried(folder: Path) -> list[Record]:
    return [each for letter in read_dead_letters(folder, 100_000) for each in decode_frame(letter.frame)]


def put_back(folder: Path, chosen: Sequence[Chosen] | None = None) -> Requeued:
    total = Requeued()

    def told(outcome: Requeued) -> None:
        nonlocal total
        total = total.plus(outcome)

    requeue(folder, choose(folder) if chosen is None else chosen, told)
    return total


async def test_a_record_that_is_refused_again_at_once_stays_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(tmp_path, [record(1)])
    append = FrameTable.put
    workers: list[threading.Thread] = []

    def refuse_at_once(table: FrameTable, frame: bytes, block: bool = True) -> int:
        position = append(table, frame, block)
        worker = threading.Thread(target=trio.run, args=(bury, tmp_path, [record(1)], "refused again"))
        worker.start()
        workers.append(worker)
        worker.join(0.5)  # it is done by now, unless something keeps it
        return position

    monkeypatch.setattr(FrameTable, "put", refuse_at_once)
    put_back(tmp_path)
    for worker in workers:
        worker.join()
    assert queued(tmp_path) == [record(1)]
    assert [letter.reason for letter in read_dead_letters(tmp_path, 10)] == ["refused again"]


async def test_letters_come_out_in_their_order_in_as_few_frames_as_hold_them(tmp_path: Path) -> None:
    records = [record(number, 1_000 if number > 600 else 0) for number in range(1_000)]
    await make(tmp_path, records)
    assert put_back(tmp_path) == Requeued(letters=1_000, records=1_000)
    assert queued(tmp_path) == records
    assert buried(tmp_path) == []
    assert [item.frame for item in peek(tmp_path, 10)] == list(encode_frames(records))
    assert put_back(tmp_path) == Requeued()


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from ps2daemon.queue.letters import choose
from ps2daemon.queue.requeue import requeue
from ps2daemon.queue.table import FrameTable
append = FrameTable.put
def put(table, frame, block=True):
    append(table, frame, block)
    os.kill(os.getpid(), signal.SIGKILL)
FrameTable.put = put
requeue(Path(sys.argv[1]), choose(Path(sys.argv[1])), print)
"""


async def test_a_kill_behind_the_append_loses_nothing(tmp_path: Path) -> None:
    await make(tmp_path, [record(1), record(2)])
    with start(KILLED, str(tmp_path)) as killed:
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert queued(tmp_path) == buried(tmp_path) == [record(1), record(2)]
    assert put_back(tmp_path).letters == 2  # what the killed one held is free again
    assert queued(tmp_path) == [record(1), record(2)] * 2
    assert buried(tmp_path) == []


async def test_an_append_that_fails_leaves_the_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(tmp_path, [record(1)])
    monkeypatch.setattr("ps2daemon.queue.sqlite.free_bytes", lambda folder: RESERVE_BYTES)
    with pytest.raises(QueueFull, match="16 MiB are kept for the worker: make room"):
        put_back(tmp_path)
    assert (queued(tmp_path), buried(tmp_path)) == ([], [record(1)])


async def test_room_is_left_for_what_is_received(tmp_path: Path) -> None:
    big = [record(number, 100_000) for number in range(20)]
    await make(tmp_path, big, LEAST_MAX_BYTES)
    total: list[Requeued] = []
    with pytest.raises(QueueFull, match=r"10% of its 1,048,576 bytes are kept .* then requeue the rest"):
        requeue(tmp_path, choose(tmp_path), total.append)
    done = sum(outcome.letters for outcome in total)
    assert 5 < done < 10
    assert queued(tmp_path) == big[:done]
    assert buried(tmp_path) == big[done:]
    statistics = read_statistics(tmp_path)
    assert statistics.bytes <= MOST_FULL * LEAST_MAX_BYTES
    assert statistics.max_bytes == LEAST_MAX_BYTES
    producer = await SqliteProducer.open(tmp_path, max_bytes=LEAST_MAX_BYTES)
    await producer.append(encode_frame([record(99, 50_000)]))
    await producer.aclose()
    consumer = await SqliteConsumer.open(tmp_path, max_bytes=LEAST_MAX_BYTES, retain=100)
    await consumer.ack((await consumer.read(100))[-1].position)
    await consumer.aclose()
    retained = read_statistics(tmp_path).retained
    assert (
        put_back(tmp_path, choose(tmp_path)[:1]).letters == 1
    )  # acked frames would give way to what is received
    with pytest.raises(QueueFull):  # but not to dead letters
        put_back(tmp_path)
    assert read_statistics(tmp_path).retained == retained > 0
    assert buried(tmp_path) == big[done + 1 :]


APPEND = """
import select, sys, trio
from pathlib import Path
from ps2daemon.model.records import EventRecord
from ps2daemon.queue.frames import encode_frame
from ps2daemon.queue.sqlite import SqliteProducer
async def main():
    producer = await SqliteProducer.open(Path(sys.argv[1]), max_bytes=64 * 1024 * 1024)
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        await producer.append(encode_frame([EventRecord(number, b"[]")] * 3))
        print(number, flush=True)
        number += 1
    await producer.aclose()
trio.run(main)
"""


async def test_a_subscriber_appends_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requeueing, "MAX_RECORDS", 10)  # many batches
    monkeypatch.setattr(requeueing, "PAUSE_SECONDS", 0)
    own = [record(number) for number in range(1_000)]
    await make(tmp_path, own)
    with start(APPEND, str(tmp_path)) as producer:
        assert producer.stdout is not None
        assert producer.stdin is not None
        assert producer.stdout.readline() == "0\n"
        assert put_back(tmp_path) == Requeued(letters=1_000, records=1_000)
        producer.stdout.readline()
        producer.stdin.close()
        appended = 2 + len(producer.stdout.read().splitlines())
    assert producer.returncode == 0
    found = queued(tmp_path)
    others = [EventRecord(number, b"[]") for number in range(appended) for _ in range(3)]
    assert [each for each in found if each in others] == others
    assert [each for each in found if each not in others] == own
    assert found.index(own[0]) < found.index(others[-1])  # they were at it at once
    statistics = read_statistics(tmp_path)
    assert statistics.records == len(found) == 1_000 + 3 * appended
    assert statistics.frames == len(peek(tmp_path, 10_000)) == 100 + appended
    assert buried(tmp_path) == []


async def test_a_worker_gets_its_turn_between_two_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(tmp_path, [record(number) for number in range(10)])
    append = FrameTable.put

    def slowly(table: FrameTable, frame: bytes, block: bool = True) -> int:
        started.set()
        time.sleep(0.2)  # as on a slow disk
        return append(table, frame, block)

    started = threading.Event()
    monkeypatch.setattr(requeueing, "MAX_RECORDS", 1)
    monkeypatch.setattr(FrameTable, "put", slowly)
    monkeypatch.setattr("ps2daemon.queue.deadletters.BUSY_SECONDS", 1.0)
    letters = await SqliteDeadLetters.open(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: put_back(tmp_path))
        await trio.to_thread.run_sync(started.wait)
        await letters.put(encode_frame([record(99)]), "refused again", 1, 1_000)
        assert await letters.count() > 1  # it did not wait for the end
    assert buried(tmp_path) == [record(99)]
    await letters.aclose()


async def test_what_can_t_be_read_stays(tmp_path: Path) -> None:
    await make(tmp_path, [record(1)])
    letters = await SqliteDeadLetters.open(tmp_path)
    await letters.put(b"torn", "the bytes are no frame", 1, 1_000)
    await letters.put(encode_frame([record(2), record(3)]), "no use", 1, 1_000)
    await letters.aclose()
    assert put_back(tmp_path) == Requeued(letters=2, records=3, unreadable=1)
    assert queued(tmp_path) == [record(1), record(2), record(3)]
    assert [letter.frame for letter in read_dead_letters(tmp_path, 10)] == [b"torn"]


async def test_a_number_that_is_given_again_is_another_letter(tmp_path: Path) -> None:
    await make(tmp_path, [record(1)])
    chosen = choose(tmp_path, [1])
    assert drop(tmp_path, chosen) == 1
    await bury(tmp_path, [record(2)])
    assert [letter.id for letter in read_dead_letters(tmp_path, 10)] == [1]
    assert drop(tmp_path, chosen) == 0
    assert put_back(tmp_path, chosen) == Requeued(gone=1)
    assert (queued(tmp_path), buried(tmp_path)) == ([], [record(2)])


async def test_letters_are_chosen_by_number_and_by_reason(tmp_path: Path) -> None:
    await make(tmp_path, [record(1), record(2)])
    await bury(tmp_path, [record(3)], "50% of it_is missing")
    assert [letter.id for letter in choose(tmp_path)] == [1, 2, 3]
    assert [letter.id for letter in choose(tmp_path, [3, 1, 3])] == [1, 3]
    assert [letter.id for letter in choose(tmp_path, reason="% of it_")] == [3]
    assert choose(tmp_path, reason="%no use%") == []  # it is no pattern
    found = latest(tmp_path, 2)
    assert [letter.id for letter in found.letters] == [3, 2]
    assert found.reasons == (("no use", 2), ("50% of it_is missing", 1))
    assert found.total == 3
    assert [letter.id for letter in by_number(tmp_path, [3, 1, 3])] == [3, 1]
    for ask in (choose, by_number):
        with pytest.raises(LettersMissing, match=r"there is no dead letter 7, 9: .* nothing was done"):
            ask(tmp_path, [1, 9, 7] if ask is choose else [1, 7, 9])


async def test_one_requeues_at_a_time_and_only_into_a_queue_that_is_there(tmp_path: Path) -> None:
    await bury(tmp_path, [record(1)])
    with pytest.raises(QueueMissing, match="there is no queue in"):
        put_back(tmp_path)
    assert not (tmp_path / "queue.db").exists()
    await make(tmp_path, [])
    lock = Lock(tmp_path / "requeue.lock", "putting dead letters back into")
    with pytest.raises(QueueLocked, match="is putting dead letters back into the queue"):
        put_back(tmp_path)
    lock.release()
    assert put_back(tmp_path).letters == 1


def test_without_letters_there_is_nothing_to_do(tmp_path: Path) -> None:
    for look in (latest, lambda folder, limit: choose(folder)):
        with pytest.raises(QueueMissing):
            look(tmp_path / "none", 1)
    assert not (tmp_path / "none").exists()
