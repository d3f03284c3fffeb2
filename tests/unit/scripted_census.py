"""A tiny Census on the other end of an in-memory stream, and something that writes down what the client makes of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from ps2daemon.census.stream import StreamObserver
from ps2daemon.clock import VirtualClock
from ps2daemon.model.records import After, Ms

START: Ms = 1_700_000_000_000


class Wire(trio.abc.Stream):
    """One end of a stream that can die silently: nothing arrives any longer, and what is sent vanishes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.dead = trio.Event()
        self.closed = trio.Event()
        self.head = b""
        """What arrived first."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self.head = self.head or bytes(data)
        if self.dead.is_set():
            await trio.sleep_forever()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.dead.is_set():
            await trio.lowlevel.checkpoint()
            return
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed.set()
        await self._stream.aclose()


class Server:
    """One connection, as a script sees it. Speaks like Census as long as it isn't told otherwise."""

    def __init__(self, wire: Wire, now: Callable[[], float]) -> None:
        self.wire = wire
        self.socket: WebSocketConnection
        self.path = ""
        self.worlds: set[str] = set()
        self.event_names: set[str] = set()
        self.refused_worlds: set[str] = set()
        self.answering = True
        self.asks: list[tuple[float, bool]] = []  # when, and whether it was a full subscribe
        self._now = now

    async def accept(self) -> None:
        """The upgrade, and the frames that come first."""
        nursery = self._nursery
        request = await wrap_server_stream(nursery, self.wire)
        self.path = request.path
        self.socket = await request.accept()

    async def greet(self) -> None:
        await self.send({"connected": "true", "service": "push", "type": "connectionStateChanged"})
        await self.send({"send this for help": {"service": "event", "action": "help"}})

    async def serve(self) -> None:
        """Answers commands and sends heartbeats until the connection ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.heartbeats)
            while True:
                await self.answer(json.loads(await self.socket.get_message()))

    async def heartbeats(self) -> None:
        while True:
            await trio.sleep(30)
            await self.send({"online": {}, "service": "event", "type": "heartbeat"})

    async def answer(self, command: dict[str, Any]) -> None:
        assert command["action"] == "subscribe"
        self.asks.append((self._now(), "worlds" in command))
        self.worlds.update(set(command.get("worlds", ())) - self.refused_worlds)
        self.event_names.update(command.get("eventNames", ()))
        if self.answering:
            await self.tell_subscription()

    async def tell_subscription(self) -> None:
        await self.send(
            {
                "subscription": {
                    "characterCount": 0,
                    "eventNames": sorted(self.event_names),
                    "logicalAndCharactersWithWorlds": False,
                    "worlds": sorted(self.worlds),
                }
            }
        )

    async def world(self, name: str, online: str) -> None:
        endpoint = f"EventServerEndpoint_{name}"
        await self.send(
            {"detail": endpoint, "online": online, "service": "event", "type": "serviceStateChanged"}
        )

    async def event(self, payload: str) -> None:
        await self.socket.send_message(
            '{"payload":' + payload + ',"service":"event","type":"serviceMessage"}'
        )

    async def send(self, message: object) -> None:
        await self.socket.send_message(json.dumps(message, separators=(",", ":")))

    async def run(self, script: Script) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await script(self)
            except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client went away
            nursery.cancel_scope.cancel()


Script = Callable[[Server], Awaitable[None]]


async def faithful(server: Server) -> None:
    """A Census without a fault."""
    await server.accept()
    await server.greet()
    await server.serve()


class Network:
    """Dials servers that follow scripts: the first connection the first one, and the last one's for all that come later."""

    def __init__(self, nursery: trio.Nursery, scripts: Iterable[Script]) -> None:
        self._nursery = nursery
        self._scripts = list(scripts)
        self._began = trio.current_time()
        self.servers: list[Server] = []
        self.clients: list[Wire] = []
        self.dialled: list[float] = []

    def now(self) -> float:
        """Seconds since the beginning, to the millisecond."""
        return round(trio.current_time() - self._began, 3)

    async def dial(self, host: str, port: int, tls: object) -> trio.abc.Stream:
        self.dialled.append(self.now())
        script = self._scripts[min(len(self.servers), len(self._scripts) - 1)]
        ours, theirs = trio.testing.memory_stream_pair()
        server = Server(Wire(theirs), self.now)
        self.servers.append(server)
        client = Wire(ours)
        self.clients.append(client)
        self._nursery.start_soon(partial(server.run, script))
        await trio.lowlevel.checkpoint()
        return client


class Recorder:
    """A sink, and beside it an observer; times are seconds since the beginning."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._began = clock.now()
        self.events: list[bytes] = []
        self.spans: list[tuple[Any, ...]] = []
        self.observer = Observer(lambda: self._seconds(clock.now()))

    def _seconds(self, at: Ms) -> float:
        return (at - self._began) / 1000

    def event(self, payload: bytes, received_at: Ms) -> None:
        assert received_at == self._clock.now()
        self.events.append(payload)

    def verified(self, world_id: int, asked_at: Ms, answered_at: Ms) -> None:
        self.spans.append(("verified", world_id, self._seconds(asked_at), self._seconds(answered_at)))

    def heartbeat(self, told_at: Ms | None, received_at: Ms) -> None:
        pass

    def lost(self, world_ids: Iterable[int], after: After) -> None:
        self.spans.append(("lost", tuple(world_ids), after, self._seconds(self._clock.now())))

    def of(self, what: str) -> list[tuple[Any, ...]]:
        """The details of everything of a kind that the observer was told."""
        return [details for name, details in self.observer.happenings if name == what]

    @property
    def causes(self) -> list[str]:
        return [details[0] for details in self.of("disconnected")]

    @property
    def attempts(self) -> list[float]:
        return [details[0] for details in self.of("connecting")]


class Observer(StreamObserver):
    """Writes down what it is told."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.happenings: list[tuple[str, tuple[Any, ...]]] = []

    def _happened(self, what: str, *details: object) -> None:
        self.happenings.append((what, details))

    def connecting(self) -> None:
        self._happened("connecting", self._now())

    def connected(self) -> None:
        self._happened("connected")

    def disconnected(self, cause: str, message: str) -> None:
        self._happened("disconnected", cause, message)

    def refused(self, message: str) -> None:
        self._happened("refused", message)

    def verified(self, ok: bool) -> None:
        self._happened("verified", ok)

    def message(self, kind: str) -> None:
        self._happened("message", kind)

    def malformed(self, reason: str) -> None:
        self._happened("malformed", reason)

    def world_state(self, world_id: int, online: bool) -> None:
        self._happened("world_state", world_id, online)
