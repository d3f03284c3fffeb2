"""A simulator in memory in which nothing happens but what a test makes happen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from ps2daemon.clock import VirtualClock
from ps2daemon.model.events import ENDED, STARTED, ContinentLock, Login, Logout, Metagame
from ps2daemon.model.records import DAY, SECOND, Ms
from ps2daemon.simulator.connection import Answer
from ps2daemon.simulator.server import Simulator
from ps2daemon.simulator.sources import QuietSource
from ps2daemon.simulator.truth import TrueAlert, TrueCharacter, TrueSession

NOW: Ms = 1_772_395_215_000  # 2026-03-01T20:00:15Z
WORLDS = (1, 10, 40)
RESOURCE = "/streaming?environment=ps2&service-id=s:me"
EVENTS = ["PlayerLogin", "PlayerLogout", "MetagameEvent", "ContinentLock"]
SUBSCRIBE = {"service": "event", "action": "subscribe", "worlds": ["1", "10", "40"], "eventNames": EVENTS}
ASK = {"service": "event", "action": "subscribe"}
REST = "/s:me/get/ps2:v2/character?c:limit=100&character_id="

Message = dict[str, Any]


class Listener:
    """One connection, and all that it has heard since it was last asked."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket
        self.texts: list[str] = []
        self.closed: int | None = None

    async def run(self) -> None:
        try:
            while True:
                text = await self._websocket.get_message()
                assert isinstance(text, str)
                self.texts.append(text)
        except ConnectionClosed as error:
            self.closed = 0 if error.reason is None else error.reason.code

    async def send(self, command: Message) -> None:
        await self._websocket.send_message(json.dumps(command))

    async def pong(self) -> bool:
        with trio.move_on_after(5):
            await self._websocket.ping()
            return True
        return False

    async def heard(self, seconds: float = 0.01) -> list[str]:
        """What comes in so many seconds, and what came before."""
        await trio.sleep(seconds)
        texts, self.texts = self.texts, []
        return texts

    async def payloads(self, seconds: float = 0.01) -> list[Message]:
        return [
            message["payload"]
            for message in map(json.loads, await self.heard(seconds))
            if "payload" in message
        ]


class Bench:
    """A simulator in which nothing happens but what a test makes happen."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.clock = VirtualClock(NOW)
        self.simulator = Simulator(QuietSource(), worlds=WORLDS, clock=self.clock)
        self.truth = self.simulator.truth
        self.start = self.simulator.faults.start
        self.stop = self.simulator.faults.stop
        nursery.start_soon(self.simulator.run)

    async def open(self) -> Listener:
        """A connection that has not subscribed."""
        mine, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.simulator.serve_stream, theirs)
        websocket = await wrap_client_stream(
            self._nursery,
            mine,  # type: ignore[arg-type]
            "simulator",
            RESOURCE,
            message_queue_size=10_000,
            max_message_size=2**26,
        )
        listener = Listener(websocket)
        self._nursery.start_soon(listener.run)
        return listener

    async def subscribed(self) -> Listener:
        """A connection that has, and has forgotten its greeting."""
        listener = await self.open()
        await listener.send(SUBSCRIBE)
        await listener.heard()
        return listener

    def now(self) -> Ms:
        return self.clock.now() // SECOND * SECOND

    def login(self, number: int = 1, world_id: int = 10) -> TrueSession:
        who = f"{5_428_010_618_013_876_000 + number}"
        character = self.truth.characters.get(who) or TrueCharacter(who, f"N{number}", 1, world_id, DAY)
        at = self.now()
        self.truth.login(character, at, self.simulator.tell(Login(who, world_id, at)))
        return self.truth.sessions[-1]

    def logout(self, session: TrueSession) -> None:
        at = self.now()
        who = session.character_id
        sent = self.simulator.tell(Logout(who, session.world_id, at))
        self.truth.logout(who, at, sent)

    def alert(self, instance_id: int = 77, world_id: int = 10, seconds: int = 5_400) -> TrueAlert:
        """An alert begins; its end is up to the test (`end`)."""
        at = self.now()
        third = (33.0, 33.0, 33.0)
        alert = TrueAlert(
            world_id,
            instance_id,
            147,
            2,
            at,
            at + seconds * SECOND,
            canceled=False,
            dominated=False,
            winner=2,
            territory_start=third,
            territory_end=(30.0, 40.0, 29.0),
            lock_at=None,
        )
        self.simulator.tell(self.change(alert, STARTED, at))
        self.truth.alerts.append(alert)
        return alert

    def end(self, alert: TrueAlert) -> None:
        self.simulator.tell(self.change(alert, ENDED, alert.end))

    def lock(self) -> None:
        self.simulator.tell(ContinentLock(10, 2, self.now(), 2, 0, 0, 30.0, 40.0, 30.0))

    @staticmethod
    def change(alert: TrueAlert, state: int, at: Ms) -> Metagame:
        return Metagame(
            alert.world_id, alert.instance_id, alert.metagame_event_id, state, at, alert.zone_id, 33.0, 33.0, 33.0
        )  # fmt: skip

    def get(self, target: str = "") -> Answer:
        """REST's answer, as its faults have it."""
        return self.simulator._answer("GET", target or REST + ",".join(self.truth.characters))

    def rows(self) -> list[Message]:
        rows = json.loads(self.get().body)["character_list"]
        assert isinstance(rows, list)
        return rows

    def populate(self, count: int = 20) -> None:
        """So many characters that REST knows."""
        for number in range(count):
            who = f"{5_428_010_618_013_876_000 + number}"
            self.truth.login(TrueCharacter(who, f"N{number}", 1, 10, DAY, first_end=0), NOW - DAY)

    async def http(self, request: bytes, later: tuple[float, bytes] | None = None) -> tuple[bytes, float]:
        """All that a connection answers in 100 s, and how long that takes.

        Args:
            later: what is sent after so many seconds.
        """
        mine, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.simulator.serve_stream, theirs)
        await mine.send_all(request)
        began, answer = trio.current_time(), b""
        if later is not None:
            await trio.sleep(later[0])
            await mine.send_all(later[1])
        with trio.move_on_after(100):
            while data := await mine.receive_some():
                answer += data
        return answer, trio.current_time() - began


CLOSE_FRAME = bytes.fromhex("88 82 00000000 03e8")
"""Of a client, masked with zeros, with code 1000."""
GET_WORLDS = b"GET /s:me/get/ps2/world?c:limit=9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UPGRADE = (
    f"GET {RESOURCE} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        yield Bench(nursery)
        nursery.cancel_scope.cancel()
