"""What Census sends: the stream's messages, the bytes that carry them, and answers of REST."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpcore
import httpx
import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, generate_latest

from ps2daemon import daemon
from ps2daemon.census.characters import CharacterSource
from ps2daemon.census.rest import MAX_NAME, RESULTS, CensusClient, CensusObserver
from ps2daemon.census.stream import CAUSES, StreamSettings, run_stream
from ps2daemon.clock import VirtualClock
from ps2daemon.errors import CensusError
from ps2daemon.health import Health
from ps2daemon.model import tables
from ps2daemon.queue.frames import decode_frame
from ps2daemon.queue.memory import MemoryQueue
from ps2daemon.secret import Secret
from ps2daemon.simulator import protocol
from ps2daemon.stages import subscriber
from ps2daemon.stages.intake import Intake
from ps2daemon.stream_telemetry import StreamTelemetry
from ps2daemon.telemetry import Telemetry
from tests.fuzz.running import Surface, Take, one_line
from tests.records import T0, change, lock, login, logout

DATA: Final = Path(__file__).parent.parent / "data" / "census"
WORLDS: Final = (1, 10, 40)
SENTINEL: Final = b'{"event_name":"Sentinel"}'
ASKED: Final = ("1", "5428010618013876561")
READ_BYTES: Final = 64 * 1024
"""The most that a socket gives at once."""
ACCEPT: Final = b"<accept>"
"""Stands for the key that only the other side knows."""
UPGRADE: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    + ACCEPT
    + b"\r\n\r\n"
)
PAYLOADS: Final = tuple(
    record.payload for record in (login("5", T0), logout("5", T0), change(T0, 135), change(T0, 138), lock(T0))
)
_SUBSCRIBED: Final = (
    b'{"subscription":{"characterCount":0,"eventNames":["ContinentLock","MetagameEvent","PlayerLogin","PlayerLogout"],'
    b'"logicalAndCharactersWithWorlds":false,"worlds":["1","10","40"]}}'
)
MESSAGES: Final = (
    protocol.CONNECTED,
    protocol.DISCONNECTED,
    protocol.HELP_HINT,
    *(protocol.world_state(world, online) for world in WORLDS for online in (True, False)),
    protocol.heartbeat(dict.fromkeys(WORLDS, True), T0),
    _SUBSCRIBED,
    *map(protocol.service_message, PAYLOADS),
    b'{"payload":{"recent_character_id_count":2,"recent_character_id_list":["5","17"]},"service":"event","type":"serviceMessage"}',
    b'{"test":"test"}',
)


def frame(message: bytes, opcode: int = 1, *, finished: bool = True) -> bytes:
    """A frame as a server sends it (RFC 6455, 5.2)."""
    size = len(message)
    if size < 126:
        length = bytes([size])
    else:
        length = b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    return bytes([opcode | finished << 7]) + length + message


def accept_of(head: bytes) -> bytes:
    """What a request for the upgrade has to be answered with (RFC 6455, 4.2.2)."""
    key = re.search(rb"(?i)Sec-WebSocket-Key: *([^\r]+)", head)
    assert key is not None
    digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)


class _Observer(StreamTelemetry):
    """Hands on the end of each connection, and what was said of the last message."""

    def __init__(self, inner: StreamTelemetry, ended: Callable[[str], None]) -> None:
        self.__dict__ = inner.__dict__
        self._ended = ended
        self.said = ""

    def message(self, kind: str) -> None:
        self.said = kind
        super().message(kind)

    def malformed(self, reason: str) -> None:
        assert 0 < len(reason) < 400, reason
        self.said = "malformed"
        super().malformed(reason)

    def disconnected(self, cause: str, message: str) -> None:
        assert cause in CAUSES
        assert "\n" not in message
        self._ended(cause)
        super().disconnected(cause, message)


class _Line:
    """A subscriber that works into a queue in memory, and the server's end of its connection."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._clock = VirtualClock(T0)
        self._registry = CollectorRegistry()
        telemetry = Telemetry(self._registry, clock=self._clock, monotonic=trio.current_time)
        self.queue = MemoryQueue()
        self._consumer = self.queue.consumer()
        self._intake = Intake(self._clock)
        self.ends, self._ended = trio.open_memory_channel[str](math.inf)[::-1]
        self.dialled, self._dialled = trio.open_memory_channel[trio.abc.Stream](1)[::-1]
        self.observer = _Observer(telemetry.stream("ps2"), self.ended)
        sink = self._intake.source(
            on_event=partial(daemon._tell_event, telemetry),
            on_oversized=self.observer.malformed,
            on_silent=self.observer.world_silent,
        )
        settings = StreamSettings(
            url="ws://census.example/streaming", environment="ps2", service_id=Secret("secret"), worlds=WORLDS
        )
        nursery.start_soon(
            partial(
                subscriber.run_subscriber,
                Health().add("subscriber", telemetry),
                connections=[subscriber.Connection(settings, sink, self.observer)],
                intake=self._intake,
                producer=self.queue.producer(),
                clock=self._clock,
                events=telemetry,
            )
        )

    def ended(self, cause: str) -> None:
        self._ended.send_nowait(cause)

    async def dial(self, host: str, port: int, tls: object) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await self._dialled.send(theirs)
        return ours

    async def accept(self) -> tuple[trio.abc.Stream, bytes]:
        """The next connection, and what its upgrade has to be answered with."""
        stream = await self.dialled.receive()
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        return stream, accept_of(head)

    async def drained(self) -> list[bytes]:
        """The payloads that came through to the queue since the last call."""
        items = await self._consumer.read(10_000)
        if items:
            await self._consumer.ack(items[-1].position)
        records = [record for item in items for record in decode_frame(item.frame)]
        return [getattr(record, "payload", b"") for record in records]

    def check_metrics(self) -> None:
        """Labels are bounded, whatever was sent."""
        size = len(generate_latest(self._registry))
        assert size < 200_000, size


@asynccontextmanager
async def _line() -> AsyncIterator[_Line]:
    with pytest.MonkeyPatch.context() as patch:
        async with trio.open_nursery() as nursery:
            lines: list[_Line] = []

            async def dial(host: str, port: int, tls: object) -> trio.abc.Stream:
                return await lines[0].dial(host, port, tls)

            patch.setattr(subscriber, "run_stream", partial(run_stream, dial=dial, chance=lambda: 0.0))
            lines.append(_Line(nursery))
            yield lines[0]
            lines[0].check_metrics()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _messages() -> AsyncIterator[Take]:
    """Each input is one message of a connection that stays; behind it comes an event, which must come through unless the connection ended."""
    async with _line() as line:
        stream: trio.abc.Stream | None = None

        async def take(data: bytes) -> str:
            nonlocal stream
            if stream is None:
                stream, accept = await line.accept()
                await stream.send_all(UPGRADE.replace(ACCEPT, accept) + frame(protocol.CONNECTED))
                line.observer.said = ""
            opcode = 1 if _is_text(data) else 2
            try:
                await stream.send_all(frame(data, opcode))
                await trio.testing.wait_all_tasks_blocked()
                said = line.observer.said
                await stream.send_all(frame(protocol.service_message(SENTINEL)))
            except trio.BrokenResourceError:
                said = "broken"
            while SENTINEL not in await line.drained():
                if line.ends.statistics().current_buffer_used:
                    stream = None
                    return f"{said}, then {line.ends.receive_nowait()}"
                await trio.sleep(0.01)
            return said

        yield take


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@asynccontextmanager
async def _wire() -> AsyncIterator[Take]:
    """Each input is all that a server sends on one connection, which it then closes."""
    async with _line() as line:

        async def take(data: bytes) -> str:
            stream, accept = await line.accept()
            try:
                await stream.send_all(data.replace(ACCEPT, accept))
                await trio.testing.wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass  # it had heard enough
            await stream.aclose()
            cause = await line.ends.receive()
            await line.drained()
            return cause

        yield take


class _Results(CensusObserver):
    last = ""

    def requested(self, result: str, seconds: float) -> None:
        assert result in RESULTS
        self.last = result


class _Connection(httpcore.AsyncMockStream):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return await super().read(max_bytes, timeout)


class _Network(httpcore.AsyncNetworkBackend):
    """Answers with `content`, whatever is asked."""

    content = b""

    async def connect_tcp(
        self, host: str, port: int, *args: object, **options: object
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        size = min(1 + len(self.content) // 3, READ_BYTES)
        return _Connection([self.content[at : at + size] for at in range(0, len(self.content), size)])


@asynccontextmanager
async def _rest() -> AsyncIterator[Take]:
    """Each input is all that a server sends on one connection."""
    network, results = _Network(), _Results()
    transport = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(network_backend=network, max_keepalive_connections=0)
    async with CensusClient(
        rest_url="http://census.example",
        environment="ps2",
        service_id=Secret("secret"),
        requests_per_minute=100_000,
        observer=results,
        transport=transport,
    ) as client:
        source = CharacterSource(client)

        async def take(data: bytes) -> str:
            network.content = data
            try:
                if b"online_status" in data:
                    told = await client.online(ASKED)
                    assert set(told) <= set(ASKED)
                    return f"{len(told)} told"
                found = await client.characters(ASKED)
            except CensusError as error:
                return one_line(error, results.last)
            assert set(found) <= set(ASKED)
            for identity in found.values():
                assert identity.faction_id in tables.factions()
                assert identity.name is None or 0 < len(identity.name) <= MAX_NAME
            source.remember(found.values())
            return f"{len(found)} found"

        yield take


def answer(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """An HTTP response."""
    lines = (b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


STATUSES: Final = (
    b'{"characters_online_status_list":[{"character_id":"1","online_status":"10"},'
    b'{"character_id":"5428010618013876561","online_status":"0"}],"returned":2}'
)
ROWS: Final = (
    b'{"character_list":[{"character_id":"1","name":{"first":"Ann"},"faction_id":"2"},{"character_id":"5428010618013876561",'
    b'"name":{"first":"Bob"},"faction_id":"4"}],"returned":2}'
)
ERRORS: Final = tuple(path.read_bytes() for path in sorted((DATA / "auraxium_rest_errors").iterdir()))

_GREETING: Final = frame(protocol.CONNECTED) + frame(_SUBSCRIBED)
MESSAGES_SURFACE: Final = Surface("stream messages", _messages, MESSAGES)
WIRE_SURFACE: Final = Surface(
    "stream bytes",
    _wire,
    (
        UPGRADE + b"".join(map(frame, MESSAGES)),
        UPGRADE + _GREETING + frame(b"ping", 9) + frame(b"", 10) + frame(b"\x03\xe8bye", 8),
        UPGRADE + frame(b'{"payload":', finished=False) + frame(b"{}", 0, finished=False) + frame(b"}", 0),
        UPGRADE + _GREETING + frame(b"x" * 200) + frame(b"y" * 70_000, 2),
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ),
)
REST_SURFACE: Final = Surface(
    "REST",
    _rest,
    (
        answer(ROWS),
        answer(STATUSES),
        answer((DATA / "auraxium_rest" / "character.json").read_bytes(), b"200 OK", b"Content-Type: text/html"),
        _chunked(ROWS),
        answer(b"", b"302 Found", b"Location: https://www.daybreakgames.com/home", b"Set-Cookie: a=b; Expires=Wed, 09 Jun 2021 10:18:14 GMT"),
        answer(ROWS, b"200 OK", b"Content-Encoding: identity"),
        *map(answer, ERRORS),
    ),
)  # fmt: skip
