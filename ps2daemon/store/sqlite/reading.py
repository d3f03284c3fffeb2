"""What is asked of the file, each as one short call on a connection.

Nothing here scans all history: windows are found by index, whatever most sessions are not by partial index, and what
walks through everything does so page by page. `worlds` are asked one by one, so that no call is long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.sessions import CAP
from ps2daemon.store.base import (
    CharacterDocument,
    Count,
    Edge,
    Endings,
    SessionDocument,
    Stored,
    UnknownStart,
    Unsettled,
)
from ps2daemon.store.days import Day, Edges
from ps2daemon.store.sqlite import rows

if TYPE_CHECKING:
    from ps2daemon.model.differences import Differences
    from ps2daemon.model.sittings import Sittings

# A session longer than a day is in the index of those (`sessions_long`), an open one in the index of those.
ONLINE_AT: Final = f"""
SELECT faction_id, count(*) FROM (
    SELECT faction_id FROM sessions INDEXED BY sessions_by_login
    WHERE world_id = :world AND login_ts >= :at - {DAY} AND login_ts <= :at AND logout_ts > :at
    UNION ALL
    SELECT faction_id FROM sessions INDEXED BY sessions_open
    WHERE logout_ts IS NULL AND world_id = :world AND login_ts <= :at
    UNION ALL
    SELECT faction_id FROM sessions INDEXED BY sessions_long
    WHERE logout_ts - login_ts > {DAY} AND world_id = :world AND login_ts < :at - {DAY} AND logout_ts > :at
) GROUP BY faction_id
"""
LOGINS: Final = """
SELECT json_group_array(json_array(faction_id, bucket, number)) FROM (
    SELECT faction_id, (login_ts - :start + :step - 1) / :step AS bucket, count(*) AS number
    FROM sessions INDEXED BY sessions_by_login
    WHERE world_id = :world AND login_ts > :start AND login_ts <= :last
    GROUP BY bucket, faction_id
)
"""
LOGOUTS: Final = """
SELECT json_group_array(json_array(faction_id, bucket, number)) FROM (
    SELECT faction_id, (logout_ts - :start + :step - 1) / :step AS bucket, -count(*) AS number
    FROM sessions INDEXED BY sessions_by_logout
    WHERE world_id = :world AND logout_ts > :start AND logout_ts <= :last AND login_ts IS NOT NULL
    GROUP BY bucket, faction_id
)
"""
# As one text of numbers, which takes a seventh of the time of counting them in here by the minute.
_EDGES: Final = """
SELECT group_concat({at} * 8 + iif(faction_id BETWEEN 0 AND 4, faction_id, 7)) FROM sessions INDEXED BY {index}
WHERE world_id = :world AND {at} > :start AND {at} <= :end AND login_ts IS NOT NULL
"""
LOGIN_EDGES: Final = _EDGES.format(at="login_ts", index="sessions_by_login")
LOGOUT_EDGES: Final = _EDGES.format(at="logout_ts", index="sessions_by_logout")
ENDED: Final = f"""
SELECT {rows.SITTING_TEXTS} FROM sessions INDEXED BY sessions_by_logout
WHERE world_id = ? AND logout_ts > ? AND logout_ts <= ? AND login_ts IS NOT NULL AND ended_by = 'logout'
"""
LASTING: Final = f"""
SELECT {rows.SITTING_TEXTS} FROM (
    SELECT faction_id, login_ts, logout_ts FROM sessions INDEXED BY sessions_open
    WHERE logout_ts IS NULL AND world_id = :world AND login_ts < :before
    UNION ALL
    SELECT faction_id, login_ts, logout_ts FROM sessions INDEXED BY sessions_long
    WHERE logout_ts - login_ts > {DAY} AND world_id = :world AND login_ts < :before AND logout_ts > :at AND ended_by = 'logout'
)
"""
DAY_VERSIONS: Final = "SELECT day, version FROM session_days WHERE world_id = ? AND day >= ? AND day < ?"
ENDING_VERSIONS: Final = "SELECT day, version FROM ending_days WHERE world_id = ? AND day >= ? AND day < ?"
UNKNOWN_STARTS: Final = """
SELECT world_id, faction_id, logout_ts, not_before FROM sessions INDEXED BY sessions_by_login
WHERE world_id = ? AND login_ts IS NULL AND logout_ts > ? AND logout_ts <= ?
ORDER BY logout_ts
"""
ALERTS: Final = f"""
SELECT {rows.ALERT_COLUMNS} FROM alerts WHERE rowid IN (
    SELECT rowid FROM alerts WHERE world_id = :world AND "end" > :start AND first_change < :end
    UNION ALL
    SELECT rowid FROM alerts WHERE world_id = :world AND "end" IS NULL AND first_change < :end
)
"""
_ALERTS: Final = f"SELECT {rows.ALERT_COLUMNS} FROM alerts WHERE world_id = ?"
ENDED_ALERTS: Final = f'{_ALERTS} AND "end" > ? AND "end" <= ?'
ENDLESS: Final = f'{_ALERTS} AND "end" IS NULL AND first_change < ?'
LOCKS: Final = f"SELECT {rows.LOCK_COLUMNS} FROM locks WHERE world_id = ? AND at >= ? AND at < ?"
ALERT_WORLDS: Final = "SELECT DISTINCT world_id FROM alerts"
LOCK_WORLDS: Final = "SELECT DISTINCT world_id FROM locks"
# Each step jumps to the next world in the index, instead of reading all of it.
_WORLDS: Final = """
WITH RECURSIVE
    seen (id) AS (
        SELECT min(world_id) FROM sessions INDEXED BY sessions_by_login
        UNION ALL
        SELECT (SELECT min(world_id) FROM sessions INDEXED BY sessions_by_login WHERE world_id > seen.id)
        FROM seen WHERE seen.id IS NOT NULL
    ),
    covered (id) AS (
        SELECT min(world_id) FROM coverage
        UNION ALL
        SELECT (SELECT min(world_id) FROM coverage WHERE world_id > covered.id)
        FROM covered WHERE covered.id IS NOT NULL
    )
"""
WORLDS: Final = f"""
{_WORLDS} SELECT id FROM seen WHERE id IS NOT NULL UNION SELECT id FROM covered WHERE id IS NOT NULL ORDER BY id
"""
LOGIN_EDGE: Final = """
SELECT 1 FROM sessions INDEXED BY sessions_by_start
WHERE coalesce(login_ts, logout_ts) = :at AND character_id = :character AND (login_ts IS NULL) = :out
"""
LOGOUT_EDGE: Final = f"""
{_WORLDS} SELECT 1 FROM seen CROSS JOIN sessions INDEXED BY sessions_by_logout
ON sessions.world_id = seen.id AND logout_ts = :at AND login_ts IS NOT NULL
WHERE character_id = :character AND ended_by = 'logout' LIMIT 1
"""
ESTIMATED: Final = """
SELECT json_group_array(character_id) FROM (
    SELECT character_id FROM sessions INDEXED BY sessions_estimated
    WHERE ended_by <> 'logout' AND world_id = :world AND character_id > :after
        AND login_ts < :end AND (ended_before >= :start OR ended_after >= :capped)
    UNION
    SELECT character_id FROM sessions INDEXED BY sessions_open
    WHERE logout_ts IS NULL AND character_id > :after AND world_id = :world AND login_ts < :end
    ORDER BY 1 LIMIT :limit
)
"""
OPEN_SINCE: Final = """
SELECT json_group_array(character_id) FROM (
    SELECT DISTINCT character_id FROM sessions INDEXED BY sessions_open
    WHERE logout_ts IS NULL AND login_ts <= ? AND character_id > ?
    ORDER BY character_id LIMIT ?
)
"""
UNNAMED: Final = """
SELECT json_group_array(character_id) FROM (
    SELECT character_id FROM characters INDEXED BY characters_unnamed
    WHERE enriched_at IS NULL AND character_id > ? ORDER BY character_id LIMIT ?
)
"""
UNNAMED_SESSIONS: Final = f"""
SELECT session_id, {rows.SESSION_COLUMNS} FROM sessions INDEXED BY sessions_unnamed
WHERE faction_id = 0 AND character_id IN (SELECT value FROM json_each(?))
"""
SESSIONS_PAGE: Final = f"""
SELECT session_id, {rows.SESSION_COLUMNS} FROM sessions INDEXED BY sessions_by_start
WHERE coalesce(login_ts, logout_ts) >= :at AND coalesce(login_ts, logout_ts) < :end
    AND (coalesce(login_ts, logout_ts), character_id, login_ts IS NULL) > (:at, :character, :out)
ORDER BY coalesce(login_ts, logout_ts), character_id, login_ts IS NULL LIMIT :limit
"""
CHARACTERS: Final = f"""
SELECT {rows.CHARACTERS_TEXT} FROM characters WHERE character_id IN (SELECT value FROM json_each(?))
"""
CHARACTERS_PAGE: Final = f"""
SELECT {rows.CHARACTERS_TEXT} FROM (
    SELECT * FROM characters WHERE character_id > ? ORDER BY character_id LIMIT ?
)
"""
COUNTS: Final = """
SELECT key, value FROM meta WHERE key = 'characters'
UNION ALL SELECT 'unnamed', count(*) FROM characters INDEXED BY characters_unnamed WHERE enriched_at IS NULL
UNION ALL SELECT key, value FROM meta WHERE key = 'sessions'
UNION ALL SELECT 'open', count(*) FROM sessions INDEXED BY sessions_open WHERE logout_ts IS NULL
UNION ALL SELECT 'alerts', count(*) FROM alerts
UNION ALL SELECT 'locks', count(*) FROM locks
UNION ALL SELECT 'spans', count(*) FROM coverage
UNION ALL SELECT 'notes', count(*) FROM notes
"""


def online_at(connection: sqlite3.Connection, at: Ms, world_id: int) -> list[Count]:
    """One world's part of `StoreReader.online_at`."""
    return [
        Count(world_id, faction_id, online)
        for faction_id, online in connection.execute(ONLINE_AT, {"world": world_id, "at": at})
    ]


def changes(connection: sqlite3.Connection, start: Ms, end: Ms, step: Ms, world_id: int) -> Differences:
    """One world's part of `StoreReader.changes`."""
    from ps2daemon.model.differences import differences_of  # numpy, without which most commands do

    size = -((start - end) // step)
    parameters = {"world": world_id, "start": start, "last": start + (size - 1) * step, "step": step}
    found = (
        (world_id, *row)
        for statement in (LOGINS, LOGOUTS)
        for row in rows.numbers_of(_one(connection, statement, parameters))
    )
    return differences_of(size, found)


def edges(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> Edges:
    """See `EdgeSource.edges`."""
    import numpy as np  # most commands do without

    parameters = {"world": world_id, "start": start, "end": end}
    logins, logouts = (
        np.fromstring(_one(connection, statement, parameters) or "", dtype=np.int64, sep=",")
        for statement in (LOGIN_EDGES, LOGOUT_EDGES)
    )
    return Edges(logins, logouts)


def versions(
    connection: sqlite3.Connection, statement: str, days: range, world_id: int
) -> list[tuple[Day, int]]:
    """One world's part of `DaySource.day_versions` or `ending_versions`, by `DAY_VERSIONS` or `ENDING_VERSIONS`."""
    found = connection.execute(statement, (world_id, days.start, days.stop))
    return [((world_id, day), version) for day, version in found]


def endings(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> Endings:
    """See `DaySource.endings`."""
    ended = connection.execute(ENDED_ALERTS, (world_id, start, end))
    return Endings(
        tuple(rows.alert_of(row) for row in ended),
        tuple(locks(connection, start + 1, end + 1, world_id)),
        tuple(unknown_starts(connection, start, end, world_id)),
    )


def endless(connection: sqlite3.Connection, before: Ms, world_id: int) -> list[Alert]:
    """One world's part of `DaySource.endless`."""
    return [rows.alert_of(row) for row in connection.execute(ENDLESS, (world_id, before))]


def ended(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> Sittings:
    """See `DaySource.ended`."""
    found = rows.sittings_of_texts(connection.execute(ENDED, (world_id, start, end)))
    return found.at(found.logouts.argsort(kind="stable"))  # the index has them so, but nobody promises it


def lasting(connection: sqlite3.Connection, at: Ms, before: Ms, world_id: int) -> Sittings:
    """Sittings that began before `before` and go on, or ended after `at`, which is at least a day later."""
    parameters = {"world": world_id, "before": before, "at": at}
    return rows.sittings_of_texts(connection.execute(LASTING, parameters))


def unknown_starts(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> list[UnknownStart]:
    """One world's part of `StoreReader.unknown_starts`."""
    return [UnknownStart(*row) for row in connection.execute(UNKNOWN_STARTS, (world_id, start, end))]


def spans(
    connection: sqlite3.Connection, world_id: int | None, start: Ms | None, end: Ms | None
) -> list[Span]:
    """Coverage of one world, or of all, that overlaps or touches the window, as stored."""
    conditions = []
    parameters: list[int] = []
    for condition, value in (("world_id = ?", world_id), ('"to" >= ?', start), ('"from" <= ?', end)):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    found = connection.execute(
        f'SELECT world_id, "from", "to", "after" FROM coverage {where} ORDER BY world_id, "from"', parameters
    )
    return [Span(*row) for row in found]


def alerts(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> list[Alert]:
    """One world's part of `StoreReader.alerts`, in no order."""
    found = connection.execute(ALERTS, {"world": world_id, "start": start, "end": end})
    return [rows.alert_of(row) for row in found]


def locks(connection: sqlite3.Connection, start: Ms, end: Ms, world_id: int) -> list[Lock]:
    """One world's part of `StoreReader.locks`, in no order."""
    return [rows.lock_of_row(row) for row in connection.execute(LOCKS, (world_id, start, end))]


def worlds(connection: sqlite3.Connection) -> list[int]:
    """See `StoreReader.worlds`."""
    return [world_id for (world_id,) in connection.execute(WORLDS)]


def worlds_with(connection: sqlite3.Connection, statement: str) -> list[int]:
    """The worlds that `ALERT_WORLDS` or `LOCK_WORLDS` finds."""
    return [world_id for (world_id,) in connection.execute(statement)]


def records_until(connection: sqlite3.Connection) -> Ms | None:
    """See `StoreReader.records_until`."""
    return meta(connection, "records_until")


def meta(connection: sqlite3.Connection, key: str) -> int | None:
    """A number about the whole store."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if found is None else int(found[0])


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """See `StoreReader.counts`."""
    return dict(connection.execute(COUNTS).fetchall())


def sessions_page(
    connection: sqlite3.Connection, place: rows.Row, end: Ms, limit: int
) -> list[SessionDocument]:
    """Sessions of all worlds beyond `place` (see `rows.session_key`) that began before `end`."""
    at, character_id, out = place
    found = connection.execute(
        SESSIONS_PAGE, {"at": at, "character": character_id, "out": out, "end": end, "limit": limit}
    )
    return [rows.session_of(session_id, row) for session_id, *row in found]


def characters_page(connection: sqlite3.Connection, after: str, limit: int) -> list[CharacterDocument]:
    """Characters beyond `after`."""
    found = rows.stored_of(_one(connection, CHARACTERS_PAGE, (after, limit)))
    return sorted((stored.document for stored in found), key=lambda document: document.character_id)


def load_characters(connection: sqlite3.Connection, ids: str) -> list[Stored]:
    """Those that exist; `ids` is an `rows.id_list`."""
    return rows.stored_of(_one(connection, CHARACTERS, (ids,)))


def known_edges(connection: sqlite3.Connection, edges: Iterable[Edge]) -> set[Edge]:
    """See `Store.known_edges`."""
    return {edge for edge in edges if _is_known(connection, edge)}


def _is_known(connection: sqlite3.Connection, edge: Edge) -> bool:
    parameters = {"at": edge.at, "character": edge.character_id, "out": not edge.login}
    if connection.execute(LOGIN_EDGE, parameters).fetchone() is not None:
        return True
    return not edge.login and connection.execute(LOGOUT_EDGE, parameters).fetchone() is not None


def unnamed_sessions(connection: sqlite3.Connection, ids: str) -> list[SessionDocument]:
    """See `Store.unnamed_sessions`; `ids` is an `rows.id_list`."""
    return [
        rows.session_of(session_id, row) for session_id, *row in connection.execute(UNNAMED_SESSIONS, (ids,))
    ]


def unsettled(connection: sqlite3.Connection) -> list[Unsettled]:
    """See `Store.unsettled`."""
    found = connection.execute(
        'SELECT id, world_id, "start", "end" FROM unsettled ORDER BY world_id, "start", "end"'
    )
    return [Unsettled(*row) for row in found]


def estimated(
    connection: sqlite3.Connection, world_id: int, start: Ms, end: Ms, after: str, limit: int
) -> list[str]:
    """See `Store.estimated`.

    A session's end is at most `CAP` after the last evidence of being online, which is no later than `ended_after`.
    """
    parameters = {
        "world": world_id,
        "start": start,
        "capped": start - CAP,
        "end": end,
        "after": after,
        "limit": limit,
    }
    return sorted(rows.ids_of(_one(connection, ESTIMATED, parameters)))


def open_since(connection: sqlite3.Connection, login_before: Ms, after: str, limit: int) -> list[str]:
    """See `Store.open_since`."""
    return sorted(rows.ids_of(_one(connection, OPEN_SINCE, (login_before, after, limit))))


def running_alerts(connection: sqlite3.Connection) -> list[tuple[int, Ms]]:
    """See `Store.running_alerts`."""
    return connection.execute(
        'SELECT world_id, first_change FROM alerts WHERE "end" IS NULL ORDER BY world_id, first_change'
    ).fetchall()


def unnamed(connection: sqlite3.Connection, after: str, limit: int) -> list[str]:
    """See `Store.unnamed`."""
    return sorted(rows.ids_of(_one(connection, UNNAMED, (after, limit))))


def _one(connection: sqlite3.Connection, statement: str, parameters: dict[str, Any] | rows.Row) -> Any:
    """The value of a statement with one row of one column."""
    (value,) = connection.execute(statement, parameters).fetchone()
    return value
