"""Records that could not be applied, in a SQLite file of their own beside the queue.

Bounded in number and bytes; a letter is told from others by its frame, so that a batch that is repeated after a crash puts none twice.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

import trio

from ps2daemon.errors import QueueDamaged, QueueFull
from ps2daemon.model.records import Ms
from ps2daemon.queue.base import DeadLetter
from ps2daemon.queue.files import BUSY_SECONDS, Format, Gate, bound, configure, prepare, reading, translated
from ps2daemon.queue.rescue import set_aside
from ps2daemon.queue.shared import OnDamage, ignored

FILE_NAME: Final = "dead-letters.db"
MAX_LETTERS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024

Result = TypeVar("Result")

LETTERS_FORMAT: Final = Format(
    noun="file of dead letters",
    table="letters",
    application_id=0x50533244,  # "PS2D"
    version=1,
    statements=(
        """CREATE TABLE letters (
            id INTEGER PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            at INTEGER NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            frame BLOB NOT NULL
        )""",
    ),
)
_LIST: Final = "SELECT id, at, reason, attempts, frame FROM letters ORDER BY id LIMIT ?"
# By its index, the count of a full file takes well under a millisecond.
_PUT: Final = """INSERT INTO letters (digest, at, reason, attempts, frame)
    SELECT :digest, :at, :reason, :attempts, :frame
    WHERE (SELECT COUNT(*) FROM letters) < :most OR EXISTS (SELECT 1 FROM letters WHERE digest = :digest)
    ON CONFLICT (digest) DO UPDATE SET id = id"""


class SqliteDeadLetters:
    """See `base.DeadLetters`. Any number of processes may have it open."""

    def __init__(self, path: Path, max_letters: int, on_damage: OnDamage) -> None:
        self._path = path
        self._max_letters = max_letters
        self._on_damage = on_damage
        self._limiter = trio.CapacityLimiter(1)
        self._closed = False
        try:
            self._connection = self._connect()
        except QueueDamaged as error:
            self._connection = self._connect_anew(str(error))

    @classmethod
    async def open(
        cls, directory: Path, *, max_letters: int = MAX_LETTERS, on_damage: OnDamage = ignored
    ) -> Self:
        """Opens the file, and creates it if there is none.

        Args:
            on_damage: told when the file was found damaged, now or later: it is set aside, and a new one made.

        Raises:
            QueueMismatch, QueueUnwritable, QueueFull: see `files.prepare`.
        """
        return await trio.to_thread.run_sync(cls, directory / FILE_NAME, max_letters, on_damage)

    def _connect(self) -> sqlite3.Connection:
        with translated(self._path):
            with closing(Gate(self._path.parent)) as gate, gate.alone():
                prepare(self._path, LETTERS_FORMAT)
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                configure(connection)
                bound(connection, MAX_BYTES)
                connection.execute("SELECT COUNT(*) FROM letters")
            except BaseException:
                connection.close()
                raise
        return connection

    def _connect_anew(self, reason: str) -> sqlite3.Connection:
        with translated(self._path), closing(Gate(self._path.parent)) as gate, gate.alone():
            self._on_damage(set_aside(self._path, reason))
        return self._connect()

    async def put(self, frame: bytes, reason: str, attempts: int, at: Ms) -> None:
        """Keeps a frame; a repetition of one that is there changes nothing.

        Raises:
            QueueFull: there are `max_letters` already, or the bound in bytes or the disk is reached; nothing was written.
            QueueUnwritable, QueueBusy: the file can't be used.
        """
        await self._call(self._put, frame, reason, attempts, at)

    async def list(self, limit: int) -> list[DeadLetter]:
        """The oldest ones, in the order in which they came."""
        return await self._call(lambda: _letters(self._connection, limit))

    async def count(self) -> int:
        """How many there are."""
        return await self._call(
            lambda: int(self._connection.execute("SELECT COUNT(*) FROM letters").fetchone()[0])
        )

    async def aclose(self) -> None:
        """Waits for the call that is under way, then releases the file. Closing again does nothing."""
        with trio.CancelScope(shield=True):  # bounded as in `sqlite.py`
            await trio.to_thread.run_sync(self._close, limiter=self._limiter)

    def _put(self, frame: bytes, reason: str, attempts: int, at: Ms) -> None:
        values = {
            "digest": hashlib.sha256(frame).digest(),
            "at": at,
            "reason": reason,
            "attempts": attempts,
            "frame": frame,
            "most": self._max_letters,
        }
        if not self._connection.execute(_PUT, values).rowcount:
            raise QueueFull(
                f"{self._path} holds {self._max_letters} dead letters already: look at them (`ps2daemon queue dead-letters list`), "
                "then requeue or drop them (`queue dead-letters drop`)"
            )

    def _close(self) -> None:
        self._closed = True
        with translated(self._path):
            self._connection.close()

    async def _call(self, function: Callable[..., Result], *values: Any) -> Result:
        def guarded() -> Result:
            if self._closed:
                raise trio.ClosedResourceError("the dead letters are closed")
            try:
                with translated(self._path):
                    return function(*values)
            except QueueDamaged as error:
                self._connection.close()
                self._connection = self._connect_anew(str(error))
            with translated(self._path):
                return function(*values)

        return await trio.to_thread.run_sync(guarded, limiter=self._limiter)


def read_dead_letters(directory: Path, limit: int) -> list[DeadLetter]:
    """The oldest dead letters beside the queue in `directory`; none if there never was one. Blocks for a moment.

    Raises:
        QueueDamaged, QueueUnwritable: see `files.reading`.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return []
    with reading(path, LETTERS_FORMAT) as connection:
        return _letters(connection, limit)


class DeadLetterSummary(NamedTuple):
    """How many there are, and when and why the latest were put there, the newest first."""

    number: int
    latest: tuple[tuple[Ms, str], ...]


def summarize_dead_letters(directory: Path, limit: int) -> DeadLetterSummary:
    """A short look at the dead letters beside the queue in `directory`. Blocks for a moment.

    Raises:
        QueueDamaged, QueueUnwritable: see `files.reading`.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return DeadLetterSummary(0, ())
    with reading(path, LETTERS_FORMAT) as connection:
        (number,) = connection.execute("SELECT COUNT(*) FROM letters").fetchone()
        rows = connection.execute("SELECT at, reason FROM letters ORDER BY id DESC LIMIT ?", (limit,))
        return DeadLetterSummary(int(number), tuple((int(at), str(reason)) for at, reason in rows))


def _letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    return [DeadLetter(*row) for row in connection.execute(_LIST, (limit,))]
