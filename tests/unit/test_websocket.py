from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial

import pytest
import trio
import trustme

from ps2daemon.census.stream import CAUSES
from ps2daemon.census.websocket import dial_tcp, use_websocket
from ps2daemon.errors import CensusError, StreamLost


async def listen(nursery: trio.Nursery, answer: bytes) -> int:
    """A port where everybody is told `answer`, whatever they say."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(partial(trio.serve_listeners, talk, [listener]))
    port: int = listener.socket.getsockname()[1]
    return port


async def unused(socket: object) -> CensusError:
    raise AssertionError("there is no websocket to use")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x28"]
)
async def test_tls_that_fails_is_told_as_such(answer: bytes) -> None:
    async with trio.open_nursery() as nursery:
        port = await listen(nursery, answer)
        with pytest.raises(StreamLost) as caught:
            await dial_tcp("127.0.0.1", port, ssl.create_default_context())
        nursery.cancel_scope.cancel()
    assert caught.value.cause == "tls"
    assert "127.0.0.1" in str(caught.value)


async def test_a_certificate_that_nobody_knows_is_told_as_such() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def shake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, shake, [trio.SSLListener(listener, context)]))
        url = f"wss://127.0.0.1:{listener.socket.getsockname()[1]}"
        tls = ssl.create_default_context()
        end = await use_websocket(url, "/", unused, dial=dial_tcp, tls=tls, deadline=5)
        nursery.cancel_scope.cancel()
    assert isinstance(end, StreamLost)
    assert end.cause == "tls"
    assert "certificate" in str(end)


async def test_nobody_listening_is_a_lost_stream() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    end = await use_websocket(f"ws://127.0.0.1:{port}", "/", unused, dial=dial_tcp, tls=None, deadline=5)
    assert isinstance(end, StreamLost)
    assert end.cause == "connect"
    assert f"127.0.0.1:{port}" in str(end)


async def test_a_name_that_does_not_exist_is_a_lost_stream() -> None:
    end = await use_websocket("ws://nowhere.invalid", "/", unused, dial=dial_tcp, tls=None, deadline=5)
    assert isinstance(end, StreamLost)
    assert end.cause in {"connect", "timeout"}
    assert end.cause in CAUSES


async def test_an_upgrade_that_is_refused_over_a_socket() -> None:
    async with trio.open_nursery() as nursery:
        port = await listen(
            nursery, b"HTTP/1.1 503 Unavailable\r\nConnection: close\r\n\r\n<html>later</html>"
        )
        end = await use_websocket(f"ws://127.0.0.1:{port}", "/", unused, dial=dial_tcp, tls=None, deadline=5)
        nursery.cancel_scope.cancel()
    assert isinstance(end, StreamLost)
    assert end.cause == "handshake"
    assert "HTTP 503" in str(end)


async def test_an_upgrade_whose_headers_are_no_text_is_a_broken_protocol() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \xff\r\n\r\n"
    async with trio.open_nursery() as nursery:
        port = await listen(nursery, answer)
        end = await use_websocket(f"ws://127.0.0.1:{port}", "/", unused, dial=dial_tcp, tls=None, deadline=5)
        nursery.cancel_scope.cancel()
    assert isinstance(end, StreamLost)
    assert end.cause == "protocol"
