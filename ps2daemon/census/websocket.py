"""One websocket, from the dialling to the close, with every foreign error mapped.

`use_websocket` opens a connection, lets one function use it and closes it, in bounded time whatever the other side does:
the opening has a deadline, the close waits no longer than `CLOSE_SECONDS`, and a cancel closes the socket at once.
How the bytes travel is injected (`Dial`), so that everything above runs over streams in memory as well.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import ProtocolError

from ps2daemon.errors import CensusError, CensusRefused, StreamLost

MAX_MESSAGE_BYTES: Final = 1024 * 1024
CLOSE_SECONDS: Final = 1.0
RECEIVE_BYTES: Final = 64 * 1024
QUEUED_MESSAGES: Final = 64
"""How many frames wait between the socket and the reader: enough to save most switches between the two tasks."""

_REFUSALS: Final = frozenset({401, 403})

# At DEBUG it writes the resource, and with it the service id.
logging.getLogger("trio-websocket").setLevel(logging.INFO)

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
    """Passes everything on, and calls `at_end` when the other side is gone.

    trio-websocket waits for the answer to its upgrade even after the socket has ended.
    """

    def __init__(self, stream: trio.abc.Stream, at_end: Callable[[], None]) -> None:
        self._stream = stream
        self._at_end = at_end
        self.ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end()
            raise
        if not data:
            self._end()
        return data

    def _end(self) -> None:
        self.ended = True
        self._at_end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
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
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    shown = f"{host}:{port}"
    end: CensusError | None = None
    try:
        async with trio.open_nursery() as nursery:
            opened = await _open(nursery, shown, resource, lambda: dial(host, port, tls), deadline)
            if isinstance(opened, CensusError):
                end = opened
            else:
                try:
                    end = await use(opened)
                finally:
                    with trio.move_on_after(CLOSE_SECONDS):
                        await opened.aclose()
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as group:
        end = _rejected(shown, _leaf(group))
    except* (HandshakeError, ConnectionClosed, ProtocolError, trio.BrokenResourceError) as group:
        end = end or StreamLost("protocol", f"{shown} broke the protocol: {type(_leaf(group)).__name__}")
    assert end is not None
    return end


async def _open(
    nursery: trio.Nursery,
    shown: str,
    resource: str,
    dial: Callable[[], Awaitable[trio.abc.Stream]],
    deadline: float,
) -> WebSocketConnection | CensusError:
    """The open websocket, its reader running in `nursery`, or why there is none."""
    stream: trio.abc.Stream | None = None
    connection: WebSocketConnection | None = None
    with trio.move_on_after(deadline) as opening:
        try:
            stream = noticed = _NoticedStream(await dial(), opening.cancel)
            connection = await wrap_client_stream(
                nursery,
                noticed,  # type: ignore[arg-type]  # a stream of any kind will do
                shown,
                resource,
                message_queue_size=QUEUED_MESSAGES,
                max_message_size=MAX_MESSAGE_BYTES,
                receive_buffer_size=RECEIVE_BYTES,
            )
        except OSError as error:
            return StreamLost("connect", f"can't reach {shown}: {error.strerror or type(error).__name__}")
        except StreamLost as error:
            return error
        finally:
            if connection is None and stream is not None:
                await trio.aclose_forcefully(stream)
    if connection is not None:
        return connection
    if stream is not None and noticed.ended:
        return StreamLost("handshake", f"{shown} closed the connection before the websocket was open")
    return StreamLost("timeout", f"{shown} opened no websocket within {deadline:g} s")


def _rejected(shown: str, error: BaseException) -> CensusError:
    assert isinstance(error, ConnectionRejected)
    status = error.status_code
    if status in _REFUSALS:
        return CensusRefused(
            f"{shown} refuses the connection (HTTP {status}): is the service id registered, and the environment right?"
        )
    return StreamLost("handshake", f"{shown} answered HTTP {status} instead of opening a websocket")


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
