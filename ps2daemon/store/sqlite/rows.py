"""Documents as rows, and rows as documents. Columns are in the order of the tuples here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ps2daemon.model.alerts import Alert, Lock, Territory
from ps2daemon.model.events import Metagame
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Character, Session
from ps2daemon.store.base import CharacterDocument, SessionDocument, Stored

if TYPE_CHECKING:
    from ps2daemon.model.sittings import Sittings

Row: TypeAlias = tuple[Any, ...]

SESSION_COLUMNS: Final = (
    "character_id, world_id, faction_id, login_ts, logout_ts, "
    "started_by, ended_by, ended_after, ended_before, not_before"
)
CHARACTER_COLUMNS: Final = (
    "character_id, character_name, faction_id, world_id, "
    "login_logout_events, pruned_before, pruned_logout, enriched_at, version"
)
# All rows as one text, for the reason why `writing.py` has many rows in one statement.
CHARACTERS_TEXT: Final = """group_concat(
    '[' || json_quote(character_id) || ',' || json_quote(character_name) || ',' || faction_id || ',' || login_logout_events
    || ',' || json_quote(pruned_before) || ',' || json_quote(pruned_logout) || ',' || json_quote(enriched_at)
    || ',' || version || ']'
)"""
# Three texts of numbers, which take an eighth of the time of JSON, half of that of one text, and a third of that of rows.
SITTING_TEXTS: Final = (
    "group_concat(faction_id), group_concat(login_ts), group_concat(ifnull(logout_ts, 9223372036854775807))"
)
ALERT_COLUMNS: Final = (
    'alert_id, world_id, instance_id, metagame_event_id, name, type, zone_id, "start", "end", ended_by, '
    "canceled, territory_start, territory_end, winner, lock_id, first_change, changes"
)
LOCK_COLUMNS: Final = (
    "lock_id, world_id, zone_id, at, winner, previous_winner, metagame_event_id, "
    "population_vs, population_nc, population_tr, alert_id"
)

_encoder = msgspec.json.Encoder()
_characters = msgspec.json.Decoder(
    list[tuple[str, str | None, int, tuple[Session, ...], Ms | None, Ms | None, Ms | None, int]]
)
_numbers = msgspec.json.Decoder(list[tuple[int, int, int]])
_ids = msgspec.json.Decoder(list[str])
_territory = msgspec.json.Decoder(Territory)
_changes = msgspec.json.Decoder(tuple[Metagame, ...])

_SIGNED: Final = 2**63


def session_row(document: SessionDocument) -> Row:
    """The row; the id is made of it again by the table itself."""
    return (
        document.character_id,
        document.world_id,
        document.faction_id,
        document.login_ts,
        document.logout_ts,
        document.started_by,
        document.ended_by,
        document.ended_after,
        document.ended_before,
        document.not_before,
    )


def session_of(session_id: str, row: Row) -> SessionDocument:
    """A session of its id and `SESSION_COLUMNS`."""
    return SessionDocument(session_id, *row)


def session_key(session_id: str) -> Row:
    """First known time, character, and whether the login was not seen: what identifies a session in the table."""
    character_id, at, *mark = session_id.split("-")
    return int(at), character_id, bool(mark)


def character_values(document: CharacterDocument) -> Row:
    """All columns but the version."""
    state = document.state
    return (
        document.character_id,
        document.character_name,
        document.faction_id,
        document.world_id,
        _text(state.sessions),
        state.pruned_before,
        state.pruned_logout,
        document.enriched_at,
    )


def stored_of(text: str | None) -> list[Stored]:
    """Characters of the text that `CHARACTERS_TEXT` makes of any number of them."""
    if text is None:
        return []
    return [
        Stored(
            CharacterDocument(
                character_id, name, faction_id, enriched_at, Character(sessions, pruned_before, pruned_logout)
            ),
            version,
        )
        for (
            character_id,
            name,
            faction_id,
            sessions,
            pruned_before,
            pruned_logout,
            enriched_at,
            version,
        ) in _characters.decode(f"[{text}]")
    ]


def alert_row(alert: Alert) -> Row:
    """The row of `ALERT_COLUMNS`."""
    return (
        alert.alert_id,
        alert.world_id,
        _signed(alert.instance_id),
        alert.metagame_event_id,
        alert.name,
        alert.type,
        alert.zone_id,
        alert.start,
        alert.end,
        alert.ended_by,
        alert.canceled,
        None if alert.territory_start is None else _text(alert.territory_start),
        None if alert.territory_end is None else _text(alert.territory_end),
        alert.winner,
        alert.lock_id,
        alert.changes[0].at,
        _text(alert.changes),
    )


def alert_of(row: Row) -> Alert:
    """An alert of `ALERT_COLUMNS`."""
    *first, canceled, territory_start, territory_end, winner, lock_id, _, changes = row
    first[2] %= 2 * _SIGNED
    values: Row = (
        *first,
        bool(canceled),
        None if territory_start is None else _territory.decode(territory_start),
        None if territory_end is None else _territory.decode(territory_end),
        winner,
        lock_id,
        _changes.decode(changes),
    )
    return Alert(*values)


def lock_row(lock: Lock) -> Row:
    """The row of `LOCK_COLUMNS`, which are the attributes in their order."""
    return msgspec.structs.astuple(lock)


def lock_of_row(row: Row) -> Lock:
    """A lock of `LOCK_COLUMNS`."""
    return Lock(*row)


def id_list(ids: Iterable[object]) -> str:
    """Ids as one parameter, for `IN (SELECT value FROM json_each(?))`."""
    return _text(list(ids))


def sittings_of_texts(selected: Iterable[Row]) -> Sittings:
    """What is selected by `SITTING_TEXTS`."""
    import numpy as np  # most commands do without

    from ps2daemon.model.sittings import Sittings

    (texts,) = selected
    return Sittings(*(np.fromstring(text or "", dtype=np.int64, sep=",") for text in texts))


def numbers_of(text: str) -> list[tuple[int, int, int]]:
    """What `json_group_array(json_array(…))` made of triples."""
    return _numbers.decode(text)


def ids_of(text: str) -> list[str]:
    """What `json_group_array(…)` made of ids."""
    return _ids.decode(text)


def _text(value: object) -> str:
    return _encoder.encode(value).decode()


def _signed(number: int) -> int:
    """SQLite's integers are signed; the few ids that the upper half of 64 bits holds become negative."""
    return number - 2 * _SIGNED if number >= _SIGNED else number
