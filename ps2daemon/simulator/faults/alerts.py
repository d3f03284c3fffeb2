"""Faults of alerts and locks. The truth keeps instance ids, zones and kinds as they are; an alert that ends early or is canceled
really does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ps2daemon.model.events import CANCELED, ENDED, RESTARTED, STARTED, ContinentLock, Logout, Metagame
from ps2daemon.model.records import SECOND
from ps2daemon.simulator.faults.definition import PERCENT, Fault, Value
from ps2daemon.simulator.faults.telling import Also, Telling, draw, seconds_of, sending_beside
from ps2daemon.simulator.payloads import STATE_NAMES, Happening

TUTORIAL: Final = 364
"""The definition of the zone whose end locks a continent of its own, again and again."""
_SOON: Final = Value(unit="SECONDS", default=60, low=1, high=86_400)
_TWICE_SECONDS: Final = (1.0, 5.0)


def _state(telling: Telling, *states: int) -> Metagame | None:
    """The alert's change, if it is to one of those states."""
    event = telling.event
    return event if isinstance(event, Metagame) and event.state in states else None


def _no_end(telling: Telling, _: None) -> Sequence[Telling]:
    return (telling,) if _state(telling, ENDED, CANCELED) is None else ()


def _early_end(event: Happening, seconds: float) -> Sequence[Also]:
    if not (isinstance(event, Metagame) and event.state == STARTED):
        return ()
    at = event.at + int(seconds) * SECOND
    ended = msgspec.structs.replace(event, state=ENDED, at=at)
    return (Also(ended, seconds, (("end", at), ("lock_at", None))),)


def _late_end_untold(telling: Telling, _: float) -> Sequence[Telling]:
    return (telling,) if telling.extra or _state(telling, ENDED, CANCELED) is None else ()


def _canceled(telling: Telling, _: None) -> Sequence[Telling]:
    if _state(telling, ENDED) is None:
        return (telling,)
    fields = {"metagame_event_state": str(CANCELED), "metagame_event_state_name": STATE_NAMES[CANCELED]}
    amends = {**(telling.amends or {}), "canceled": True, "dominated": False, "winner": None, "lock_at": None}
    return (telling.saying(**fields).but(amends=amends),)


def _restarted(telling: Telling, seconds: float) -> Sequence[Telling]:
    event = _state(telling, STARTED)
    if event is None or not telling.genuine:
        return (telling,)
    later = {
        "metagame_event_state": str(RESTARTED),
        "metagame_event_state_name": STATE_NAMES[RESTARTED],
        "timestamp": seconds_of(event.at + int(seconds) * SECOND),
    }
    return telling, telling.beside({**telling.fields, **later}, delay=seconds)


def _ended_twice(telling: Telling, _: None) -> Sequence[Telling]:
    event = _state(telling, ENDED)
    if event is None or not telling.genuine:
        return (telling,)
    delay = draw("alert_ended_twice", event, *_TWICE_SECONDS)
    again = {**telling.fields, "timestamp": seconds_of(event.at + int(delay) * SECOND)}
    return telling, telling.beside(again, delay=delay)


def _instance_reset(telling: Telling, after: int) -> Sequence[Telling]:
    event = telling.event
    if not isinstance(event, Metagame):
        return (telling,)
    return (telling.saying(instance_id=str(1 + event.instance_id % after)),)


def _no_zone(telling: Telling, _: None) -> Sequence[Telling]:
    return (telling.without("zone_id") if isinstance(telling.event, Metagame) else telling,)


def _no_state_name(telling: Telling, _: None) -> Sequence[Telling]:
    return (telling.without("metagame_event_state_name"),)


def _unknown_kind(telling: Telling, kind: int) -> Sequence[Telling]:
    return (telling.saying(metagame_event_id=str(kind)) if isinstance(telling.event, Metagame) else telling,)


def _packed_zones(telling: Telling, instance: int) -> Sequence[Telling]:
    event = telling.event
    if not isinstance(event, Metagame | ContinentLock) or "zone_id" not in telling.fields:
        return (telling,)
    return (telling.saying(zone_id=str(instance << 16 | (event.zone_id or 0))),)


def _tutorial_lock(telling: Telling) -> Telling:
    event = telling.event
    zone = int(draw("tutorial", event, 1, 60_000)) << 16 | TUTORIAL
    lock = {
        "event_name": "ContinentLock",
        "metagame_event_id": "0",
        "nc_population": "0",
        "previous_faction": "0",
        "timestamp": seconds_of(event.at),
        "tr_population": "0",
        "triggering_faction": "1",
        "vs_population": "100",
        "world_id": str(event.world_id),
        "zone_id": str(zone),
    }
    return telling.beside(lock)


_AS_IT_IS: Final = "keeps what it really is"

FAULTS: Final = (
    Fault(
        name="alert_early_end",
        quirk="E9",
        place="alert",
        effect="ended so soon after the start",
        truth="has the early end; a lock comes when it would have",
        value=_SOON,
        changes=True,
        happen=_early_end,
        tell=_late_end_untold,
    ),
    Fault(
        name="alert_missing_end",
        quirk="E9",
        place="alert",
        effect="no alert is said to end",
        truth="has the end",
        tell=_no_end,
    ),
    Fault(
        name="alert_canceled",
        quirk="E12",
        place="alert",
        effect="canceled when they would end",
        truth="has them canceled, without a winner; a lock comes when it would have",
        changes=True,
        tell=_canceled,
    ),
    Fault(
        name="alert_restarted",
        quirk="E12",
        place="alert",
        effect="restarted, so soon after the start",
        value=_SOON,
        tell=_restarted,
    ),
    Fault(
        name="alert_ended_twice",
        quirk="E9 E12",
        place="alert",
        effect="ended again, 1 to 5 s later",
        tell=_ended_twice,
    ),
    Fault(
        name="alert_instance_reset",
        quirk="E11",
        place="alert",
        effect="so many ids, which come again",
        truth="keeps the ids that never come again",
        value=Value(unit="IDS", default=2, low=1, high=1_000, whole=True),
        tell=_instance_reset,
    ),
    Fault(
        name="alert_missing_zone",
        quirk="1.4",
        place="alert",
        effect="no zone_id",
        truth=_AS_IT_IS,
        tell=_no_zone,
    ),
    Fault(
        name="alert_missing_state_name",
        quirk="1.4",
        place="alert",
        effect="no metagame_event_state_name",
        tell=_no_state_name,
    ),
    Fault(
        name="unknown_metagame",
        quirk="E12",
        place="alert",
        effect="alerts of a kind that no table has",
        truth=_AS_IT_IS,
        value=Value(unit="ID", default=9_999, low=0, high=2**32 - 1, whole=True),
        tell=_unknown_kind,
    ),
    Fault(
        name="packed_zones",
        quirk="1.4",
        place="alert",
        effect="zone_id is INSTANCE<<16 | zone",
        truth=_AS_IT_IS,
        value=Value(unit="INSTANCE", default=1_573, low=1, high=65_535, whole=True),
        tell=_packed_zones,
    ),
    Fault(
        name="tutorial_lock",
        quirk="E14",
        place="alert",
        effect="zone 364 locks with logouts",
        truth="knows nothing of them",
        value=PERCENT,
        tell=sending_beside("tutorial_lock", _tutorial_lock, Logout),
    ),
)
