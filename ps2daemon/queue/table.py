"""The table of the embedded queue: persist-queue's, in a thin subclass, with running totals in each row.

A row's totals count everything up to and with it since the queue was created, and `state` holds those of the last acked one: how much
is not acked is the difference of two rows, and no counter can drift from the rows.

Positions are rowids of an AUTOINCREMENT table, and rows and totals come to be in one INSERT under SQLite's write lock, so that a second
process may append (`requeue.py`). Positions have no holes: a transaction that fails gives its number back.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from persistqueue.exceptions import Empty
from persistqueue.sqlqueue import SQLiteQueue

from ps2daemon.errors import QueueDamaged
from ps2daemon.queue.base import Item, QueueStatistics
from ps2daemon.queue.files import BUSY_SECONDS, Format, bound, configure
from ps2daemon.queue.frames import frame_header

_CREATE: Final = """CREATE TABLE IF NOT EXISTS {table_name} (
    {key_column} INTEGER PRIMARY KEY AUTOINCREMENT,
    oldest_at INTEGER NOT NULL,
    records INTEGER NOT NULL,
    records_total INTEGER NOT NULL,
    bytes_total INTEGER NOT NULL,
    data BLOB NOT NULL
)"""
TABLE: Final = "`queue_frames`"
QUEUE_FORMAT: Final = Format(
    noun="queue",
    table="queue_frames",
    application_id=0x50533251,  # "PS2Q"
    version=1,
    statements=(
        _CREATE.format(table_name=TABLE, key_column="_id"),
        # What is acked: the last position, and the totals up to it.
        """CREATE TABLE state (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            position INTEGER NOT NULL,
            records INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            max_bytes INTEGER NOT NULL
        )""",
        "INSERT INTO state VALUES (1, 0, 0, 0, 0)",
    ),
)
# One statement is one snapshot; LENGTH and the columns before `data` are read without the blob.
_STATISTICS: Final = f"""SELECT
    s.position, s.records, s.bytes, s.max_bytes,
    COALESCE((SELECT _id FROM {TABLE} ORDER BY _id DESC LIMIT 1), s.position),
    COALESCE((SELECT records_total FROM {TABLE} ORDER BY _id DESC LIMIT 1), s.records),
    COALESCE((SELECT bytes_total FROM {TABLE} ORDER BY _id DESC LIMIT 1), s.bytes),
    (SELECT oldest_at FROM {TABLE} WHERE _id > s.position ORDER BY _id LIMIT 1),
    COALESCE((SELECT _id FROM {TABLE} ORDER BY _id LIMIT 1), s.position + 1)
FROM state AS s"""
_ACK: Final = f"""UPDATE state SET (position, records, bytes) =
    (SELECT _id, records_total, bytes_total FROM {TABLE} WHERE _id <= :position ORDER BY _id DESC LIMIT 1)
WHERE position < :position"""
_REPLAY: Final = f"""UPDATE state SET (position, records, bytes) =
    (SELECT _id - 1, records_total - records, bytes_total - LENGTH(data) FROM {TABLE}
     WHERE _id > state.position - :frames ORDER BY _id LIMIT 1)
WHERE EXISTS (SELECT 1 FROM {TABLE} WHERE _id > state.position - :frames AND _id <= state.position)"""
# What is acked, the last position that was given, and the totals before the first row that is not acked, which are those of what is.
_ACKED: Final = f"""SELECT s.position, s.records, s.bytes,
    COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'queue_frames'), 0),
    (SELECT records_total - records FROM {TABLE} WHERE _id > s.position ORDER BY _id LIMIT 1),
    (SELECT bytes_total - LENGTH(data) FROM {TABLE} WHERE _id > s.position ORDER BY _id LIMIT 1)
FROM state AS s"""
_KEPT: Final = f"""SELECT COALESCE(
    (SELECT bytes_total FROM {TABLE} WHERE _id <= s.position ORDER BY _id DESC LIMIT 1)
        - (SELECT bytes_total - LENGTH(data) FROM {TABLE} ORDER BY _id LIMIT 1), 0)
FROM state AS s"""
_FORGET: Final = f"DELETE FROM {TABLE} WHERE _id <= :last"
_EVICT: Final = f"DELETE FROM {TABLE} WHERE _id <= (SELECT position FROM state)"


class _Bytes:
    """A serializer that leaves bytes as they are."""

    @staticmethod
    def dumps(value: bytes) -> bytes:
        return value

    @staticmethod
    def loads(value: bytes) -> bytes:
        return value


class FrameTable(SQLiteQueue):
    """persist-queue's FIFO with the pragmas that make it durable, and totals in each row."""

    _getter: sqlite3.Connection  # type: ignore[assignment]
    _putter: sqlite3.Connection  # type: ignore[assignment]

    _SQL_CREATE = _CREATE
    _SQL_INSERT = """INSERT INTO {table_name} (oldest_at, records, records_total, bytes_total, data) VALUES (
        ?1, ?2,
        ?2 + COALESCE((SELECT records_total FROM {table_name} ORDER BY {key_column} DESC LIMIT 1), (SELECT records FROM state)),
        LENGTH(?3)
            + COALESCE((SELECT bytes_total FROM {table_name} ORDER BY {key_column} DESC LIMIT 1), (SELECT bytes FROM state)),
        ?3)"""
    _SQL_SELECT = "SELECT {key_column}, data, oldest_at FROM {table_name} ORDER BY {key_column} ASC LIMIT 1"
    _SQL_SELECT_WHERE = (
        "SELECT {key_column}, data, oldest_at FROM {table_name} WHERE {column} {op} ? "
        "ORDER BY {key_column} ASC LIMIT 1"
    )

    def __init__(self, path: Path) -> None:
        super().__init__(
            str(path.parent),
            name="frames",
            multithreading=True,
            timeout=BUSY_SECONDS,
            auto_commit=False,
            serializer=_Bytes,
            db_file_name=path.name,
        )

    def _new_db_connection(self, path: str, multithreading: bool, timeout: float) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._new_db_connection(path, multithreading, timeout)
        configure(connection)
        return connection

    def _count(self) -> int:
        return 0  # it would scan the table for a number that is not used

    def put(self, item: bytes, block: bool = True) -> int:
        """Appends a frame and returns its position."""
        header = frame_header(item)
        position: int = self._insert_into(header.oldest_at, header.records, item)
        return position

    def next(self) -> Item | None:
        """The frame behind the cursor, and moves it."""
        before = self.cursor
        try:
            row: dict[str, Any] = self.get(block=False, raw=True)
        except Empty:
            return None
        position, frame = row["pqid"], row["data"]
        if position != before + 1 or not isinstance(frame, bytes):
            raise QueueDamaged(f"behind its frame {before} is frame {position}, or what is none")
        return Item(position, frame)

    def acked(self) -> int:
        """The last acked position.

        Raises:
            QueueDamaged: it is not what the rows say, and what is not acked could be skipped.
        """
        row = self._getter.execute(_ACKED).fetchone()
        if row is None:
            raise _no_state()
        position, records, size, given, records_before, bytes_before = row
        if position > given or (
            records_before is not None and (records, size) != (records_before, bytes_before)
        ):
            raise QueueDamaged(f"it says that {position} is acked, and that can't be")
        return int(position)

    def ack(self, position: int, retain: int) -> None:
        """Everything up to `position`, the position of a row behind the last acked one, is acked; rows more than `retain` behind it go."""
        self._write((_ACK, {"position": position}), (_FORGET, {"last": position - retain}))

    def replay(self, frames: int) -> None:
        """Takes back the acks of the last `frames` rows, as far as they are still there."""
        self._write((_REPLAY, {"frames": frames}))

    def evict(self) -> bool:
        """Deletes every row that is acked; whether there was one."""
        return self._write((_EVICT, {})) > 0

    def statistics(self) -> QueueStatistics:
        """The state of the whole queue."""
        return queue_statistics(self._getter)

    def bound(self, max_bytes: int) -> None:
        """Refuses to let the file grow beyond `max_bytes` by what is put here."""
        bound(self._putter, max_bytes)
        self._write(("UPDATE state SET max_bytes = :max WHERE max_bytes <> :max", {"max": max_bytes}))

    def bound_as_stated(self) -> int:
        """Bounds what is put here by the stated bound, which stays as it is, and returns it."""
        max_bytes = self.statistics().max_bytes
        bound(self._putter, max_bytes)
        return max_bytes

    def occupied(self) -> int:
        """At most so many bytes of the file are in use by what is not acked; a moment's estimate, since others write."""
        page_bytes, pages, free = (
            self._getter.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
        kept: int = self._getter.execute(_KEPT).fetchone()[0]
        return int(page_bytes * (pages - free) - kept)

    def suppose(self, max_bytes: int) -> None:
        """States the bound for as long as no producer has."""
        self._write(("UPDATE state SET max_bytes = :max WHERE max_bytes = 0", {"max": max_bytes}))

    def _write(self, *statements: tuple[str, dict[str, int]]) -> int:
        """Runs statements as one transaction; returns how many rows the last one changed."""
        changed = 0
        with self.tran_lock, self._putter as transaction:
            for statement, values in statements:
                changed = transaction.execute(statement, values).rowcount
        return changed


def _no_state() -> QueueDamaged:
    return QueueDamaged("it does not say what is acked")


def queue_statistics(connection: sqlite3.Connection) -> QueueStatistics:
    """The state of the whole queue, by one short select."""
    row = connection.execute(_STATISTICS).fetchone()
    if row is None:
        raise _no_state()
    position, records, size, max_bytes, last, records_total, bytes_total, oldest_at, first = row
    return QueueStatistics(
        frames=last - position,
        records=records_total - records,
        bytes=bytes_total - size,
        oldest_at=oldest_at,
        max_bytes=max_bytes,
        retained=position - first + 1,
    )
