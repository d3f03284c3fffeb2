"""What lies in a queue's folder and how it is opened: permissions, locks, formats, connections.

    queue.db         the frames (`sqlite.py`); `-wal` and `-shm` beside it belong to SQLite
    dead-letters.db  records that could not be applied (`deadletters.py`)
    producer.lock    held, with the holder's pid in it, by the one process that appends
    consumer.lock    the same for the one that reads and acks
    requeue.lock     the same for the one that puts dead letters back (`requeue.py`)
    open.lock        held alone while a file is made or replaced, and by many for the moments of each call
    damaged-…/       a damaged queue that was replaced (`rescue.py`)

The folder is created 0700, files 0600. A file says which format it has (`application_id`) and its version (`user_version`); it is looked
at before anything is written to it, and one of another program or of a newer version is left as it is.

Everything that SQLite or the operating system raises becomes a `QueueError` here, in `translated`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from ps2daemon.errors import (
    QueueBusy,
    QueueDamaged,
    QueueError,
    QueueFull,
    QueueLocked,
    QueueMismatch,
    QueueMissing,
    QueueUnwritable,
)

BUSY_SECONDS: Final = 5.0
"""How long a write waits for the other process's; each takes milliseconds, a checkpoint on a slow disk perhaps a second."""
JOURNAL_BYTES: Final = 16 * 1024 * 1024
"""The journal is cut back to this whenever it starts anew; it grows beyond 4 MiB only while a reader lingers."""

_FULL: Final = frozenset({sqlite3.SQLITE_FULL})
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LEAST_FREE: Final = 64 * 1024
"""With less than that left on the disk, what failed there failed for want of room: SQLite calls it an I/O error where the file is shared memory."""
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset(
    {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT}
)
_SCHEMA_DAMAGED: Final = ("no such table", "no such column", "malformed database schema")
"""Beginnings of errors that have no code of their own. No statement here asks for what the format does not have, or breaks a constraint."""
_UNWRITABLE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
)


class Format(NamedTuple):
    """The format of a database file.

    Attributes:
        noun: what it is, for messages.
        table: which it has, and no file of another program.
        application_id: a number of this program's own, which tells the file from all others.
        version: the only one that this program reads and writes.
        statements: they make an empty file one of this version.
    """

    noun: str
    table: str
    application_id: int
    version: int
    statements: tuple[str, ...]


class Lock:
    """An flock on a file of its own; the operating system gives it up when its process ends, however it ends.

    Raises:
        QueueLocked: somebody holds it; carries the pid that the holder wrote into the file.
    """

    def __init__(self, path: Path, doing: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid(os.pread(self._file, 32, 0))
            os.close(self._file)
            raise QueueLocked(
                f"process {pid or 'unknown'} is {doing} the queue in {path.parent} already: stop it first, "
                "or give this one another queue.directory",
                pid,
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Lets go; the file stays, since removing it would let two processes lock two files of one name."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def _pid(text: bytes) -> int | None:
    return int(text) if text.strip().isdigit() else None


class Gate:
    """Lets everybody use a queue's folder at once, or one alone: while a file is made or replaced, nobody uses it."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._file = os.open(folder / "open.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For one call; waits while somebody is alone."""
        yield from self._held(fcntl.LOCK_SH)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits for all calls that are under way. Not to be asked for inside of `shared`."""
        yield from self._held(fcntl.LOCK_EX)

    def close(self) -> None:
        """Must not be called while it is held."""
        os.close(self._file)

    def _held(self, kind: int) -> Iterator[None]:
        fcntl.flock(self._file, kind)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def prepare(path: Path, wanted: Format) -> None:
    """Makes sure that `path` is a database of the wanted format, and creates the file if it is not there. Its gate must be held alone:
    two processes that are started together would otherwise both find an empty file.

    Raises:
        QueueMismatch: it is another program's, or of a newer version.
        QueueDamaged: it is no database, or a damaged one.
        QueueUnwritable, QueueFull: the file can't be written.
    """
    with translated(path):
        if not path.exists():
            # Closing any descriptor of a file gives up the locks that SQLite has on it in this process.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            if not _check(connection, path, wanted):
                connection.execute("PRAGMA journal_mode=WAL")
                configure(connection)
                create(connection, wanted)


def make_folder(folder: Path) -> None:
    """Makes a folder for its owner alone, durably, if it is not there."""
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(folder.parent)  # SQLite does so for the names inside of the folder


def sync_folder(folder: Path) -> None:
    """Makes the names inside of a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def create(connection: sqlite3.Connection, wanted: Format) -> None:
    """Makes an empty file one of the wanted format."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in wanted.statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={wanted.application_id}")
    connection.execute(f"PRAGMA user_version={wanted.version}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path, wanted: Format) -> bool:
    """Whether the file is of the wanted format; False if it is empty."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id == 0 and version == 0 and not connection.execute("PRAGMA schema_version").fetchone()[0]:
        return False
    if application_id != wanted.application_id:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (wanted.table,)).fetchone():
            raise QueueDamaged(f"{path} is damaged (its header does not say what it is)")
        raise QueueMismatch(
            f"{path} is a database of another program, no {wanted.noun}: move it away, or set another queue.directory"
        )
    if version != wanted.version:
        raise QueueMismatch(
            f"{path} has version {version} of the {wanted.noun}'s format, and this ps2daemon knows version "
            f"{wanted.version}: update ps2daemon, or set another queue.directory"
        )
    return True


def configure(connection: sqlite3.Connection) -> None:
    """What every connection that writes needs; none of it is kept in the file but WAL."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # in WAL, only this one syncs every commit
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES}")


def bound(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Refuses to let the file grow beyond `max_bytes`; SQLite never sets the bound below what is there already."""
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={max_bytes // page_bytes}")


@contextmanager
def reading(path: Path, wanted: Format) -> Iterator[sqlite3.Connection]:
    """A connection that can't write, for a short look while others write.

    Raises:
        QueueMissing: there is no such file.
        QueueMismatch, QueueDamaged: it is no file of the wanted format.
        QueueUnwritable: it can't be read.
    """
    with translated(path):
        if not path.exists():
            raise QueueMissing(
                f"there is no {wanted.noun} in {path.parent} yet: start recording, or import a recording"
            )
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            if not _check(connection, path, wanted):
                raise QueueMissing(f"{path} is empty yet: start recording, or import a recording")
            yield connection


def free_bytes(folder: Path) -> int:
    """What is left on the folder's disk for this process."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Maps what SQLite and the operating system raise about `path` into the tree of `errors.py`."""
    try:
        yield
    except sqlite3.Error as error:
        _raise(error, path)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise QueueFull(_full(path)) from None
        raise QueueUnwritable(_unwritable(path, error.strerror or str(error))) from None


def _raise(error: sqlite3.Error, path: Path) -> NoReturn:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest says where, not what
    mapped: QueueError
    if code in _FULL or (code == sqlite3.SQLITE_IOERR and _has_no_room(path.parent)):
        mapped = QueueFull(_full(path))
    elif code in _LOCKED:
        mapped = QueueBusy(
            f"{path} is locked by another program for more than {BUSY_SECONDS:.0f} s: close what has it open"
        )
    elif code in _DAMAGED or str(error).startswith(_SCHEMA_DAMAGED):
        mapped = QueueDamaged(
            f"{path} is damaged ({error}): a daemon that meets it saves what it can and begins a new one"
        )
    elif code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        mapped = QueueDamaged(f"{path} is damaged (its header forbids to write it)")
    elif code in _UNWRITABLE:
        mapped = QueueUnwritable(_unwritable(path, str(error)))
    else:
        raise error
    raise mapped from error


def _has_no_room(folder: Path) -> bool:
    try:
        return free_bytes(folder) < _LEAST_FREE
    except OSError:  # which says nothing of room
        return False


def _full(path: Path) -> str:
    return f"{path} has reached its bound, or its disk is full: nothing was written"


def _unwritable(path: Path, reason: str) -> str:
    return f"{path} can't be used ({reason}): give this user write access to {path.parent}, or set another queue.directory"
