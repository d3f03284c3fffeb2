"""What is stored and what was asked, as programs read it: plain values ready for JSON.

Times are ISO 8601 in UTC, ids of worlds, empires and zones numbers, ids of characters strings. A time that there is none of is
absent (a session that is open has no `logout_ts`); anything else that is not known is null (`ended_by` of an open session,
`character_name` before Census told it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from ps2daemon.analysis.alerts import AlertView
from ps2daemon.analysis.population import covered_share
from ps2daemon.analysis.trend import Trend
from ps2daemon.analysis.view import ALL
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock, Territory
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.notes import Note
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Session
from ps2daemon.model.times import iso
from ps2daemon.store.base import CharacterDocument, SessionDocument

if TYPE_CHECKING:
    # These bring numpy, which most commands do without.
    from ps2daemon.analysis import answers
    from ps2daemon.analysis.effect import Curve
    from ps2daemon.analysis.leaving import Answer
    from ps2daemon.analysis.matching import Matched

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
NOTE_FIELDS: Final = ("note_id", "at", "world_ids", "text")
ALERT_VIEW_FIELDS: Final = (*ALERT_FIELDS, "running", "people_at_start", "people_at_end", "people_later")
COVERAGE_FIELDS: Final = ("world_id", "from", "to", "after")
DIGITS: Final = 4
"""Behind the point: more than anybody reads."""


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


def alert_document(alert: Alert) -> answers.AlertRow:
    """One alert; `winner` is a faction id, 0 for a tie."""
    row: Document = {
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
    return cast("answers.AlertRow", row)


def alert_view_document(view: AlertView) -> answers.AlertRow:
    """One alert with the people at its start, at its end and half an hour later, and every five minutes around it."""
    return {
        **alert_document(view.alert),
        "running": view.running,
        "people_at_start": view.at_start,
        "people_at_end": view.at_end,
        "people_later": view.later,
        "people_from": iso(view.from_),
        "people": list(view.around),
    }


def _territory(territory: Territory | None) -> Document | None:
    return None if territory is None else msgspec.structs.asdict(territory)


def lock_document(lock: Lock) -> answers.LockRow:
    """One continent lock."""
    return cast("answers.LockRow", msgspec.structs.asdict(lock) | {"at": iso(lock.at)})


def note_document(note: Note) -> answers.NoteRow:
    """One note of the operator."""
    return cast("answers.NoteRow", msgspec.structs.asdict(note) | {"at": iso(note.at)})


def coverage_document(span: Span) -> answers.CoverageRow:
    """One unbroken span of coverage."""
    return {"world_id": span.world_id, "from": iso(span.start), "to": iso(span.end), "after": span.after}


def coverage_answer(spans: Mapping[int, Sequence[Span]], start: Ms, end: Ms) -> answers.CoverageAnswer:
    """The spans that overlap or touch the window, and which share of it each world's cover.

    Args:
        spans: those that do at least, by world.
    """
    return {
        "coverage": [
            coverage_document(span)
            for of_world in spans.values()
            for span in of_world
            if span.end >= start and span.start <= end
        ],
        "covered": [
            {"world_id": world, "share": round(covered_share(WorldCoverage(of_world), start, end), 6)}
            for world, of_world in spans.items()
        ],
    }


def _times(**times: Ms | None) -> Document:
    return {name: iso(at) for name, at in times.items() if at is not None}


WEEK_FIELDS: Final = ("from", "to", "mean", "peak", "share")


def trend_answer(answer: Sequence[Trend]) -> answers.TrendsAnswer:
    """`{"trends": [{"world_id": 10, "faction_id": 1, "weeks": [{"from": …, "mean": 212.4, …}], "per_week": 3.1, "low": …}]}`.

    All empires together are the faction null.
    """
    return {"trends": [_trend(each) for each in answer]}


def _trend(trend: Trend) -> answers.TrendRow:
    return {
        "world_id": trend.world_id,
        "faction_id": None if trend.faction_id == ALL else trend.faction_id,
        "weeks": [
            {
                "from": iso(week.start),
                "to": iso(week.end),
                "mean": rounded_number(week.mean),
                "peak": week.peak,
                "share": round(week.share, DIGITS),
            }
            for week in trend.weeks
        ],
        "n": trend.n,
        "per_week": rounded_number(trend.per_week),
        "low": rounded_number(trend.low),
        "high": rounded_number(trend.high),
        "verdict": trend.verdict,
    }


EFFECT_FIELDS: Final = (
    "event",
    "group",
    "minutes",
    "n",
    "left_out",
    "share",
    "control_share",
    "difference",
    "low",
    "high",
    "verdict",
)
EFFECT_GROUPS: Final = ("all", "winner", "loser")


def effect_answer(answer: Answer) -> Document:
    """`{"effects": [{"event": "alert_end", "group": "all", "minutes": 15, "n": 84, …}]}`; told apart, each row says what it is `of`."""
    told_apart = ("of",) if answer.parts else ()
    return {
        "effects": [
            {name: value for name, value in row.items() if name in (*told_apart, *EFFECT_FIELDS)}
            for row in effect_rows(answer)
            if row["group"] in EFFECT_GROUPS
        ]
    }


def effect_rows(answer: Answer) -> list[answers.EffectRow]:
    """All rows; `of` is None for all events together."""
    found = ((None, answer.whole), *answer.parts.items())
    rows = [{"of": name, **row} for name, each in found for row in rounded(each.effects)]
    return cast("list[answers.EffectRow]", rows)


def effect_document(answer: Answer) -> answers.EffectAnswer:
    """The whole answer: all rows, the curves around the events by minute, and each event with its controls or why it is left out."""
    return {
        "effects": effect_rows(answer),
        "curves": [_curve(curve) for curve in answer.whole.curves],
        "events": [_event(each) for each in answer.whole.matched],
    }


def curves_document(answer: Answer) -> answers.CurvesAnswer:
    """The curves around the events, of all and of what they are told apart by, if that has any."""
    from ps2daemon.analysis.counting import CURVE  # it brings numpy, as whoever answered has

    found = ((None, answer.whole), *answer.parts.items())
    return {
        "curves": [
            {**_curve(curve), "of": name, "minutes": CURVE} for name, each in found for curve in each.curves
        ]
    }


def _curve(curve: Curve) -> answers.CurveRow:
    return {
        "event": curve.event,
        "n": curve.n,
        "events": _rounded_all(curve.events),
        "low": _rounded_all(curve.low),
        "high": _rounded_all(curve.high),
        "controls": _rounded_all(curve.controls),
    }


def _event(matched: Matched) -> answers.EventRow:
    event = matched.event
    return {
        "event": event.kind,
        "world_id": event.world_id,
        "at": iso(event.at),
        "winner": event.winner,
        "name": event.name,
        "zone_id": event.zone_id,
        "minutes": event.minutes,
        "dominated": event.dominated,
        "alert_id": event.alert_id,
        "lock_id": event.lock_id,
        "controls": [iso(at) for at in matched.controls],
        "left_out": matched.left_out,
    }


def _rounded_all(values: Sequence[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]


def rounded(rows: Sequence[msgspec.Struct]) -> list[Document]:
    """Their fields, with fractions of no more digits than anybody reads."""
    return [
        {name: rounded_number(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in map(msgspec.structs.asdict, rows)
    ]


def rounded_number(value: float | None) -> float | None:
    """With no more digits than anybody reads."""
    return None if value is None else round(value, DIGITS)
