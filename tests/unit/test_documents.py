"""Documents to the letter: fields, their order, times in ISO 8601 UTC, what is absent and what is null."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from ps2daemon.analysis import documents, series_documents
from ps2daemon.analysis.overlay import overlay
from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.model.alerts import Alert, Lock, Territory
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE
from ps2daemon.model.sessions import Character, Session
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import CharacterDocument, SessionDocument
from tests.memory_reader import MemoryReader, session

T = parse_iso("2026-03-01T12:00:00Z")

SESSION = SessionDocument(
    session_id="5428010618020694593-1",
    character_id="5428010618020694593",
    world_id=10,
    faction_id=2,
    login_ts=T,
    logout_ts=T + HOUR,
    started_by="login",
    ended_by="offline_check",
    ended_after=T + 30 * MINUTE,
    ended_before=T + 90 * MINUTE,
    not_before=None,
)


def test_a_session_that_ended() -> None:
    assert documents.session_document(SESSION) == {
        "character_id": "5428010618020694593",
        "world_id": 10,
        "faction_id": 2,
        "login_ts": "2026-03-01T12:00:00Z",
        "logout_ts": "2026-03-01T13:00:00Z",
        "online": {"gte": "2026-03-01T12:00:00Z", "lte": "2026-03-01T13:00:00Z"},
        "started_by": "login",
        "ended_by": "offline_check",
        "ended_after": "2026-03-01T12:30:00Z",
        "ended_before": "2026-03-01T13:30:00Z",
    }
    assert tuple(documents.session_document(SESSION)) == documents.SESSION_FIELDS


def test_a_session_that_is_open() -> None:
    assert documents.session_document(session("7", T, None, faction_id=0)) == {
        "character_id": "7",
        "world_id": 10,
        "faction_id": 0,
        "login_ts": "2026-03-01T12:00:00Z",
        "online": {"gte": "2026-03-01T12:00:00Z"},
        "started_by": "login",
        "ended_by": None,
    }


def test_a_session_whose_login_was_not_seen() -> None:
    assert documents.session_document(session("7", None, T)) == {
        "character_id": "7",
        "world_id": 10,
        "faction_id": 1,
        "logout_ts": "2026-03-01T12:00:00Z",
        "started_by": "unknown",
        "ended_by": "logout",
    }


def test_a_character() -> None:
    state = Character(
        (
            Session(world_id=1, login_ts=T, logout_ts=T + HOUR, ended_by="logout"),
            Session(world_id=10, login_ts=T + DAY),
        ),
        pruned_before=T,
    )
    document = CharacterDocument("54", "<b>Bob</b>", 3, T + 123, state)
    assert documents.character_document(document) == {
        "character_id": "54",
        "character_name": "<b>Bob</b>",
        "faction": "TR",
        "faction_id": 3,
        "world_id": 10,
        "world_name": "Wainwright",
        "login_logout_events": [
            {
                "login_ts": "2026-03-01T12:00:00Z",
                "logout_ts": "2026-03-01T13:00:00Z",
                "started_by": "login",
                "ended_by": "logout",
                "world_id": 1,
            },
            {"login_ts": "2026-03-02T12:00:00Z", "started_by": "login", "ended_by": None, "world_id": 10},
        ],
        "pruned_before": "2026-03-01T12:00:00Z",
        "enriched_at": "2026-03-01T12:00:00.123Z",
    }
    assert tuple(documents.character_document(document)) == documents.CHARACTER_FIELDS


def test_a_character_that_census_has_not_named() -> None:
    assert documents.character_document(CharacterDocument("54", None, 0, None, Character())) == {
        "character_id": "54",
        "character_name": None,
        "faction": None,
        "faction_id": 0,
        "world_id": None,
        "world_name": None,
        "login_logout_events": [],
    }


ALERT = Alert(
    alert_id="10-5-2026-03-01",
    world_id=10,
    instance_id=5,
    metagame_event_id=147,
    name="Indar Superiority",
    type=9,
    zone_id=2,
    start=T,
    end=T + 90 * MINUTE,
    ended_by="event",
    canceled=False,
    territory_start=Territory(30.0, 30.5, 39.5),
    territory_end=Territory(None, None, None),
    winner=3,
    lock_id="10-2-1",
    changes=(),
)


def test_an_alert() -> None:
    assert documents.alert_document(ALERT) == {
        "alert_id": "10-5-2026-03-01",
        "world_id": 10,
        "instance_id": 5,
        "metagame_event_id": 147,
        "name": "Indar Superiority",
        "type": 9,
        "zone_id": 2,
        "start": "2026-03-01T12:00:00Z",
        "end": "2026-03-01T13:30:00Z",
        "ended_by": "event",
        "canceled": False,
        "territory_start": {"vs": 30.0, "nc": 30.5, "tr": 39.5},
        "territory_end": {"vs": None, "nc": None, "tr": None},
        "winner": 3,
        "lock_id": "10-2-1",
    }
    assert tuple(documents.alert_document(ALERT)) == documents.ALERT_FIELDS
    running = msgspec.structs.replace(ALERT, end=None, ended_by=None, territory_end=None, winner=None)
    document = documents.alert_document(running)
    assert "end" not in document
    assert (document["ended_by"], document["territory_end"], document["winner"]) == (None, None, None)


LOCK = Lock(
    lock_id="10-2-1",
    world_id=10,
    zone_id=2,
    at=T,
    winner=3,
    previous_winner=0,
    metagame_event_id=147,
    population_vs=30.0,
    population_nc=None,
    population_tr=40.0,
    alert_id="10-5-2026-03-01",
)


def test_a_lock() -> None:
    document = documents.lock_document(LOCK)
    assert document == {
        "lock_id": "10-2-1",
        "world_id": 10,
        "zone_id": 2,
        "at": "2026-03-01T12:00:00Z",
        "winner": 3,
        "previous_winner": 0,
        "metagame_event_id": 147,
        "population_vs": 30.0,
        "population_nc": None,
        "population_tr": 40.0,
        "alert_id": "10-5-2026-03-01",
    }
    assert tuple(document) == documents.LOCK_FIELDS


def test_coverage() -> None:
    document = documents.coverage_document(Span(10, T, T + HOUR + 5, "world_down"))
    assert document == {
        "world_id": 10,
        "from": "2026-03-01T12:00:00Z",
        "to": "2026-03-01T13:00:00.005Z",
        "after": "world_down",
    }
    assert tuple(document) == documents.COVERAGE_FIELDS


async def test_a_population_to_the_letter() -> None:
    reader = MemoryReader([session("a", T, T + 5 * MINUTE)], [Span(10, T, T + 9 * MINUTE, "start")])
    query = PopulationQuery(start=T, end=T + 15 * MINUTE, step=5 * MINUTE, worlds=(10,), factions=(1, 0))
    answer = series_documents.population_answer(await population(reader, query))
    assert msgspec.json.encode(answer) == (
        b'{"step_s":300,"times":["2026-03-01T12:00:00Z","2026-03-01T12:05:00Z","2026-03-01T12:10:00Z"],'
        b'"series":[{"world_id":10,"faction_id":1,"online":[1,0,null]},{"world_id":10,"faction_id":0,"online":[0,0,null]}]}'
    )


async def test_an_overlay() -> None:
    sessions = [session("a", T, T + HOUR), session("b", T, T + HOUR), session("c", T - DAY, T - DAY + HOUR)]
    reader = MemoryReader(sessions, [Span(10, T - 2 * DAY, T + DAY, "start")])
    query = PopulationQuery(start=T, end=T + 2 * HOUR, step=HOUR, worlds=(10,), factions=(1,))
    answer = series_documents.overlay_answer(
        await overlay(reader, query, "day", 1, ZoneInfo("Europe/Berlin"))
    )
    assert answer == {
        "step_s": 3600,
        "times": ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"],
        "series": [{"world_id": 10, "faction_id": 1, "online": (2, 0)}],
        "by": "day",
        "time_zone": "Europe/Berlin",
        "earlier": [
            {
                "back": 1,
                "times": ["2026-02-28T12:00:00Z", "2026-02-28T13:00:00Z"],
                "series": [
                    {
                        "world_id": 10,
                        "faction_id": 1,
                        "online": (1, 0),
                        "difference": (1, 0),
                        "ratio": [2.0, None],
                    }
                ],
            }
        ],
        "comparisons": [
            {
                "back": 1,
                "world_id": 10,
                "faction_id": 1,
                "buckets": 2,
                "mean": 1.0,
                "earlier_mean": 0.5,
                "difference": 0.5,
                "ratio": 2.0,
            }
        ],
        "trends": [{"world_id": 10, "faction_id": 1, "buckets": 2, "per_period": None}],
    }
