"""Strict decoding of the stream's frames (CENSUS.md 1.2).

A frame is recognised by the keys that it has, not by its `type`: acknowledgements, help and echoes have none. Values
that should be booleans come as the strings "true" and "false"; real booleans are accepted too. Worlds are recognised by
the digits in an endpoint's name and never by the name, since worlds get renamed and one endpoint may serve several.

Whatever the bytes are, `decode_message` returns a message or raises `MessageError`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.errors import RecordError, one_line
from ps2daemon.model.records import SECOND, Ms

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""The help reply, tens of KiB, is the largest real frame; nothing larger than this is parsed. In memory its
objects are 50 times as large at worst, where it is one list in the other."""

_MAX_SHOWN: Final = 60
_MAX_U32: Final = 2**32 - 1
_MAX_SECONDS: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
_DIGITS: Final = re.compile(r"[0-9]+")


class MessageError(RecordError):
    """A frame is no message that can be understood; the message says what is at fault."""


class Connected(msgspec.Struct, frozen=True):
    """The first frame of a connection that works; `connected` is false when the service takes its leave."""

    connected: bool


class HelpHint(msgspec.Struct, frozen=True):
    """How to ask for help; sent once, anywhere among the first frames."""


class Help(msgspec.Struct, frozen=True):
    """The answer to `help`."""


class WorldState(msgspec.Struct, frozen=True):
    """An endpoint went up or down. `world_ids` is empty if its name has no digits."""

    world_ids: tuple[int, ...]
    online: bool


class Heartbeat(msgspec.Struct, frozen=True):
    """The endpoints' state by world, every 30 s. A world that several endpoints name is up if all of them are.

    Attributes:
        at: the server's clock, or None where it does not say.
    """

    online: dict[int, bool]
    at: Ms | None


class Subscription(msgspec.Struct, frozen=True):
    """What the connection is subscribed to: the answer to every `subscribe` and `clearSubscribe`.

    Attributes:
        characters: None where the server only counts them (`character_count`).
    """

    worlds: frozenset[int] | Literal["all"]
    event_names: frozenset[str] | Literal["all"]
    characters: frozenset[str] | Literal["all"] | None
    character_count: int | None
    logical_and: bool


class ServiceMessage(msgspec.Struct, frozen=True, gc=False):
    """An event; `payload` is its JSON object exactly as received."""

    payload: bytes


class RecentIds(msgspec.Struct, frozen=True):
    """The answer to `recentCharacterIds` or `recentCharacterIdsCount` (then without ids)."""

    count: int
    character_ids: tuple[str, ...]


class Echo(msgspec.Struct, frozen=True):
    """An object without an envelope: the answer to `echo`."""

    payload: bytes


class Unknown(msgspec.Struct, frozen=True):
    """A well-formed frame of a kind that this program doesn't know; `type` is shortened."""

    type: str


Message: TypeAlias = (
    ServiceMessage
    | Heartbeat
    | WorldState
    | Subscription
    | Connected
    | HelpHint
    | Help
    | RecentIds
    | Echo
    | Unknown
)


class _Frame(msgspec.Struct, gc=False):
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: object = None
    service: object = None
    online: object = msgspec.UNSET
    detail: object = msgspec.UNSET
    timestamp: object = None
    connected: object = msgspec.UNSET
    subscription: object = msgspec.UNSET
    hint: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="send this for help")
    examples: msgspec.Raw | msgspec.UnsetType = msgspec.field(
        default=msgspec.UNSET, name="example event service message payloads"
    )


class _Recent(msgspec.Struct):
    event_name: object = None
    recent_character_id_count: object = None
    recent_character_id_list: object = None


_decoder = msgspec.json.Decoder(_Frame)
_recent_decoder = msgspec.json.Decoder(_Recent)
_NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode_message(text: str | bytes) -> Message:
    """The message that one frame says.

    Raises:
        MessageError: no JSON object, too large, or a key has a value of the wrong kind.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the frame has more than {MAX_MESSAGE_BYTES} bytes")
    try:
        if isinstance(text, bytes):
            text = text.decode()  # the decoder checks only what it reads, and a payload is taken over unread
        frame = _decoder.decode(text)
    except _NOT_JSON as error:
        raise MessageError(f"the frame is no JSON object: {one_line(error)}") from None
    raw = frame.payload
    if raw is not msgspec.UNSET:
        payload = bytes(raw)
        if b'"event_name"' in payload and payload[0] == 0x7B:  # "{": an object
            return ServiceMessage(payload)
        return _unnamed(payload)
    return _other(frame, text)


def _unnamed(payload: bytes) -> ServiceMessage | RecentIds:
    """A payload in which no event's name was seen at first glance."""
    try:
        recent = _recent_decoder.decode(payload)
    except _NOT_JSON as error:
        raise MessageError(f"the payload is no JSON object: {one_line(error)}") from None
    ids = recent.recent_character_id_list
    count = recent.recent_character_id_count
    if recent.event_name is not None or (ids is None and count is None):
        return ServiceMessage(payload)
    character_ids = tuple(sorted(_texts("recent_character_id_list", [] if ids is None else ids)))
    return RecentIds(
        len(character_ids) if count is None else _number("recent_character_id_count", count), character_ids
    )


def _other(frame: _Frame, text: str) -> Message:
    if frame.detail is not msgspec.UNSET:
        if not isinstance(frame.detail, str):
            raise MessageError(f"detail is {_shown(frame.detail)}, not an endpoint's name")
        return WorldState(_worlds_of(frame.detail), _boolean("online", frame.online))
    if isinstance(frame.online, dict):
        online: dict[int, bool] = {}
        for endpoint, value in frame.online.items():
            up = _boolean(f"online of {_shown(endpoint)}", value)
            for world_id in _worlds_of(endpoint):
                online[world_id] = up and online.get(world_id, True)
        return Heartbeat(online, _time(frame.timestamp))
    if frame.connected is not msgspec.UNSET:
        return Connected(_boolean("connected", frame.connected))
    if frame.subscription is not msgspec.UNSET:
        return _subscription(frame.subscription)
    if frame.hint is not msgspec.UNSET:
        return HelpHint()
    if frame.examples is not msgspec.UNSET:
        return Help()
    if frame.type is None and frame.service is None:
        return Echo(text.encode())
    return Unknown(frame.type[:_MAX_SHOWN] if isinstance(frame.type, str) else "")


def _subscription(value: object) -> Subscription:
    if not isinstance(value, dict):
        raise MessageError(f"subscription is {_shown(value)}, not an object")
    worlds = _texts("worlds", value.get("worlds", []))
    names = _texts("eventNames", value.get("eventNames", []))
    characters = _texts("characters", value["characters"]) if "characters" in value else None
    count = value.get("characterCount")
    return Subscription(
        worlds="all" if "all" in worlds else frozenset(_number("worlds", world) for world in worlds),
        event_names="all" if "all" in names else names,
        characters="all" if characters is not None and "all" in characters else characters,
        character_count=None if count is None else _number("characterCount", count),
        logical_and=_boolean(
            "logicalAndCharactersWithWorlds", value.get("logicalAndCharactersWithWorlds", False)
        ),
    )


def _worlds_of(endpoint: str) -> tuple[int, ...]:
    """Every run of digits in an endpoint's name that can be a world's id, in order."""
    runs = (run for run in _DIGITS.findall(endpoint) if len(run) <= 10)
    return tuple(world_id for world_id in map(int, runs) if world_id <= _MAX_U32)


def _boolean(key: str, value: object) -> bool:
    if value == "true" or value is True:
        return True
    if value == "false" or value is False:
        return False
    raise MessageError(f"{key} is {_shown(value)}, neither true nor false")


def _number(key: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_U32:
        return value
    raise MessageError(f"{key} has {_shown(value)}, not a whole number up to {_MAX_U32}")


def _texts(key: str, value: object) -> frozenset[str]:
    """A list of strings; numbers are accepted in their place, and one string in place of the list."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise MessageError(f"{key} is {_shown(value)}, not a list")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise MessageError(f"{key} has {_shown(item)}, not a string")
    return frozenset(map(str, items))


def _time(value: object) -> Ms | None:
    """A heartbeat's clock is a hint that older servers leave out: what can't be read is unknown, and so is 0."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_SECONDS:
        return value * SECOND
    return None


def _shown(value: object) -> str:
    """`value` for a message: nested values by their kind, the rest shortened."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is msgspec.UNSET:
        return "absent"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
