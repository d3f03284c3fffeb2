"""What an input takes in memory is bounded by a multiple of the limit of its size, whatever it is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from ps2daemon.census.rest import MAX_BODY_BYTES, _decoder
from ps2daemon.census.websocket import QUEUED_MESSAGES, use_websocket
from ps2daemon.config import MAX_FILE_BYTES
from ps2daemon.errors import CensusError, StreamLost
from ps2daemon.model.events import MAX_PAYLOAD_BYTES, decode_event, glance
from ps2daemon.model.messages import MAX_MESSAGE_BYTES, MessageError, decode_message
from ps2daemon.queue.frames import MAX_FRAME_BYTES
from ps2daemon.web.app import page_app
from ps2daemon.web.parameters import MAX_QUERY
from ps2daemon.web.server import serve_app
from tests.fuzz import asked, census, queued
from tests.fuzz.asgi import get
from tests.fuzz.census import ACCEPT, UPGRADE, frame
from tests.fuzz.running import Surface, fuzz
from tests.pages import FixedClock, two_weeks

MANIFOLD = 56
"""Bytes in memory for each byte of JSON: a list in a list takes 104, and two as JSON."""


class Peak:
    """The most memory, in bytes, that was taken at a time beyond what there was before."""

    def __enter__(self) -> Peak:
        gc.collect()
        tracemalloc.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def filled(before: str, unit: str, after: str, size: int) -> bytes:
    """As many units between the two as there is room for."""
    room = size - len(before.encode()) - len(after.encode())
    return (before + unit * (room // len(unit.encode())) + after).encode()


UNITS = (
    "[],",
    "{},",
    '"",',
    "0,",
    "9.5,",
    "null,",
    '{"a":0},',
    '"\N{GRINNING FACE}",',
    "[" * 60 + "]" * 60 + ",",
    "1" * 300 + ",",
)
NESTS = ('{"type":[%s0]}', '{"subscription":{"worlds":[%s0]}}', '{"subscription":{"eventNames":[%s"0"]}}', '{"payload":{"recent_character_id_list":[%s0]}}', '{"payload":{"event_name":[%s0]}}', '{"a":[%s0]}')  # fmt: skip


@pytest.mark.parametrize("nest", NESTS)
def test_a_message(nest: str) -> None:
    before, _, after = nest.partition("%s")
    for unit in UNITS:
        text = filled(before, unit, after, MAX_MESSAGE_BYTES).decode()
        with Peak() as peak, suppress(MessageError):
            decode_message(text)
        assert peak.bytes < MANIFOLD * MAX_MESSAGE_BYTES, unit


@pytest.mark.parametrize("decode", [decode_event, glance])
def test_a_payload(decode: Callable[[bytes], object]) -> None:
    for unit in (*(f'"x":[{unit}0],' for unit in UNITS), '"a":0,', '"\\u0061":"b",'):
        payload = filled('{"event_name":"a",', unit, '"world_id":"1"}', MAX_PAYLOAD_BYTES)
        with Peak() as peak:
            decode(payload)
        assert peak.bytes < MAX_PAYLOAD_BYTES, unit


@pytest.mark.parametrize("unit", UNITS)
def test_an_answer_of_rest(unit: str) -> None:
    body = filled('{"character_list":[', unit, "0]}", MAX_BODY_BYTES)
    with Peak() as peak:
        _decoder.decode(body)
    assert peak.bytes < MANIFOLD * MAX_BODY_BYTES


@pytest.mark.parametrize("head", [b"Content-Length: 99999999", b"Transfer-Encoding: chunked"])
def test_an_answer_of_rest_without_end(head: bytes) -> None:
    body = b" " * 20_000_000 if b"Length" in head else (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 300
    data = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    with Peak() as peak:
        report = fuzz(census.REST_SURFACE, [data])
    assert report.outcomes == {"too_large": 1}
    # The other side's bytes are held here as well, once as a whole and once in parts.
    assert peak.bytes < 2 * len(data) + 4 * MAX_BODY_BYTES


async def _held_back(send: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
    """A connection whose frames nobody takes, until its server has said all or can say no more."""
    ours, theirs = trio.testing.memory_stream_pair()
    done = trio.Event()

    async def dial(host: str, port: int, tls: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    async def use(socket: WebSocketConnection) -> CensusError:
        await done.wait()
        return StreamLost("closed", "done")

    async def serve() -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await theirs.receive_some()
        await theirs.send_all(UPGRADE.replace(ACCEPT, census.accept_of(head)))
        with trio.move_on_after(2), suppress(trio.BrokenResourceError):
            await send(theirs)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await use_websocket("ws://x/", "/", use, dial=dial, tls=None, deadline=5)
        await theirs.aclose()


async def test_messages_that_nobody_takes_yet() -> None:
    message = frame(("\N{GRINNING FACE}" * (MAX_MESSAGE_BYTES // 4)).encode())
    sent = 0

    async def send(stream: trio.abc.Stream) -> None:
        nonlocal sent
        for sent in count():
            await stream.send_all(message)
            await trio.testing.wait_all_tasks_blocked()
            if sent > 2 * QUEUED_MESSAGES:
                return

    with Peak() as peak:
        await _held_back(send)
    assert sent > QUEUED_MESSAGES
    # What is on the wire beyond those that wait is this test's own memory.
    assert peak.bytes < (4 * QUEUED_MESSAGES + (sent - QUEUED_MESSAGES)) * MAX_MESSAGE_BYTES


async def test_a_message_in_very_many_parts() -> None:
    async def send(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(b"", finished=False))
        part = frame("é".encode(), 0, finished=False) * 1_000
        while True:
            await stream.send_all(part)
            await trio.testing.wait_all_tasks_blocked()

    with Peak() as peak:
        await _held_back(send)
    assert peak.bytes < 120 * MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    ("surface", "data"),
    [
        (queued.FRAMES_SURFACE, queued.sealed(b" " * 24 + b"\xdd\x00\x03\xff\xff" + b"\x90" * (MAX_FRAME_BYTES - 5))),
        (queued.FRAMES_SURFACE, queued.sealed(b" " * 24 + b"\xdd\xff\xff\xff\xff" + b"\x90" * 1_000)),
        (asked.CONFIGURATION_SURFACE, b"a" + b".a" * 6_000 + b"=1"),
        (asked.CONFIGURATION_SURFACE, b"[[stream]]\n" * 100_000),
        (asked.CONFIGURATION_SURFACE, b"a=[" + b"[],\n" * (MAX_FILE_BYTES // 4 - 2) + b"]"),
    ],
)  # fmt: skip
def test_what_is_read_from_disk(surface: Surface, data: bytes) -> None:
    fuzz(surface, surface.seeds[:1])  # what is loaded once
    with Peak() as peak:
        report = fuzz(surface, [data])
    assert not report.findings
    assert peak.bytes < MANIFOLD * MAX_FRAME_BYTES


async def test_a_query() -> None:
    app = page_app(two_weeks(), FixedClock())
    queries = (
        b"world=1&" * (MAX_QUERY // 8),
        b"&" * MAX_QUERY,
        b"world=" + b"," * (MAX_QUERY - 6),
        b"empire=" + b"vs," * (MAX_QUERY // 3 - 3) + b"vs",
        b"%00=&" * (MAX_QUERY // 5),
        b"a=b&" * 200_000,
    )
    for query in queries:
        await get(app, "/api/v1/population", query)
        with Peak() as peak:
            found = await get(app, "/api/v1/population", query)
        assert found.status in (200, 400)
        assert peak.bytes < 400 * MAX_QUERY, query[:20]


async def test_a_large_body_is_not_kept(nursery: trio.Nursery) -> None:
    stopping = trio.Event()
    app = page_app(two_weeks(), FixedClock())
    port = await nursery.start(partial(serve_app, app, host="127.0.0.1", port=0, stopping=stopping))
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    part = b"x" * 1_000_000
    with Peak() as peak:
        await stream.send_all(b"POST /api/v1/worlds HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n")
        with trio.move_on_after(2), suppress(trio.BrokenResourceError):
            for _ in range(90):
                await stream.send_all(part)
    await stream.aclose()
    stopping.set()
    assert peak.bytes < 8_000_000
