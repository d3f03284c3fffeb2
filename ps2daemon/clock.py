"""Wall-clock time, from one injected place, so that tests can move it. Sleeping is Trio's."""

from __future__ import annotations

import time
from typing import Protocol

import trio

from ps2daemon.model.records import SECOND, Ms


class Clock(Protocol):
    """Tells the wall-clock time. It may jump, in either direction; never measure a duration with it."""

    def now(self) -> Ms:
        """Milliseconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> Ms:
        return time.time_ns() // 1_000_000


class VirtualClock:
    """Follows Trio's clock from a given start, so that `autojump_clock` moves wall time and sleeps together.

    Args:
        start: the wall-clock time at the moment of construction; must be constructed inside a Trio run.
    """

    def __init__(self, start: Ms) -> None:
        self._offset = start - int(trio.current_time() * SECOND)

    def now(self) -> Ms:
        return self._offset + int(trio.current_time() * SECOND)

    def set(self, now: Ms) -> None:
        """Jump to `now`, as when somebody sets the machine's clock."""
        self._offset = now - int(trio.current_time() * SECOND)
