"""One commit, as statements.

Python's interpreter lock is given up and taken again around every step of a statement, and taking it again can last 5 ms while
the other thread computes. A statement a row makes that ten seconds for a batch of 2,000 events (measured); so many rows go with one statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final

from ps2daemon.errors import StoreConflict
from ps2daemon.store.base import Commit
from ps2daemon.store.sqlite import rows
from ps2daemon.store.sqlite.connection import transaction

MOST_ROWS: Final = 512
"""Rows written with one statement: at ten values each well under SQLite's 32,766 parameters."""


def _upsert(table: str, key: str, columns: str) -> str:
    """Replaces rows by updating them, so that triggers know what they were."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns.split(", "))
    return f"INSERT INTO {table} ({columns}) VALUES {{rows}} ON CONFLICT ({key}) DO UPDATE SET {changes}"


# `{rows}` stands for as many rows of parameters as there are, or as one statement takes.
_SESSIONS: Final = f"""
INSERT INTO sessions ({rows.SESSION_COLUMNS}) VALUES {{rows}}
ON CONFLICT (coalesce(login_ts, logout_ts), character_id, login_ts IS NULL) DO UPDATE SET
    world_id = excluded.world_id,
    faction_id = excluded.faction_id,
    logout_ts = excluded.logout_ts,
    started_by = excluded.started_by,
    ended_by = excluded.ended_by,
    ended_after = excluded.ended_after,
    ended_before = excluded.ended_before,
    not_before = excluded.not_before
"""
_GONE_SESSIONS: Final = """
DELETE FROM sessions WHERE rowid IN (
    SELECT sessions.rowid FROM (VALUES {rows}) AS gone CROSS JOIN sessions INDEXED BY sessions_by_start
    ON coalesce(login_ts, logout_ts) = gone.column1 AND character_id = gone.column2
        AND (login_ts IS NULL) = gone.column3
)
"""
_NEW_CHARACTERS: Final = f"""
INSERT INTO characters ({rows.CHARACTER_COLUMNS}) VALUES {{rows}} ON CONFLICT (character_id) DO NOTHING
"""
_KNOWN_CHARACTERS: Final = """
UPDATE characters SET
    character_name = new.column2,
    faction_id = new.column3,
    world_id = new.column4,
    login_logout_events = new.column5,
    pruned_before = new.column6,
    pruned_logout = new.column7,
    enriched_at = new.column8,
    version = version + 1
FROM (VALUES {rows}) AS new
WHERE characters.character_id = new.column1 AND characters.version = new.column9
"""
_GONE_CHARACTERS: Final = "DELETE FROM characters WHERE (character_id, version) IN (VALUES {rows})"
_ALERTS: Final = _upsert("alerts", "alert_id", rows.ALERT_COLUMNS)
_GONE_ALERTS: Final = "DELETE FROM alerts WHERE alert_id IN (VALUES {rows})"
_LOCKS: Final = _upsert("locks", "lock_id", rows.LOCK_COLUMNS)
_GONE_LOCKS: Final = "DELETE FROM locks WHERE lock_id IN (VALUES {rows})"
_SPANS: Final = """
INSERT INTO coverage (world_id, "from", "to", "after") VALUES {rows}
ON CONFLICT (world_id, "from") DO UPDATE SET
    "to" = max("to", excluded."to"), "after" = min("after", excluded."after")
"""
_GONE_SPANS: Final = 'DELETE FROM coverage WHERE (world_id, "from") IN (VALUES {rows})'
_UNSETTLED: Final = 'INSERT OR REPLACE INTO unsettled (id, world_id, "start", "end") VALUES {rows}'
_SETTLED: Final = "DELETE FROM unsettled WHERE id IN (VALUES {rows})"
_GROWN: Final = """
INSERT INTO meta (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)
"""


def write(connection: sqlite3.Connection, commit: Commit) -> None:
    """Writes all of a commit or nothing; it is on the disk when this returns.

    Raises:
        StoreConflict: a character is no longer what it was.
    """
    with transaction(connection):
        _characters(connection, commit)
        _many(connection, _GONE_SESSIONS, [rows.session_key(key) for key in commit.gone_sessions])
        _many(connection, _SESSIONS, [rows.session_row(document) for document in commit.sessions])
        _many(connection, _GONE_ALERTS, [(key,) for key in commit.gone_alerts])
        _many(connection, _ALERTS, [rows.alert_row(alert) for alert in commit.alerts])
        _many(connection, _GONE_LOCKS, [(key,) for key in commit.gone_locks])
        _many(connection, _LOCKS, [rows.lock_row(lock) for lock in commit.locks])
        _many(
            connection, _SPANS, [(span.world_id, span.start, span.end, span.after) for span in commit.spans]
        )
        _many(connection, _SETTLED, [(key,) for key in commit.settled])
        _many(
            connection,
            _UNSETTLED,
            [(each.id, each.world_id, each.start, each.end) for each in commit.unsettled],
        )
        _many(connection, _GONE_SPANS, list(commit.gone_spans))
        for key, value in (("records_until", commit.records_until), ("pruned_until", commit.pruned_until)):
            if value is not None:
                connection.execute(_GROWN, (key, value))


def _characters(connection: sqlite3.Connection, commit: Commit) -> None:
    characters, gone = commit.characters, list(commit.gone_characters.items())
    new = [(*rows.character_values(document), 1) for document, version in characters if version == 0]
    known = [(*rows.character_values(document), version) for document, version in characters if version != 0]
    written = _many(connection, _NEW_CHARACTERS, new) + _many(connection, _KNOWN_CHARACTERS, known)
    written += _many(connection, _GONE_CHARACTERS, gone)
    told = len(characters) + len(gone)
    if written != told:
        raise StoreConflict(f"{told - written} of {told} characters were changed by another writer")


def _many(connection: sqlite3.Connection, statement: str, parameters: Sequence[rows.Row]) -> int:
    """Runs `statement` for all rows of parameters, and returns how many rows of the table that touched.

    By powers of two, so that few texts of statements take part and each is compiled once.
    """
    touched = first = 0
    size = MOST_ROWS
    while first < len(parameters):
        while size > len(parameters) - first:
            size //= 2
        part = parameters[first : first + size]
        text = _text(statement, size, len(part[0]))
        touched += connection.execute(text, [value for row in part for value in row]).rowcount
        first += size
    return touched


@cache
def _text(statement: str, size: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(rows=", ".join([row] * size))
