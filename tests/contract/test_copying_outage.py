"""Copying while the target is away, by a clock that jumps: that waits for no server, and so only SQLite is copied here."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from bench.recorded import without_threads
from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.records import MINUTE
from ps2daemon.store.copying import copy_store
from tests.contract.stores import sqlite
from tests.contract.test_copying import Faulty, everything, fill, nothing, pair
from tests.stores import Calls


async def test_an_outage_of_the_target_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    without_threads(monkeypatch)
    async with pair(sqlite, to_sqlite=False) as (source, target):
        await fill(source)
        # Done or not, as long as an answer comes in the end: a lost answer makes the next attempt a conflict.
        faulty = Faulty(target, Calls(3, 4, -6, 8, -9, -10, error=StoreUnavailable))
        began = trio.current_time()
        await copy_store(source, faulty, nothing)
        assert await everything(target) == await everything(source)
        assert trio.current_time() - began < MINUTE / 1000
