"""How something that happened is told: what faults of events transform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias
from zlib import crc32

import msgspec

from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.simulator.payloads import Happening, event_name, payload_of
from ps2daemon.simulator.protocol import service_message

Fields: TypeAlias = dict[str, Any]

_ENCODE: Final = msgspec.json.Encoder().encode


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """One frame to be sent to all that want the event.

    Attributes:
        event: what happened, by which subscriptions are matched even where the frame says something else.
        fields: the payload.
        raw: a whole frame that is sent in the payload's place.
        delay: seconds until it is sent.
        genuine: it is the one by which the event counts as told; copies and inventions are not.
        extra: a fault made the event happen.
        audience: of the connections that want it, all, or all but the first.
        amends: what really is different about the alert from then on, by attributes of `TrueAlert`.
    """

    event: Happening
    fields: Fields
    raw: bytes | None = None
    delay: float = 0.0
    genuine: bool = True
    extra: bool = False
    audience: Literal["all", "first", "others"] = "all"
    amends: Fields | None = None

    @property
    def frame(self) -> bytes:
        """The text message."""
        return service_message(_ENCODE(self.fields)) if self.raw is None else self.raw

    def but(self, **changes: Any) -> Telling:
        """The same with changes."""
        return msgspec.structs.replace(self, **changes)

    def saying(self, **fields: Any) -> Telling:
        """The same with other values in its payload."""
        return self.but(fields={**self.fields, **fields})

    def without(self, *names: str) -> Telling:
        """The same with a payload that lacks some keys."""
        return self.but(fields={name: value for name, value in self.fields.items() if name not in names})

    def beside(
        self, fields: Fields | None = None, *, raw: bytes | None = None, delay: float = 0.0
    ) -> Telling:
        """Something else that goes to the same connections and is not the event."""
        return self.but(
            fields=self.fields if fields is None else fields,
            raw=raw,
            delay=self.delay + delay,
            genuine=False,
            amends=None,
        )


class Also(msgspec.Struct, frozen=True):
    """Something that really happens because of a fault, so many seconds (more than 0) after what it follows."""

    event: Happening
    delay: float
    amends: tuple[tuple[str, Any], ...] = ()


def telling_of(event: Happening, *, extra: bool = False) -> Telling:
    """How an event is told where nothing is at fault."""
    return Telling(event=event, fields=msgspec.json.decode(payload_of(event)), extra=extra)


def draw(name: str, event: Happening, lowest: float = 0.0, highest: float = 1.0) -> float:
    """A number in [lowest, highest) that depends on the fault's name and the event alone: the same each time it is asked for."""
    who = event.character_id if isinstance(event, Login | Logout) else ""
    text = f"{name}/{event_name(event)}/{event.world_id}/{event.at}/{who}"
    return lowest + crc32(text.encode()) / 2**32 * (highest - lowest)


def hit(name: str, event: Happening, percent: float) -> bool:
    """Whether a fault that strikes so many percent of the events strikes this one."""
    return draw(name, event, 0.0, 100.0) < percent


def sending_beside(
    name: str, make: Callable[[Telling], Telling], kind: type[Happening] | None = None
) -> Callable[[Telling, float], Sequence[Telling]]:
    """The fault that sends something else behind so many percent of the events, or of one kind of them."""

    def tell(telling: Telling, percent: float) -> Sequence[Telling]:
        struck = telling.genuine and (kind is None or isinstance(telling.event, kind))
        if not struck or not hit(name, telling.event, percent):
            return (telling,)
        return telling, make(telling)

    return tell


def seconds_of(at: Ms) -> str:
    """A timestamp as payloads have it."""
    return str(at // SECOND)
