-- A store as version 1 left it: two characters, one of them with a session whose login was not seen.
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

INSERT INTO characters (character_id, character_name, faction_id, world_id, login_logout_events, enriched_at, version)
VALUES
    ('100', 'Ann', 2, 10,
     '[{"world_id":10,"logout_ts":1772366400000,"started_by":"unknown","ended_by":"logout"},{"world_id":10,"login_ts":1772366400000,"logout_ts":1772370000000,"ended_by":"logout"},{"world_id":10,"login_ts":1772377200000}]',
     1772366400000, 3),
    ('20', NULL, 0, 1, '[{"world_id":1,"login_ts":1772373600000}]', NULL, 1);
INSERT INTO sessions (character_id, world_id, faction_id, login_ts, logout_ts, started_by, ended_by) VALUES
    ('100', 10, 2, 1772377200000, NULL, 'login', NULL),
    ('100', 10, 2, 1772366400000, 1772370000000, 'login', 'logout'),
    ('20', 1, 0, 1772373600000, NULL, 'login', NULL),
    ('100', 10, 2, NULL, 1772366400000, 'unknown', 'logout');
INSERT INTO coverage (world_id, "from", "to", "after") VALUES (10, 1772362800000, 1772380800000, 'start');
INSERT INTO meta (key, value) VALUES ('records_until', 1772380800000);
PRAGMA application_id = 1347629636;
PRAGMA user_version = 1;
