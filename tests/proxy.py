"""A TCP proxy that does harm: it stands between a client and its server, and its faults can be switched while it runs."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio

CHUNK: Final = 64 * 1024
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose end is a reset."""


class Direction:
    """One way through a proxy.

    Attributes:
        latency: seconds until a piece of up to `CHUNK` bytes goes on.
        passed: bytes that went on.
    """

    def __init__(self) -> None:
        self.latency = 0.0
        self.passed = 0
        self._flows = trio.Event()
        self._flows.set()
        self._cut_at: int | None = None
        self.was_cut = trio.Event()

    def hold(self) -> None:
        """From here on everything is taken and nothing goes on."""
        self._flows = trio.Event()

    def release(self) -> None:
        """What was held goes on."""
        self._flows.set()

    def cut_after(self, size: int) -> None:
        """Cuts the connection on which, counted from here over all of them, byte `size` has passed; once. `was_cut` tells when."""
        self._cut_at = self.passed + size
        self.was_cut = trio.Event()

    async def pass_on(self, data: bytes, sink: trio.SocketStream) -> bool:
        """Lets data through as the faults have it; whether the connection may live on."""
        if self.latency:
            await trio.sleep(self.latency)
        await self._flows.wait()
        cut = self._cut_at is not None and self.passed + len(data) >= self._cut_at
        if cut and self._cut_at is not None:
            data = data[: self._cut_at - self.passed]
            self._cut_at = None
        self.passed += len(data)
        await sink.send_all(data)
        if cut:
            self.was_cut.set()
        return not cut


class Proxy:
    """Passes bytes on between whoever connects and one server; made by `proxy`.

    Attributes:
        requests, responses: the two directions.
        accepted: how many connections there were.
    """

    def __init__(self, upstream: str, nursery: trio.Nursery) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._nursery = nursery
        self._port = 0
        self._listening = trio.CancelScope()
        self._closed = trio.Event()
        self._connections: set[trio.CancelScope] = set()
        self.requests = Direction()
        self.responses = Direction()
        self.accepted = 0

    @property
    def url(self) -> str:
        """Where it listens, as an address of HTTP; stays the same."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    def cut(self) -> None:
        """Ends all connections with a reset."""
        for scope in self._connections:
            scope.cancel()

    async def refuse(self) -> None:
        """New connections are refused, as where no server is; those that are there stay."""
        self._listening.cancel()
        await self._closed.wait()

    async def accept(self) -> None:
        """Takes connections: at first, and after `refuse`."""
        await self._nursery.start(self._listen)

    async def _listen(self, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        self._port = int(listener.socket.getsockname()[1])
        self._closed = trio.Event()
        with trio.CancelScope() as self._listening:
            task_status.started()
            try:
                await trio.serve_listeners(self._serve, [listener], handler_nursery=self._nursery)
            finally:
                self._closed.set()

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                await self._join(client)
            finally:
                self._connections.discard(scope)
        if scope.cancelled_caught:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        client.socket.close()

    async def _join(self, client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream(*self._upstream)
        except OSError:
            return
        async with server, trio.open_nursery() as both:

            async def pump(direction: Direction, source: trio.SocketStream, sink: trio.SocketStream) -> None:
                try:
                    while data := await source.receive_some(CHUNK):
                        if not await direction.pass_on(data, sink):
                            break
                except trio.BrokenResourceError:
                    pass
                both.cancel_scope.cancel()

            both.start_soon(pump, self.requests, client, server)
            both.start_soon(pump, self.responses, server, client)


@asynccontextmanager
async def proxy(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy of a server, without faults so far.

    Args:
        upstream: the server's URL; it need not be there.
    """
    async with trio.open_nursery() as nursery:
        found = Proxy(upstream, nursery)
        await found.accept()
        yield found
        nursery.cancel_scope.cancel()
