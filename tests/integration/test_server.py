"""The HTTP server: binding, serving, stopping."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ps2daemon.errors import ConfigError
from ps2daemon.web.server import serve_app


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def an_app() -> Starlette:
    return Starlette(routes=[Route("/", hello)])


async def test_serves_and_stops_with_an_idle_connection_open(nursery: trio.Nursery) -> None:
    stopping, stopped = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve_app(an_app(), host="127.0.0.1", port=0, stopping=stopping, task_status=task_status)
        stopped.set()

    port = await nursery.start(run)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/")
        assert (answer.status_code, answer.text) == (200, "hello")
        assert "server" not in answer.headers
        stopping.set()
        with trio.fail_after(2):
            await stopped.wait()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_a_request_that_never_ends_does_not_hold_up_the_stop(nursery: trio.Nursery) -> None:
    stopping, entered, stopped = trio.Event(), trio.Event(), trio.Event()

    async def stuck(request: Request) -> PlainTextResponse:
        entered.set()
        await trio.sleep_forever()
        raise AssertionError

    async def run(task_status: trio.TaskStatus[int]) -> None:
        app = Starlette(routes=[Route("/", stuck)])
        await serve_app(app, host="127.0.0.1", port=0, stopping=stopping, task_status=task_status)
        stopped.set()

    port = await nursery.start(run)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await entered.wait()
    stopping.set()
    with trio.fail_after(2.5):
        await stopped.wait()
    await stream.aclose()


async def test_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^port {port} is in use: choose another web.metrics_port$"):
            await serve_app(
                an_app(), host="127.0.0.1", port=port, stopping=trio.Event(), port_key="web.metrics_port"
            )


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "a..b"])
async def test_an_address_of_another_machine_is_one_clear_line(host: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^'?{host}'? is no address of this machine: choose another web.host"
    ):
        await serve_app(an_app(), host=host, port=0, stopping=trio.Event())


def upgrade(to: bytes) -> bytes:
    """A request for HTTP/2 with these settings."""
    return (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: "
        + to
        + b"\r\n\r\n"
    )


@pytest.mark.parametrize("settings", [b"AAA", b"AAAA"], ids=["no base64", "too short"])
async def test_a_broken_upgrade_ends_its_own_connection_alone(
    nursery: trio.Nursery, settings: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = trio.Event()
    port = await nursery.start(partial(serve_app, an_app(), host="127.0.0.1", port=0, stopping=stopping))
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/")).text == "hello"
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(upgrade(settings))
        with trio.fail_after(2), suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        await stream.aclose()
        assert (await client.get("/")).text == "hello"
    [line] = [record.getMessage() for record in caplog.records if record.name == "ps2daemon.web"]
    assert line.startswith("a connection broke the server's protocol: ")
    stopping.set()
