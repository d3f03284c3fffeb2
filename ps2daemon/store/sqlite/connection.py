"""Connections to the file, what its errors mean, and calls to it in worker threads.

The file is in WAL mode: readers, of this and of other processes, never wait for the writer nor it for them. With
`synchronous=FULL` a commit returns after its part of the log was flushed to the disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import msgspec
import trio

from ps2daemon.errors import ConfigError, StoreMismatch, StoreUnavailable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BUSY_SECONDS: Final = 2.0
"""How long a call waits for another process's lock; well under the ten seconds in which the program has to stop."""
WRITER_CACHE_KIB: Final = 4 * 1024
READER_CACHE_KIB: Final = 8 * 1024
CHECKPOINT_PAGES: Final = 4096
"""16 MiB of log before it is moved into the file: a busy batch writes 4 to 8 MiB."""
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
"""A log that grew beyond this, behind a long read, is cut back to it."""

_OUTAGES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
    }
)
_BROKEN: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT})
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "another process holds its lock",
    sqlite3.SQLITE_LOCKED: "another process holds its lock",
    sqlite3.SQLITE_READONLY: "this user may not write to its folder, which readers need as well while nobody records",
    sqlite3.SQLITE_CANTOPEN: "this user may not open it",
    sqlite3.SQLITE_FULL: "the disk is full: make room, and recording goes on by itself",
}
_PRIMARY: Final = 0xFF
"""The lowest byte of an extended result code is the primary one (https://www.sqlite.org/rescode.html)."""


@contextmanager
def foreign_errors(path: Path) -> Iterator[None]:
    """The one place where errors of SQLite, and of what it keeps for us, become this program's.

    Raises:
        StoreUnavailable: locked, disk full, I/O error, no permission (any more): wait and try again.
        StoreMismatch: no database, or a damaged one.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = primary_code(error)
        if code in _OUTAGES:
            raise StoreUnavailable(f"the store {path}: {_HINTS.get(code, error)}") from error
        if code in _BROKEN:
            raise StoreMismatch(
                f"{path} is no store of this program, or is damaged ({error}): "
                "move it away or set store.path to another file"
            ) from error
        raise
    except msgspec.DecodeError as error:
        raise StoreMismatch(f"{path} holds a document that can't be read: {error}") from error


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code of what SQLite, or Python's module for it, raised."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & _PRIMARY


def is_outage(error: sqlite3.Error) -> bool:
    """Whether it may be gone the next time, with the file as it is."""
    return primary_code(error) in _OUTAGES


def create_file(path: Path) -> None:
    """Makes sure that the file is there, and that only its owner may read a new one.

    Raises:
        ConfigError: the folder or the file can't be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite gives its log the permissions of the file that it belongs to. One that is there is not touched: closing any descriptor
        # of a file gives up the locks that SQLite has on it in this process.
        if not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"store.path: {path} can't be written ({error.strerror}): "
            "give the folder to this user, or set another path"
        ) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"store.path: the folder {path.parent} can't be written, and the store keeps its log there: "
            "give the folder to this user, or set another path"
        )


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to a file that exists. Calls to it belong inside `foreign_errors`."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions begin where this program says so
        check_same_thread=False,  # one thread at a time, but not always the same
    )
    try:
        cache = READER_CACHE_KIB if read_only else WRITER_CACHE_KIB
        connection.execute(f"PRAGMA cache_size = -{cache}")
    except BaseException:
        connection.close()
        raise
    return connection


def set_up_writing(connection: sqlite3.Connection, path: Path) -> None:
    """Makes a connection one that commits durably and without readers in its way.

    Raises:
        ConfigError: the file system can't do what WAL mode needs.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigError(
            f"store.path: the file system of {path} has no shared memory, which the store needs "
            "(a network drive?): set a path on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and durable when it returns."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back itself, as it does when the disk is full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Caller:
    """Calls functions of one connection in a worker thread, one after the other.

    A call that has begun is not abandoned when its task is cancelled: it ends first. Callers keep calls short.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._limiter = trio.CapacityLimiter(1)

    async def call(self, function: Callable[[sqlite3.Connection, *Ts], T], *args: *Ts) -> T:
        """Raises what `foreign_errors` raises."""

        def mapped() -> T:
            with foreign_errors(self._path):
                return function(self._connection, *args)

        return await trio.to_thread.run_sync(mapped, limiter=self._limiter)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """All calls in here see the file as it was at the first of them."""
        await self.call(_begin)
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()  # nothing was written, so it waits for nothing

    def close(self) -> None:
        """Must not be called while a call runs."""
        self._connection.close()


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")


def _open_reader(path: Path) -> sqlite3.Connection:
    with foreign_errors(path):
        return connect(path, read_only=True)


class Readers:
    """Lends reading connections, at most `limit` at a time, opened when first needed."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limiter = trio.CapacityLimiter(limit)
        self._idle: list[Caller] = []
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Caller]:
        """A connection that nobody else uses meanwhile."""
        async with self._limiter:
            caller = self._idle.pop() if self._idle else None
            if caller is None:
                caller = Caller(self._path, await trio.to_thread.run_sync(_open_reader, self._path))
            try:
                yield caller
            finally:
                if self._closed:
                    caller.close()
                else:
                    self._idle.append(caller)

    async def aclose(self) -> None:
        """Closes what is not lent now, and what is lent when it comes back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for caller in idle:
            await caller.call(sqlite3.Connection.close)
