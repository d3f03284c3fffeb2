"""The simulator: event stream and REST on one port, with a source that decides what happens.

What it tells is decided here, once: a happening goes to every connection that wants it and into the truth, with the time at which it
was handed to the sockets. Where it comes from is the source's business (`sources.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from itertools import count
from operator import attrgetter
from random import Random
from typing import Final, Protocol
from urllib.parse import parse_qsl

import trio
from trio.abc import Stream

from ps2daemon.clock import Clock, SystemClock
from ps2daemon.model import tables
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.simulator import protocol
from ps2daemon.simulator.connection import Answer, WebSocket, serve_http, text_frame
from ps2daemon.simulator.control import control, is_control
from ps2daemon.simulator.faults.board import Faults
from ps2daemon.simulator.payloads import Happening, event_name, payload_of
from ps2daemon.simulator.rest import REGISTERED, Rest
from ps2daemon.simulator.subscription import Subscription
from ps2daemon.simulator.truth import Truth

ENVIRONMENTS: Final = ("ps2", "ps2ps4us", "ps2ps4eu")
RECENT_CHARACTERS: Final = 1_000
CLOSE_SECONDS: Final = 1.0
_QUERY_LISTS: Final[tuple[str, ...]] = (
    "characters",
    "worlds",
    "eventNames",
    "logicalAndCharactersWithWorlds",
)


_NUMBER: Final = attrgetter("number")


class Source(Protocol):
    """What happens in a simulation."""

    greets: bool
    """It greets new connections itself (`connected`)."""

    async def run(self, simulator: Simulator) -> None:
        """Tells the simulator what happens (`Simulator.tell`), for as long as anything does; cancelled at the end."""

    async def connected(self, client: Client) -> None:
        """A connection was opened and, unless the source does that, greeted; cancelled when it is over."""

    def subscribed(self, client: Client) -> None:
        """A connection changed its subscription and has its answer queued."""


class Client:
    """One connection to the stream.

    Attributes:
        number: counts connections from their first.
        silent: it never hears a word.
    """

    def __init__(self, websocket: WebSocket, environment: str, number: int) -> None:
        self.websocket = websocket
        self.environment = environment
        self.number = number
        self.subscription = Subscription()
        self.silent = False


class Simulator:
    """A Census of one's own. Everything that is public may be called while it serves.

    Args:
        source: what happens.
        worlds: the worlds that there are, all up.
        truth: grows as the source tells what happens.
        service_ids: those that are registered, without `s:`; None for all that look like one.
        seed: for what happens to connections: where the help hint is put, when heartbeats come.
    """

    def __init__(
        self,
        source: Source,
        *,
        worlds: tuple[int, ...],
        truth: Truth | None = None,
        service_ids: frozenset[str] | None = None,
        clock: Clock | None = None,
        seed: int = 1,
    ) -> None:
        self.source = source
        self.clock = clock if clock is not None else SystemClock()
        self.truth = truth if truth is not None else Truth()
        self.worlds = dict.fromkeys(worlds, True)
        self.clients: set[Client] = set()
        self.stopping = trio.Event()
        self._service_ids = service_ids
        self._random = Random(f"{seed}/connections")
        self._running = trio.Event()
        self._running.set()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._gone = trio.lowlevel.ParkingLot()
        self._numbers = count(1)
        self.hidden = trio.Event()
        self.shown = trio.Event()
        self.faults = Faults(self)
        self._rest = Rest(
            self.truth,
            self.worlds,
            self.clock,
            self.accepts,
            lambda: self.faults.is_on("rest_missing_first_session"),
        )

    # What a test, or a fault, may do.

    def set_world(self, world_id: int, online: bool) -> None:
        """A world's endpoint goes down or up. While it is down, events go on happening there but nobody is told."""
        self.worlds[world_id] = online
        for client in self._clients_of(world_id):
            client.websocket.send(self.faults.frame(protocol.world_state(world_id, online)))

    def drop_connections(self) -> None:
        """Every connection to the stream is gone, without a close frame."""
        for client in list(self.clients):
            client.websocket.abort()

    def pause(self) -> None:
        """Nothing happens until `resume`; connections stay, and heartbeats go on."""
        self._running = trio.Event()

    def resume(self) -> None:
        self._running.set()

    def hide(self) -> None:
        """Nobody listens any longer; connections stay."""
        self.hidden.set()
        self.shown = trio.Event()

    def show(self) -> None:
        """Listens again, on the same port."""
        self.hidden = trio.Event()
        self.shown.set()

    def stop(self) -> None:
        """Says goodbye to everybody and ends `serve_simulator`."""
        self.stopping.set()

    # What a source may do.

    async def running(self) -> None:
        """Returns at once, or when the pause is over."""
        await self._running.wait()

    def tell(self, event: Happening) -> Ms | None:
        """Sends an event to all that want it.

        Returns:
            when it was queued for a socket, or None if nobody got it, or not yet because a fault holds it back.
        """
        gone = self.truth.thrown_out
        if gone and isinstance(event, Logout) and event.character_id in gone:
            return None  # a restart was before
        if self.faults.touch_events:
            return self.faults.tell(event)
        clients = self.audience(event)
        if not clients:
            return None
        frame = text_frame(protocol.service_message(payload_of(event)))
        for client in clients:
            client.websocket.send_frames(frame)
        return self.clock.now()

    def audience(self, event: Happening) -> list[Client]:
        """The connections that want an event, the oldest first; none while its world is down."""
        if not self.worlds.get(event.world_id, False):
            return []
        name, world_id = event_name(event), str(event.world_id)
        character_id = None
        if isinstance(event, Login | Logout):
            character_id = event.character_id
            self._recent[character_id] = None
            self._recent.move_to_end(character_id)
            if len(self._recent) > RECENT_CHARACTERS:
                self._recent.popitem(last=False)
        wanting = []  # a comprehension costs a call for each event
        for client in self._clients_of(event.world_id):
            if client.subscription.wants(name, world_id, character_id):
                wanting.append(client)
        return wanting

    # Serving.

    def accepts(self, service_id: str) -> bool:
        """Whether a service id (without `s:`) is registered."""
        if self._service_ids is not None:
            return service_id in self._service_ids
        return REGISTERED.fullmatch(service_id) is not None

    async def run(self) -> None:
        """Everything but connections: what happens, and what goes wrong in time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.faults.run)
            nursery.start_soon(self.source.run, self)

    async def serve_stream(self, stream: Stream) -> None:
        """Serves one connection, of TCP or in memory, to its end."""
        try:
            async with stream:
                begun = b""
                instead = self.faults.first_bytes()
                if instead is not None:
                    begun = bytes(await stream.receive_some())
                    if not is_control(begun):
                        await stream.send_all(instead)
                        return
                upgrade = await serve_http(stream, self._answer, self._admits, begun)
                if upgrade is not None:
                    await stream.send_all(upgrade.accept)
                    await self._converse(WebSocket(stream), upgrade.target, upgrade.trailing)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone

    async def say_goodbye(self) -> None:
        """Sends everybody a close frame and waits until they are gone."""
        for client in self.clients:
            client.websocket.send(protocol.DISCONNECTED)
            client.websocket.close()
        while self.clients:
            await self._gone.park()

    def _answer(self, method: str, target: str) -> Answer:
        answer = control(self.faults, method, target)
        if answer is not None:
            return answer
        if method != "GET":
            return Answer(b"", 405)
        return self.faults.answer(Answer(self._rest.answer(target)))

    def _admits(self, target: str) -> int | None:
        refusal = self.faults.admit()
        if refusal is not None:
            return refusal
        path, _, text = target.partition("?")
        query = dict(parse_qsl(text))
        service_id = query.get("service-id", "")
        admitted = (
            path == "/streaming"
            and query.get("environment") in ENVIRONMENTS
            and service_id.startswith("s:")
            and self.accepts(service_id[2:])
        )
        return None if admitted else 403

    async def _converse(self, websocket: WebSocket, target: str, trailing: bytes) -> None:
        query = dict(parse_qsl(target.partition("?")[2]))
        client = Client(websocket, query["environment"], next(self._numbers))
        self.faults.opened(client)
        async with trio.open_nursery() as nursery:
            try:
                if not client.silent:
                    self.clients.add(client)
                    nursery.start_soon(self._attend, client, query, nursery)
                await websocket.run(partial(self._received, client), trailing)
            finally:
                self.clients.discard(client)
                self._gone.unpark_all()
                nursery.cancel_scope.cancel()

    async def _attend(self, client: Client, query: dict[str, str], nursery: trio.Nursery) -> None:
        if not self.source.greets:
            for frame in protocol.greeting(self._worlds_of(client.environment), self._random):
                client.websocket.send(self.faults.frame(frame))
        nursery.start_soon(self.source.connected, client)
        asked = {key: query[key] for key in _QUERY_LISTS if key in query}
        if asked:
            client.websocket.send(client.subscription.subscribe(asked))
            self.source.subscribed(client)
        phase = self._random.randrange(protocol.HEARTBEAT_SECONDS)  # tells one of Census's nodes from another
        while True:
            now = self.clock.now()
            period = protocol.HEARTBEAT_SECONDS * SECOND
            await trio.sleep((period - (now - phase * SECOND) % period) / SECOND)
            beat = protocol.heartbeat(self._worlds_of(client.environment), self.clock.now())
            client.websocket.send(self.faults.frame(beat))

    def _received(self, client: Client, text: str) -> None:
        if client.silent:
            return
        answer = protocol.answer(text, client.subscription, self._recent)
        told = self.faults.reply(answer)
        if told is not None:
            client.websocket.send(told)
        if answer is not None and answer.startswith(b'{"subscription"'):
            self.source.subscribed(client)

    def _worlds_of(self, environment: str) -> dict[int, bool]:
        known = tables.worlds()
        return {
            world_id: online
            for world_id, online in self.worlds.items()
            if known[world_id].environment == environment
        }

    def _clients_of(self, world_id: int) -> list[Client]:
        world = tables.worlds().get(world_id)
        clients = []
        for client in self.clients:
            if world is None or client.environment == world.environment:
                clients.append(client)
        if len(clients) > 1:
            clients.sort(key=_NUMBER)
        return clients


class Address:
    """Where a simulator listens."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        shown = f"[{host}]" if ":" in host else host
        self.stream_url = f"ws://{shown}:{port}/streaming"
        self.rest_url = f"http://{shown}:{port}"


async def serve_simulator(
    simulator: Simulator,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `Simulator.stop` or cancelled. Started with its address.

    Args:
        port: 0 for any free one.

    Raises:
        OSError: the address is in use or not this machine's.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, simulator, listeners, host, port, nursery)
        nursery.start_soon(simulator.run)
        task_status.started(Address(host, port))
        await simulator.stopping.wait()
        with trio.move_on_after(CLOSE_SECONDS):
            await simulator.say_goodbye()
        nursery.cancel_scope.cancel()


async def _listen(
    simulator: Simulator,
    listeners: list[trio.SocketListener],
    host: str,
    port: int,
    connections: trio.Nursery,
) -> None:
    """Serves whoever connects; while the simulator is hidden the port is closed, and connections stay."""
    while True:
        async with trio.open_nursery() as listening:
            serve = partial(
                trio.serve_listeners, simulator.serve_stream, listeners, handler_nursery=connections
            )
            listening.start_soon(serve)
            await simulator.hidden.wait()
            listening.cancel_scope.cancel()
        await simulator.shown.wait()
        listeners = await trio.open_tcp_listeners(port, host=host)
