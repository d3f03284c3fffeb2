"""Connections to Elasticsearch that are slow, cut, or not to be had, in the middle of a backlog: nothing is lost or doubled."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from ps2daemon.census.limits import Backoff
from ps2daemon.stages import patience
from tests.elasticsearch import EACH_MAJOR, Indices, address, indices
from tests.elasticsearch_worker import HALF, Worker, assert_whole, told, worker
from tests.proxy import Direction, Proxy, proxy

pytestmark = EACH_MAJOR

TIMEOUT = 2.0
"""Seconds of a request: ten times what the slowest takes on a busy machine."""
CUTS = {
    "requests": (1, 137, 4_000, 900, 12_345, 333, 30_000, 7_000, 2, 20_000),
    "responses": (1, 60, 5_000, 250, 1_000, 15, 2_000, 700, 2, 3_000),
}
"""Bytes from one cut to the next."""
GROWTH_BYTES = 1024 * 1024
"""In 200 attempts. Trio keeps a thousand deadlines that are over, 400 KB; a bulk request of each attempt would be 10 MB."""


def way(through: Proxy, name: str) -> Direction:
    return through.requests if name == "requests" else through.responses


@asynccontextmanager
async def scene(
    major: int, *, timeout: float = 30.0, there: bool = True
) -> AsyncIterator[tuple[Worker, Proxy, Indices]]:
    """A worker with a full queue, and a proxy between it and the server.

    Args:
        there: the proxy takes connections.
    """
    async with indices(address(major)) as ours, proxy(ours.url) as through:
        if not there:
            await through.refuse()
        settings = ours.settings(urls=(through.url,), timeout_seconds=timeout)
        async with worker(settings, told()) as each:
            yield each, through, ours


@pytest.mark.parametrize("direction", ["requests", "responses"])
async def test_slow_connections_are_given_up_and_what_arrives_late_changes_nothing(
    major: int, direction: Literal["requests", "responses"]
) -> None:
    async with scene(major, timeout=TIMEOUT) as (each, through, ours):
        async with each.draining():
            await each.until_left(HALF)
            way(through, direction).latency = 1.5 * TIMEOUT
            await each.says("did not answer within 2 s")
            await each.holds(1)
            way(through, direction).latency = 0.0
        await assert_whole(each, ours.settings())


@pytest.mark.parametrize("direction", ["requests", "responses"])
async def test_connections_that_are_cut_anywhere_are_made_anew(
    major: int, direction: Literal["requests", "responses"]
) -> None:
    async with scene(major) as (each, through, ours):
        async with each.draining():
            for size in CUTS[direction]:
                way(through, direction).cut_after(size)
                await way(through, direction).was_cut.wait()
            assert each.left > 0
        assert each.failures > len(CUTS[direction]) // 2  # a connection that is kept is tried twice
        await assert_whole(each, ours.settings())


async def test_a_server_that_cannot_be_reached_is_waited_for(major: int) -> None:
    async with scene(major) as (each, through, ours):
        async with each.draining():
            await each.until_left(HALF)
            await through.refuse()
            through.cut()
            await each.says(f"can't reach Elasticsearch at {through.url}: ")
            await each.holds()
            await through.accept()
        await assert_whole(each, ours.settings())


async def test_a_server_that_is_not_there_at_the_start_is_waited_for(major: int) -> None:
    async with scene(major, there=False) as (each, through, ours):
        assert await ours.names() == []
        async with each.draining():
            await each.says(f"can't reach Elasticsearch at {through.url}: ")
            await each.holds()
            await through.accept()
        await assert_whole(each, ours.settings())


async def test_memory_stays_flat_while_it_waits(major: int) -> None:
    async with scene(major) as (each, through, ours):
        async with each.draining():
            await each.until_left(HALF)
            await through.refuse()
            through.cut()
            await each.says("can't reach")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(logging.root.manager, "disable", logging.CRITICAL)  # pytest keeps all of it
                patch.setattr(patience, "BACKOFF", Backoff(first=0.001, highest=0.005))
                await each.holds(20)
                tracemalloc.start()
                try:
                    before = await allocated(each, 20)
                    after = await allocated(each, 200)
                finally:
                    tracemalloc.stop()
            await through.accept()
        assert after - before < GROWTH_BYTES
        await assert_whole(each, ours.settings())


async def allocated(each: Worker, attempts: int) -> int:
    """Bytes, after so many more attempts."""
    await each.holds(attempts)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
