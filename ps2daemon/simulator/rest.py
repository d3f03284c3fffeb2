"""Census's REST service over a truth: one function from a request's target to a body.

Errors come with status 200 and a body that says so, as clients of the real one expect. A character is unknown until its
first session has ended, and a query returns one row unless it asks for more.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from ps2daemon.clock import Clock
from ps2daemon.model import tables
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.model.times import from_ms
from ps2daemon.simulator.truth import TrueCharacter, Truth

Row = dict[str, Any]

REGISTERED: Final = re.compile(r"[A-Za-z0-9]{1,64}")
"""What a service id looks like, without its prefix `s:`."""
EXAMPLE_PER_MINUTE: Final = 10
"""Requests with `s:example` or without an id."""

_SIGN_UP: Final = "(http://census.daybreakgames.com/#devSignup)"
MISSING: Final = (
    "Missing Service ID.  A valid Service ID is required for continued api use.  "
    f"The Service ID s:example is for casual use only.  {_SIGN_UP}"
)
UNREGISTERED: Final = f"Provided Service ID is not registered.  A valid Service ID is required for continued api use. {_SIGN_UP}"
_NAMESPACE: Final = re.compile(r"(ps2|ps2ps4us|ps2ps4eu)(?::v[12])?")
_LANGUAGES: Final = ("de", "en", "es", "fr", "it", "tr")
_RENAMED: Final = frozenset({1, 10})  # whose Turkish name is the string "null"


class _Refused(Exception):
    """The body to answer with."""

    def __init__(self, **body: str) -> None:
        super().__init__(body)
        self.body = body


class Rest:
    """Answers queries.

    Args:
        worlds: the worlds that there are, with whether each is up.
        accepts: whether a service id (without `s:`) is registered.
        hides_new: whether characters in their first session are unknown.
    """

    def __init__(
        self,
        truth: Truth,
        worlds: Mapping[int, bool],
        clock: Clock,
        accepts: Callable[[str], bool],
        hides_new: Callable[[], bool] = lambda: True,
    ) -> None:
        self._truth = truth
        self._worlds = worlds
        self._clock = clock
        self._accepts = accepts
        self._hides_new = hides_new
        self._casual: deque[Ms] = deque()
        self._collections: dict[str, Callable[[str, Mapping[str, list[str]]], Iterable[Row]]] = {
            "character": self._character,
            "characters_online_status": self._online_status,
            "characters_world": self._characters_world,
            "world": self._world,
        }

    def answer(self, target: str) -> bytes:
        """The body for a request's path and query."""
        try:
            return msgspec.json.encode(self._answer(target))
        except _Refused as refusal:
            return msgspec.json.encode(refusal.body)

    def _answer(self, target: str) -> Row:
        path, _, query = target.partition("?")
        parts = [unquote(part) for part in path.split("/") if part]
        self._admit(parts.pop(0) if parts and parts[0].startswith("s:") else None)
        if len(parts) < 2 or parts[0] not in ("get", "count"):
            raise _Refused(errorCode="SERVER_ERROR")
        namespace = _NAMESPACE.fullmatch(parts[1])
        if namespace is None or len(parts) != 3 or parts[2] not in self._collections:
            raise _Refused(error="No data found.")
        terms: dict[str, list[str]] = {}
        for key, value in parse_qsl(query, keep_blank_values=True):
            terms.setdefault(key, []).append(value)
        rows = self._select(parts[2], namespace[1], terms)
        if parts[0] == "count":
            return {"count": len(rows)}
        limit, start = _whole(terms, "c:limit", 1), _whole(terms, "c:start", 0)
        shown = [_shown(row, terms) for row in rows[start : start + limit]]
        return {f"{parts[2]}_list": shown, "returned": len(shown)}

    def _admit(self, service_id: str | None) -> None:
        if service_id is None or service_id == "s:example":
            now = self._clock.now()
            while self._casual and self._casual[0] <= now - MINUTE:
                self._casual.popleft()
            if len(self._casual) >= EXAMPLE_PER_MINUTE:
                raise _Refused(error=MISSING)
            self._casual.append(now)
        elif not self._accepts(service_id[2:]):
            raise _Refused(error=UNREGISTERED)

    def _select(self, collection: str, environment: str, terms: Mapping[str, list[str]]) -> list[Row]:
        wanted = {
            key: {part for value in values for part in value.split(",")}
            for key, values in terms.items()
            if not key.startswith("c:")
        }
        for key, values in wanted.items():
            if key not in _TERMS[collection]:
                raise _search("Invalid search term. Valid search terms: [...]")
            if key.endswith("_id") and not all(value.isdecimal() for value in values):
                raise _search(f"Invalid search term: {key}. Value must be a number.")
        rows = self._collections[collection](environment, terms)
        return [
            row
            for row in rows
            if all(str(_at(row, key.split("."))) in values for key, values in wanted.items())
        ]

    def _characters(self, environment: str, terms: Mapping[str, list[str]]) -> Iterable[TrueCharacter]:
        """Those that the service knows, at least all that the query is about, in the order of their ids."""
        known = self._truth.characters
        asked = terms.get("character_id")
        ids: Iterable[str] = known
        if asked is not None:
            ids = {part for value in asked for part in value.split(",")} & known.keys()
        now = self._clock.now()
        hides_new = self._hides_new()
        for character_id in sorted(ids):
            character = known[character_id]
            if hides_new and (character.first_end is None or character.first_end > now):
                continue
            if tables.worlds()[character.world_id].environment == environment:
                yield character

    def _character(self, environment: str, terms: Mapping[str, list[str]]) -> Iterable[Row]:
        resolve = {part for value in terms.get("c:resolve", ()) for part in value.split(",")}
        for character in self._characters(environment, terms):
            row = self._character_row(character)
            if "world" in resolve:
                row["world_id"] = str(character.world_id)
            if "online_status" in resolve:
                row["online_status"] = self._status(character)
            yield row

    def _character_row(self, character: TrueCharacter) -> Row:
        last = self._truth.last_session(character.character_id)
        login = character.created if last is None else last.login
        save = login if last is None or last.logout is None else last.logout
        minutes = (save - login) // MINUTE + 41 * character.logins
        times: Row = {}
        for name, at in (("creation", character.created), ("last_save", save), ("last_login", login)):
            times[name] = str(at // SECOND)
            times[f"{name}_date"] = f"{from_ms(at):%Y-%m-%d %H:%M:%S}.0"
        rank = min(100, character.logins)
        return {
            "character_id": character.character_id,
            "name": {"first": character.name, "first_lower": character.name.lower()},
            "faction_id": str(character.faction_id),
            "head_id": str(1 + int(character.character_id[-3:]) % 6),
            "title_id": "0",
            "times": {**times, "login_count": str(character.logins), "minutes_played": str(minutes)},
            "certs": {
                "earned_points": str(minutes * 2),
                "gifted_points": "200",
                "spent_points": str(minutes),
                "available_points": str(minutes + 200),
                "percent_to_next": "0.0",
            },
            "battle_rank": {"percent_to_next": "0", "value": str(rank)},
            "profile_id": "4",
            "daily_ribbon": {"count": "0", "time": "NULL", "date": "NULL"},
            "prestige_level": "0",
        }

    def _status(self, character: TrueCharacter) -> str:
        session = self._truth.running(character.character_id)
        return "0" if session is None else str(session.world_id)

    def _online_status(self, environment: str, terms: Mapping[str, list[str]]) -> Iterable[Row]:
        for character in self._characters(environment, terms):
            yield {"character_id": character.character_id, "online_status": self._status(character)}

    def _characters_world(self, environment: str, terms: Mapping[str, list[str]]) -> Iterable[Row]:
        for character in self._characters(environment, terms):
            yield {"character_id": character.character_id, "world_id": str(character.world_id)}

    def _world(self, environment: str, terms: Mapping[str, list[str]]) -> Iterable[Row]:
        for world_id, online in self._worlds.items():
            if tables.worlds()[world_id].environment == environment:
                name = dict.fromkeys(_LANGUAGES, tables.world_name(world_id))
                if world_id in _RENAMED:
                    name["tr"] = "null"
                yield {"world_id": str(world_id), "state": "online" if online else "locked", "name": name}


_TERMS: Final = {
    "character": frozenset({"character_id", "name.first", "name.first_lower", "faction_id"}),
    "characters_online_status": frozenset({"character_id", "online_status"}),
    "characters_world": frozenset({"character_id", "world_id"}),
    "world": frozenset({"world_id", "state", *(f"name.{language}" for language in _LANGUAGES)}),
}


def _search(message: str) -> _Refused:
    return _Refused(errorCode="SERVER_ERROR", errorMessage=f"INVALID_SEARCH_TERM: {message}")


def _whole(terms: Mapping[str, list[str]], key: str, default: int) -> int:
    values = terms.get(key)
    if not values:
        return default
    if not (values[-1].isascii() and values[-1].isdigit() and len(values[-1]) <= 9):
        raise _search(f"Invalid search term: {key}. Value must be a whole number.")
    return int(values[-1])


def _at(row: Row, path: list[str]) -> Any:
    value: Any = row
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _paths(terms: Mapping[str, list[str]], key: str) -> list[list[str]]:
    return [part.split(".") for value in terms.get(key, ()) for part in value.split(",") if part]


def _shown(row: Row, terms: Mapping[str, list[str]]) -> Row:
    """What `c:show` and `c:hide` leave of a row."""
    show, hide = _paths(terms, "c:show"), _paths(terms, "c:hide")
    if show:
        row = _picked(row, show)
    for path in hide:
        holder = _at(row, path[:-1])
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
    if not row and (show or hide):
        raise _search("c:show or c:hide resulted in no valid terms.")
    return row


def _picked(row: Row, paths: list[list[str]]) -> Row:
    picked: Row = {}
    for path in paths:
        value = _at(row, path)
        if value is None:
            continue
        holder = picked
        for part in path[:-1]:
            holder = holder.setdefault(part, {})
        holder[path[-1]] = value
    return picked
