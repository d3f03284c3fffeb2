"""Waiting out an outage of the store, or of the queue's files: not a crash, and nothing is lost by it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import trio

from ps2daemon.census.limits import Backoff
from ps2daemon.errors import QueueUnavailable, StoreUnavailable
from ps2daemon.supervisor import StageControl

BACKOFF: Final = Backoff(first=0.5, highest=30.0)

T = TypeVar("T")


class QueueEvents(Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def queue_unavailable(self, message: str) -> None: ...

    def queue_available(self) -> None: ...


class OutageEvents(QueueEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def store_unavailable(self, message: str) -> None: ...

    def store_available(self) -> None: ...


async def patiently(attempt: Callable[[], Awaitable[T]], *, control: StageControl, events: OutageEvents) -> T:
    """What `attempt` returns, however long store or queue are away: the stage says `degraded` and why, and tries again."""
    failures = 0
    over: set[Callable[[], None]] = set()
    while True:
        try:
            result = await attempt()
        except (StoreUnavailable, QueueUnavailable) as error:
            control.degraded(str(error))
            if isinstance(error, StoreUnavailable):
                events.store_unavailable(str(error))
                over.add(events.store_available)
            else:
                events.queue_unavailable(str(error))
                over.add(events.queue_available)
            await trio.sleep(BACKOFF.seconds(failures, random.random()))
            failures += 1
        else:
            if failures:
                control.working()
            for told in over:
                told()
            return result
