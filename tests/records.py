"""Records, as a stream would have brought them."""

from __future__ import annotations

import msgspec

from ps2daemon.model.records import SECOND, CoverageRecord, EventRecord, Ms

T0: Ms = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def event(name: str, at: Ms, *, received_at: Ms | None = None, **values: object) -> EventRecord:
    payload = {"event_name": name, "timestamp": str(at // SECOND)}
    payload |= {key: str(value) for key, value in values.items()}
    return EventRecord(at + 700 if received_at is None else received_at, msgspec.json.encode(payload))


def login(character_id: str, at: Ms, world_id: int = 10) -> EventRecord:
    return event("PlayerLogin", at, character_id=character_id, world_id=world_id)


def logout(character_id: str, at: Ms, world_id: int = 10) -> EventRecord:
    return event("PlayerLogout", at, character_id=character_id, world_id=world_id)


def change(at: Ms, state: int, instance_id: int = 1, kind: int = 147, world_id: int = 10) -> EventRecord:
    return event(
        "MetagameEvent",
        at,
        world_id=world_id,
        instance_id=instance_id,
        metagame_event_id=kind,
        metagame_event_state=state,
        zone_id=2,
        faction_vs=40.5,
        faction_nc=30,
        faction_tr=29.5,
    )


def lock(at: Ms, zone_id: int = 2, winner: int = 1, world_id: int = 10) -> EventRecord:
    return event(
        "ContinentLock",
        at,
        world_id=world_id,
        zone_id=zone_id,
        triggering_faction=winner,
        previous_faction=0,
        metagame_event_id=0,
        vs_population=30,
    )


def covered(start: Ms, end: Ms, world_id: int = 10) -> CoverageRecord:
    return CoverageRecord(world_id, start, end, "connection")
