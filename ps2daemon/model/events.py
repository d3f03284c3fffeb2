"""Strict decoding of event payloads (CENSUS.md 1.4).

Every value of a payload is a string, on a good day. Unknown keys are tolerated and so are keys that only some years or
platforms send; a key that an event can't do without, or that is no number where one is needed, is an `EventError`.
Numbers where strings are expected are accepted (CENSUS.md section 8), since nothing is lost by it.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import msgspec

from ps2daemon.errors import RecordError
from ps2daemon.model.records import SECOND, Ms

MAX_PAYLOAD_BYTES: Final = 64 * 1024
"""The largest real payload is under 1 KiB; anything near this bound is hostile or broken."""

STARTED: Final = 135
RESTARTED: Final = 136
CANCELED: Final = 137
ENDED: Final = 138
BONUS_CHANGED: Final = 139

_MAX_SECONDS: Final = (
    253_402_300_799  # 9999-12-31T23:59:59Z, the last second that ISO 8601 writes with four digits
)
_MAX_U32: Final = 2**32 - 1
_MAX_ID: Final = 2**64 - 1


class EventError(RecordError):
    """A payload is no event that can be understood; the message says which key is at fault."""


class Login(msgspec.Struct, frozen=True, gc=False):
    character_id: str
    world_id: int
    at: Ms


class Logout(msgspec.Struct, frozen=True, gc=False):
    character_id: str
    world_id: int
    at: Ms


class Metagame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of state of an alert. Territory is in percent, or None where the event did not say."""

    world_id: int
    instance_id: int
    metagame_event_id: int
    state: int
    at: Ms
    zone_id: int | None
    territory_vs: float | None
    territory_nc: float | None
    territory_tr: float | None


class ContinentLock(msgspec.Struct, frozen=True, array_like=True):
    """A continent was locked by `winner` (a faction id; 0 where the event did not say). Populations are in percent."""

    world_id: int
    zone_id: int
    at: Ms
    winner: int
    previous_winner: int
    metagame_event_id: int
    population_vs: float | None
    population_nc: float | None
    population_tr: float | None


class Other(msgspec.Struct, frozen=True):
    """An event that this program does not record, or a payload without a name (an answer to `recentCharacterIds`).

    World and time are None where they are absent or can't be read.
    """

    event_name: str
    world_id: int | None
    at: Ms | None


Event: TypeAlias = Login | Logout | Metagame | ContinentLock | Other

_Scalar: TypeAlias = str | int | float | bool | None


class _Payload(msgspec.Struct):
    event_name: _Scalar = None
    timestamp: _Scalar = None
    world_id: _Scalar = None
    character_id: _Scalar = None
    instance_id: _Scalar = None
    metagame_event_id: _Scalar = None
    metagame_event_state: _Scalar = None
    zone_id: _Scalar = None
    faction_vs: _Scalar = None
    faction_nc: _Scalar = None
    faction_tr: _Scalar = None
    vs_population: _Scalar = None
    nc_population: _Scalar = None
    tr_population: _Scalar = None
    triggering_faction: _Scalar = None
    previous_faction: _Scalar = None


_decoder = msgspec.json.Decoder(_Payload)


def _integer(key: str, value: _Scalar, highest: int) -> int:
    """`value` as an integer in [0, highest]; ids are unsigned (zone ids pack two numbers into 32 bits)."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise EventError(f"{key} is {_shown(value)}, not a whole number")
    if not 0 <= number <= highest:
        raise EventError(f"{key} is {_shown(number)}, outside 0 to {highest}")
    return number


def _percent(value: _Scalar) -> float | None:
    """A share of territory or population; what can't be read is unknown rather than an error."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0.0 <= number <= 100.0 else None


def _hint(key: str, value: _Scalar, highest: int) -> int | None:
    """An integer that nothing depends on; what can't be read is unknown."""
    try:
        return _integer(key, value, highest)
    except EventError:
        return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def decode_event(payload: bytes | msgspec.Raw) -> Event:
    """The event that a payload's JSON says.

    Raises:
        EventError: no JSON object, too large, or a needed key is absent or malformed.
    """
    if len(memoryview(payload)) > MAX_PAYLOAD_BYTES:
        raise EventError(f"the payload has more than {MAX_PAYLOAD_BYTES} bytes")
    try:
        raw = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"the payload is not an object of strings: {error}") from None
    name = raw.event_name
    if name == "PlayerLogin" or name == "PlayerLogout":
        character_id = _integer("character_id", raw.character_id, _MAX_ID)
        world_id = _integer("world_id", raw.world_id, _MAX_U32)
        at = _integer("timestamp", raw.timestamp, _MAX_SECONDS) * SECOND
        if character_id == 0:  # not a player (CENSUS.md E6)
            return Other(name, world_id, at)
        kind = Login if name == "PlayerLogin" else Logout
        return kind(str(character_id), world_id, at)
    if name == "MetagameEvent":
        return _metagame(raw)
    if name == "ContinentLock":
        return _lock(raw)
    if name is not None and not isinstance(name, str):
        raise EventError(f"event_name is {_shown(name)}, not a string")
    seconds = _hint("timestamp", raw.timestamp, _MAX_SECONDS)
    return Other(
        name or "",
        _hint("world_id", raw.world_id, _MAX_U32),
        None if seconds is None else seconds * SECOND,
    )


def _metagame(raw: _Payload) -> Metagame:
    return Metagame(
        world_id=_integer("world_id", raw.world_id, _MAX_U32),
        instance_id=_integer("instance_id", raw.instance_id, _MAX_ID),
        metagame_event_id=_integer("metagame_event_id", raw.metagame_event_id, _MAX_U32),
        state=_integer("metagame_event_state", raw.metagame_event_state, _MAX_U32),
        at=_integer("timestamp", raw.timestamp, _MAX_SECONDS) * SECOND,
        zone_id=None if raw.zone_id in (None, "0", 0) else _integer("zone_id", raw.zone_id, _MAX_U32),
        territory_vs=_percent(raw.faction_vs),
        territory_nc=_percent(raw.faction_nc),
        territory_tr=_percent(raw.faction_tr),
    )


def _lock(raw: _Payload) -> ContinentLock:
    return ContinentLock(
        world_id=_integer("world_id", raw.world_id, _MAX_U32),
        zone_id=_integer("zone_id", raw.zone_id, _MAX_U32),
        at=_integer("timestamp", raw.timestamp, _MAX_SECONDS) * SECOND,
        winner=_integer("triggering_faction", raw.triggering_faction or 0, _MAX_U32),
        previous_winner=_integer("previous_faction", raw.previous_faction or 0, _MAX_U32),
        metagame_event_id=_integer("metagame_event_id", raw.metagame_event_id or 0, _MAX_U32),
        population_vs=_percent(raw.vs_population),
        population_nc=_percent(raw.nc_population),
        population_tr=_percent(raw.tr_population),
    )


class Glance(msgspec.Struct, frozen=True, gc=False):
    """What a payload says of itself, without any check: for counting, at the speed of the socket."""

    event_name: str = ""
    world_id: str | int = ""
    timestamp: str | int = ""

    @property
    def world(self) -> int | None:
        """The world's id, if it is one."""
        return _shown_number(self.world_id, 10)

    @property
    def at(self) -> Ms | None:
        """The event's time, if it is one."""
        second = _shown_number(self.timestamp, 12)
        return None if second is None else second * SECOND


def _shown_number(value: str | int, digits: int) -> int | None:
    text = value if isinstance(value, str) else str(value)
    return int(text) if len(text) <= digits and text.isascii() and text.isdigit() else None


_glance_decoder = msgspec.json.Decoder(Glance)


def glance(payload: bytes) -> Glance | None:
    """A tenth of the time of `decode_event`; None for what is no object of strings and numbers."""
    try:
        return _glance_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
