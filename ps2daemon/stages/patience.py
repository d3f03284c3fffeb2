"""Waiting out an outage of the store: not a crash, and nothing is lost by it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import trio

from ps2daemon.census.limits import Backoff
from ps2daemon.errors import StoreUnavailable
from ps2daemon.supervisor import StageControl

STORE_BACKOFF: Final = Backoff(first=0.5, highest=30.0)

T = TypeVar("T")


class StoreEvents(Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def store_unavailable(self, message: str) -> None: ...

    def store_available(self) -> None: ...


async def patiently(attempt: Callable[[], Awaitable[T]], *, control: StageControl, events: StoreEvents) -> T:
    """What `attempt` returns, however long the store is away: the stage says `degraded` and why, and tries again."""
    failures = 0
    while True:
        try:
            result = await attempt()
        except StoreUnavailable as error:
            control.degraded(str(error))
            events.store_unavailable(str(error))
            await trio.sleep(STORE_BACKOFF.seconds(failures, random.random()))
            failures += 1
        else:
            if failures:
                control.working()
                events.store_available()
            return result
