"""One websocket, from the dialling to the close, with every foreign error mapped.

`use_websocket` opens a connection, lets one function use it and closes it, in bounded time whatever the other side does:
the opening has a deadline, the close waits no longer than `CLOSE_SECONDS`, and a cancel closes the socket at once.
How the bytes travel is injected (`Dial`), so that everything above runs over streams in memory as well.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import h11
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import ProtocolError

from ps2daemon import __version__
from ps2daemon.errors import CensusError, CensusRefused, StreamLost
from ps2daemon.model.messages import MAX_MESSAGE_BYTES
from ps2daemon.secret import hush

CLOSE_SECONDS: Final = 1.0
RECEIVE_BYTES: Final = 64 * 1024
QUEUED_MESSAGES: Final = 64
"""How many frames wait between the socket and the reader: enough to save most switches between the two tasks. At worst, where each is as large
as it may be and has characters that take four bytes in memory, they are 64 MiB."""

MAX_HANDSHAKE_BYTES: Final = 1024 * 1024
"""Until the websocket is open: the answer to the upgrade, and the frames that came along with it."""

_REFUSALS: Final = frozenset({401, 403})
# h11's own leaves wsproto where the answer to the upgrade is no HTTP.
_BROKEN: Final = (
    HandshakeError, ConnectionClosed, ProtocolError, h11.ProtocolError, trio.BrokenResourceError
)  # fmt: skip
_USER_AGENT: Final = f"ps2daemon/{__version__}".encode()
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")

# It writes the resource (at DEBUG), and with it the service id.
hush("trio-websocket")

Dial: TypeAlias = Callable[[str, int, "ssl.SSLContext | None"], Awaitable[trio.abc.Stream]]
"""Opens a stream of bytes to a host and port, with TLS if there is a context. Raises OSError or StreamLost."""


async def dial_tcp(host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """A TCP stream, its TLS handshake done.

    Raises:
        OSError: no address, refused, unreachable.
        StreamLost: TLS failed, for example over a certificate.
    """
    stream = await trio.open_tcp_stream(host, port)
    if tls is None:
        return stream
    secured = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    done = False
    try:
        await secured.do_handshake()
        done = True
    except trio.BrokenResourceError as error:
        raise StreamLost("tls", f"no TLS with {host}: {error.__cause__ or error}") from None
    finally:
        if not done:
            await trio.aclose_forcefully(stream)
    return secured


class _NoticedStream(trio.abc.Stream):
    """Passes everything on, and until the websocket is open calls `at_end` when the other side is gone or says too much.

    trio-websocket waits for the answer to its upgrade even after the stream has ended, and for the whole body of a refusal.
    """

    def __init__(self, stream: trio.abc.Stream, at_end: Callable[[], None]) -> None:
        self._stream = stream
        self._at_end = at_end
        self._received = 0
        self._head = b""
        self.opened = False
        self.ended = False

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer to the upgrade, or None before there is one."""
        found = _STATUS.match(self._head)
        return int(found[1]) if found else None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end()
            raise
        if not self.opened:
            self._received += len(data)
            self._head = (self._head + data[:16])[:16]
        if not data or (not self.opened and self._received > MAX_HANDSHAKE_BYTES):
            self._end()
        return data

    def _end(self) -> None:
        if not self.opened:
            self.ended = True
            self._at_end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._end()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self._end()  # closed by trio-websocket itself, over an answer that is no HTTP
        await self._stream.aclose()


async def use_websocket(
    url: str,
    resource: str,
    use: Callable[[WebSocketConnection], Awaitable[CensusError]],
    *,
    dial: Dial,
    tls: ssl.SSLContext | None,
    deadline: float,
) -> CensusError:
    """Opens a websocket, awaits `use` and closes it.

    Args:
        url: without secrets; only its scheme, host and port are used, and it may be shown.
        resource: the path and query to ask for; never shown.
        deadline: seconds until the websocket must be open.

    Returns:
        what `use` returned, or why the websocket could not be opened or broke: `StreamLost` or `CensusRefused`.
    """
    address = _Address.of(url)
    opening = trio.CancelScope(deadline=trio.current_time() + deadline)
    end: CensusError | None = None
    stream: _NoticedStream | None = None
    connection: WebSocketConnection | None = None
    try:
        async with trio.open_nursery() as nursery:
            with opening:
                dialled = await _dialled(dial, address, tls)
                if isinstance(dialled, StreamLost):
                    end = dialled
                else:
                    stream = _NoticedStream(dialled, opening.cancel)
                    connection = await _handshake(nursery, stream, address, resource)
            if connection is not None:
                end = await _used(connection, use)
            end = end or _unopened(stream, address, deadline)
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as group:
        end = _rejected(address, _leaf(group))
    except* _BROKEN as group:
        end = end or _broken(address, group)
    except* UnicodeError as group:
        if connection is not None:
            raise
        end = _broken(address, group)  # wsproto's, over a header of the answer to the upgrade
    finally:
        if stream is not None:  # trio-websocket leaves it open where the other side closed first
            await trio.aclose_forcefully(stream)
    assert end is not None
    return end


class _Address(NamedTuple):
    """Where to, and how that is written in the Host header."""

    host: str
    port: int
    header: str

    @classmethod
    def of(cls, url: str) -> _Address:
        parts = urlsplit(url)
        host = parts.hostname or ""
        usual = 443 if parts.scheme == "wss" else 80
        name = f"[{host}]" if ":" in host else host
        port = parts.port or usual
        return cls(host, port, name if port == usual else f"{name}:{port}")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def _dialled(dial: Dial, address: _Address, tls: ssl.SSLContext | None) -> trio.abc.Stream | StreamLost:
    try:
        return await dial(address.host, address.port, tls)
    except OSError as error:
        return StreamLost("connect", f"can't reach {address}: {error.strerror or error}")
    except StreamLost as error:
        return error


async def _handshake(
    nursery: trio.Nursery, stream: _NoticedStream, address: _Address, resource: str
) -> WebSocketConnection:
    """The open websocket, its reader running in `nursery`, where refusals are raised as well."""
    connection = await wrap_client_stream(
        nursery,
        stream,  # type: ignore[arg-type]  # a stream of any kind will do
        address.header,
        resource,
        extra_headers=[(b"User-Agent", _USER_AGENT)],
        message_queue_size=QUEUED_MESSAGES,
        max_message_size=MAX_MESSAGE_BYTES,
        receive_buffer_size=RECEIVE_BYTES,
    )
    stream.opened = True
    return connection


async def _used(
    connection: WebSocketConnection, use: Callable[[WebSocketConnection], Awaitable[CensusError]]
) -> CensusError:
    try:
        return await use(connection)
    finally:
        with trio.move_on_after(CLOSE_SECONDS):
            await connection.aclose()


def _unopened(stream: _NoticedStream | None, address: _Address, deadline: float) -> CensusError:
    """Why no websocket was opened."""
    status = None if stream is None else stream.status
    if status is not None and status != 101:
        return _answered(address, status)
    if stream is not None and stream.ended:
        return StreamLost("handshake", f"{address} ended the connection before the websocket was open")
    return StreamLost("timeout", f"{address} opened no websocket within {deadline:g} s")


def _rejected(address: _Address, error: BaseException) -> CensusError:
    assert isinstance(error, ConnectionRejected)
    return _answered(address, error.status_code)


def _answered(address: _Address, status: int) -> CensusError:
    if status in _REFUSALS:
        return CensusRefused(
            f"{address} refuses the connection (HTTP {status}): is the service id registered, and the environment right?"
        )
    return StreamLost("handshake", f"{address} answered HTTP {status} instead of opening a websocket")


def _broken(address: _Address, group: BaseException) -> StreamLost:
    return StreamLost("protocol", f"{address} broke the protocol: {type(_leaf(group)).__name__}")


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
