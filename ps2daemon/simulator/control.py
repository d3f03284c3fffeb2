"""The faults' control, on the simulator's own port: `GET /faults`, `POST /faults/start?fault=NAME[:VALUE]`, `POST /faults/stop?fault=NAME`.

It answers whatever REST's faults are, and on new connections whatever theirs are, unless nobody listens: `refuse_tcp` is best started for
a time (`&seconds=5`).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ps2daemon.errors import UsageError
from ps2daemon.simulator.connection import Answer
from ps2daemon.simulator.faults.board import ALL, Faults
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.plan import parse_seconds

PATH: Final = "/faults"
_ACTIONS: Final = {
    f"{PATH}": "GET",
    f"{PATH}/start": "POST",
    f"{PATH}/stop": "POST",
}


def is_control(head: bytes) -> bool:
    """Whether a connection that begins like this is for the control."""
    return head.startswith((b"GET /faults", b"POST /faults"))


def control(faults: Faults, method: str, target: str) -> Answer | None:
    """The answer to a request, or None if it is not for the control. What is at fault is told with status 400."""
    path, _, text = target.partition("?")
    expected = _ACTIONS.get(path)
    if expected is None:
        return None
    if method != expected:
        return _error(405, f"{path} takes {expected}")
    query = dict(parse_qsl(text, keep_blank_values=True))
    try:
        if path == f"{PATH}/start":
            if "fault" not in query:
                raise UsageError("fault is missing: ?fault=NAME[:VALUE]")
            seconds = query.get("seconds")
            faults.start(query["fault"], None if seconds is None else parse_seconds(seconds, "seconds"))
        elif path == f"{PATH}/stop":
            faults.stop(query.get("fault", ALL))
    except UsageError as error:
        return _error(400, str(error))
    return Answer(msgspec.json.encode(_state(faults)))


def _state(faults: Faults) -> dict[str, Any]:
    return {"active": faults.active, "faults": [_described(name) for name in FAULTS]}


def _described(name: str) -> dict[str, Any]:
    fault = FAULTS[name]
    described: dict[str, Any] = {
        key: getattr(fault, key) for key in ("name", "usage", "quirk", "place", "effect", "truth", "changes")
    }
    if fault.value is not None:
        described |= {
            "unit": fault.value.unit,
            "default": fault.value.default,
            "accepted": fault.value.accepted,
        }
    return described


def _error(status: int, message: str) -> Answer:
    return Answer(msgspec.json.encode({"error": message}), status=status)
