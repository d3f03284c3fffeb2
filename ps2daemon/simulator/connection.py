"""One TCP connection of the simulator: HTTP requests answered one after the other, until one asks to become a websocket.

Frames from the server are not masked and need no state, so that they are put together here and go out many at a time: a busy
stream costs a copy and not a call for each event. What comes in is left to h11 and wsproto.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from enum import Enum
from math import ceil
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
_TRICKLE_PIECES: Final = 4
"""A second, of a body that is sent slowly."""
_LINGER: Final = struct.pack("ii", 1, 0)
"""On, for no time: what is closed then is reset."""
_JSON: Final = "application/json;charset=utf-8"
_ROOM: Final = 1024 * 1024


def text_frame(payload: bytes) -> bytes:
    """A whole text message as one frame from the server."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65_536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), payload)


class Ending(Enum):
    """How an answer ends."""

    WHOLE = "whole"
    RESET = "reset"
    """In the middle of the body."""
    NOTHING = "nothing"
    """Not a byte is sent."""


class Answer(NamedTuple):
    """What a request is answered with.

    Attributes:
        location: where a redirect leads.
        seconds: how long the body takes.
    """

    body: bytes
    status: int = 200
    content_type: str = _JSON
    location: str | None = None
    seconds: float = 0.0
    ending: Ending = Ending.WHOLE


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
    stream: trio.abc.Stream,
    answer: Callable[[str, str], Answer],
    admit: Callable[[str], int | None],
    begun: bytes = b"",
) -> Upgrade | None:
    """Answers requests until the peer is done (None) or one that is admitted asks for a websocket.

    Args:
        answer: the answer to a method and target.
        admit: None for a target that may become a websocket, otherwise the status, or 0 for the end without a word.
        begun: what was received already.
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    if begun:
        http.receive_data(begun)
    while True:
        try:
            request = await _next_request(stream, http)
        except h11.RemoteProtocolError as error:
            await _respond(stream, http, Answer(b"", error.error_status_hint))
            return None
        if request is None:
            return None
        target = request.target.decode("ascii", "replace")
        headers = dict(request.headers)
        if headers.get(b"upgrade", b"").lower() == b"websocket" and b"sec-websocket-key" in headers:
            refusal = admit(target)
            if refusal == 0:
                return None
            if refusal is not None:
                await _respond(stream, http, Answer(b"", refusal))
                return None
            token = generate_accept_token(headers[b"sec-websocket-key"])
            return Upgrade(target, _accepting(token), http.trailing_data[0])
        if not await _respond(stream, http, answer(request.method.decode("ascii", "replace"), target)):
            return None
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


async def _respond(stream: trio.abc.Stream, http: h11.Connection, answer: Answer) -> bool:
    """Whether the connection may go on."""
    if answer.ending is Ending.NOTHING:
        return False
    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body)))]
    if answer.location is not None:
        headers.append(("location", answer.location))
    if answer.status != 200:
        headers.append(("connection", "close"))
    head = http.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    body = http.send(h11.Data(data=answer.body)) or b""
    http.send(h11.EndOfMessage())  # nothing follows a body whose length was told
    if answer.ending is Ending.RESET:
        await stream.send_all(head + body[: len(body) // 2])
        reset_on_close(stream)
        return False
    if answer.seconds > 0:
        await stream.send_all(head)
        await _trickle(stream, body, answer.seconds)
    else:
        await stream.send_all(head + body)
    return True


async def _trickle(stream: trio.abc.Stream, body: bytes, seconds: float) -> None:
    """The first piece at once, the last after so many seconds."""
    pieces = max(2, min(len(body), ceil(seconds * _TRICKLE_PIECES)))
    for number in range(pieces):
        if number:
            await trio.sleep(seconds / (pieces - 1))
        piece = body[len(body) * number // pieces : len(body) * (number + 1) // pieces]
        await stream.send_all(piece)


def reset_on_close(stream: trio.abc.Stream) -> None:
    """Has a TCP connection reset when it is closed; others just end."""
    if isinstance(stream, trio.SocketStream):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


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
        self._frozen = False
        self._cut = False

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

    def freeze(self) -> None:
        """Never sends another byte, nor takes note of one, a ping or a goodbye; the peer is not told."""
        self._closing = self._frozen = True
        self._out.clear()
        self._sent.unpark_all()

    def cut(self, part: bytes) -> None:
        """Sends what is queued and then part of a frame, and resets the connection."""
        self.send_frames(part)
        self._closing = self._cut = True

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
            if self._cut:
                reset_on_close(self._stream)
                self.abort()

    async def _read(self, received: Callable[[str], None], trailing: bytes) -> None:
        data: bytes | bytearray = trailing
        text = ""
        while True:
            if data and not self._frozen:
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
