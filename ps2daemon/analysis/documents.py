"""What is stored and what was asked, as programs read it: plain values ready for JSON.

Times are ISO 8601 in UTC, ids of worlds, empires and zones numbers, ids of characters strings. A time that there is none of is
absent (a session that is open has no `logout_ts`); anything else that is not known is null (`ended_by` of an open session,
`character_name` before Census told it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from ps2daemon.analysis.overlay import Overlay, differences, ratios
from ps2daemon.analysis.population import Population, Series
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock, Territory
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.sessions import Session
from ps2daemon.model.times import iso
from ps2daemon.store.base import CharacterDocument, SessionDocument

Document: TypeAlias = dict[str, Any]

SESSION_FIELDS: Final = (
    "character_id",
    "world_id",
    "faction_id",
    "login_ts",
    "logout_ts",
    "online",
    "started_by",
    "ended_by",
    "ended_after",
    "ended_before",
)
CHARACTER_FIELDS: Final = (
    "character_id",
    "character_name",
    "faction",
    "faction_id",
    "world_id",
    "world_name",
    "login_logout_events",
    "pruned_before",
    "enriched_at",
)
ALERT_FIELDS: Final = (
    "alert_id",
    "world_id",
    "instance_id",
    "metagame_event_id",
    "name",
    "type",
    "zone_id",
    "start",
    "end",
    "ended_by",
    "canceled",
    "territory_start",
    "territory_end",
    "winner",
    "lock_id",
)
LOCK_FIELDS: Final = (
    "lock_id",
    "world_id",
    "zone_id",
    "at",
    "winner",
    "previous_winner",
    "metagame_event_id",
    "population_vs",
    "population_nc",
    "population_tr",
    "alert_id",
)
COVERAGE_FIELDS: Final = ("world_id", "from", "to", "after")


def session_document(session: SessionDocument) -> Document:
    """One session. `online` is the range of time in which it was online, as far as its ends are known; absent without a login."""
    document: Document = {
        "character_id": session.character_id,
        "world_id": session.world_id,
        "faction_id": session.faction_id,
        **_times(login_ts=session.login_ts, logout_ts=session.logout_ts),
    }
    if session.login_ts is not None:
        document["online"] = _times(gte=session.login_ts, lte=session.logout_ts)
    return document | _ends(session)


def _ends(session: SessionDocument | Session) -> Document:
    return {
        "started_by": session.started_by,
        "ended_by": session.ended_by,
        **_times(ended_after=session.ended_after, ended_before=session.ended_before),
    }


def character_document(document: CharacterDocument) -> Document:
    """One character with its latest sessions."""
    world_id = document.world_id
    faction = tables.factions().get(document.faction_id)
    return {
        "character_id": document.character_id,
        "character_name": document.character_name,
        "faction": None if faction is None or document.faction_id == tables.UNKNOWN_FACTION else faction.tag,
        "faction_id": document.faction_id,
        "world_id": world_id,
        "world_name": None if world_id is None else tables.world_name(world_id),
        "login_logout_events": [
            {
                **_times(login_ts=session.login_ts, logout_ts=session.logout_ts),
                **_ends(session),
                "world_id": session.world_id,
            }
            for session in document.state.sessions
        ],
        **_times(pruned_before=document.state.pruned_before, enriched_at=document.enriched_at),
    }


def alert_document(alert: Alert) -> Document:
    """One alert; `winner` is a faction id, 0 for a tie."""
    return {
        "alert_id": alert.alert_id,
        "world_id": alert.world_id,
        "instance_id": alert.instance_id,
        "metagame_event_id": alert.metagame_event_id,
        "name": alert.name,
        "type": alert.type,
        "zone_id": alert.zone_id,
        **_times(start=alert.start, end=alert.end),
        "ended_by": alert.ended_by,
        "canceled": alert.canceled,
        "territory_start": _territory(alert.territory_start),
        "territory_end": _territory(alert.territory_end),
        "winner": alert.winner,
        "lock_id": alert.lock_id,
    }


def _territory(territory: Territory | None) -> Document | None:
    return None if territory is None else msgspec.structs.asdict(territory)


def lock_document(lock: Lock) -> Document:
    """One continent lock."""
    return msgspec.structs.asdict(lock) | {"at": iso(lock.at)}


def coverage_document(span: Span) -> Document:
    """One unbroken span of coverage."""
    return {"world_id": span.world_id, "from": iso(span.start), "to": iso(span.end), "after": span.after}


def _times(**times: Ms | None) -> Document:
    return {name: iso(at) for name, at in times.items() if at is not None}


def population_answer(answer: Population) -> Document:
    """`{"step_s": 300, "times": […], "series": [{"world_id": 10, "faction_id": 1, "online": [212, 215, null]}]}`."""
    return {
        "step_s": answer.step // SECOND,
        "times": [iso(at) for at in answer.times],
        "series": [_series(series) for series in answer.series],
    }


def _series(series: Series) -> Document:
    return msgspec.structs.asdict(series)


def overlay_answer(answer: Overlay) -> Document:
    """The window like `population_answer`, and each earlier period with its own times, differences and ratios by bucket.

    `comparisons` are over the buckets covered in both, `trends` over those covered in every period.
    """
    return {
        **population_answer(answer.current),
        "by": answer.by,
        "time_zone": answer.time_zone,
        "earlier": [
            {
                "back": earlier.back,
                "times": [None if at is None else iso(at) for at in earlier.times],
                "series": [
                    _series(then)
                    | {
                        "difference": differences(now.online, then.online),
                        "ratio": [_rounded(ratio) for ratio in ratios(now.online, then.online)],
                    }
                    for now, then in zip(answer.current.series, earlier.series, strict=True)
                ],
            }
            for earlier in answer.earlier
        ],
        "comparisons": rounded(answer.comparisons),
        "trends": rounded(answer.trends),
    }


def rounded(rows: Sequence[msgspec.Struct]) -> list[Document]:
    """Their fields, with fractions of no more digits than anybody reads."""
    return [
        {name: _rounded(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in map(msgspec.structs.asdict, rows)
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
