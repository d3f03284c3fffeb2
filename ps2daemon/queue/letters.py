"""Dead letters as a person handles them: looked at, chosen, dropped. `requeue.py` puts them back into the queue.

Everything here blocks for a moment, and may run while a worker puts letters into the file. A number may be given again once its letter
is gone, so that a choice holds each letter's digest too, and what changes anything goes by both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ps2daemon.errors import LettersMissing
from ps2daemon.queue.base import DeadLetter
from ps2daemon.queue.deadletters import FILE_NAME, LETTERS_FORMAT, MAX_BYTES
from ps2daemon.queue.files import BUSY_SECONDS, bound, configure, reading, translated
from ps2daemon.queue.sqlite import FILE_NAME as QUEUE_FILE_NAME
from ps2daemon.queue.table import QUEUE_FORMAT

_MATCHING: Final = "(:reason IS NULL OR INSTR(reason, :reason))"
_REASONS: Final = (
    f"SELECT reason, COUNT(*) FROM letters WHERE {_MATCHING} GROUP BY reason ORDER BY COUNT(*) DESC, reason"
)
_LATEST: Final = (
    f"SELECT id, at, reason, attempts, frame FROM letters WHERE {_MATCHING} ORDER BY id DESC LIMIT :limit"
)
_ONE: Final = "SELECT id, at, reason, attempts, frame FROM letters WHERE id = ?"
_CHOSEN: Final = f"SELECT id, digest, reason FROM letters WHERE {_MATCHING} ORDER BY id"
DELETE: Final = "DELETE FROM letters WHERE id = :id AND digest = :digest"
_SHOWN: Final = 10
"""So many unknown numbers are named."""


class Listing(NamedTuple):
    """The newest letters, and how many there are by reason, the most frequent first."""

    reasons: tuple[tuple[str, int], ...]
    letters: tuple[DeadLetter, ...]

    @property
    def total(self) -> int:
        """All that match, listed or not."""
        return sum(number for _, number in self.reasons)


class Chosen(NamedTuple):
    """A letter that something is to be done to."""

    id: int
    digest: bytes
    reason: str


def latest(directory: Path, limit: int, reason: str | None = None) -> Listing:
    """The newest `limit` letters whose reason contains `reason`; all do if it is None.

    Raises:
        QueueMissing: there is neither a queue nor a file of dead letters.
        QueueDamaged, QueueUnwritable: see `files.reading`.
    """
    with _looking(directory) as connection:
        if connection is None:
            return Listing((), ())
        values = {"reason": reason, "limit": limit}
        connection.execute("BEGIN")  # both from one snapshot
        reasons = tuple((str(text), int(number)) for text, number in connection.execute(_REASONS, values))
        return Listing(reasons, tuple(DeadLetter(*row) for row in connection.execute(_LATEST, values)))


def by_number(directory: Path, numbers: Iterable[int]) -> list[DeadLetter]:
    """The letters of these numbers, in the order in which they were asked for, each once.

    Raises:
        LettersMissing: there is none of one of the numbers.
        QueueMissing, QueueDamaged, QueueUnwritable: as `latest`.
    """
    asked = list(dict.fromkeys(numbers))
    with _looking(directory) as connection:
        rows = {} if connection is None else {each: _row(connection, each) for each in asked}
    found = {each: DeadLetter(*row) for each, row in rows.items() if row is not None}
    _check_all(asked, found)
    return [found[each] for each in asked]


def choose(directory: Path, numbers: Iterable[int] | None = None, reason: str | None = None) -> list[Chosen]:
    """The letters of these numbers, or whose reason contains `reason`, or all; the oldest first.

    Raises:
        LettersMissing: there is none of one of the numbers.
        QueueMissing, QueueDamaged, QueueUnwritable: as `latest`.
    """
    with _looking(directory) as connection:
        rows = () if connection is None else connection.execute(_CHOSEN, {"reason": reason}).fetchall()
    chosen = {row[0]: Chosen(*row) for row in rows}
    if numbers is None:
        return list(chosen.values())
    asked = set(numbers)
    _check_all(sorted(asked), chosen)
    return [letter for number, letter in chosen.items() if number in asked]


def drop(directory: Path, chosen: Sequence[Chosen]) -> int:
    """Deletes letters, all at once and durably; returns how many were still there.

    Raises:
        QueueMissing, QueueDamaged, QueueUnwritable, QueueBusy, QueueFull: the file can't be used; nothing was deleted.
    """
    dropped = 0
    with letters_file(directory) as connection, transaction(connection):
        for letter in chosen:
            dropped += connection.execute(DELETE, {"id": letter.id, "digest": letter.digest}).rowcount
    return dropped


@contextmanager
def letters_file(directory: Path) -> Iterator[sqlite3.Connection]:
    """A durable connection that writes, to a file that is there.

    Raises:
        QueueMissing, QueueDamaged, QueueUnwritable, QueueBusy, QueueFull: the file can't be used.
    """
    path = directory / FILE_NAME
    with reading(path, LETTERS_FORMAT):
        pass  # it is there and ours, before anything is written
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with (
        translated(path),
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection,
    ):
        configure(connection)
        bound(connection, MAX_BYTES)
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One that holds the file's write lock from the beginning; undone by whatever is raised inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _looking(directory: Path) -> Iterator[sqlite3.Connection | None]:
    """The file of dead letters; None if no worker has made one beside the queue yet."""
    path = directory / FILE_NAME
    if path.exists():
        with reading(path, LETTERS_FORMAT) as connection:
            yield connection
    else:
        with reading(directory / QUEUE_FILE_NAME, QUEUE_FORMAT):
            yield None


def _row(connection: sqlite3.Connection, number: int) -> tuple[int, int, str, int, bytes] | None:
    row: tuple[int, int, str, int, bytes] | None = connection.execute(_ONE, (number,)).fetchone()
    return row


def _check_all(asked: Sequence[int], found: Iterable[int]) -> None:
    there = set(found)
    if unknown := [number for number in asked if number not in there]:
        names = ", ".join(map(str, unknown[:_SHOWN]))
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        raise LettersMissing(
            f"there is no dead letter {names}{more}: `ps2daemon queue dead-letters list` shows those that are there; "
            "nothing was done"
        )
