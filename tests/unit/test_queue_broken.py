"""The embedded queue in a broken world: each file that can't be used, each disk that refuses, each process that is in the way."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from ps2daemon.errors import (
    FrameError,
    QueueBusy,
    QueueDamaged,
    QueueFull,
    QueueLocked,
    QueueMismatch,
    QueueMissing,
    QueueUnwritable,
)
from ps2daemon.model.records import EventRecord
from ps2daemon.queue import files
from ps2daemon.queue.frames import decode_frame, encode_frame
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

MAX_BYTES = 64 * 1024 * 1024
FRAME = encode_frame([EventRecord(1_000, b"{}")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue"


async def fill(folder: Path, frames: int = 1) -> None:
    """A queue of some frames, closed again."""
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    for number in range(frames):
        await producer.append(encode_frame([EventRecord(number, b"{}")]))
    await producer.aclose()


def put(folder: Path, name: str, content: bytes) -> None:
    """Writes a file where the queue would."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def modes(folder: Path) -> dict[str, int]:
    """Who may do what with the folder (`.`) and with what is in it."""
    paths = {".": folder} | {path.name: path for path in folder.iterdir()}
    return {name: path.stat().st_mode & 0o777 for name, path in paths.items()}


def edit(path: Path, statement: str, *values: object) -> None:
    """Changes a database behind the queue's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


# Files


async def test_folders_and_files_are_for_the_owner_only(folder: Path) -> None:
    await fill(folder)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    letters = await SqliteDeadLetters.open(folder)
    found = modes(folder)
    assert found.pop(".") == 0o700
    assert {"queue.db", "queue.db-wal", "dead-letters.db", "consumer.lock"} <= set(found)
    assert set(found.values()) == {0o600}
    await letters.aclose()
    await consumer.aclose()


async def test_every_connection_that_writes_is_durable(folder: Path) -> None:
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    for end in (producer, consumer):
        for connection in (end._file.frames._getter, end._file.frames._putter):
            for pragma, value in (
                ("journal_mode", "wal"),
                ("synchronous", 2),  # FULL
                ("secure_delete", 0),
                ("journal_size_limit", files.JOURNAL_BYTES),
            ):
                assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,), pragma
    await producer.aclose()
    await consumer.aclose()


@pytest.mark.parametrize("change", ["torn", "crc", "version"])
async def test_a_broken_frame_is_handed_over_as_it_is_and_fails_to_decode(folder: Path, change: str) -> None:
    await fill(folder, 3)
    broken = bytearray(FRAME)
    if change == "crc":
        broken[-1] ^= 1
    elif change == "version":
        broken[4] = 9
    else:
        del broken[-3:]
    edit(folder / "queue.db", "UPDATE queue_frames SET data = ? WHERE _id = 2", bytes(broken))
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    first, second, third = await consumer.read(10)
    assert len(decode_frame(first.frame)) == len(decode_frame(third.frame)) == 1
    with pytest.raises(FrameError, match={"torn": "torn", "crc": "CRC", "version": "version 9"}[change]):
        decode_frame(second.frame)
    await consumer.ack(third.position)  # it is no obstacle for what stands behind it
    assert (await consumer.statistics()).frames == 0
    await consumer.aclose()


@pytest.mark.parametrize(
    "content",
    [b"what is this?", b"what is this? " * 1_000, b"SQLite format 3\0" + b"\xff" * 5_000],
    ids=["short", "long", "with SQLite's own beginning"],
)
async def test_who_only_looks_leaves_a_file_that_is_no_database(folder: Path, content: bytes) -> None:
    """An end of the queue does not: see `test_queue_damaged.py`."""
    for name in ("queue.db", "dead-letters.db"):
        put(folder, name, content)
    with pytest.raises(QueueDamaged, match=r"queue\.db is damaged"):
        read_statistics(folder)
    with pytest.raises(QueueDamaged, match=r"queue\.db is damaged"):
        peek(folder, 1)
    with pytest.raises(QueueDamaged, match=r"dead-letters\.db is damaged"):
        read_dead_letters(folder, 1)
    assert (folder / "queue.db").read_bytes() == content


async def test_a_database_of_another_program_is_left_alone(folder: Path) -> None:
    put(folder, "queue.db", b"")
    edit(folder / "queue.db", "CREATE TABLE songs (title TEXT)")
    before = (folder / "queue.db").read_bytes()
    with pytest.raises(QueueMismatch, match="a database of another program, no queue: move it away"):
        await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    with pytest.raises(QueueMismatch, match="a database of another program"):
        read_statistics(folder)
    assert (folder / "queue.db").read_bytes() == before


async def test_the_dead_letters_are_no_queue(folder: Path) -> None:
    await fill(folder)
    shutil.copy(folder / "queue.db", folder / "dead-letters.db")
    with pytest.raises(QueueMismatch, match="another program, no file of dead letters"):
        await SqliteDeadLetters.open(folder)


async def test_a_queue_of_a_newer_version_is_left_alone(folder: Path) -> None:
    await fill(folder)
    edit(folder / "queue.db", "PRAGMA user_version=2")
    message = r"version 2 of the queue's format, and this ps2daemon knows version 1: update ps2daemon, or"
    with pytest.raises(QueueMismatch, match=message):
        await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    with pytest.raises(QueueMismatch, match=message):
        await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    with pytest.raises(QueueMismatch, match=message):
        read_statistics(folder)
    edit(folder / "queue.db", "PRAGMA user_version=1")
    assert read_statistics(folder).frames == 1


async def test_a_creation_that_broke_off_is_made_good(folder: Path) -> None:
    put(folder, "queue.db", b"")
    with pytest.raises(QueueMissing, match="is empty yet"):
        read_statistics(folder)
    await fill(folder)
    assert read_statistics(folder).frames == 1


def test_a_reader_of_a_queue_that_is_not_there_creates_nothing(folder: Path) -> None:
    for look in (read_statistics, lambda folder: peek(folder, 1)):
        with pytest.raises(QueueMissing, match=r"there is no queue in .* yet: start recording, or import"):
            look(folder)
    assert read_dead_letters(folder, 10) == []
    assert not folder.exists()


# Permissions and disks


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder whose owner is somebody else; root, who may write everywhere, becomes nobody for a while."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


async def test_a_folder_that_can_only_be_read(unprivileged: Path) -> None:
    message = r"can't be used \(.*\): give this user write access to .*, or set another queue.directory"
    for folder in (unprivileged, unprivileged / "queue"):
        with pytest.raises(QueueUnwritable, match=message):
            await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
        with pytest.raises(QueueUnwritable, match=message):
            await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
        with pytest.raises(QueueUnwritable, match=message):
            await SqliteDeadLetters.open(folder)


async def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("not a folder")
    with pytest.raises(QueueUnwritable, match="can't be used"):
        await SqliteProducer.open(tmp_path / "queue", max_bytes=MAX_BYTES)


async def test_a_disk_that_is_nearly_full_refuses_appends_and_not_acks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    await producer.append(FRAME)
    monkeypatch.setattr("ps2daemon.queue.sqlite.free_bytes", lambda folder: RESERVE_BYTES)
    with pytest.raises(QueueFull, match="has 16 MiB left, and 16 MiB are kept for the worker: make room"):
        await producer.append(FRAME)
    assert (await producer.statistics()).frames == 1
    [item] = await consumer.read(10)
    await consumer.ack(item.position)
    monkeypatch.undo()
    await producer.append(FRAME)
    assert (await consumer.statistics()).frames == 1
    await producer.aclose()
    await consumer.aclose()


async def test_the_file_never_grows_beyond_its_bound(folder: Path) -> None:
    producer = await SqliteProducer.open(folder, max_bytes=LEAST_MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=LEAST_MAX_BYTES)
    refused = 0
    for number in range(200):
        try:
            await producer.append(encode_frame([EventRecord(number, b"x" * 1_000 * (number % 60 + 1))]))
        except QueueFull:
            refused += 1
            await consumer.ack((await consumer.read(5))[-1].position)
    await producer.aclose()
    await consumer.aclose()
    assert refused > 5
    assert (folder / "queue.db").stat().st_size <= LEAST_MAX_BYTES


async def test_bounds_that_make_no_sense_are_refused(folder: Path) -> None:
    for max_bytes, retain in ((LEAST_MAX_BYTES - 1, 0), (MAX_BYTES, -1)):
        with pytest.raises(ValueError, match="max_bytes is at least"):
            await SqliteProducer.open(folder, max_bytes=max_bytes, retain=retain)


async def test_a_program_that_does_not_let_go_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(folder)
    monkeypatch.setattr("ps2daemon.queue.table.BUSY_SECONDS", 0.05)
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    with closing(sqlite3.connect(folder / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueBusy, match="is locked by another program"):
            await producer.append(FRAME)
    await producer.append(FRAME)
    assert (await producer.statistics()).frames == 2
    await producer.aclose()


# Processes

HOLD = """
import sys, trio
from pathlib import Path
from ps2daemon.queue.sqlite import SqliteConsumer, SqliteProducer
async def main():
    end = await {end}.open(Path(sys.argv[1]), max_bytes=64 * 1024 * 1024)
    print("open", flush=True)
    await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""
APPEND = """
import sys, trio
from pathlib import Path
from ps2daemon.model.records import EventRecord
from ps2daemon.queue.frames import encode_frame
from ps2daemon.queue.sqlite import SqliteProducer
async def main():
    producer = await SqliteProducer.open(Path(sys.argv[1]), max_bytes=64 * 1024 * 1024)
    number = 0
    while number != int(sys.argv[2]):
        await producer.append(encode_frame([EventRecord(number, b"{}")] * 3))
        print(number, flush=True)
        number += 1
    await producer.aclose()
trio.run(main)
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("end", [SqliteConsumer, SqliteProducer])
async def test_a_second_process_is_told_who_was_first(
    folder: Path, end: type[SqliteConsumer] | type[SqliteProducer]
) -> None:
    with start(HOLD.format(end=end.__name__), str(folder)) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "open\n"
        message = (
            f"process {first.pid} is .* the queue in .* already: stop it first, or give this one another"
        )
        with pytest.raises(QueueLocked, match=message) as caught:
            await end.open(folder, max_bytes=MAX_BYTES)
        assert caught.value.pid == first.pid
        other = SqliteProducer if end is SqliteConsumer else SqliteConsumer
        await (await other.open(folder, max_bytes=MAX_BYTES)).aclose()
        first.kill()
        first.wait()
        await (await end.open(folder, max_bytes=MAX_BYTES)).aclose()  # a killed process holds nothing


async def test_another_program_that_looks_in_does_not_take_the_journal_along(folder: Path) -> None:
    """SQLite deletes the journal when the last who has the file open closes it: that must not seem to be somebody else."""
    producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)  # in the same process
    await producer.append(FRAME)
    look = f"import sqlite3; sqlite3.connect({str(folder / 'queue.db')!r}).execute('SELECT * FROM state')"
    with start(look) as other:
        assert other.wait() == 0
    await producer.append(FRAME)
    assert "queue.db-wal" in modes(folder)
    assert read_statistics(folder).frames == 2
    await producer.aclose()
    await consumer.aclose()


async def test_every_frame_that_was_confirmed_survives_a_kill(folder: Path) -> None:
    with start(APPEND, str(folder), "-1") as producer:
        assert producer.stdout is not None
        for _ in range(50):
            producer.stdout.readline()
        producer.send_signal(signal.SIGKILL)
        producer.wait()
        confirmed = 50 + len(producer.stdout.read().splitlines())
    assert read_statistics(folder).frames in (
        confirmed,
        confirmed + 1,
    )  # a reader is first to see the journal
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    read = await consumer.read(100_000)
    records = [decode_frame(item.frame)[0] for item in read]
    assert records == [EventRecord(number, b"{}") for number in range(len(read))]
    assert len(read) in (confirmed, confirmed + 1)
    assert (await consumer.statistics()).records == 3 * len(read)
    await consumer.aclose()


async def test_two_processes_share_the_queue_while_a_third_looks(folder: Path) -> None:
    total = 200
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES, retain=10)
    stop = threading.Event()
    looks = []

    def look() -> None:
        while not stop.is_set():
            looks.append((read_statistics(folder), len(peek(folder, 5))))

    taken = 0
    with start(APPEND, str(folder), str(total)) as producer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, look)
            with trio.fail_after(60):
                while taken < total:
                    for item in await consumer.read(7):
                        assert decode_frame(item.frame)[0] == EventRecord(taken, b"{}")
                        taken += 1
                        await consumer.ack(item.position)
            stop.set()
        producer.communicate()
        assert producer.returncode == 0
    assert looks
    assert all(statistics.records == 3 * statistics.frames for statistics, _ in looks)
    left = await consumer.statistics()
    assert (left.frames, left.records, left.bytes, left.retained) == (0, 0, 0, 10)
    await consumer.aclose()


async def test_a_hundred_thousand_frames_are_counted_without_being_read(folder: Path) -> None:
    await fill(folder)
    edit(
        folder / "queue.db",
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
        "INSERT INTO queue_frames (oldest_at, records, records_total, bytes_total, data) "
        "SELECT i, 1, i, i * 26, zeroblob(300) FROM n",
    )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    consumer._file.frames._getter.set_progress_handler(count, 1)  # called at each step of SQLite's machine
    statistics = await consumer.statistics()
    assert (statistics.frames, statistics.records, statistics.bytes) == (100_000, 100_000, 2_600_000)
    assert 0 < steps < 500
    await consumer.aclose()


# A look from outside


async def test_peek_takes_nothing_out(folder: Path) -> None:
    await fill(folder, 5)
    first = peek(folder, 2)
    assert [decode_frame(item.frame)[0] for item in first] == [
        EventRecord(0, b"{}"),
        EventRecord(1, b"{}"),
    ]
    assert peek(folder, 2) == first
    rest = peek(folder, 100, after=first[-1].position)
    assert len(rest) == 3
    consumer = await SqliteConsumer.open(folder, max_bytes=MAX_BYTES)
    read = await consumer.read(100)
    assert read == first + rest
    await consumer.ack(read[2].position)
    assert peek(folder, 100) == read[3:]
    await consumer.aclose()


async def test_dead_letters_can_be_read_while_they_are_written(folder: Path) -> None:
    letters = await SqliteDeadLetters.open(folder)
    await letters.put(FRAME, "reason", 1, 1_000)
    assert read_dead_letters(folder, 10) == await letters.list(10)
    await letters.aclose()
    assert [letter.frame for letter in read_dead_letters(folder, 10)] == [FRAME]
    letters = await SqliteDeadLetters.open(folder)
    assert await letters.count() == 1
    await letters.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await letters.count()
