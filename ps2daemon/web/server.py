"""Serves an ASGI app on Hypercorn's Trio worker, with a stop in bounded time.

Promises of `serve_app`:
- It binds before anything else, so that a port in use is one clear error and not a half-started program.
- Once `stopping` is set no new connection is taken, requests in hand get `GRACE_SECONDS`, and it returns.
- Whatever a client sends ends its own connection at most.
- It logs through `logging.getLogger("ps2daemon.web")`: an app that raises is an error there and a 500 to the client.
"""

from __future__ import annotations

import errno
import logging
import socket
from functools import partial
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from ps2daemon.errors import ConfigError, one_line

GRACE_SECONDS: Final = 1.5
"""What a request in hand gets after the stop began."""
READ_SECONDS: Final = 60
"""A client that sends nothing for so long is cut off, even while it waits for an answer."""
KEEP_ALIVE_SECONDS: Final = 30.0
BACKLOG: Final = 128

log = logging.getLogger("ps2daemon.web")
log.setLevel(logging.WARNING)  # Hypercorn greets at INFO, whatever its own level says


async def serve_app(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    stopping: trio.Event,
    host_key: str = "web.host",
    port_key: str = "web.port",
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `app` until `stopping` is set.

    Args:
        host, port: where to listen; port 0 takes any free one.
        host_key, port_key: the names of these settings, for the message when they can't be used.
        task_status: told the port that it listens on, once it does.

    Raises:
        ConfigError: it can't listen there.
    """
    listener = trio.SocketListener(
        trio.socket.from_stdlib_socket(await _bind(host, port, host_key, port_key))
    )
    config = _config()
    context = WorkerContext(None)

    async def connection(stream: trio.SocketStream) -> None:
        # Hypercorn types ASGI more narrowly than Starlette does; the protocol is the same.
        served = wrap_app(cast(Any, app), config.wsgi_max_body_size, "asgi")
        try:
            await TCPServer(served, config, context, ConnectionState({}), cast(Any, stream))
        except* Exception as group:
            # Its own server lets one through, from an upgrade to HTTP/2 with broken settings for example, and ends with all connections.
            log.warning("a connection broke the server's protocol: %s", _line(group))

    # A connection goes on while no new one is taken; the inner nursery ends first.
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, connection, [listener], handler_nursery=connections)
            )
            task_status.started(int(listener.socket.getsockname()[1]))
            await stopping.wait()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = log
    config.loglevel = "WARNING"
    config.read_timeout = READ_SECONDS
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.include_server_header = False
    return config


def _line(error: BaseException) -> str:
    """What lies at the bottom of a group, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {one_line(error)}"


async def check_bind(host: str, port: int, host_key: str = "web.host", port_key: str = "web.port") -> None:
    """Finds out now, before anything else is started, whether `serve_app` will be able to listen there.

    Raises:
        ConfigError: it can't.
    """
    (await _bind(host, port, host_key, port_key)).close()


async def _bind(host: str, port: int, host_key: str, port_key: str) -> socket.socket:
    try:
        addresses = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):  # of a part that is empty or too long for DNS
        raise ConfigError(
            f"{host!r} is no address of this machine: choose another {host_key}, such as 127.0.0.1"
        ) from None
    family, kind, protocol, _, address = addresses[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use: choose another {port_key}") from None
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise ConfigError(
                f"{host} is no address of this machine: choose another {host_key}, such as 127.0.0.1"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ConfigError(
                f"port {port} needs a privilege that this process lacks: choose {port_key} above 1023"
            ) from None
        raise
    return listener
