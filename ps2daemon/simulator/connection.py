"""One TCP connection of the simulator: HTTP requests answered one after the other, until one asks to become a websocket.

Frames from the server are not masked and need no state, so that they are put together here and go out many at a time: a busy
stream costs a copy and not a call for each event. What comes in is left to h11 and wsproto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import h11
import trio
from wsproto.connection import Connection as WebSocketState
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

MAX_BUFFERED: Final = 64 * 1024 * 1024
"""Who lets more than this pile up is cut off."""
MAX_HEAD: Final = 64 * 1024
"""Of a request: room for some thousand ids."""
_READ: Final = 64 * 1024
_ROOM: Final = 1024 * 1024


def text_frame(payload: bytes) -> bytes:
    """A whole text message as one frame from the server."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65_536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), payload)


class Upgrade(NamedTuple):
    """A request that becomes a websocket.

    Attributes:
        target: the path and query that were asked for.
        accept: the response that accepts it.
        trailing: bytes that came behind the request.
    """

    target: str
    accept: bytes
    trailing: bytes


async def serve_http(
    stream: trio.abc.Stream, answer: Callable[[str], bytes], admit: Callable[[str], bool]
) -> Upgrade | None:
    """Answers requests until the peer is done (None) or one that is admitted asks for a websocket.

    Args:
        answer: the body for a GET's target.
        admit: whether a target may become a websocket; 403 if not.
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        try:
            request = await _next_request(stream, http)
        except h11.RemoteProtocolError as error:
            await _respond(stream, http, error.error_status_hint, b"")
            return None
        if request is None:
            return None
        target = request.target.decode("ascii", "replace")
        headers = dict(request.headers)
        if headers.get(b"upgrade", b"").lower() == b"websocket" and b"sec-websocket-key" in headers:
            if not admit(target):
                await _respond(stream, http, 403, b"")
                return None
            token = generate_accept_token(headers[b"sec-websocket-key"])
            return Upgrade(target, _accepting(token), http.trailing_data[0])
        if request.method != b"GET":
            await _respond(stream, http, 405, b"")
            return None
        await _respond(stream, http, 200, answer(target))
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return None
        http.start_next_cycle()


async def _next_request(stream: trio.abc.Stream, http: h11.Connection) -> h11.Request | None:
    request: h11.Request | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_READ)))
        elif isinstance(event, h11.Request):
            request = event
        elif event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


async def _respond(stream: trio.abc.Stream, http: h11.Connection, status: int, body: bytes) -> None:
    headers = [("content-type", "application/json;charset=utf-8"), ("content-length", str(len(body)))]
    if status != 200:
        headers.append(("connection", "close"))
    parts = (
        h11.Response(status_code=status, headers=headers),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    await stream.send_all(b"".join(http.send(part) or b"" for part in parts))


def _accepting(token: bytes) -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % token
    )


class WebSocket:
    """The server's side of an open websocket. `send` never waits; what piles up goes out as fast as the peer takes it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._state = WebSocketState(ConnectionType.SERVER)
        self._out = bytearray()
        self._wake = trio.Event()
        self._sent = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._closing = False

    def send(self, payload: bytes) -> None:
        """Queues a text message."""
        self.send_frames(text_frame(payload))

    def send_frames(self, frames: bytes) -> None:
        """Queues whole frames."""
        if self._closing:
            return
        self._out += frames
        self._wake.set()
        if len(self._out) > MAX_BUFFERED:
            self.abort()

    async def room(self) -> None:
        """Waits until little is left to send."""
        while len(self._out) > _ROOM and not self._scope.cancel_called:
            await self._sent.park()

    async def flushed(self) -> None:
        """Waits until everything queued was taken."""
        while self._out and not self._scope.cancel_called:
            await self._sent.park()

    def abort(self) -> None:
        """Drops the connection at once, without a word."""
        self._closing = True
        self._scope.cancel()
        self._sent.unpark_all()

    def close(self, reason: CloseReason = CloseReason.GOING_AWAY) -> None:
        """Says goodbye behind what is queued; the peer's answer ends `run`."""
        if not self._closing:
            self.send_frames(self._state.send(CloseConnection(code=reason)))
            self._closing = True

    async def run(self, received: Callable[[str], None], trailing: bytes) -> None:
        """Reads and writes until the connection is over, however that comes about."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(received, trailing)
                    with trio.move_on_after(1.0):
                        await self.flushed()
                    nursery.cancel_scope.cancel()
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        self.abort()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._out:
                data, self._out = self._out, bytearray()
                await self._stream.send_all(data)
                self._sent.unpark_all()

    async def _read(self, received: Callable[[str], None], trailing: bytes) -> None:
        data: bytes | bytearray = trailing
        text = ""
        while True:
            if data:
                try:
                    self._state.receive_data(bytes(data))
                    events: Iterable[object] = list(self._state.events())
                except (RemoteProtocolError, LocalProtocolError):
                    return
                for event in events:
                    if isinstance(event, TextMessage):
                        text += event.data
                        if event.message_finished:
                            received(text)
                            text = ""
                    elif isinstance(event, Ping):
                        if self._state.state is not ConnectionState.OPEN:
                            continue  # a goodbye came in one piece with it
                        self.send_frames(self._state.send(event.response()))
                    elif isinstance(event, CloseConnection):
                        if not self._closing:
                            self.send_frames(self._state.send(event.response()))
                        return
            data = await self._stream.receive_some(_READ)
            if not data:
                return
