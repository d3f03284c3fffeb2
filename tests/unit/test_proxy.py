"""The proxy's faults are what they claim to be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from tests.proxy import Proxy, proxy


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):  # of a connection that was cut
            async for data in stream:
                await stream.send_all(data)


@asynccontextmanager
async def echoing() -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, echo, 0, host="127.0.0.1", handler_nursery=nursery)
        )
        async with proxy(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as found:
            yield found
        nursery.cancel_scope.cancel()


async def connect(found: Proxy) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(found.url.rpartition(":")[2]))


async def exchange(stream: trio.SocketStream, data: bytes) -> bytes:
    await stream.send_all(data)
    answer = b""
    while len(answer) < len(data) and (part := await stream.receive_some()):
        answer += part
    return answer


async def silent(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(0.1) as scope:
        await stream.receive_some()
    return scope.cancelled_caught


async def test_without_a_fault_it_passes_everything_on_and_counts() -> None:
    data = bytes(range(256)) * 4_000
    async with echoing() as found:
        for number in range(3):
            async with await connect(found) as stream, trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                answer = b""
                while len(answer) < len(data):
                    answer += await stream.receive_some()
                assert answer == data
                assert (found.accepted, found.connections) == (number + 1, 1)
        assert found.requests.passed == found.responses.passed == 3 * len(data)


async def test_latency_is_for_one_direction() -> None:
    async with echoing() as found, await connect(found) as stream:
        found.responses.latency = 0.1
        began = trio.current_time()
        assert await exchange(stream, b"x") == b"x"
        assert trio.current_time() - began >= 0.1
        found.responses.latency = 0.0
        assert found.requests.latency == 0.0


@pytest.mark.parametrize("direction", ["requests", "responses"])
async def test_what_is_held_goes_on_when_it_is_released(direction: str) -> None:
    async with echoing() as found, await connect(found) as stream:
        assert await exchange(stream, b"x") == b"x"
        getattr(found, direction).hold()
        await stream.send_all(b"held")
        assert await silent(stream)
        getattr(found, direction).release()
        assert await stream.receive_some() == b"held"


async def test_a_cut_resets_all_connections_and_the_next_one_lives() -> None:
    async with echoing() as found:
        streams = [await connect(found) for _ in range(3)]
        for stream in streams:
            assert await exchange(stream, b"x") == b"x"
        found.cut()
        for stream in streams:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await stream.aclose()
        async with await connect(found) as stream:
            assert await exchange(stream, b"x") == b"x"
            assert found.connections == 1


@pytest.mark.parametrize("direction", ["requests", "responses"])
async def test_a_cut_after_some_bytes_lets_just_these_through_and_happens_once(direction: str) -> None:
    async with echoing() as found:
        async with await connect(found) as stream:
            assert await exchange(stream, b"abc") == b"abc"
            way = getattr(found, direction)
            way.cut_after(4)
            await stream.send_all(b"defghi")
            with trio.fail_after(5):
                await way.was_cut.wait()
            assert way.passed == 7
            if direction == "responses":
                assert await exchange(stream, b"") == b""
                assert await stream.receive_some() == b"defg"
                assert await stream.receive_some() == b""
        async with await connect(found) as stream:
            assert await exchange(stream, b"abcdefgh") == b"abcdefgh"


async def test_while_it_refuses_nobody_gets_through_and_afterwards_at_the_same_address() -> None:
    async with echoing() as found:
        url = found.url
        async with await connect(found) as early:
            await found.refuse()
            assert await exchange(early, b"x") == b"x"
            with pytest.raises(OSError, match="failed"):
                await connect(found)
            await found.accept()
            assert found.url == url
            async with await connect(found) as late:
                assert await exchange(late, b"x") == b"x"


async def test_where_no_server_is_the_connection_ends() -> None:
    async with proxy("http://127.0.0.1:1") as found, await connect(found) as stream:
        assert await stream.receive_some() == b""
