"""Faults of connections: how they are refused, opened and lost. No event happens or fails to happen by them; the truth says which were
handed to no socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from wsproto.frame_protocol import CloseReason

from ps2daemon.simulator.connection import text_frame
from ps2daemon.simulator.faults.definition import AFTER, Fault, Value
from ps2daemon.simulator.protocol import HELP_HINT

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Client, Simulator

_UNSENT: Final = "events reach no socket while there is none"
_HANDSHAKE_FAILURE: Final = bytes.fromhex("15 0303 0002 02 28")
"""A TLS record: fatal alert 40. Before HTTP it is garbage."""
_CODES: Final = ("1000", "1001", "1002", "1003", "1007", "1008", "1009", "1010", "1011", "1012", "1013")
"""Those that a close frame may carry."""


def _admit_status(status: int) -> int:
    return status


def _garbage(_: None) -> bytes:
    return _HANDSHAKE_FAILURE


def _nothing(_: None) -> int:
    return 0


async def _refuse_tcp(simulator: Simulator, _: None) -> None:
    simulator.hide()
    try:
        await trio.sleep_forever()
    finally:
        simulator.show()


def _silence(simulator: Simulator, client: Client, _: None) -> None:
    client.silent = True


def _close(simulator: Simulator, client: Client, code: str) -> None:
    client.websocket.close(CloseReason(int(code)))


def _reset(simulator: Simulator, client: Client, _: float) -> None:
    frame = text_frame(HELP_HINT)
    client.websocket.cut(frame[: len(frame) // 2])
    simulator.clients.discard(client)


def _freeze(simulator: Simulator, client: Client, _: float) -> None:
    client.websocket.freeze()
    simulator.clients.discard(client)


def _drop(simulator: Simulator, client: Client, _: None) -> None:
    client.websocket.abort()


FAULTS: Final = (
    Fault(
        name="refuse_upgrade",
        quirk="C4",
        place="connection",
        effect="an HTTP status, and no websocket",
        truth=_UNSENT,
        value=Value(unit="STATUS", default=403, low=400, high=599, whole=True),
        admit=_admit_status,
    ),
    Fault(
        name="refuse_tcp",
        quirk="C4",
        place="connection",
        effect="nobody listens (on /faults neither)",
        truth=_UNSENT,
        task=_refuse_tcp,
    ),
    Fault(
        name="tls_failure",
        quirk="C4",
        place="connection",
        effect="garbage for a handshake, on REST too",
        truth=_UNSENT,
        first_bytes=_garbage,
    ),
    Fault(
        name="stream_down",
        quirk="R5",
        place="connection",
        effect="no stream at all, while REST is fine",
        truth=_UNSENT,
        admit=_nothing,
        connection=_drop,
    ),
    Fault(
        name="accept_silent",
        quirk="C3",
        place="connection",
        effect="new websockets never hear a word",
        truth=_UNSENT,
        existing=False,
        connection=_silence,
    ),
    Fault(
        name="close_at_once",
        quirk="C1",
        place="connection",
        effect="new websockets are closed at once",
        truth=_UNSENT,
        value=Value(unit="CODE", default="1001", choices=_CODES),
        existing=False,
        connection=_close,
    ),
    Fault(
        name="reset",
        quirk="C1 R6",
        place="connection",
        effect="after so long: reset within a frame",
        truth=_UNSENT,
        value=AFTER,
        after=True,
        connection=_reset,
    ),
    Fault(
        name="half_open",
        quirk="C1",
        place="connection",
        effect="after so long: no FIN, data or pong",
        truth=_UNSENT,
        value=AFTER,
        after=True,
        connection=_freeze,
    ),
)
