"""A file of days is worth what it says: it may be of another life, damaged or out of reach, and the answers are the store's all the same."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.model.sittings import Sittings
from ps2daemon.store import day_file
from ps2daemon.store.base import Commit
from ps2daemon.store.kept import KeptReader
from ps2daemon.store.sqlite import SqliteStore
from tests.memory_reader import rows_of, session

D = 20_000 * DAY
"""A midnight, long ago."""
FUTURE = 80_000 * DAY
PEOPLE = [session(str(n), D + n * DAY + HOUR, D + n * DAY + 2 * HOUR) for n in range(3)]


class Watched(SqliteStore):
    """Remembers the days that were read, and lives what it is told."""

    read: list[tuple[int, int]]
    life: Mapping[str, str] | None

    async def ended(self, start: Ms, end: Ms, world_id: int) -> Sittings:
        self.read.append(((start - D) // DAY, (end - D) // DAY))
        return await super().ended(start, end, world_id)

    async def lives(self) -> Mapping[str, str]:
        if self.life is None:
            raise StoreUnavailable("may not be asked")
        return self.life


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    store = await Watched.open(folder / "ps2.db")
    assert isinstance(store, Watched)
    store.read, store.life = [], {"2024.10": "a"}
    try:
        await store.commit(Commit(sessions=PEOPLE))
        yield store
    finally:
        await store.aclose()


async def asked(store: Watched, file: Path, reader: KeptReader | None = None) -> list[tuple[int, int]]:
    """The days that it reads of the store when it starts again; what it says is always the same."""
    store.read.clear()
    kept = reader or KeptReader(store, file=file)
    assert len(rows_of(await kept.sittings(D, D + 3 * DAY, (10,)))) == len(PEOPLE)
    return list(store.read)


ALL = [(0, 3)]


async def test_who_starts_again_reads_nothing_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "cache" / "days"
        assert await asked(store, file) == ALL
        assert await asked(store, file) == []
        await store.commit(Commit(gone_sessions=[PEOPLE[1].session_id], sessions=[PEOPLE[1]]))
        assert await asked(store, file) == [(1, 2)]


@pytest.mark.parametrize(
    ("life", "read"),
    [
        ({"2024.10": "a", "2024.11": "b"}, []),
        ({"2024.11": "b"}, []),
        ({}, []),
        ({"2024.10": "b"}, ALL),
    ],
)
async def test_what_was_told_in_another_life_is_forgotten(
    tmp_path: Path, life: Mapping[str, str], read: list[tuple[int, int]]
) -> None:
    """A part that is gone took its documents with it; one that came again under its name is told apart."""
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        store.life = life
        assert await asked(store, file) == read
        store.life = {"2024.10": "c"}
        assert await asked(store, file) == ALL


async def test_another_version_of_the_program_reads_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched(tmp_path) as store:
        assert await asked(store, tmp_path / "days") == ALL
        monkeypatch.setattr(day_file, "__version__", "99")
        assert await asked(store, tmp_path / "days") == ALL


async def test_a_life_that_is_not_told_leaves_the_file_alone_for_now(tmp_path: Path) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        told, store.life = store.life, None
        assert await asked(store, file) == ALL
        store.life = told
        assert await asked(store, file) == []


async def test_a_day_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    async with watched(tmp_path) as store:
        await store.commit(Commit(sessions=[session("9", FUTURE + HOUR, FUTURE + 2 * HOUR)]))
        file = tmp_path / "days"
        for _ in range(2):
            found = await KeptReader(store, file=file).sittings(FUTURE, FUTURE + DAY, (10,))
            assert len(rows_of(found)) == 1
        assert rows(file) == []


async def test_it_holds_the_latest_days_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        monkeypatch.setattr(day_file, "MOST", 2)
        assert await asked(store, file) == [(0, 1)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE days SET value = x'00'",
        "UPDATE days SET value = CAST(substr(value, 1, 9) || x'ff' || substr(value, 11) AS BLOB)",
        "UPDATE days SET value = 'a text', version = version || x'ff'",
        "UPDATE days SET version = x'00'",
    ],
)
async def test_a_day_that_is_damaged_is_read_from_the_store(tmp_path: Path, damage: str) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(damage)
        assert await asked(store, file) == ALL
        assert await asked(store, file) == []


async def test_a_file_that_is_none_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        file.write_bytes(b"something else" * 1000)
        kept = KeptReader(store, file=file)
        assert await asked(store, file, kept) == ALL
        assert "days are not kept in a file for now" in caplog.text
        assert await asked(store, file) == ALL
        assert await asked(store, file) == []


async def test_a_file_that_can_not_be_made_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(tmp_path) as store:
        (tmp_path / "cache").write_text("no folder")
        kept = KeptReader(store, file=tmp_path / "cache" / "days")
        assert await asked(store, tmp_path, kept) == ALL
        assert await asked(store, tmp_path, kept) == []
        await kept.sittings(D + 20 * DAY, D + 21 * DAY, (10,))
        assert caplog.text.count("days are not kept in a file for now") == 1
        (tmp_path / "cache").unlink()
        await kept.check_file()
        await kept.sittings(D + 20 * DAY, D + 21 * DAY, (1,))
        assert (tmp_path / "cache" / "days").exists()


async def test_another_process_that_holds_it_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_file, "BUSY_SECONDS", 0.01)
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert await asked(store, file) == ALL


async def test_who_goes_away_while_it_is_checked_leaves_it_unchecked(tmp_path: Path) -> None:
    async with watched(tmp_path) as store:
        file = tmp_path / "days"
        assert await asked(store, file) == ALL
        with trio.CancelScope() as scope:

            async def told_too_late() -> Mapping[str, str]:
                scope.cancel()
                return {"2024.10": "b"}

            days = day_file.DayFile(file, told_too_late)
            await days.usable()
        assert scope.cancelled_caught
        assert await days.select("sittings", 10, range(D // DAY, D // DAY + 3)) == []


async def test_what_is_wrong_for_long_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(tmp_path) as store:
        store.life = None
        kept = KeptReader(store, file=tmp_path / "days")
        for _ in range(3):
            await kept.check_file()
        assert caplog.text.count("days are not kept in a file for now") == 1
        store.life = {}
        await kept.check_file()
        store.life = None
        await kept.check_file()
        assert caplog.text.count("days are not kept in a file for now") == 2


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        async with watched(tmp_path) as store:
            assert await asked(store, tmp_path / "days") == ALL
    finally:
        os.umask(old)
    assert (tmp_path / "days").stat().st_mode & 0o777 == 0o600


async def test_days_of_another_life_are_neither_taken_nor_put_after_another_process_was_told(
    tmp_path: Path,
) -> None:
    """Two stores with one prefix, or one that was put back while somebody reads it: the versions may be the same."""
    (tmp_path / "other").mkdir()
    async with watched(tmp_path) as store, watched(tmp_path / "other") as other:
        file = tmp_path / "days"
        puts, takes = KeptReader(store, file=file), KeptReader(store, file=file)
        late = day_file.DayFile(file, store.lives)
        for each in (puts.check_file, takes.check_file, late.check):
            await each()
        other.life = {"2024.10": "b"}
        of_other = KeptReader(other, file=file)
        await of_other.check_file()
        assert await asked(store, file, puts) == ALL
        await late.replace([("sittings", 10, D // DAY, b"", b"")])
        assert rows(file) == []
        assert await asked(other, file, of_other) == ALL
        assert await asked(store, file, takes) == ALL
        assert await asked(other, file) == []


def rows(file: Path) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT * FROM days").fetchall()
