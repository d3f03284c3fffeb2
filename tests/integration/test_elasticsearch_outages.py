"""A server of Elasticsearch that is killed or stopped in the middle of a backlog and comes back with its data: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from tests.elasticsearch import MAJORS, NEEDS_TOOL, Indices, PrivateServer, indices, private_server
from tests.elasticsearch_worker import HALF, Worker, assert_whole, told, worker
from tests.proxy import Proxy, proxy

pytestmark = NEEDS_TOOL

ATTEMPTS: Final = 8
"""As many as the waits between them allow in a minute: 0.5 s doubling to 30 s, of which half on average."""


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """One for all tests here, of each major in turn."""
    with private_server(request.param) as found:
        yield found


@asynccontextmanager
async def scene(server: PrivateServer, timeout: float = 30.0) -> AsyncIterator[tuple[Worker, Proxy, Indices]]:
    """A worker with a full queue, and a proxy between it and the server."""
    async with indices(server.url) as ours, proxy(server.url) as through:
        settings = ours.settings(urls=(through.url,), timeout_seconds=timeout)
        async with worker(settings, told()) as each:
            yield each, through, ours


async def start(server: PrivateServer) -> None:
    await trio.to_thread.run_sync(server.start)


async def test_a_server_that_is_killed_in_the_middle_of_a_bulk_comes_back_and_nothing_is_lost(
    server: PrivateServer,
) -> None:
    async with scene(server) as (each, through, ours):
        async with each.draining():
            await each.until_left(HALF)
            # It has a part of what is being written, and whatever it does with that, nobody hears of it.
            through.responses.hold()
            through.requests.cut_after(8_000)
            with trio.move_on_after(1.0):
                await through.requests.was_cut.wait()
            await trio.to_thread.run_sync(server.kill)
            through.responses.release()
            await each.says("can't reach Elasticsearch at")
            await each.holds()
            await start(server)
        await assert_whole(each, ours.settings())


async def test_a_server_that_is_stopped_for_a_minute_is_waited_for(server: PrivateServer) -> None:
    async with scene(server) as (each, _, ours):
        async with each.draining():
            await each.until_left(HALF)
            await trio.to_thread.run_sync(server.stop)
            await each.says("can't reach Elasticsearch at")
            await each.holds(ATTEMPTS)
            await start(server)
        await assert_whole(each, ours.settings())


async def test_a_server_that_answers_nothing_for_a_while_is_waited_for(server: PrivateServer) -> None:
    async with scene(server, timeout=2.0) as (each, _, ours):
        async with each.draining():
            await each.until_left(HALF)
            server.pause()
            try:
                await each.says("did not answer within 2 s")
                await each.holds(1)
            finally:
                server.resume()
        await assert_whole(each, ours.settings())
