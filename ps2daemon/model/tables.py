"""Worlds, factions, zones and metagame events: what their numbers mean.

The tables are package data, made from rows of Census and its public backups (`_source` in each file says which). Ids
decide; names change and may be absent. Zone and empire of an alert are not told by Census but derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Final, TypeVar

import msgspec

from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.model.times import from_ms

VS: Final = 1
NC: Final = 2
TR: Final = 3
NSO: Final = 4
UNKNOWN_FACTION: Final = 0
"""Stands for a character that Census has not named yet."""

DEFAULT_ALERT: Final = 90 * MINUTE


class World(msgspec.Struct, frozen=True):
    """`private`: silence is normal there. `environment`: the stream's, `ps2` for PC."""

    world_id: int
    environment: str
    name: str | None
    former_names: tuple[str, ...]
    live: bool
    private: bool


class Faction(msgspec.Struct, frozen=True):
    faction_id: int
    tag: str
    name: str


class Zone(msgspec.Struct, frozen=True):
    """`continent`: it is fought over and can be locked."""

    zone_id: int
    name: str
    continent: bool


class MetagameEvent(msgspec.Struct, frozen=True):
    """One kind of alert.

    Attributes:
        type: Census's own number; 9 are the territory alerts of today.
        zone_id, faction_id: where, and who triggered it; None where it varies or is not known.
        minutes: how long it lasts today; None where not known.
        locks: it ends with the continent locked.
        minutes_until: what it lasted before a date.
    """

    metagame_event_id: int
    name: str
    type: int
    zone_id: int | None
    faction_id: int | None
    minutes: int | None
    locks: bool
    minutes_until: tuple[tuple[date, int], ...] = ()

    def duration(self, start: Ms) -> Ms:
        """How long one that began at `start` nominally lasts."""
        for until, minutes in self.minutes_until:
            if from_ms(start).date() < until:
                return minutes * MINUTE
        return DEFAULT_ALERT if self.minutes is None else self.minutes * MINUTE


Row = TypeVar("Row")


def _rows(name: str, row: type[Row]) -> list[Row]:
    text = files("ps2daemon.model").joinpath("data", f"{name}.json").read_bytes()
    return msgspec.convert(msgspec.json.decode(text)["rows"], list[row])  # type: ignore[valid-type]


@cache
def worlds() -> Mapping[int, World]:
    """Every world that is or was, by id."""
    return {world.world_id: world for world in _rows("worlds", World)}


@cache
def factions() -> Mapping[int, Faction]:
    """By id; 0 stands for "not known yet"."""
    return {faction.faction_id: faction for faction in _rows("factions", Faction)}


@cache
def zones() -> Mapping[int, Zone]:
    """By id."""
    return {zone.zone_id: zone for zone in _rows("zones", Zone)}


@cache
def metagame_events() -> Mapping[int, MetagameEvent]:
    """By id."""
    return {event.metagame_event_id: event for event in _rows("metagame_events", MetagameEvent)}


def world_name(world_id: int) -> str:
    """A world's name, or its number where it has none."""
    world = worlds().get(world_id)
    return world.name if world is not None and world.name else f"World {world_id}"


def is_continent(zone_id: int) -> bool:
    """Whether a zone is a continent that can be locked; instanced zones pack two numbers into their id and never are."""
    zone = zones().get(zone_id)
    return zone is not None and zone.continent


def start_day(at: Ms) -> str:
    """`2026-03-01`, in UTC."""
    return from_ms(at - at % DAY).strftime("%Y-%m-%d")
