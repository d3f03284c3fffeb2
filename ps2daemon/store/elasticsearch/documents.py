"""Documents as the server keeps them, and the lines of a bulk request.

Fields that exist for searching alone come beside those of the documents: `first_ts` (the first known time of a session), `online` (the range in
which it counts), `named`, `last_ts`, `first_change`. An open session says `ended_by: null`, which its mapping makes findable as "open".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Reason, Span
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Character, EndedBy, Session, StartedBy
from ps2daemon.store.base import CharacterDocument, SessionDocument, Stored, first_known

OPEN: Final = "open"
"""What an open session is found by as `ended_by`."""
_TERM_BITS: Final = 53
"""Sequence numbers stay below this: Lucene's and JSON's own bound."""

_encode = msgspec.json.Encoder().encode


class Range(msgspec.Struct, omit_defaults=True, gc=False):
    """When a session counts, both ends included; without `lte` it is open."""

    gte: Ms
    lte: Ms | None = None


class SessionSource(msgspec.Struct, gc=False):
    """A session as kept."""

    character_id: str
    world_id: int
    faction_id: int
    login_ts: Ms | None
    logout_ts: Ms | None
    started_by: StartedBy
    ended_by: EndedBy | None
    ended_after: Ms | None
    ended_before: Ms | None
    not_before: Ms | None
    first_ts: Ms
    online: Range | None


class CharacterSource(msgspec.Struct, gc=False):
    """A character as kept; the sessions are not searched for here."""

    character_id: str
    character_name: str | None
    faction: str | None
    faction_id: int
    world_id: int | None
    world_name: str | None
    login_logout_events: tuple[Session, ...]
    pruned_before: Ms | None
    pruned_logout: Ms | None
    enriched_at: Ms | None
    named: bool
    last_ts: Ms | None


class AlertSource(Alert, frozen=True):
    """An alert as kept. `changes` say everything; the rest is what is searched for."""

    first_change: Ms


class SpanSource(msgspec.Struct):
    """A span of coverage as kept."""

    world_id: int
    start: Ms = msgspec.field(name="from")
    end: Ms = msgspec.field(name="to")
    after: Reason = "start"


def version_of(sequence: int, term: int) -> int:
    """The two numbers by which the server knows a document's state, as one that is not 0."""
    return term << _TERM_BITS | sequence


def sequence_and_term(version: int) -> tuple[int, int]:
    """The two numbers again."""
    return version & ((1 << _TERM_BITS) - 1), version >> _TERM_BITS


def is_version(version: int) -> bool:
    """Whether `version_of` can have made it, or it stands for a new document."""
    return version == 0 or version >> _TERM_BITS > 0


def session_time(session_id: str) -> Ms:
    """`first_known` of the session with this id."""
    return int(session_id.split("-")[1])


def character_in(session_id: str) -> str:
    """The character of the session with this id."""
    return session_id.partition("-")[0]


def session_source(document: SessionDocument) -> SessionSource:
    """A session to keep."""
    login, logout = document.login_ts, document.logout_ts
    online = None
    if login is not None and (logout is None or logout > login):
        online = Range(login, None if logout is None else logout - 1)
    return SessionSource(
        document.character_id,
        document.world_id,
        document.faction_id,
        login,
        logout,
        document.started_by,
        document.ended_by,
        document.ended_after,
        document.ended_before,
        document.not_before,
        first_known(document),
        online,
    )


def session_of(session_id: str, source: SessionSource) -> SessionDocument:
    """A session that was kept."""
    return SessionDocument(
        session_id,
        source.character_id,
        source.world_id,
        source.faction_id,
        source.login_ts,
        source.logout_ts,
        source.started_by,
        source.ended_by,
        source.ended_after,
        source.ended_before,
        source.not_before,
    )


def character_source(document: CharacterDocument) -> CharacterSource:
    """A character to keep."""
    state, world_id = document.state, document.world_id
    faction = tables.factions().get(document.faction_id)
    last = state.sessions[-1] if state.sessions else None
    return CharacterSource(
        character_id=document.character_id,
        character_name=document.character_name,
        faction=faction.tag if faction is not None and document.faction_id else None,
        faction_id=document.faction_id,
        world_id=world_id,
        world_name=None if world_id is None else tables.world_name(world_id),
        login_logout_events=state.sessions,
        pruned_before=state.pruned_before,
        pruned_logout=state.pruned_logout,
        enriched_at=document.enriched_at,
        named=document.enriched_at is not None,
        last_ts=None if last is None else last.logout_ts or last.login_ts,
    )


def character_of(source: CharacterSource) -> CharacterDocument:
    """A character that was kept."""
    state = Character(source.login_logout_events, source.pruned_before, source.pruned_logout)
    return CharacterDocument(
        source.character_id, source.character_name, source.faction_id, source.enriched_at, state
    )


def alert_source(alert: Alert) -> AlertSource:
    """An alert to keep."""
    values: tuple[Any, ...] = msgspec.structs.astuple(alert)
    return AlertSource(*(*values, alert.changes[0].at))


def alert_of(source: AlertSource) -> Alert:
    """An alert that was kept."""
    *values, _ = msgspec.structs.astuple(source)
    return Alert(*values)


def span_of(source: SpanSource) -> Span:
    """A span that was kept."""
    return Span(source.world_id, source.start, source.end, source.after)


class Line(msgspec.Struct, gc=False):
    """One action of a bulk request, and whose it is.

    Attributes:
        index: where to.
        owner: the id of the character, or other document, that it belongs to.
        body: the action and its document, each with a line's end.
    """

    index: str
    owner: str
    body: bytes


VersionType: TypeAlias = Literal["external", "external_gte"]


def index_line(
    index: str,
    key: str,
    owner: str,
    source: object,
    number: int | None = None,
    kind: VersionType = "external_gte",
) -> Line:
    """Writes a document; with the number of a commit, unless a later commit has, or, if `external`, this one."""
    head = {"index": _action(index, key, number, kind)}
    return Line(index, owner, b"%b\n%b\n" % (_encode(head), _encode(source)))


def delete_line(index: str, key: str, owner: str, number: int | None = None) -> Line:
    """Removes a document in the same way."""
    return Line(index, owner, b"%b\n" % _encode({"delete": _action(index, key, number)}))


def _action(index: str, key: str, number: int | None, kind: VersionType = "external_gte") -> dict[str, Any]:
    action: dict[str, Any] = {"_index": index, "_id": key}
    if number is not None:
        action |= {"version": number, "version_type": kind}
    return action


def character_line(index: str, stored: Stored) -> Line:
    """Writes a character if it still is what it was; a new one if there is none."""
    key = stored.document.character_id
    if stored.version == 0:
        head = {"create": _action(index, key, None)}
    else:
        head = {"index": _expecting(index, key, stored.version)}
    return Line(index, key, b"%b\n%b\n" % (_encode(head), _encode(character_source(stored.document))))


def gone_character_line(index: str, key: str, version: int) -> Line:
    """Removes a character if it still is what it was."""
    return Line(index, key, b"%b\n" % _encode({"delete": _expecting(index, key, version)}))


def _expecting(index: str, key: str, version: int) -> dict[str, Any]:
    sequence, term = sequence_and_term(version)
    return {**_action(index, key, None), "if_seq_no": sequence, "if_primary_term": term}


_GROW: Final = (
    "boolean grown = params.to > ctx._source.to; boolean sooner = params.after.compareTo(ctx._source.after) < 0; "
    "if (grown) { ctx._source.to = params.to } if (sooner) { ctx._source.after = params.after } "
    "if (!grown && !sooner) { ctx.op = 'noop' }"
)
_REACH: Final = (
    "if (ctx._source.at != null && ctx._source.at >= params.at) { ctx.op = 'noop' } "
    "else { ctx._source.at = params.at }"
)


def span_key(world_id: int, start: Ms) -> str:
    """The id of a span's document."""
    return f"{world_id}-{start}"


def span_lines(index: str, spans: Iterable[Span]) -> list[Line]:
    """Writes spans; one that is there keeps the later end, and of two reasons the alphabetically first."""
    return [
        _update(
            index,
            span_key(span.world_id, span.start),
            _GROW,
            {"to": span.end, "after": span.after},
            SpanSource(span.world_id, span.start, span.end, span.after),
        )
        for span in spans
    ]


def reach_line(index: str, key: str, at: Ms) -> Line:
    """Writes a time that only grows."""
    return _update(index, key, _REACH, {"at": at}, {"at": at})


def _update(index: str, key: str, script: str, params: dict[str, Any], new: object) -> Line:
    action = {"update": {"_index": index, "_id": key, "retry_on_conflict": 3}}
    body = {"script": {"source": script, "params": params}, "upsert": new}
    return Line(index, key, b"%b\n%b\n" % (_encode(action), _encode(body)))
