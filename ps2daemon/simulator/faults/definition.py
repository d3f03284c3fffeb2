"""What a fault is: its name, what it does and to what, its value, and the function that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.simulator.connection import Answer
from ps2daemon.simulator.faults.telling import Also, Telling
from ps2daemon.simulator.payloads import Happening

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Client, Simulator

Number: TypeAlias = int | float | str
"""What a value is read as."""

WORLD: Final = "WORLD"
PLACES: Final = {
    "connection": "Connections",
    "subscription": "Subscriptions, heartbeats and silence",
    "login": "Logins and logouts",
    "alert": "Alerts and locks",
    "frame": "Events and frames of any kind",
    "rest": "REST",
}
"""Where faults act, in the order in which they are applied, with the headings of their list."""
OF_EVENTS: Final = frozenset({"login", "alert", "frame"})
"""Places whose faults are about events."""


def shown(value: Number) -> str:
    """A value as it is written."""
    return value if isinstance(value, str) else f"{value:.12g}"


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind a fault's colon.

    Attributes:
        unit: in capitals; `WORLD` for the id of one that is known.
        default: None where a value must be given.
        low, high: the least and the most that is accepted.
        whole: no fractions.
        choices: the words that are accepted, in place of numbers.
    """

    unit: str
    default: Number | None
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def accepted(self) -> str:
        """What is accepted, for a person."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.unit == WORLD:
            return f"one of {', '.join(map(str, tables.worlds()))}"
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} ({self.unit.lower()}) from {self.low:.12g} to {self.high:.12g}"

    def parse(self, text: str) -> Number:
        """What a text says.

        Raises:
            ValueError: nothing that is accepted.
        """
        if self.choices:
            if text not in self.choices:
                raise ValueError(text)
            return text
        number = int(text) if self.whole or self.unit == WORLD else float(text)
        if self.unit == WORLD:
            if number not in tables.worlds():
                raise ValueError(text)
        elif not self.low <= number <= self.high:  # neither is what is no number
            raise ValueError(text)
        return number


PERCENT: Final = Value(unit="PERCENT", default=10, low=0, high=100)
"""Of the events that a fault is about."""
AFTER: Final = Value(unit="SECONDS", default=10, low=0, high=86_400)
"""How long after its start, or that of a connection, a fault strikes."""
ONE_WORLD: Final = Value(unit=WORLD, default=None)
"""One that is simulated."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong. What it does is in its functions, each of which gets the fault's value last.

    Attributes:
        quirk: the numbers of CENSUS.md that it reproduces.
        place: where it acts, a key of `PLACES`.
        effect: one short line.
        truth: what the truth says about what it strikes.
        changes: something else really happens because of it, and the truth says so.
        from_start: on unless it is stopped.
        existing: it strikes the connections that there are when it starts as well.
        after: `connection` is called so many seconds, its value, after a connection was opened or the fault started.
    """

    name: str
    quirk: str
    place: str
    effect: str
    truth: str = "says what happened"
    value: Value | None = None
    changes: bool = False
    from_start: bool = False
    existing: bool = True
    after: bool = False
    first_bytes: Callable[[Any], bytes] | None = None
    """What a connection is answered with, whatever it says."""
    admit: Callable[[Any], int] | None = None
    """The status that an upgrade is refused with; 0 for the end without a word."""
    connection: Callable[[Simulator, Client, Any], None] | None = None
    """Strikes one connection to the stream."""
    reply: Callable[[bytes, Any], bytes | None] | None = None
    """What a command is answered with."""
    frame: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None
    """Changes a heartbeat or a world's state."""
    happen: Callable[[Happening, Any], Sequence[Also]] | None = None
    """What really happens besides."""
    tell: Callable[[Telling, Any], Sequence[Telling]] | None = None
    """How something is told."""
    answer: Callable[[Answer, Any], Answer] | None = None
    """Changes an answer of REST."""
    task: Callable[[Simulator, Any], Awaitable[None]] | None = None
    """Runs while the fault is on; when it returns, the fault is over."""

    @property
    def usage(self) -> str:
        """The name with its value's unit and default: `drop_logouts:PERCENT=10`."""
        if self.value is None:
            return self.name
        default = self.value.default
        return f"{self.name}:{self.value.unit}{'' if default is None else f'={shown(default)}'}"

    @property
    def of_events(self) -> bool:
        """Whether it may be limited to the events of one world: `NAME:VALUE@WORLD`."""
        return self.place in OF_EVENTS and not (self.tell is None and self.happen is None)


class Setting(msgspec.Struct, frozen=True):
    """A fault as somebody wants it.

    Attributes:
        value: None for a fault without one.
        world_id: the only world that it strikes; None for all.
    """

    fault: Fault
    value: Number | None = None
    world_id: int | None = None

    def __str__(self) -> str:
        value = "" if self.value is None else f":{shown(self.value)}"
        world = "" if self.world_id is None else f"@{self.world_id}"
        return f"{self.fault.name}{value}{world}"

    def strikes(self, world_id: int) -> bool:
        """Whether it is about that world."""
        return self.world_id is None or self.world_id == world_id


def refused(given: str, reason: str) -> UsageError:
    """The error for a fault that can't be understood."""
    return UsageError(f"fault {given!r}: {reason}")
