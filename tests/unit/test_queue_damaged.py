"""A queue's file that is damaged: what can be read is saved, in order, and nothing that is vouched for is missing."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio

from ps2daemon.errors import FrameError, QueueFull, QueueReplaced
from ps2daemon.model.records import MINUTE, SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.queue import rescue as rescue_module
from ps2daemon.queue.frames import decode_frame, encode_frame
from ps2daemon.queue.memory import MemoryQueue
from ps2daemon.queue.mending import LOST
from ps2daemon.queue.rescue import Damage, damages
from ps2daemon.queue.sqlite import SqliteConsumer, SqliteDeadLetters, SqliteProducer, read_statistics
from tests.records import T0
from tests.unit.test_queue_broken import put, start

MAX_BYTES = 64 * 1024 * 1024
PAGE = 4096
FRAMES = 300
"""Of them, some have rows on several pages."""
ACKED = 20
WAITING = range(ACKED, FRAMES)
START: Ms = T0 - MINUTE
"""When the span began that is unbroken from then on."""


def frame(number: int) -> bytes:
    """A frame of a live stream: an event every second, and at every seventh a claim of all that was before."""
    at = T0 + number * SECOND
    size = 9_000 if number % 50 == 49 else 300
    records: list[Record] = [EventRecord(at + 300, b"%d %s" % (at, b"x" * size))]
    if number % 7 == 6:
        records.append(CoverageRecord(10, START, at, "start"))
    return encode_frame(records)


def event_time(record: EventRecord) -> Ms:
    return int(record.payload.split()[0])


async def taken_out(consumer: SqliteConsumer, found: list[Record] | None = None) -> list[Record]:
    """All records, as a worker takes them out, added to `found`; a frame that can't be decoded is left out."""
    found = [] if found is None else found
    while items := await consumer.read(10):
        for item in items:
            try:
                found += decode_frame(item.frame)
            except FrameError as error:
                await consumer.ack_lost(item.position, str(error))
                break
        else:
            await consumer.ack(items[-1].position)
    return found


def check(found: Sequence[Record], numbers: Sequence[int] = WAITING) -> int:
    """What is vouched for is there, before the claim and in order; returns how many events there are.

    Args:
        numbers: the frames that were in the queue and had not been taken out.
    """
    written = [record for number in range(FRAMES) for record in decode_frame(frame(number))]
    events = list(dict.fromkeys(record for record in found if isinstance(record, EventRecord)))
    assert set(events) <= set(written)
    assert events == sorted(events, key=event_time)
    seen: set[Ms] = set()
    times = [T0 + number * SECOND for number in numbers]
    for record in found:
        if isinstance(record, EventRecord):
            seen.add(event_time(record))
        else:
            assert {at for at in times if record.start <= at < record.end} <= seen
            assert record in written or record.after == LOST
    return len(events)


def left(folder: Path) -> set[str]:
    """The files of the queue."""
    return {path.name for path in folder.iterdir() if not path.name.startswith("damaged-")}


def half_done(folder: Path) -> list[Path]:
    """What is left of a replacement that was not completed."""
    return [*folder.glob("damaged-*/building.db"), *folder.glob("damaged-*/rescued.db")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "queue"


async def fill(folder: Path) -> None:
    """A queue that was closed in order."""
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    for number in range(FRAMES):
        await producer.append(frame(number))
    await consumer.read(ACKED)
    await consumer.ack((await consumer.read(1))[0].position - 1)
    await producer.aclose()
    await consumer.aclose()


async def fill_and_kill(folder: Path) -> None:
    """A queue whose last frames are in its journal alone."""
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    for number in range(FRAMES):
        await producer.append(frame(number))
        if number == FRAMES // 2:
            await consumer.read(ACKED)
            await consumer.ack((await consumer.read(1))[0].position - 1)
            with closing(sqlite3.connect(folder / "queue.db")) as other:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
    shutil.copytree(folder, folder.with_name("dead"))
    await producer.aclose()
    await consumer.aclose()
    shutil.rmtree(folder)
    folder.with_name("dead").rename(folder)


def overwrite(path: Path, at: int, content: bytes) -> None:
    """In another process, as closing the file in this one would give up its locks."""
    code = "import os, sys; f = os.open(sys.argv[1], os.O_RDWR); os.pwrite(f, bytes.fromhex(sys.argv[3]), int(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(path), str(at), content.hex()], check=True)


def write_over(path: Path, at: int, content: bytes) -> None:
    """While nobody has it open."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


async def recovered(folder: Path) -> tuple[list[Record], list[Damage]]:
    """What a worker takes out, and what is told."""
    told: list[Damage] = []
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES, on_damage=told.append)
    found = await taken_out(consumer)
    assert (await consumer.statistics()).frames == 0
    await consumer.aclose()
    assert damages(folder) == told[-rescue_module.KEPT :]
    assert left(folder) <= {"queue.db", "open.lock", "producer.lock", "consumer.lock"}
    return found, told


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "queue"
    trio.run(fill, folder)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "queue"
    trio.run(fill_and_kill, folder)
    return folder


async def test_without_damage_all_is_there(filled: Path, folder: Path) -> None:
    shutil.copytree(filled, folder)
    found, told = await recovered(folder)
    assert (check(found), told) == (FRAMES - ACKED, [])


@pytest.mark.parametrize(
    ("content", "step"), [(b"\xff", 1), (b"\0", 3), (b"\x0d", 7)], ids=["ones", "zeros", "like a leaf"]
)
async def test_any_page_may_be_overwritten(content: bytes, step: int, filled: Path, folder: Path) -> None:
    pages = range(0, (filled / "queue.db").stat().st_size // PAGE, step)
    noticed = 0
    for page in pages:
        shutil.copytree(filled, folder)
        write_over(folder / "queue.db", page * PAGE, content * PAGE)
        found, told = await recovered(folder)
        lost = FRAMES - ACKED - check(found)
        assert -ACKED <= lost <= 12, page
        if lost > 0:
            assert told
            assert told[-1].lost or not told[-1].all_known
        noticed += bool(told)
        shutil.rmtree(folder)
    assert noticed > len(pages) * 0.7


async def test_its_header_may_be_garbage(filled: Path, folder: Path) -> None:
    """As may all of its first page: everything is saved."""
    shutil.copytree(filled, folder)
    write_over(folder / "queue.db", 0, os.urandom(PAGE))
    before = (folder / "queue.db").read_bytes()
    found, [damage] = await recovered(folder)
    assert check(found) == FRAMES - ACKED
    assert (damage.lost, damage.all_known) == (0, True)
    assert "file is not a database" in damage.reason
    assert (Path(damage.folder) / "queue.db").read_bytes() == before
    claims = [record for record in found if isinstance(record, CoverageRecord)]
    assert {claim.after for claim in claims} == {"start"}, "nothing is lost, and so is no claim"


async def test_it_may_be_cut_off_anywhere(filled: Path, folder: Path) -> None:
    size = (filled / "queue.db").stat().st_size
    for length in (*range(PAGE, size, 3 * PAGE), size - 1, size - PAGE - 100, 50):
        shutil.copytree(filled, folder)
        os.truncate(folder / "queue.db", length)
        found, told = await recovered(folder)
        assert check(found) >= (length // PAGE) * 3 - ACKED - 20, length
        assert told
        shutil.rmtree(folder)


async def test_all_of_it_may_be_something_else(folder: Path) -> None:
    put(folder, "queue.db", b"what is this? " * 1_000)
    found, [damage] = await recovered(folder)
    assert found == []
    assert not damage.all_known
    assert (
        Path(damage.folder) / "queue.db"
    ).read_bytes() == b"what is this? " * 1_000  # it may be somebody's


@pytest.mark.parametrize("file", ["queue.db", "queue.db-wal"])
async def test_so_may_pages_be_of_a_queue_whose_process_was_killed(
    file: str, killed: Path, folder: Path
) -> None:
    chance = random.Random(1)
    size = (killed / file).stat().st_size
    for _ in range(30):
        shutil.copytree(killed, folder)
        write_over(folder / file, chance.randrange(size), os.urandom(chance.choice((1, 50, PAGE))))
        found, _ = await recovered(folder)
        check(found)
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_vouched_for_that_is_not_there(seed: int, filled: Path, folder: Path) -> None:
    """Bits that flip are seen by the frames alone."""
    chance = random.Random(seed)
    size = (filled / "queue.db").stat().st_size
    for _ in range(20):
        shutil.copytree(filled, folder)
        for _ in range(chance.choice((1, 1, 3, 30))):
            write_over(folder / "queue.db", chance.randrange(size), os.urandom(1))
        found, _ = await recovered(folder)
        check(found)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("column", "by"), [("position", 5), ("position", -3), ("position", 10_000), ("records", 1)]
)
async def test_what_is_acked_may_be_told_wrong(column: str, by: int, filled: Path, folder: Path) -> None:
    shutil.copytree(filled, folder)
    with closing(sqlite3.connect(folder / "queue.db", isolation_level=None)) as other:
        other.execute(f"UPDATE state SET {column} = {column} + ?", (by,))
    found, told = await recovered(folder)
    assert check(found) >= FRAMES - ACKED
    assert len(told) == 1


async def test_the_other_end_goes_on_in_the_new_file_and_is_told_once(folder: Path) -> None:
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    for number in range(100):
        await producer.append(frame(number))
    items = await consumer.read(50)
    await consumer.ack_lost(items[30].position, "torn")
    with pytest.raises(QueueReplaced, match="some of what was in it is lost"):
        await producer.append(frame(100))
    for number in range(100, 120):
        await producer.append(frame(number))
    with pytest.raises(ValueError, match="never read"):
        await consumer.ack(10**15)
    await consumer.ack(items[49].position)  # of the queue before: it acks nothing
    found = await taken_out(consumer)
    assert [event_time(record) for record in found if isinstance(record, EventRecord)] == [
        T0 + number * SECOND for number in range(31, 120)
    ]
    claims = [record for record in found if isinstance(record, CoverageRecord)]
    cut = [claim for claim in claims if claim.end <= T0 + 99 * SECOND]
    assert {(claim.start, claim.after) for claim in cut} == {(T0 + 32 * SECOND, LOST)}
    assert (await producer.statistics()).frames == 0
    await producer.aclose()
    await consumer.aclose()
    assert left(folder) == {"queue.db", "open.lock", "producer.lock", "consumer.lock"}


OTHER = """
import sys, trio
from pathlib import Path
from ps2daemon.errors import QueueReplaced
from ps2daemon.queue.sqlite import SqliteProducer
from tests.unit.test_queue_damaged import frame
async def main():
    producer = await SqliteProducer.open(Path(sys.argv[1]), max_bytes=64 * 1024 * 1024)
    for line in sys.stdin:
        try:
            await producer.append(frame(int(line)))
        except QueueReplaced:
            print("replaced", flush=True)
            await producer.append(frame(int(line)))
        print("done", flush=True)
    await producer.aclose()
trio.run(main)
"""


async def test_a_process_that_has_the_damaged_file_open_harms_nothing(folder: Path) -> None:
    """Its frames go into the new file, and its end does not write what it had open back, or delete the new file's journal."""
    with start(OTHER, str(folder)) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def append(*numbers: int) -> list[str]:
            assert other.stdin is not None
            assert other.stdout is not None
            said = []
            for number in numbers:
                other.stdin.write(f"{number}\n")
                other.stdin.flush()
                said.append(other.stdout.readline().strip())
                while said[-1] != "done":
                    said.append(other.stdout.readline().strip())
            return said

        append(*range(200))
        overwrite(folder / "queue.db", 0, b"\xff" * 100)
        overwrite(folder / "queue.db-wal", 20 * PAGE, b"\xff" * 3 * PAGE)
        overwrite(folder / "queue.db-wal", 40 * PAGE, b"\xff" * 3 * PAGE)
        consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
        [item] = await consumer.read(1)
        await consumer.ack_lost(item.position, "torn")
        first = await taken_out(consumer)
        assert append(200).count("replaced") == 1
        assert append(*range(201, 210)).count("replaced") == 0
        other.stdin.close()
        other.wait()
        assert other.returncode == 0
        assert "queue.db-wal" in left(folder)
        later = [event_time(each) for each in await taken_out(consumer) if isinstance(each, EventRecord)]
        assert later == [T0 + number * SECOND for number in range(200, 210)]
        assert check(first, range(200)) > 100
        await consumer.aclose()


@pytest.mark.parametrize("moment", range(8))
async def test_a_kill_while_it_is_replaced_loses_nothing(
    moment: int, filled: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, folder)
    write_over(folder / "queue.db", 0, os.urandom(PAGE))
    steps = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*values: object, **named: object) -> object:
            nonlocal steps
            steps += 1
            if steps > moment:
                raise KeyboardInterrupt
            return function(*values, **named)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "rename"), (Path, "write_bytes"), (rescue_module, "sync_folder")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))  # a kill does not tidy up
        with pytest.raises(KeyboardInterrupt):
            await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    rescue_module._open_files.clear()
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    assert check(await taken_out(consumer)) == FRAMES - ACKED
    await consumer.aclose()
    assert left(folder) == {"queue.db", "open.lock", "producer.lock", "consumer.lock"}
    assert not half_done(folder)


async def test_without_room_for_what_is_saved_it_is_waited_for(
    filled: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(filled, folder)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    write_over(folder / "queue.db", 30 * PAGE, b"\xff" * 20 * PAGE)
    found: list[Record] = []
    with monkeypatch.context() as patch:

        def full(*values: object) -> int:
            raise QueueFull("the disk is full")

        patch.setattr(rescue_module, "_build", full)
        for _ in range(3):
            with pytest.raises(QueueFull):
                await taken_out(consumer, found)
            assert damages(folder) == []
    await taken_out(consumer, found)
    assert check(found) > 50
    [damage] = damages(folder)
    assert damage.lost > 0
    await consumer.aclose()


async def test_only_the_latest_damaged_files_are_kept(filled: Path, folder: Path) -> None:
    shutil.copytree(filled, folder)
    told: list[Damage] = []
    for _ in range(5):
        write_over(folder / "queue.db", 0, os.urandom(100))
        consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES, on_damage=told.append)
        await consumer.aclose()
    assert [damage.frames for damage in told] == [FRAMES - ACKED] * 5
    assert damages(folder) == told[-3:]
    assert read_statistics(folder).frames == FRAMES - ACKED


async def test_a_queue_in_memory_does_the_same() -> None:
    queue = MemoryQueue()
    producer, consumer = queue.producer(), queue.consumer()
    for number in range(100):
        await producer.append(frame(number))
    items = await consumer.read(50)
    await consumer.ack_lost(items[30].position, "torn")
    with pytest.raises(QueueReplaced):
        await producer.append(frame(100))
    await producer.append(frame(100))
    found = [record for item in await consumer.read(100) for record in decode_frame(item.frame)]
    assert check(found, range(31, 101)) == 70
    claims = [record for record in found if isinstance(record, CoverageRecord)]
    assert {(claim.start, claim.after) for claim in claims} == {(T0 + 32 * SECOND, LOST)}


@pytest.mark.parametrize("open_", [True, False], ids=["while it is open", "before"])
async def test_damaged_dead_letters_make_room_for_new_ones(open_: bool, folder: Path) -> None:
    told: list[Damage] = []
    letters = await SqliteDeadLetters.open(folder, on_damage=told.append)
    for number in range(100):
        await letters.put(frame(number), "some reason", 1, T0)
    if open_:
        with closing(sqlite3.connect(folder / "dead-letters.db", isolation_level=None)) as other:
            other.execute("UPDATE letters SET attempts = 2")  # so that nothing is known by heart
        size = (folder / "dead-letters.db-wal").stat().st_size
        overwrite(folder / "dead-letters.db-wal", size - 14 * PAGE, b"\xff" * 14 * PAGE)
    else:
        await letters.aclose()
        put(folder, "dead-letters.db", os.urandom(5 * PAGE))
        letters = await SqliteDeadLetters.open(folder, on_damage=told.append)
    for number in range(100, 110):
        await letters.put(frame(number), "some reason", 1, T0)
    assert [letter.frame for letter in await letters.list(200)] == [
        frame(number) for number in range(100, 110)
    ]
    assert damages(folder) == told
    assert len(told) == 1
    await letters.aclose()
