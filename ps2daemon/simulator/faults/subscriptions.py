"""Faults of what a connection hears while it seems to be fine: subscriptions, acknowledgements, heartbeats, silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ps2daemon.simulator.faults.definition import AFTER, ONE_WORLD, WORLD, Fault, Value
from ps2daemon.simulator.faults.telling import Telling
from ps2daemon.simulator.protocol import endpoint

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Client, Simulator

_UNSENT: Final = "events were handed to no socket"
_PREFIX: Final = "EventServerEndpoint_"


def _mute(telling: Telling, _: None) -> Sequence[Telling]:
    return ()


def _mute_world(telling: Telling, world_id: int) -> Sequence[Telling]:
    return () if telling.event.world_id == world_id else (telling,)


def _empty(simulator: Simulator, client: Client, _: float) -> None:
    client.subscription.clear({"all": True})


def _narrow(simulator: Simulator, client: Client, _: float) -> None:
    client.subscription.clear({"worlds": list(client.subscription.worlds[1:])})


def _unanswered(frame: bytes, _: None) -> bytes | None:
    return None if frame.startswith(b'{"subscription"') else frame


def _no_timestamp(frame: dict[str, Any], _: None) -> dict[str, Any]:
    return {key: value for key, value in frame.items() if key != "timestamp"}


def _ghost(frame: dict[str, Any], world_id: int) -> dict[str, Any]:
    return _heartbeat(frame, {endpoint(world_id): "true"})


def _down(frame: dict[str, Any], world_id: int) -> dict[str, Any]:
    name = next((name for name in frame.get("online", ()) if name.endswith(f"_{world_id}")), None)
    return frame if name is None else _heartbeat(frame, {name: "false"})


def _heartbeat(frame: dict[str, Any], worlds: dict[str, str]) -> dict[str, Any]:
    if frame.get("type") != "heartbeat":
        return frame
    return {**frame, "online": {**frame["online"], **worlds}}


def _renamed(frame: dict[str, Any], _: None) -> dict[str, Any]:
    if frame.get("type") == "heartbeat":
        return {**frame, "online": {_other(name): state for name, state in frame["online"].items()}}
    return {**frame, "detail": _other(frame["detail"])} if "detail" in frame else frame


def _other(name: str) -> str:
    return f"{_PREFIX}Renamed_{name.rpartition('_')[2]}"


FAULTS: Final = (
    Fault(
        name="heartbeats_only",
        quirk="S2",
        place="subscription",
        effect="events stop, heartbeats don't",
        truth=_UNSENT,
        tell=_mute,
    ),
    Fault(
        name="world_silent",
        quirk="S2",
        place="subscription",
        effect="this world's events stop",
        truth=_UNSENT,
        value=ONE_WORLD,
        tell=_mute_world,
    ),
    Fault(
        name="subscription_emptied",
        quirk="S1",
        place="subscription",
        effect="lost after so long, untold",
        truth=_UNSENT,
        value=AFTER,
        after=True,
        connection=_empty,
    ),
    Fault(
        name="subscription_narrowed",
        quirk="S1",
        place="subscription",
        effect="after so long only one world",
        truth=_UNSENT,
        value=AFTER,
        after=True,
        connection=_narrow,
    ),
    Fault(
        name="no_ack",
        quirk="S1",
        place="subscription",
        effect="subscriptions are not answered",
        reply=_unanswered,
    ),
    Fault(
        name="heartbeat_without_timestamp",
        quirk="1.2",
        place="subscription",
        effect="the server does not tell its clock",
        frame=_no_timestamp,
    ),
    Fault(
        name="ghost_world",
        quirk="S4",
        place="subscription",
        effect="heartbeats list a world that is gone",
        value=Value(unit=WORLD, default=25),
        frame=_ghost,
    ),
    Fault(
        name="false_while_flowing",
        quirk="S4",
        place="subscription",
        effect="down by heartbeats, but events come",
        value=ONE_WORLD,
        frame=_down,
    ),
    Fault(
        name="renamed_endpoint",
        quirk="1.2",
        place="subscription",
        effect="endpoints have a name never heard of",
        frame=_renamed,
    ),
)
