"""The tables that come with the package: that every row makes sense, and a few that are known."""

from __future__ import annotations

from datetime import date

import pytest

from ps2daemon.model import tables
from ps2daemon.model.alerts import GRACE, LOCK_DISTANCE, LONGEST_ALERT
from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.model.times import parse_iso

CONTINENTS = {2: "Indar", 4: "Hossin", 6: "Amerish", 8: "Esamir", 344: "Oshur"}


def at(text: str) -> Ms:
    return parse_iso(f"{text}T00:00:00Z")


def test_worlds() -> None:
    worlds = tables.worlds()
    assert {world.world_id for world in worlds.values() if world.live and world.environment == "ps2"} == {
        1,
        10,
        19,
        40,
    }
    assert tables.world_name(1) == "Osprey"
    assert worlds[1].former_names == ("Connery",)
    assert tables.world_name(10) == "Wainwright"
    assert worlds[19].private
    assert not worlds[13].live
    assert tables.world_name(4711) == "World 4711"
    for key, world in worlds.items():
        assert key == world.world_id > 0
        assert world.environment in {"ps2", "ps2ps4us", "ps2ps4eu"}
        assert world.name is None or world.name.strip() == world.name != ""
        assert tables.world_name(key)


def test_factions() -> None:
    factions = tables.factions()
    assert {key: faction.tag for key, faction in factions.items()} == {
        tables.UNKNOWN_FACTION: "?",
        tables.VS: "VS",
        tables.NC: "NC",
        tables.TR: "TR",
        tables.NSO: "NSO",
    }
    assert all(key == faction.faction_id and faction.name for key, faction in factions.items())


def test_zones() -> None:
    zones = tables.zones()
    assert {key: zone.name for key, zone in zones.items() if zone.continent} == CONTINENTS
    assert {key for key in range(70_000) if tables.is_continent(key)} == set(CONTINENTS)
    assert not tables.is_continent(7 << 16 | 2)
    assert all(key == zone.zone_id and zone.name for key, zone in zones.items())


def test_there_are_all_kinds_of_alerts() -> None:
    assert len(tables.metagame_events()) == 128


@pytest.mark.parametrize(
    "event", tables.metagame_events().values(), ids=lambda event: event.metagame_event_id
)
def test_each_kind_of_alert(event: tables.MetagameEvent) -> None:
    assert tables.metagame_events()[event.metagame_event_id] is event
    assert event.name.strip() == event.name != ""
    assert event.zone_id is None or event.zone_id in tables.zones()
    assert event.faction_id in {None, tables.VS, tables.NC, tables.TR}
    assert event.minutes is None or 1 <= event.minutes <= 120
    # Whatever locks, locks a continent, Koltyr apart (its locks are told of a zone that is none of the five).
    assert not event.locks or (event.type in {8, 9} and (event.zone_id in CONTINENTS or event.zone_id == 14))
    days = [until for until, _ in event.minutes_until]
    assert days == sorted(set(days))
    for until in [date(2013, 1, 1), *days, date(2026, 1, 1)]:
        for day in (at(until.isoformat()) - DAY, at(until.isoformat())):
            assert MINUTE <= event.duration(day) <= LONGEST_ALERT - GRACE - LOCK_DISTANCE


@pytest.mark.parametrize(
    ("ids", "zone", "minutes"),
    [
        ((147, 148, 149, 214), 2, 90),
        ((150, 151, 152, 212), 8, 90),
        ((153, 154, 155, 213), 4, 90),
        ((156, 157, 158, 211), 6, 90),
        ((222, 223, 224, 226), 344, 45),
        ((176, 186, 190), 8, 45),
        ((177, 187, 191), 4, 45),
        ((178, 188, 192), 6, 45),
        ((179, 189, 193), 2, 45),
        ((248, 249, 250), 344, 30),
    ],
)
def test_alerts_that_lock(ids: tuple[int, ...], zone: int, minutes: int) -> None:
    for number in ids:
        event = tables.metagame_events()[number]
        assert (event.zone_id, event.minutes, event.locks, event.type) == (zone, minutes, True, 9)


@pytest.mark.parametrize(
    ("number", "faction"),
    [(147, 3), (148, 1), (149, 2), (176, 2), (186, 1), (190, 3), (222, 2), (223, 3), (224, 1), (211, None)],
)
def test_who_triggered_it(number: int, faction: int | None) -> None:
    assert tables.metagame_events()[number].faction_id == faction


def test_what_locks_nothing() -> None:
    for number in (*range(228, 234), *range(236, 247), *range(251, 256), 159, 198, 227, 260):
        assert not tables.metagame_events()[number].locks


def test_durations_change_with_the_day_in_utc() -> None:
    oshur = tables.metagame_events()[226]
    change = at("2024-05-20")
    assert oshur.duration(change - 1) == 90 * MINUTE
    assert oshur.duration(change) == 45 * MINUTE


def test_a_duration_that_is_not_known_is_the_usual_one() -> None:
    event = tables.MetagameEvent(1, "x", 9, None, None, None, False)
    assert event.duration(0) == tables.DEFAULT_ALERT == 90 * MINUTE


def test_the_day_of_a_start_is_in_utc() -> None:
    assert tables.start_day(parse_iso("2026-03-01T23:59:59.999Z")) == "2026-03-01"
    assert tables.start_day(parse_iso("2026-03-02T00:00:00Z")) == "2026-03-02"
    assert tables.start_day(0) == "1970-01-01"
