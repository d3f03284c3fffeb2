"""What the view *Now* shows, as its API answers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ps2daemon.analysis.overview import STEP, Ago, Overview, WorldNow, overview
from ps2daemon.analysis.population import FACTIONS
from ps2daemon.analysis.sheets import Sheet
from ps2daemon.analysis.view import Unrecorded, faction_label
from ps2daemon.analysis.view_answers import (
    AgoRow,
    EmpireRow,
    GapRow,
    OverviewAnswer,
    OverviewRow,
    RunningRow,
)
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.times import iso
from ps2daemon.store.base import StoreReader
from ps2daemon.web.parameters import Asked

_EMPIRES: Final = tuple(faction_label(faction) for faction in FACTIONS)
_AGO: Final = {1: "a_day_ago", 7: "a_week_ago"}


async def overview_of(store: StoreReader, asked: Asked) -> OverviewAnswer:
    """Who is online now, by world and empire, against a day and a week ago by the clock of `tz`, and over the last day."""
    return overview_document(await overview(store, asked.worlds, asked.zone, asked.now), asked.now)


def overview_document(found: Overview, now: Ms) -> OverviewAnswer:
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
            "unrecorded": gap_rows(found.gaps),
        },
    }


def overview_sheet(answer: OverviewAnswer) -> Sheet:
    """One row a world, numbers empty where nobody knows; the last is of those that are recorded, together, and names no world."""
    told = [*answer["worlds"], *([] if answer["together"] is None else [answer["together"]])]
    rows = [
        {
            **world,
            **_by_empire(world["online"], known=world["at"] is not None),
            **{_AGO[each["days"]]: each["people"] for each in world["ago"]},
            **{
                f"{name}_{_AGO[each['days']]}": people
                for each in world["ago"]
                for name, people in _by_empire(each["online"], known=each["people"] is not None).items()
            },
        }
        for world in told
    ]
    earlier = [f"{name}_{ago}" for ago in _AGO.values() for name in _EMPIRES]
    return Sheet(("world_id", "name", "at", "people", *_EMPIRES, *_AGO.values(), *earlier), rows)


def _by_empire(online: Iterable[EmpireRow], *, known: bool) -> dict[str, Any]:
    return (dict.fromkeys(_EMPIRES, 0) if known else {}) | {each["label"]: each["people"] for each in online}


def _world(world: WorldNow) -> OverviewRow:
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
        "unrecorded": gap_rows(world.gaps),
    }


def _online(online: Mapping[int, int]) -> list[EmpireRow]:
    return [
        {"faction_id": faction, "label": faction_label(faction), "people": people}
        for faction, people in online.items()
    ]


def gap_rows(gaps: Iterable[Unrecorded]) -> list[GapRow]:
    """What was not recorded, as JSON has it."""
    return [
        {"from": iso(gap.start), "to": iso(gap.end), "reason": gap.reason, "pending": gap.pending}
        for gap in gaps
    ]


def _ago(ago: Ago) -> AgoRow:
    return {
        "days": ago.days,
        "at": None if ago.at is None else iso(ago.at),
        "people": ago.people,
        "online": _online(ago.online),
    }


def _alert(alert: Alert) -> RunningRow:
    zone = None if alert.zone_id is None else tables.zones().get(alert.zone_id)
    return {
        "name": alert.name,
        "zone": None if zone is None else zone.name,
        "start": iso(alert.changes[0].at if alert.start is None else alert.start),
    }
