"""Faults of any event: clocks, order, copies, and frames that are not what they should be. Nothing else happens by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND
from ps2daemon.simulator.faults.definition import PERCENT, Fault, Value
from ps2daemon.simulator.faults.telling import Fields, Telling, draw, hit, seconds_of, sending_beside

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Client, Simulator

_TOLD: Final = "has the real time"
_INVENTED: Final = "knows nothing of what is sent besides"
_SAW_SECONDS: Final = 30


def _shifted(telling: Telling, seconds: int) -> Telling:
    """The same with a timestamp that is off. What it says is shifted, not what happened: a copy keeps its distance."""
    stamp = telling.fields.get("timestamp")
    if stamp is None:
        return telling
    return telling.saying(timestamp=str(max(0, int(stamp) + seconds)))


def _world_clock(telling: Telling, seconds: int) -> Sequence[Telling]:
    return (_shifted(telling, seconds),)


def _rollback(telling: Telling, seconds: int) -> Sequence[Telling]:
    behind = telling.event.at // SECOND // _SAW_SECONDS % 2 == 1
    return (_shifted(telling, -seconds) if behind else telling,)


def _out_of_order(telling: Telling, seconds: float) -> Sequence[Telling]:
    return (telling.but(delay=telling.delay + draw("out_of_order", telling.event, 0.0, seconds)),)


def _numbers(telling: Telling, _: None) -> Sequence[Telling]:
    return (telling.but(fields={key: _number(key, value) for key, value in telling.fields.items()}),)


def _number(key: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.isascii() and value.isdigit():
        return int(value)
    try:
        return float(value) if key.startswith("faction_") or key == "experience_bonus" else value
    except ValueError:
        return value


def _who(telling: Telling) -> str:
    event = telling.event
    return event.character_id if isinstance(event, Login | Logout) else "5428010618013876561"


def _other(telling: Telling, event_name: str, **fields: str) -> Fields:
    """The payload of an event that nobody asked for."""
    event = telling.event
    return {
        "character_id": _who(telling),
        "event_name": event_name,
        "timestamp": seconds_of(event.at),
        "world_id": str(event.world_id),
        **fields,
    }


def _unknown_event(telling: Telling) -> Telling:
    return telling.beside(_other(telling, "PlayerTeleport", destination="7"))


def _no_team(telling: Telling) -> Telling:
    fields = {"amount": "15", "experience_id": "55", "loadout_id": "19", "other_id": "0", "zone_id": "2"}
    return telling.beside(_other(telling, "GainExperience", **fields))


def _no_name(telling: Telling) -> Telling:
    return telling.without("event_name").beside()


def _broken(telling: Telling) -> Telling:
    return telling.beside(raw=b'\x00}{ "payload" \\')


def _truncated(telling: Telling) -> Telling:
    frame = telling.frame
    return telling.beside(raw=frame[: len(frame) // 2])


def _unknown_world(telling: Telling, world_id: int) -> Sequence[Telling]:
    if not telling.genuine:
        return (telling,)
    return telling, telling.beside({**telling.fields, "world_id": str(world_id)})


def _large(simulator: Simulator, client: Client, size: int) -> None:
    head, tail = b'{"commands":{},"example event service message payloads":{"x":"', b'"}}'
    client.websocket.send(head + b"x" * max(0, size - len(head) - len(tail)) + tail)


def _duplicate(telling: Telling, percent: float) -> Sequence[Telling]:
    return (
        (telling, telling.beside(raw=telling.raw)) if hit("duplicate", telling.event, percent) else (telling,)
    )


def _duplicate_late(telling: Telling, most: float) -> Sequence[Telling]:
    delay = draw("duplicate_late", telling.event, 1.0, max(1.0, most))
    return telling, telling.beside(raw=telling.raw, delay=delay)


def _duplicate_across(telling: Telling, seconds: float) -> Sequence[Telling]:
    if telling.audience != "all":
        return (telling,)
    return telling.but(audience="first"), telling.beside(raw=telling.raw, delay=seconds).but(
        audience="others"
    )


def _share(name: str, quirk: str, effect: str, make: Callable[[Telling], Telling]) -> Fault:
    return Fault(
        name=name, quirk=quirk, place="frame", effect=effect, truth=_INVENTED, value=PERCENT, tell=sending_beside(name, make)
    )  # fmt: skip


FAULTS: Final = (
    Fault(
        name="world_clock",
        quirk="E8",
        place="frame",
        effect="timestamps are off by so much",
        truth=_TOLD,
        value=Value(unit="SECONDS", default=-309, low=-864_000, high=864_000, whole=True),
        tell=_world_clock,
    ),
    Fault(
        name="clock_rollback",
        quirk="E7 E8",
        place="frame",
        effect="set back for half of each minute",
        truth=_TOLD,
        value=Value(unit="SECONDS", default=5, low=1, high=10, whole=True),
        tell=_rollback,
    ),
    _share("unknown_event", "E12", "events with a name never heard of", _unknown_event),
    _share("payload_without_name", "1.2", "payloads without event_name", _no_name),
    _share("missing_team_id", "1.4", "GainExperience without team_id", _no_team),
    Fault(
        name="unknown_world",
        quirk="4.1",
        place="frame",
        effect="all is said of this world as well",
        truth=_INVENTED,
        value=Value(unit="ID", default=9_999, low=0, high=2**32 - 1, whole=True),
        tell=_unknown_world,
    ),
    Fault(
        name="numbers_for_strings",
        quirk="1.4",
        place="frame",
        effect="numbers where strings should be",
        tell=_numbers,
    ),
    _share("unparseable_frame", "8", "frames that are no JSON", _broken),
    _share("truncated_json", "8", "frames whose JSON stops halfway", _truncated),
    Fault(
        name="large_frame",
        quirk="8",
        place="frame",
        effect="the first frame is so large",
        value=Value(unit="BYTES", default=10_000_000, low=100, high=50_000_000, whole=True),
        connection=_large,
    ),
    Fault(
        name="duplicate",
        quirk="E1",
        place="frame",
        effect="events sent twice, at once",
        value=PERCENT,
        tell=_duplicate,
    ),
    Fault(
        name="duplicate_late",
        quirk="E1",
        place="frame",
        effect="sent again, 1 s to so much later",
        value=Value(unit="SECONDS", default=20, low=1, high=20),
        tell=_duplicate_late,
    ),
    Fault(
        name="duplicate_across",
        quirk="E1 C7",
        place="frame",
        effect="other connections hear it later",
        value=Value(unit="SECONDS", default=2, low=0, high=60),
        tell=_duplicate_across,
    ),
    Fault(
        name="out_of_order",
        quirk="E7",
        place="frame",
        effect="events held back by up to so much",
        value=Value(unit="SECONDS", default=3, low=0, high=60),
        tell=_out_of_order,
    ),
)
