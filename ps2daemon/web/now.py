"""What the view *Now* shows, as its API answers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ps2daemon.analysis.documents import Document
from ps2daemon.analysis.overview import STEP, Ago, Overview, WorldNow, overview
from ps2daemon.analysis.population import FACTIONS
from ps2daemon.analysis.sheets import Sheet
from ps2daemon.analysis.view import faction_label
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Interval
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.times import iso
from ps2daemon.store.base import StoreReader
from ps2daemon.web.parameters import Asked

_AGO: Final = {1: "a_day_ago", 7: "a_week_ago"}


async def overview_of(store: StoreReader, asked: Asked) -> Document:
    """Every world now, against a day and a week ago by the clock of `tz`, and over the last day."""
    return overview_document(await overview(store, asked.worlds, asked.zone, asked.now), asked.now)


def overview_document(found: Overview, now: Ms) -> Document:
    """The overview as JSON has it; `people` is null where nobody knows."""
    return {
        "now": iso(now),
        "times": [iso(at) for at in found.times],
        "step_s": STEP // SECOND,
        "worlds": [_world(world) for world in found.worlds],
        "together": None
        if found.at is None
        else {
            "worlds": [world.world_id for world in found.worlds if world.state == "recorded"],
            "at": iso(found.at),
            "people": sum(found.online.values()),
            "online": _online(found.online),
            "ago": [_ago(each) for each in found.ago],
            "line": found.line,
            "unrecorded": _gaps(found.gaps),
        },
    }


def overview_sheet(answer: Document) -> Sheet:
    """One row a world, numbers empty where nobody knows; the last is of those that are recorded, together, and names no world."""
    empires = [faction_label(faction) for faction in FACTIONS]
    rows = [
        {
            **world,
            **({} if world["at"] is None else dict.fromkeys(empires, 0)),
            **{each["label"]: each["people"] for each in world["online"]},
            **{_AGO[each["days"]]: each["people"] for each in world["ago"]},
        }
        for world in (*answer["worlds"], answer["together"])
        if world is not None
    ]
    return Sheet(("world_id", "name", "at", "people", *empires, *_AGO.values()), rows)


def _world(world: WorldNow) -> Document:
    return {
        "world_id": world.world_id,
        "name": tables.world_name(world.world_id),
        "state": world.state,
        "recorded_until": None if world.until is None else iso(world.until),
        "at": None if world.at is None else iso(world.at),
        "people": world.people,
        "online": _online(world.online),
        "ago": [_ago(each) for each in world.ago],
        "alerts": [_alert(alert) for alert in world.alerts],
        "line": world.line,
        "unrecorded": _gaps(world.gaps),
    }


def _online(online: Mapping[int, int]) -> list[Document]:
    return [
        {"faction_id": faction, "label": faction_label(faction), "people": people}
        for faction, people in online.items()
    ]


def _gaps(gaps: Iterable[Interval]) -> list[Document]:
    return [{"from": iso(gap.start), "to": iso(gap.end)} for gap in gaps]


def _ago(ago: Ago) -> Document:
    return {"days": ago.days, "at": None if ago.at is None else iso(ago.at), "people": ago.people}


def _alert(alert: Alert) -> Document:
    zone = None if alert.zone_id is None else tables.zones().get(alert.zone_id)
    return {
        "name": alert.name,
        "zone": None if zone is None else zone.name,
        "start": iso(alert.changes[0].at if alert.start is None else alert.start),
    }
