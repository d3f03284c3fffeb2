"""The SQLite file: who may open it, what becomes of an older, newer, foreign or broken one, and what its outages are."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from ps2daemon.errors import ConfigError, StoreMismatch, StoreUnavailable
from ps2daemon.model.alerts import derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.store.base import Commit
from ps2daemon.store.changes import session_documents
from ps2daemon.store.sqlite import SqliteStore, connection, schema, writing
from ps2daemon.store.sqlite.connection import connect, foreign_errors
from ps2daemon.store.sqlite.schema import open_writer
from tests import memory_reader
from tests.contract.stores import T0, all_of, change, character, continent_lock, exported, session

VERSION_1 = Path(__file__).parent / "data" / "store_version_1.sql"
LATER = [T0 + number * DAY for number in range(7)]
"""The same time of as many days."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ps2 store?#%.db"


@asynccontextmanager
async def opened(path: Path, *, read_only: bool = False) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, read_only=read_only)
    try:
        yield store
    finally:
        await store.aclose()


def script(path: Path, text: str) -> None:
    """Runs SQL on a file as another program would."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as other:
        other.executescript(text)


async def versions(store: SqliteStore) -> list[dict[int, object]]:
    """The versions of `DaySource.day_versions` and `ending_versions` by the number of the day, the first of `LATER` being 0."""
    days = range(T0 // DAY - 9, T0 // DAY + 19)
    found = [await tell(days, (10,)) for tell in (store.day_versions, store.ending_versions)]
    return [{day - T0 // DAY: version for (_, day), version in each.items()} for each in found]


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def content(path: Path) -> bytes:
    return path.read_bytes()


def is_there(path: Path) -> bool:
    return path.exists()


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("PRAGMA user_version").fetchone()[0])


# A file of this version


async def test_only_its_owner_may_read_it(path: Path) -> None:
    async with opened(path) as store:
        await store.commit(all_of(character("1", session(T0))))
        files = list(path.parent.iterdir())
        assert len(files) == 3, "the file, its log and its index"
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert list(path.parent.iterdir()) == [path]


async def test_it_is_what_it_was_after_opening_again(path: Path) -> None:
    document = character("1", session(T0))
    for _ in range(3):
        async with opened(path) as store:
            if not await store.load_characters(["1"]):
                await store.commit(all_of(document))
            assert (await exported(store))[0] == [document]
    assert user_version(path) == schema.VERSION


def test_a_commit_is_flushed_to_the_disk(path: Path) -> None:
    with closing(open_writer(path)) as writer:
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL: after each commit"
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_closing_while_cancelled_still_closes(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with opened(path) as store:
            await store.commit(all_of(character("1", session(T0))))
            scope.cancel()
    assert scope.cancel_called
    assert list(path.parent.iterdir()) == [path]


async def test_a_store_opened_for_reading_cannot_write(path: Path) -> None:
    async with opened(path), opened(path, read_only=True) as reader:
        with pytest.raises(ValueError, match="for reading"):
            await reader.commit(Commit(records_until=T0))
        assert await reader.load_characters(["1"]) == {}
    with (
        closing(connect(path, read_only=True)) as raw,
        pytest.raises(StoreUnavailable, match="may not write"),
        foreign_errors(path),
    ):
        raw.execute("DELETE FROM meta")


async def test_the_totals_are_what_counting_gives(path: Path) -> None:
    documents = [
        character(str(number), session(T0), session(T0 + HOUR, T0 + 2 * HOUR)) for number in range(50)
    ]
    async with opened(path) as store:
        await store.commit(all_of(*documents))
        gone = [key for document in documents[:7] for key in session_documents(document)]
        await store.commit(Commit(gone_sessions=gone))
        await store.commit(Commit(gone_sessions=gone, sessions=all_of(*documents[:9]).sessions[10:]))
        counts = await store.counts()
        with closing(sqlite3.connect(path)) as other:
            for table in ("characters", "sessions"):
                (number,) = other.execute(f"SELECT count(*) FROM {table}").fetchone()
                assert counts[table] == number
        assert counts["sessions"] == 100 - 14 + 4


async def test_a_long_export_does_not_keep_the_writer_waiting(path: Path) -> None:
    async with opened(path) as store, opened(path, read_only=True) as reader:
        await store.commit(all_of(*(character(str(number), session(T0)) for number in range(2000))))
        exports = [store.all_characters(), store.all_characters(), reader.all_characters()]
        for export in exports:
            await anext(export)
        with trio.fail_after(5):
            await store.commit(all_of(character("x", session(T0))))
            assert len(await store.load_characters(["x"])) == 1
        for export in exports:
            assert [document.character_id async for document in export][-1] == "x"


# Files of other versions


async def test_a_file_of_version_1_becomes_one_of_this_version(path: Path) -> None:
    script(path, VERSION_1.read_text())
    with pytest.raises(StoreMismatch, match=r"version 1, .*start `ps2daemon run` once"):
        await SqliteStore.open(path, read_only=True)
    async with opened(path) as store:
        characters, sessions = await exported(store)
        expected = {key: found for each in characters for key, found in session_documents(each).items()}
        assert {found.session_id: found for found in sessions} == expected
        assert {key: found.not_before for key, found in expected.items()} == {
            f"100-{T0}-out": None,
            f"100-{T0}": T0,
            f"100-{T0 + 3 * HOUR}": T0 + HOUR,
            f"20-{T0 + 2 * HOUR}": None,
        }
        assert await store.counts() == {
            "characters": 2,
            "unnamed": 1,
            "sessions": 4,
            "open": 2,
            "alerts": 0,
            "locks": 0,
            "spans": 1,
            "notes": 0,
        }
        assert await store.records_until() == T0 + 4 * HOUR
        assert (await store.load_characters(["100"]))["100"].version == 3
    assert user_version(path) == schema.VERSION


async def test_each_day_of_an_older_file_that_has_anything_gets_a_version(path: Path) -> None:
    sessions = [
        memory_reader.session("1", LATER[0], None),
        memory_reader.session("1", LATER[1] - HOUR, LATER[2]),
        memory_reader.session("2", None, LATER[3]),
    ]
    changes = [change(LATER[4] - HOUR, STARTED), change(LATER[4], ENDED), change(LATER[6], STARTED, 2)]
    alerts = list(derive(changes, [], LATER[6])[0].values())
    async with opened(path) as store:
        await store.commit(Commit(sessions=sessions, alerts=alerts, locks=[continent_lock(LATER[5])]))
        days, endings = await versions(store)
    assert [sorted(days), sorted(endings)] == [[0, 1, 2], [3, 4, 5]]
    script(path, "DELETE FROM session_days; DELETE FROM ending_days; PRAGMA user_version = 8")
    async with opened(path) as store:
        assert [found.keys() for found in await versions(store)] == [days.keys(), endings.keys()]
        await store.commit(Commit(sessions=[memory_reader.session("3", LATER[0] + 1, None)]))
        assert (await versions(store))[0][0] == 2


async def test_a_new_file_and_a_migrated_one_have_the_same_tables(tmp_path: Path) -> None:
    def tables(path: Path) -> set[tuple[str, str]]:
        with closing(sqlite3.connect(path)) as other:
            return set(other.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))

    old, new = tmp_path / "old.db", tmp_path / "new.db"
    script(old, VERSION_1.read_text())
    for path in (old, new):
        async with opened(path):
            pass
    assert tables(old) == tables(new)


def test_a_step_that_breaks_off_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(path, VERSION_1.read_text())
    first, second, *others = schema.STEPS

    def breaks_off(raw: sqlite3.Connection) -> None:
        second(raw)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", (first, breaks_off, *others))
        with pytest.raises(KeyboardInterrupt):
            open_writer(path)
    assert user_version(path) == 1
    open_writer(path).close()
    schema.check_reader(path)


async def test_two_processes_may_open_a_new_store_at_once(path: Path) -> None:
    async def open_and_close() -> None:
        async with opened(path):
            pass

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(open_and_close)
    assert user_version(path) == schema.VERSION


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_newer_version_is_refused(path: Path, read_only: bool) -> None:
    async with opened(path):
        pass
    script(path, f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreMismatch, match=f"version {schema.VERSION + 1}, .*up to {schema.VERSION}"):
        await SqliteStore.open(path, read_only=read_only)


# Files that are no store


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "text", ["CREATE TABLE notes (text)", "PRAGMA user_version = 1", "PRAGMA application_id = 5"]
)
async def test_a_database_of_another_program_is_left_alone(path: Path, read_only: bool, text: str) -> None:
    script(path, text)
    before = content(path)
    with pytest.raises(StoreMismatch, match=r"another program: set store\.path"):
        await SqliteStore.open(path, read_only=read_only)
    assert content(path) == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_file_that_is_no_database_is_left_alone(path: Path, read_only: bool) -> None:
    put(path, b"Dear diary, " * 1000)
    with pytest.raises(StoreMismatch, match="no store of this program"):
        await SqliteStore.open(path, read_only=read_only)
    assert content(path) == b"Dear diary, " * 1000


async def test_a_damaged_file_says_so(path: Path) -> None:
    async with opened(path) as store:
        await store.commit(all_of(*(character(str(number), session(T0)) for number in range(500))))
    whole = content(path)
    put(path, whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(StoreMismatch, match="damaged"):
        async with opened(path, read_only=True) as store:
            await exported(store)


async def test_a_damaged_document_says_so(path: Path) -> None:
    async with opened(path) as store:
        await store.commit(all_of(character("1", session(T0))))
        script(path, "UPDATE characters SET login_logout_events = '[{}]'")
        with pytest.raises(StoreMismatch, match="can't be read"):
            await store.load_characters(["1"])


@pytest.mark.parametrize("empty", [False, True])
async def test_a_reader_is_told_to_record_first(path: Path, empty: bool) -> None:
    if empty:
        put(path, b"")
    with pytest.raises(StoreMismatch, match=r"no store at .* yet: start `ps2daemon run` first"):
        await SqliteStore.open(path, read_only=True)
    assert is_there(path) == empty, "a reader makes nothing"


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    put(path, b"")
    async with opened(path) as store:
        assert (await store.counts())["sessions"] == 0


def a_file_in_the_way(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "ps2.db"


def a_folder(folder: Path) -> Path:
    return folder


def no_place_for_files(folder: Path) -> Path:
    return Path("/proc/self/ps2.db")


@pytest.mark.parametrize("place", [a_file_in_the_way, a_folder, no_place_for_files])
async def test_what_can_not_be_written_says_what_to_do(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path)
    with pytest.raises(ConfigError, match=r"store\.path: .*can't be written .*give the folder") as caught:
        await SqliteStore.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ps2.db").touch()
    tmp_path.chmod(0o500)
    for name in ("ps2.db", "new.db"):
        with pytest.raises(ConfigError, match="give the folder"):
            open_writer(tmp_path / name)


# Outages


async def test_a_lock_of_another_process_is_an_outage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.01)
    async with opened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="another process holds its lock"):
                await store.commit(Commit(records_until=T0))
            assert await store.records_until() is None, "readers don't wait"
        await store.commit(Commit(records_until=T0))
        assert await store.records_until() == T0


def test_a_full_disk_is_an_outage_that_ends(path: Path) -> None:
    commit = all_of(*(character(str(number), session(T0)) for number in range(1000)))
    with closing(open_writer(path)) as writer:
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 5}")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="the disk is full"), foreign_errors(path):
                writing.write(writer, commit)
        assert not writer.in_transaction
        writer.execute("PRAGMA max_page_count = 100000")
        writing.write(writer, commit)
        assert writer.execute("SELECT count(*) FROM characters").fetchone() == (1000,)


def test_a_defect_of_ours_is_no_outage(path: Path) -> None:
    with closing(open_writer(path)) as writer, pytest.raises(sqlite3.OperationalError), foreign_errors(path):
        writer.execute("SELECT * FROM nothing_of_ours")


async def test_a_span_goes_with_its_commit_or_not_at_all(path: Path) -> None:
    """What a process killed in the middle leaves is the commit before."""
    with closing(open_writer(path)) as writer:
        writing.write(writer, Commit(spans=[Span(10, T0, T0 + 1, "start")]))
        writer.execute("BEGIN IMMEDIATE")
        writer.execute('UPDATE coverage SET "to" = "to" + 1000')
        async with opened(path, read_only=True) as reader:
            assert await reader.spans() == [Span(10, T0, T0 + 1, "start")]
    async with opened(path, read_only=True) as reader:
        assert await reader.spans() == [Span(10, T0, T0 + 1, "start")]
