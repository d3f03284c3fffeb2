"""All faults there are, by name, and the list that a person reads."""

from __future__ import annotations

from typing import Final

from ps2daemon.simulator.faults import alerts, connections, frames, logins, rest, subscriptions
from ps2daemon.simulator.faults.definition import PLACES, Fault

FAULTS: Final[dict[str, Fault]] = {
    fault.name: fault
    for part in (connections, subscriptions, logins, alerts, frames, rest)
    for fault in part.FAULTS
}
"""In the order in which they are applied: what is not told can't be sent twice."""

_LEGEND: Final = """\
NAME[:VALUE], the value if none is given, the number or section in CENSUS.md,
and the effect. *: something else really happens, and the truth has it.
Those of logins, alerts and events take @WORLD for one of them: drop_logouts@10.
DNS failures no server can make: configure a host under .invalid instead."""
_HEAD: Final = 32
_QUIRK: Final = 6


def listing() -> str:
    """One line for each fault, under headings; no line is wider than 80 columns."""
    lines = _LEGEND.splitlines()
    for place, heading in PLACES.items():
        lines += ["", f"{heading}:"]
        lines += [_line(fault) for fault in FAULTS.values() if fault.place == place]
    return "\n".join(lines)


def _line(fault: Fault) -> str:
    mark = "*" if fault.changes else " "
    return f" {mark}{fault.usage:<{_HEAD}} {fault.quirk:<{_QUIRK}} {fault.effect}"
