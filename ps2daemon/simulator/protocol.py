"""The frames that the event stream sends of its own accord or in answer to a command: all text, one JSON object a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.simulator.subscription import Subscription

CONNECTED: Final = b'{"connected":"true","service":"push","type":"connectionStateChanged"}'
DISCONNECTED: Final = b'{"connected":"false","service":"push","type":"connectionStateChanged"}'
HELP_HINT: Final = b'{"send this for help":{"service":"event","action":"help"}}'
HEARTBEAT_SECONDS: Final = 30

_ENCODE: Final = msgspec.json.Encoder().encode
_OLD_SPELLINGS: Final = {40: "Soltech"}


def endpoint(world_id: int) -> str:
    """A world's endpoint: `EventServerEndpoint_Osprey_1`."""
    name = _OLD_SPELLINGS.get(world_id, tables.world_name(world_id))
    return f"EventServerEndpoint_{name.replace(' ', '')}_{world_id}"


def world_state(world_id: int, online: bool) -> bytes:
    """A world's endpoint went up or down, or is so at the beginning."""
    return _ENCODE(
        {
            "detail": endpoint(world_id),
            "online": _text(online),
            "service": "event",
            "type": "serviceStateChanged",
        }
    )


def greeting(worlds: Mapping[int, bool], random: Random) -> list[bytes]:
    """What a new connection gets: that it is connected, each world's state, and somewhere in between how to get help."""
    frames = [CONNECTED, *(world_state(world_id, online) for world_id, online in worlds.items())]
    frames.insert(random.randint(1, len(frames)), HELP_HINT)
    return frames


def heartbeat(worlds: Mapping[int, bool], now: Ms) -> bytes:
    """Every endpoint's state and the server's clock."""
    online = {endpoint(world_id): _text(state) for world_id, state in worlds.items()}
    return _ENCODE(
        {"online": online, "service": "event", "timestamp": str(now // SECOND), "type": "heartbeat"}
    )


def service_message(payload: bytes) -> bytes:
    """A payload in its envelope."""
    return b'{"payload":%b,"service":"event","type":"serviceMessage"}' % payload


def answer(frame: str, subscription: Subscription, recent: Iterable[str]) -> bytes | None:
    """What a command is answered with; None for what is no command, since Census says nothing then.

    Args:
        recent: ids of the characters that were lately in an event.
    """
    try:
        command = msgspec.json.decode(frame)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(command, dict) or command.get("service") != "event":
        return None
    match command.get("action"):
        case "subscribe":
            return subscription.subscribe(command)
        case "clearSubscribe":
            return subscription.clear(command)
        case "echo":
            return _ENCODE(command.get("payload"))
        case "recentCharacterIds":
            ids = list(recent)
            return service_message(
                _ENCODE({"recent_character_id_count": len(ids), "recent_character_id_list": ids})
            )
        case "recentCharacterIdsCount":
            return service_message(_ENCODE({"recent_character_id_count": len(list(recent))}))
        case "help":
            return _ENCODE(_HELP)
        case _:
            return None


def _text(state: bool) -> str:
    return "true" if state else "false"


def _template(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


_HELP: Final[dict[str, Any]] = {
    "commands": {
        "subscribe": {
            "service": "event",
            "action": "subscribe",
            "characters": ["5428010618015189713"],
            "worlds": ["1", "10"],
            "eventNames": ["PlayerLogin", "PlayerLogout"],
            "logicalAndCharactersWithWorlds": "true",
        },
        "clearSubscribe": {"service": "event", "action": "clearSubscribe", "all": "true"},
        "echo": {"service": "event", "action": "echo", "payload": {"test": "test"}},
        "recentCharacterIds": {"service": "event", "action": "recentCharacterIds"},
        "recentCharacterIdsCount": {"service": "event", "action": "recentCharacterIdsCount"},
        "help": {"service": "event", "action": "help"},
    },
    "example event service message payloads": {
        "PlayerLogin": _template("character_id", "event_name", "timestamp", "world_id"),
        "PlayerLogout": _template("character_id", "event_name", "timestamp", "world_id"),
        "MetagameEvent": _template(
            "event_name", "experience_bonus", "faction_nc", "faction_tr", "faction_vs", "instance_id",
            "metagame_event_id", "metagame_event_state", "timestamp", "world_id", "zone_id",
        ),
        "ContinentLock": _template(
            "event_name", "metagame_event_id", "nc_population", "previous_faction", "timestamp", "tr_population",
            "triggering_faction", "vs_population", "world_id", "zone_id",
        ),
        "ContinentUnlock": _template("event_name", "timestamp", "world_id", "zone_id"),
    },
}  # fmt: skip
