"""What was read of days, in a file, so that a page that starts again reads of a year what changed, where the store is another program that needs minutes for it.

- A day in it is as the store has it if its version is what the store tells now, as in memory (`kept_days.py`), and if the store lives the life in which
  that version was told: one that was put back from a backup counts from there again, and everything in the file goes.
- Days that are not over are left out: they change before anybody starts again.
- It may be lost. Whatever is wrong with it is said in the log, and the store is read instead; later it is tried again, or made anew where it is damaged.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar, final

import msgspec
import trio

from ps2daemon import __version__
from ps2daemon.errors import StoreError, StoreMismatch
from ps2daemon.logs import get_logger
from ps2daemon.model.records import DAY, SECOND
from ps2daemon.store.days import Versions
from ps2daemon.store.sqlite.connection import is_outage

FORMAT: Final = 1
MOST: Final = 9000
"""Days of all worlds and kinds that it holds, the latest: two years of four worlds, of 2 to 60 KB each."""
BUSY_SECONDS: Final = 1.0
"""How long another process that has the same file is waited for."""
LEVEL: Final = 1
"""A third less on the disk in a millisecond for 5,000 sessions; and what was damaged is noticed."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS lives (part TEXT PRIMARY KEY, life TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS days (
    kind TEXT, world_id INTEGER, day INTEGER, version BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, world_id, day)
);
"""

V = TypeVar("V")
T = TypeVar("T")

log = get_logger(__name__)


@final
class DayFile:
    """One file; it is made when it is first used.

    Args:
        lives: tells for each part of the store which life it lives (see `LivesSource`).
    """

    def __init__(self, path: Path, lives: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._path = path
        self._lives = lives
        self._turn = trio.CapacityLimiter(1)
        self._checking = trio.Lock()
        self._usable: bool | None = None
        """None until it was checked."""
        self._told: Mapping[str, str] = {}
        self._said: str | None = None

    async def check(self) -> None:
        """Looks whether what is in the file is still of the store's life, and drops it otherwise; also tries again where something was wrong."""
        async with self._checking:
            try:
                lives = {"program": f"{__version__}, {FORMAT}", **await self._lives()}
            except StoreError as error:
                self._leave(error)
                return
            if await self._do(partial(_settle, lives), False):
                self._told, self._usable, self._said = lives, True, None

    async def usable(self) -> bool:
        """Whether to ask it."""
        if self._usable is None:
            async with self._checking:
                pass
            if self._usable is None:
                await self.check()
        return bool(self._usable)

    async def select(self, kind: str, world_id: int, days: range) -> list[tuple[int, bytes, bytes]]:
        """Day, version and value of those that are there."""
        if not self._usable:
            return []
        return await self._do(partial(_select, self._told, kind, world_id, days), [])

    async def replace(self, rows: Iterable[tuple[str, int, int, bytes, bytes]]) -> None:
        """Kind, world, day, version and value of each."""
        if self._usable:
            await self._do(partial(_replace, self._told, rows), None)

    async def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        try:
            return await trio.to_thread.run_sync(self._work, work, limiter=self._turn)
        except (sqlite3.Error, OSError, StoreError) as error:
            self._leave(error)
            return otherwise

    def _leave(self, error: Exception) -> None:
        """It is of no use until the next check. What is wrong is said once, until it was right again."""
        self._usable = False
        if self._said != (reason := str(error)):
            log.warning("days are not kept in a file for now", path=str(self._path), reason=reason)
            self._said = reason

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._path.touch(mode=0o600)  # and so is what SQLite puts beside it
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as connection:
                # A commit need not outlive a machine that goes down.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                with connection:
                    return work(connection)
        except sqlite3.DatabaseError as error:
            if not is_outage(error):
                self._path.unlink(missing_ok=True)
            raise


class Shelf(Generic[V]):
    """The days of one kind in a file.

    Args:
        pack, unpack: what is kept of a day as bytes, and back.
    """

    def __init__(
        self, file: DayFile, kind: str, pack: Callable[[V], bytes], unpack: Callable[[bytes], V]
    ) -> None:
        self._file = file
        self._kind = kind
        self._pack = pack
        self._unpack = unpack

    async def get(self, world_id: int, days: range, versions: Versions) -> dict[int, V]:
        """Those of these days that are there in their version."""
        if not await self._file.usable():
            return {}
        rows = await self._file.select(self._kind, world_id, days)
        wanted = {day: _encoded(versions.get((world_id, day))) for day in days}
        return await trio.to_thread.run_sync(
            self._unpacked, [(day, value) for day, version, value in rows if version == wanted[day]]
        )

    def _unpacked(self, rows: Iterable[tuple[int, bytes]]) -> dict[int, V]:
        found = {}
        for day, value in rows:
            try:
                found[day] = self._unpack(zlib.decompress(value))
            except (zlib.error, msgspec.DecodeError, ValueError):
                continue  # damaged, and replaced by what is read instead
        return found

    async def put(self, world_id: int, versions: Versions, values: Mapping[int, V]) -> None:
        """Those of these days, each of its version, that are over."""
        now = time.time() * SECOND
        over = {day: value for day, value in values.items() if (day + 1) * DAY < now}
        if over and await self._file.usable():
            rows = await trio.to_thread.run_sync(self._packed, world_id, versions, over)
            await self._file.replace(rows)

    def _packed(
        self, world_id: int, versions: Versions, values: Mapping[int, V]
    ) -> list[tuple[str, int, int, bytes, bytes]]:
        return [
            (
                self._kind,
                world_id,
                day,
                _encoded(versions.get((world_id, day))),
                zlib.compress(self._pack(value), LEVEL),
            )
            for day, value in values.items()
        ]


def _encoded(version: object) -> bytes:
    return msgspec.msgpack.encode(version)


def _settle(lives: Mapping[str, str], connection: sqlite3.Connection) -> bool:
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN IMMEDIATE")
    if not _lives_on(lives, connection):
        connection.execute("DELETE FROM days")
    connection.executemany("INSERT OR REPLACE INTO lives VALUES (?, ?)", lives.items())
    connection.execute(
        "DELETE FROM days WHERE rowid IN (SELECT rowid FROM days ORDER BY day DESC LIMIT -1 OFFSET ?)",
        (MOST,),
    )
    return True


def _lives_on(lives: Mapping[str, str], connection: sqlite3.Connection) -> bool:
    """Whether what is in the file is of these lives.

    A part that is gone took its documents with it, so that the days have other versions; it may be another one that comes again.
    """
    known = connection.execute("SELECT part, life FROM lives")
    return all(lives.get(part, life) == life for part, life in known)


def _must_live_on(lives: Mapping[str, str], connection: sqlite3.Connection) -> None:
    """Another process may have been told of another life since the check.

    Raises:
        StoreMismatch: it was.
    """
    if not _lives_on(lives, connection):
        raise StoreMismatch("another process keeps days of another store in it, or of this one put back")


def _select(
    lives: Mapping[str, str], kind: str, world_id: int, days: range, connection: sqlite3.Connection
) -> list[tuple[int, bytes, bytes]]:
    connection.execute("BEGIN")
    _must_live_on(lives, connection)
    return connection.execute(
        "SELECT day, CAST(version AS BLOB), CAST(value AS BLOB) FROM days WHERE kind = ? AND world_id = ? AND day >= ? AND day < ?",
        (kind, world_id, days.start, days.stop),
    ).fetchall()


def _replace(
    lives: Mapping[str, str],
    rows: Iterable[tuple[str, int, int, bytes, bytes]],
    connection: sqlite3.Connection,
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _must_live_on(lives, connection)
    connection.executemany("INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?, ?)", rows)
