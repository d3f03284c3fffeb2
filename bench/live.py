"""How long after an event was sent a reader of the store counts it.

The daemon as it comes, with a simulator whose events are many short sessions at a steady rate. On a world of their own, probes log in one by one
and stay; a reader asks over and over how many are online there, and the number tells which of them it counts.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import trio

from bench.backlog import WRITTEN, store_section
from bench.figures import Figures, percentile
from bench.programs import configure, metric, program, stop, until_ready
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.model.events import Login
from ps2daemon.model.records import DAY, SECOND
from ps2daemon.simulator.names import character_id, character_name
from ps2daemon.simulator.server import Simulator, serve_simulator
from ps2daemon.simulator.sources import BusySource
from ps2daemon.simulator.truth import TrueCharacter
from ps2daemon.store.elasticsearch import ElasticsearchStore

BUSY_WORLDS: Final = (1, 10, 40)
PROBED: Final = 19
SPACING: Final = (0.2, 0.4)
"""Seconds between probes; uneven, so that they meet every phase of what goes on at intervals."""
POLL_SECONDS: Final = 0.02
WARM_UP: Final = 45.0
"""Until the first sessions end, and the rate is what was asked for."""
PATIENCE: Final = 60.0


class _Probes(BusySource):
    """A busy crowd, and among it the probes.

    Attributes:
        begin, end: when to send them.
        sent: when each of them was.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(rate, BUSY_WORLDS)
        self.begin, self.end = trio.Event(), trio.Event()
        self.sent: list[float] = []

    async def run(self, simulator: Simulator) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run, simulator)
            await self.begin.wait()
            random = Random(1)
            while not self.end.is_set():
                self._probe(simulator, len(self.sent))
                await trio.sleep(random.uniform(*SPACING))

    def _probe(self, simulator: Simulator, number: int) -> None:
        at = simulator.clock.now() // SECOND * SECOND
        who = TrueCharacter(character_id(PROBED, number), character_name(number), 1, PROBED, at, 0)
        self.sent.append(trio.current_time())
        sent = simulator.tell(Login(who.character_id, PROBED, at))
        simulator.truth.login(who, at, sent)


async def live(settings: ElasticsearchSettings, rate: float, seconds: float) -> Figures:
    """One run of the daemon; the delays of all probes."""
    source = _Probes(rate)
    simulator = Simulator(source, worlds=(*BUSY_WORLDS, PROBED))
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as name:
        directory = Path(name)
        async with trio.open_nursery() as nursery:
            address = await nursery.start(partial(serve_simulator, simulator))
            (directory / "simulator.port").write_text(f"{address.port}\n")
            worlds = ", ".join(map(str, simulator.worlds))
            port = configure(directory, worlds=worlds, store=store_section(settings))
            with program(directory, "--config", "config.toml", "run") as daemon:
                await trio.to_thread.run_sync(until_ready, port)
                await trio.sleep(WARM_UP)
                written, began = await _written(port), time.monotonic()
                delays = await _delays(settings, source, seconds)
                per_second = (await _written(port) - written) / (time.monotonic() - began)
                await trio.to_thread.run_sync(stop, daemon)
            nursery.cancel_scope.cancel()
    return {
        "events/s": per_second,
        "probes": len(delays),
        "event to countable, p50, s": percentile(delays, 0.50),
        "event to countable, p99, s": percentile(delays, 0.99),
        "event to countable, longest, s": max(delays),
    }


async def _delays(settings: ElasticsearchSettings, source: _Probes, seconds: float) -> list[float]:
    delays: list[float] = []
    store = await ElasticsearchStore.open(settings, read_only=True)
    try:
        source.begin.set()
        last = trio.current_time() + seconds
        while trio.current_time() < last + PATIENCE:
            later = int(time.time() * SECOND) + DAY
            counted = sum(count.online for count in await store.online_at(later, [PROBED]))
            now = trio.current_time()
            delays += [now - source.sent[number] for number in range(len(delays), counted)]
            if now >= last:
                source.end.set()
                if len(delays) == len(source.sent):
                    return delays
            await trio.sleep(POLL_SECONDS)
    finally:
        await store.aclose()
    raise RuntimeError(f"only {len(delays)} of {len(source.sent)} probes are counted")


async def _written(port: int) -> float:
    return await trio.to_thread.run_sync(metric, port, WRITTEN)
