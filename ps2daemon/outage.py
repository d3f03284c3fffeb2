"""Outages of what this program needs, told as `telemetry.py` tells the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from ps2daemon.logs import Seldom, get_logger

MAX_SHOWN: Final = 300


class Outage:
    """Something that is there or away: a line at each change and at most once a minute while it is away."""

    def __init__(self, name: str, up: Gauge, errors: Counter, monotonic: Callable[[], float]) -> None:
        self._log = get_logger(f"ps2daemon.{name}")
        self._name = name
        self._up = up
        self._errors = errors
        self._monotonic = monotonic
        self._seldom = Seldom(monotonic)
        self._since: float | None = None
        up.set(1)

    def away(self, message: str) -> None:
        """An attempt failed."""
        self._up.set(0)
        self._errors.inc()
        if self._since is None:
            self._since = self._monotonic()
        if self._seldom("away"):
            self._log.warning(f"{self._name} is away", why=message[:MAX_SHOWN])

    def back(self) -> None:
        """An attempt went well."""
        if self._since is None:
            return
        self._up.set(1)
        self._log.info(f"{self._name} is back", seconds=round(self._monotonic() - self._since, 1))
        self._since = None
        self._seldom.forget("away")
