"""One commit, as statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ps2daemon.errors import StoreConflict
from ps2daemon.store.base import Commit, Stored
from ps2daemon.store.sqlite import rows
from ps2daemon.store.sqlite.connection import transaction

_SESSIONS: Final = f"""
INSERT INTO sessions ({rows.SESSION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
DELETE FROM sessions
WHERE coalesce(login_ts, logout_ts) = ? AND character_id = ? AND (login_ts IS NULL) = ?
"""
_NEW_CHARACTERS: Final = f"""
INSERT INTO characters ({rows.CHARACTER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT (character_id) DO NOTHING
"""
_KNOWN_CHARACTERS: Final = """
UPDATE characters SET
    character_name = ?2, faction_id = ?3, world_id = ?4, login_logout_events = ?5,
    pruned_before = ?6, pruned_logout = ?7, enriched_at = ?8, version = version + 1
WHERE character_id = ?1 AND version = ?9
"""
_SPANS: Final = """
INSERT INTO coverage (world_id, "from", "to", "after") VALUES (?, ?, ?, ?)
ON CONFLICT (world_id, "from") DO UPDATE SET
    "to" = max("to", excluded."to"), "after" = min("after", excluded."after")
"""
_RECORDS_UNTIL: Final = """
INSERT INTO meta (key, value) VALUES ('records_until', ?)
ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)
"""


def write(connection: sqlite3.Connection, commit: Commit) -> None:
    """Writes all of a commit or nothing; it is on the disk when this returns.

    Raises:
        StoreConflict: a character is no longer what it was.
    """
    with transaction(connection):
        _characters(connection, commit.characters)
        _many(connection, _GONE_SESSIONS, [rows.session_key(key) for key in commit.gone_sessions])
        _many(connection, _SESSIONS, [rows.session_row(document) for document in commit.sessions])
        _many(connection, "DELETE FROM alerts WHERE alert_id = ?", [(key,) for key in commit.gone_alerts])
        _many(connection, _replace("alerts", rows.ALERT_COLUMNS), [rows.alert_row(a) for a in commit.alerts])
        _many(connection, "DELETE FROM locks WHERE lock_id = ?", [(key,) for key in commit.gone_locks])
        _many(
            connection, _replace("locks", rows.LOCK_COLUMNS), [rows.lock_row(lock) for lock in commit.locks]
        )
        _many(connection, _SPANS, [(s.world_id, s.start, s.end, s.after) for s in commit.spans])
        _many(connection, "DELETE FROM unsettled WHERE id = ?", [(key,) for key in commit.settled])
        _many(
            connection,
            _replace("unsettled", 'id, world_id, "start", "end"'),
            [(entry.id, entry.world_id, entry.start, entry.end) for entry in commit.unsettled],
        )
        if commit.records_until is not None:
            connection.execute(_RECORDS_UNTIL, (commit.records_until,))


def _characters(connection: sqlite3.Connection, characters: Sequence[Stored]) -> None:
    new = [rows.character_values(document) for document, version in characters if version == 0]
    known = [(*rows.character_values(document), version) for document, version in characters if version != 0]
    written = _many(connection, _NEW_CHARACTERS, new) + _many(connection, _KNOWN_CHARACTERS, known)
    if written != len(characters):
        raise StoreConflict(
            f"{len(characters) - written} of {len(characters)} characters were changed by another writer"
        )


def _replace(table: str, columns: str) -> str:
    marks = ", ".join("?" * len(columns.split(",")))
    return f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})"


def _many(connection: sqlite3.Connection, statement: str, parameters: Sequence[rows.Row]) -> int:
    """How many rows were written."""
    return connection.executemany(statement, parameters).rowcount if parameters else 0
