"""What happens on the connections to the stream, told as `telemetry.py` tells the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ps2daemon.census.stream import StreamObserver
from ps2daemon.logs import Seldom, get_logger
from ps2daemon.metrics import OTHER, Bounded, Metrics, world_label
from ps2daemon.model import tables
from ps2daemon.model.records import SECOND, Ms

MAX_KINDS: Final = 20
"""Twice the kinds of frames that there are."""
MAX_SHOWN: Final = 300


class StreamTelemetry(StreamObserver):
    """One connection to the stream."""

    def __init__(self, name: str, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._metrics = metrics
        self._log = get_logger("ps2daemon.stream").bind(stream=name)
        self._seldom = Seldom(monotonic)
        self._connected = metrics.stream_connected.labels(name)
        self._connected.set(0)
        self._clock_ahead = metrics.clock_ahead.labels(name)
        self._clock_ahead.set(math.nan)
        self._messages = {OTHER: metrics.stream_messages.labels(name, OTHER)}
        self._kind = Bounded(MAX_KINDS)

    def connecting(self) -> None:
        self._metrics.stream_attempts.labels(self._name).inc()
        self._log.debug("stream connecting")

    def connected(self) -> None:
        self._connected.set(1)
        self._log.info("stream connected")

    def closed(self) -> None:
        self._connected.set(0)

    def disconnected(self, cause: str, message: str) -> None:
        self._metrics.stream_reconnects.labels(self._name, cause).inc()
        if self._seldom("disconnected", cause):
            self._log.warning("stream disconnected; another attempt follows", cause=cause, why=message)

    def refused(self, message: str) -> None:
        if self._seldom("refused"):
            self._log.error("stream refused", why=message)

    def verified(self, ok: bool) -> None:
        self._metrics.stream_verifications.labels(self._name, "right" if ok else "wrong").inc()
        if not ok and self._seldom("wrong"):
            self._log.warning("the server lost the subscription; it is asked for again")

    def message(self, kind: str) -> None:
        series = self._messages.get(kind)
        if series is None:
            label = self._kind(kind)
            series = self._messages[label] = self._metrics.stream_messages.labels(self._name, label)
        series.inc()

    def malformed(self, reason: str) -> None:
        self._metrics.stream_malformed.labels(self._name).inc()
        if self._seldom("malformed"):
            self._log.warning("a frame was left out", why=reason[:MAX_SHOWN])

    def world_state(self, world_id: int, online: bool) -> None:
        self._metrics.world_up.labels(world_label(world_id)).set(online)
        self._log.info("world is up" if online else "world is down", world=tables.world_name(world_id))

    def clock(self, ahead: Ms, wrong: bool) -> None:
        """By how much the machine's clock is ahead of the service's, and whether that is too much to vouch for any time."""
        self._clock_ahead.set(ahead / SECOND)
        if wrong and self._seldom("clock"):
            self._log.error(
                "this machine's clock and the service's are apart, and no time is vouched for: set it (timedatectl)",
                seconds_ahead=ahead // SECOND,
            )

    def world_silent(self, world_id: int, silent: bool) -> None:
        """No event of a world came for longer than chance allows, or one came again."""
        self._metrics.world_silent.labels(self._name, world_label(world_id)).set(silent)
        if silent:
            self._log.warning(
                "world is silent though it is said to be up; its time is not vouched for",
                world=tables.world_name(world_id),
            )
        else:
            self._log.info("world is heard again", world=tables.world_name(world_id))
