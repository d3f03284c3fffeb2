"""What moving and keeping asks of the file, and what pruning deletes, each as one short call on a connection."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.sessions import MAX_SESSION
from ps2daemon.store.base import StoreDescription
from ps2daemon.store.sqlite.connection import connect, primary_code, transaction

FIRST_SESSION: Final = """
SELECT min(coalesce(login_ts, logout_ts)) FROM sessions INDEXED BY sessions_by_start
WHERE coalesce(login_ts, logout_ts) >= ?
"""
SESSIONS_BETWEEN: Final = """
SELECT count(*) FROM sessions INDEXED BY sessions_by_start
WHERE coalesce(login_ts, logout_ts) >= ? AND coalesce(login_ts, logout_ts) < ?
"""
# Sessions longer than a day, and open ones, are in indexes of their own (see `reading.ONLINE_AT`).
LATEST_END: Final = f"""
SELECT max(reached) FROM (
    SELECT max(logout_ts) AS reached FROM sessions INDEXED BY sessions_by_login
    WHERE world_id = :world AND login_ts >= :before - {DAY} AND login_ts < :before
    UNION ALL
    SELECT max(logout_ts) FROM sessions INDEXED BY sessions_long
    WHERE logout_ts - login_ts > {DAY} AND world_id = :world AND login_ts < :before
    UNION ALL
    SELECT max(login_ts) + {MAX_SESSION} FROM sessions INDEXED BY sessions_open
    WHERE logout_ts IS NULL AND world_id = :world AND login_ts < :before
)
"""
DROP_SESSIONS: Final = """
DELETE FROM sessions WHERE rowid IN (
    SELECT rowid FROM sessions INDEXED BY sessions_by_start WHERE coalesce(login_ts, logout_ts) < ? LIMIT ?
)
"""
_BY_MONTH: Final = "SELECT strftime('%Y-%m', {at} / 1000, 'unixepoch'), count(*) FROM {table} GROUP BY 1"
ALERTS_BY_MONTH: Final = _BY_MONTH.format(at="first_change", table="alerts")
LOCKS_BY_MONTH: Final = _BY_MONTH.format(at="at", table="locks")


def first_session(connection: sqlite3.Connection, at: Ms) -> Ms | None:
    """The first time from `at` on that is the first known of any session."""
    (found,) = connection.execute(FIRST_SESSION, (at,)).fetchone()
    return None if found is None else int(found)


def sessions_between(connection: sqlite3.Connection, start: Ms, end: Ms) -> int:
    """How many sessions have their first known time in `[start, end)`."""
    (found,) = connection.execute(SESSIONS_BETWEEN, (start, end)).fetchone()
    return int(found)


def by_month(connection: sqlite3.Connection, statement: str) -> dict[str, int]:
    """What `ALERTS_BY_MONTH` or `LOCKS_BY_MONTH` counts, by `2026-03`."""
    return dict(connection.execute(statement).fetchall())


def latest_end(connection: sqlite3.Connection, before: Ms, world_id: int) -> list[Ms]:
    """One world's part of `Store.latest_end`, empty if there is none."""
    (found,) = connection.execute(LATEST_END, {"world": world_id, "before": before}).fetchone()
    return [] if found is None else [int(found)]


def drop_sessions(connection: sqlite3.Connection, before: Ms, limit: int) -> int:
    """See `Store.drop_sessions`."""
    with transaction(connection):
        return connection.execute(DROP_SESSIONS, (before, limit)).rowcount


def copying(connection: sqlite3.Connection) -> str | None:
    """See `StoreSource.copying`."""
    found = connection.execute("SELECT place FROM copying").fetchone()
    return None if found is None else str(found[0])


def mark_copying(connection: sqlite3.Connection, place: str | None) -> None:
    """See `Store.mark_copying`."""
    with transaction(connection):
        connection.execute("DELETE FROM copying")
        if place is not None:
            connection.execute("INSERT INTO copying (place) VALUES (?)", (place,))


def describe(connection: sqlite3.Connection, path: Path) -> StoreDescription:
    """See `StoreSource.describe`."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    log = path.with_name(f"{path.name}-wal")
    try:
        log_bytes = log.stat().st_size
    except OSError:
        log_bytes = 0  # nobody has it open for writing
    return StoreDescription(
        kind="sqlite",
        place=str(path.absolute()),
        server=f"SQLite {sqlite3.sqlite_version}",
        schema_version=version,
        size_bytes=pages * page_bytes + log_bytes,
        free_bytes=free * page_bytes,
        unwritable=_unwritable(path),
    )


def _unwritable(path: Path) -> str | None:
    """Why nobody could begin to write there; one who writes just now can."""
    try:
        with closing(connect(path, read_only=False)) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        busy = primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return None if busy else str(error)
    return None
