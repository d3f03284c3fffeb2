"""The tables, and how a file of an older version becomes one of this version.

`PRAGMA user_version` holds the version of the schema, `PRAGMA application_id` marks the file as this program's. A new file is
one of version 0: it takes the same steps as an old one, so that there is one way to come to a schema. Each step is a
transaction of its own.

Sessions are written in about the order of time and by far the most numerous, so that their keys begin with a time: writing then touches
the same few pages again and again, however long the history. What most sessions are not (open, ended by an estimate, longer
than a day) has partial indexes, which cost the others nothing. Those hold the column of their own condition too: SQLite checks
the condition again, and would look up each row for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from ps2daemon.errors import StoreMismatch, StoreMissing, StoreUnavailable
from ps2daemon.model.records import DAY
from ps2daemon.store.sqlite.connection import (
    connect,
    create_file,
    foreign_errors,
    set_up_writing,
    transaction,
)

APPLICATION_ID: Final = 0x50533244
"""`PS2D`."""

_VERSION_1: Final = """
CREATE TABLE characters (
    character_id TEXT PRIMARY KEY NOT NULL,
    character_name TEXT,
    faction_id INTEGER NOT NULL,
    world_id INTEGER,
    login_logout_events TEXT NOT NULL,
    pruned_before INTEGER,
    pruned_logout INTEGER,
    enriched_at INTEGER,
    version INTEGER NOT NULL
);
CREATE INDEX characters_unnamed ON characters (character_id, enriched_at) WHERE enriched_at IS NULL;

CREATE TABLE sessions (
    session_id TEXT NOT NULL GENERATED ALWAYS AS (
        character_id || '-' || coalesce(login_ts, logout_ts) || iif(login_ts IS NULL, '-out', '')
    ) VIRTUAL,
    character_id TEXT NOT NULL,
    world_id INTEGER NOT NULL,
    faction_id INTEGER NOT NULL,
    login_ts INTEGER,
    logout_ts INTEGER,
    started_by TEXT NOT NULL,
    ended_by TEXT,
    ended_after INTEGER,
    ended_before INTEGER,
    CHECK (login_ts IS NOT NULL OR logout_ts IS NOT NULL)
);
CREATE UNIQUE INDEX sessions_by_start ON sessions (coalesce(login_ts, logout_ts), character_id, login_ts IS NULL);
CREATE INDEX sessions_by_login ON sessions (world_id, login_ts, logout_ts, faction_id);
CREATE INDEX sessions_by_logout ON sessions (world_id, logout_ts, faction_id, login_ts)
    WHERE login_ts IS NOT NULL AND logout_ts IS NOT NULL;
CREATE INDEX sessions_open ON sessions (character_id, login_ts, world_id, faction_id, logout_ts)
    WHERE logout_ts IS NULL;
CREATE INDEX sessions_long ON sessions (world_id, login_ts, logout_ts, faction_id)
    WHERE logout_ts - login_ts > 86400000;
CREATE INDEX sessions_estimated ON sessions (world_id, character_id, login_ts, ended_after, ended_before, ended_by)
    WHERE ended_by <> 'logout';

CREATE TABLE alerts (
    alert_id TEXT PRIMARY KEY NOT NULL,
    world_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    metagame_event_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    type INTEGER,
    zone_id INTEGER,
    "start" INTEGER,
    "end" INTEGER,
    ended_by TEXT,
    canceled INTEGER NOT NULL,
    territory_start TEXT,
    territory_end TEXT,
    winner INTEGER,
    lock_id TEXT,
    first_change INTEGER NOT NULL,
    changes TEXT NOT NULL
);
CREATE INDEX alerts_by_end ON alerts (world_id, "end", first_change);

CREATE TABLE locks (
    lock_id TEXT PRIMARY KEY NOT NULL,
    world_id INTEGER NOT NULL,
    zone_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    winner INTEGER NOT NULL,
    previous_winner INTEGER NOT NULL,
    metagame_event_id INTEGER NOT NULL,
    population_vs REAL,
    population_nc REAL,
    population_tr REAL,
    alert_id TEXT
);
CREATE INDEX locks_by_time ON locks (world_id, at);

CREATE TABLE coverage (
    world_id INTEGER NOT NULL,
    "from" INTEGER NOT NULL,
    "to" INTEGER NOT NULL,
    "after" TEXT NOT NULL,
    PRIMARY KEY (world_id, "from")
) WITHOUT ROWID;

CREATE TABLE unsettled (
    id TEXT PRIMARY KEY NOT NULL,
    world_id INTEGER NOT NULL,
    "start" INTEGER NOT NULL,
    "end" INTEGER NOT NULL
);

CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;

-- Counting millions of rows takes a second, and a status page asks every few seconds.
INSERT INTO meta (key, value) VALUES ('characters', 0), ('sessions', 0);
CREATE TRIGGER characters_added AFTER INSERT ON characters
    BEGIN UPDATE meta SET value = value + 1 WHERE key = 'characters'; END;
CREATE TRIGGER characters_removed AFTER DELETE ON characters
    BEGIN UPDATE meta SET value = value - 1 WHERE key = 'characters'; END;
CREATE TRIGGER sessions_added AFTER INSERT ON sessions
    BEGIN UPDATE meta SET value = value + 1 WHERE key = 'sessions'; END;
CREATE TRIGGER sessions_removed AFTER DELETE ON sessions
    BEGIN UPDATE meta SET value = value - 1 WHERE key = 'sessions'; END;
"""

_VERSION_2: Final = """
ALTER TABLE sessions ADD COLUMN not_before INTEGER;
UPDATE sessions SET not_before = earlier.logout_ts
FROM (
    SELECT rowid AS id, lag(logout_ts) OVER (
        PARTITION BY character_id ORDER BY coalesce(login_ts, logout_ts), login_ts IS NOT NULL
    ) AS logout_ts
    FROM sessions
) AS earlier
WHERE earlier.id = sessions.rowid AND earlier.logout_ts IS NOT NULL;
"""


_VERSION_3: Final = """
CREATE INDEX sessions_unnamed ON sessions (character_id) WHERE faction_id = 0;
"""
_VERSION_4: Final = """
CREATE TABLE copying (place TEXT NOT NULL);
"""


def _touch(row: str, column: str) -> str:
    """Raises the version of the day in which a session of `row`, `NEW` or `OLD`, began or ended."""
    return f"""
INSERT INTO session_days (world_id, day, version)
SELECT {row}.world_id, ({row}.{column} - 1) / {DAY}, 1 WHERE {row}.login_ts IS NOT NULL AND {row}.{column} IS NOT NULL
ON CONFLICT (world_id, day) DO UPDATE SET version = version + 1;
"""


# Triggers, so that nothing that writes sessions can forget it, and an update knows where the session ended before. Most updates end an
# open session: they touch one day. Measured: less than a microsecond, where a session takes six.
_VERSION_5: Final = f"""
CREATE TABLE session_days (
    world_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (world_id, day)
) WITHOUT ROWID;
CREATE TRIGGER session_days_added AFTER INSERT ON sessions
BEGIN {_touch("NEW", "login_ts")} {_touch("NEW", "logout_ts")} END;
CREATE TRIGGER session_days_removed AFTER DELETE ON sessions
BEGIN {_touch("OLD", "login_ts")} {_touch("OLD", "logout_ts")} END;
CREATE TRIGGER session_days_ended AFTER UPDATE ON sessions
WHEN NEW.logout_ts IS NOT OLD.logout_ts AND NEW.login_ts IS OLD.login_ts
    AND NEW.world_id = OLD.world_id AND NEW.faction_id = OLD.faction_id
BEGIN {_touch("OLD", "logout_ts")} {_touch("NEW", "logout_ts")} END;
CREATE TRIGGER session_days_changed AFTER UPDATE ON sessions
WHEN NEW.login_ts IS NOT OLD.login_ts OR NEW.world_id <> OLD.world_id OR NEW.faction_id <> OLD.faction_id
BEGIN
    {_touch("OLD", "login_ts")} {_touch("OLD", "logout_ts")} {_touch("NEW", "login_ts")} {_touch("NEW", "logout_ts")}
END;
"""

_VERSION_6: Final = """
CREATE TABLE notes (
    note_id TEXT PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL,
    world_ids TEXT NOT NULL,
    text TEXT NOT NULL
) WITHOUT ROWID;
"""

# An estimated end may turn out to be a logout of just that time, which `DaySource.ended` tells apart.
_VERSION_7: Final = f"""
DROP TRIGGER session_days_ended;
CREATE TRIGGER session_days_ended AFTER UPDATE ON sessions
WHEN (NEW.logout_ts IS NOT OLD.logout_ts OR NEW.ended_by IS NOT OLD.ended_by) AND NEW.login_ts IS OLD.login_ts
    AND NEW.world_id = OLD.world_id AND NEW.faction_id = OLD.faction_id
BEGIN {_touch("OLD", "logout_ts")} {_touch("NEW", "logout_ts")} END;
"""


def _touch_ending(row: str, column: str) -> str:
    """Raises the version of the day on which `row`, `NEW` or `OLD`, ended or was."""
    return f"""
INSERT INTO ending_days (world_id, day, version)
SELECT {row}.world_id, ({row}."{column}" - 1) / {DAY}, 1 WHERE {row}."{column}" IS NOT NULL
ON CONFLICT (world_id, day) DO UPDATE SET version = version + 1;
"""


# An update touches the day where it was and the day where it is. Of alerts, locks, and logouts without a login there are a hundred a day and world.
_VERSION_8: Final = f"""
CREATE TABLE ending_days (
    world_id INTEGER NOT NULL,
    day INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (world_id, day)
) WITHOUT ROWID;
CREATE TRIGGER ended_alert_added AFTER INSERT ON alerts BEGIN {_touch_ending("NEW", "end")} END;
CREATE TRIGGER ended_alert_changed AFTER UPDATE ON alerts
BEGIN {_touch_ending("OLD", "end")} {_touch_ending("NEW", "end")} END;
CREATE TRIGGER ended_alert_removed AFTER DELETE ON alerts BEGIN {_touch_ending("OLD", "end")} END;
CREATE TRIGGER lock_added AFTER INSERT ON locks BEGIN {_touch_ending("NEW", "at")} END;
CREATE TRIGGER lock_changed AFTER UPDATE ON locks BEGIN {_touch_ending("OLD", "at")} {_touch_ending("NEW", "at")} END;
CREATE TRIGGER lock_removed AFTER DELETE ON locks BEGIN {_touch_ending("OLD", "at")} END;
CREATE TRIGGER unknown_start_added AFTER INSERT ON sessions WHEN NEW.login_ts IS NULL
BEGIN {_touch_ending("NEW", "logout_ts")} END;
CREATE TRIGGER unknown_start_changed AFTER UPDATE ON sessions WHEN NEW.login_ts IS NULL OR OLD.login_ts IS NULL
BEGIN {_touch_ending("OLD", "logout_ts")} {_touch_ending("NEW", "logout_ts")} END;
CREATE TRIGGER unknown_start_removed AFTER DELETE ON sessions WHEN OLD.login_ts IS NULL
BEGIN {_touch_ending("OLD", "logout_ts")} END;
"""

# Of a day without a version there is nothing, also in a file that had sessions before it told versions.
_VERSION_9: Final = f"""
INSERT OR IGNORE INTO session_days (world_id, day, version)
SELECT world_id, (login_ts - 1) / {DAY} AS day, 1 FROM sessions WHERE login_ts IS NOT NULL GROUP BY world_id, day;
INSERT OR IGNORE INTO session_days (world_id, day, version)
SELECT world_id, (logout_ts - 1) / {DAY} AS day, 1 FROM sessions
WHERE login_ts IS NOT NULL AND logout_ts IS NOT NULL GROUP BY world_id, day;
INSERT OR IGNORE INTO ending_days (world_id, day, version)
SELECT world_id, ("end" - 1) / {DAY} AS day, 1 FROM alerts WHERE "end" IS NOT NULL GROUP BY world_id, day;
INSERT OR IGNORE INTO ending_days (world_id, day, version)
SELECT world_id, (at - 1) / {DAY} AS day, 1 FROM locks GROUP BY world_id, day;
INSERT OR IGNORE INTO ending_days (world_id, day, version)
SELECT world_id, (logout_ts - 1) / {DAY} AS day, 1 FROM sessions WHERE login_ts IS NULL GROUP BY world_id, day;
"""

# With how a session ended, so that reading who left takes a look at this index alone: a third of the time, and far less of a disk that was not read yet.
_VERSION_10: Final = """
DROP INDEX sessions_by_logout;
CREATE INDEX sessions_by_logout ON sessions (world_id, logout_ts, faction_id, login_ts, ended_by)
    WHERE login_ts IS NOT NULL AND logout_ts IS NOT NULL;
"""


def _script(text: str) -> Callable[[sqlite3.Connection], None]:
    def step(connection: sqlite3.Connection) -> None:
        statement = ""
        for line in text.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                connection.execute(statement)
                statement = ""

    return step


STEPS: Final = tuple(
    map(
        _script,
        (
            _VERSION_1,
            _VERSION_2,
            _VERSION_3,
            _VERSION_4,
            _VERSION_5,
            _VERSION_6,
            _VERSION_7,
            _VERSION_8,
            _VERSION_9,
            _VERSION_10,
        ),
    )
)
"""`STEPS[n]` makes a file of version n one of version n + 1."""
VERSION: Final = len(STEPS)
"""Version 2 knows of each session when the character's previous one ended (`not_before`); version 3 finds those without an empire; version 4 may be
pruned (`pruned_until` in `meta`), which a program that does not know of it would take for covered, or a copy that is not complete; version 5
tells which days' sessions changed (`session_days`); version 6 has the operator's notes; version 7 also tells so where only the reason of an end did;
version 8 tells on which days other alerts, locks and unknown starts ended (`ending_days`); version 9 tells both of all days that have any; version 10 has how a session ended beside its logout."""


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes; makes the file if there is none, and brings it up to this version.

    Raises:
        ConfigError: the path can't be written.
        StoreMismatch: it is no store, or one of a newer version; nothing was changed.
        StoreUnavailable: it is locked, or the disk does not do what it should.
    """
    create_file(path)
    with foreign_errors(path):
        connection = connect(path, read_only=False)
        try:
            _version_alone(connection, path)
            set_up_writing(connection, path)
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def check_reader(path: Path) -> None:
    """Checks that the file is there and of this version.

    Raises:
        StoreMismatch: it is not; the message says what to do.
        StoreUnavailable: as in `open_writer`.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMissing(_nothing_there(path)) from None
    except OSError as error:
        raise StoreUnavailable(f"the store {path} can't be read: {error.strerror}") from error
    with foreign_errors(path), closing(connect(path, read_only=True)) as connection:
        version = _version_alone(connection, path)
    if version == 0:
        raise StoreMissing(_nothing_there(path))
    if version < VERSION:
        raise StoreMismatch(
            f"the store {path} is of version {version}, and this program reads version {VERSION}: "
            "start `ps2daemon run` once, or call `ps2daemon store init`, which brings it up to date"
        )


def _nothing_there(path: Path) -> str:
    return f"there is no store at {path} yet: start `ps2daemon run` first, or make it with `ps2daemon store init`, or set store.path"


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Takes the steps from the version that the file has to this one."""
    while _version_alone(connection, path) < VERSION:
        with transaction(connection):
            version = _version(connection, path)  # another process may have been faster
            if version < VERSION:
                STEPS[version](connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")


def _version_alone(connection: sqlite3.Connection, path: Path) -> int:
    """`_version` as of one moment: another process may be making the store just now."""
    connection.execute("BEGIN")
    try:
        return _version(connection, path)
    finally:
        connection.rollback()


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version, which takes several statements to find: inside a transaction."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if mark != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != 0 or version != 0 or tables:
            raise StoreMismatch(
                f"{path} is a database of another program: set store.path to a file of its own"
            )
        return 0
    if version > VERSION:
        raise StoreMismatch(
            f"the store {path} is of version {version}, and this program knows up to {VERSION}: "
            "use the newer program that wrote it"
        )
    return int(version)
