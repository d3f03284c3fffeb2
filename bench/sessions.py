"""`python -m bench sessions`: how far the population in hindsight is from the truth when logouts are lost, with the checks of who is online and without.

The simulator's people for a week, of whose logouts one in twenty is told to nobody. Their events go through the ledger into a store in SQLite as the writer would put
them there, and the reconciler and its checks have their turn every five minutes; Census is the simulator's REST, which does not know who plays for the first time. What is
read of each minute afterwards, as the page and the command line read it, is held against the truth.

Ends with 1 if it is further off than `BOUNDS`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import numpy as np
import trio
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from ps2daemon.analysis.population import PopulationQuery, population, total
from ps2daemon.census.rest import CensusClient
from ps2daemon.clock import VirtualClock
from ps2daemon.health import Health
from ps2daemon.model.batch import make_batch
from ps2daemon.model.events import Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.sessions import CAP
from ps2daemon.secret import Secret
from ps2daemon.simulator.faults.telling import hit
from ps2daemon.simulator.payloads import payload_of
from ps2daemon.simulator.population import LONGEST_SECONDS
from ps2daemon.simulator.rest import Rest
from ps2daemon.simulator.settings import DEFAULT_WORLDS, PopulationSettings
from ps2daemon.simulator.timeline import Timeline, origin_before, tell
from ps2daemon.simulator.truth import Truth
from ps2daemon.stages.checks import Checks
from ps2daemon.stages.reconciler import reconcile
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.telemetry import Telemetry

START: Final[Ms] = 1_772_323_200_000  # 2026-03-01T00:00Z
LOST_PERCENT: Final = 5.0
STEP: Final = 5 * MINUTE
WARM: Final = LONGEST_SECONDS * 1000
"""Until then there may be people whose login is from before the recording."""
BOUNDS: Final = {True: 0.02, False: 0.08}
"""The mean distance of a minute from the truth, as a part of the truth, with checks and without."""
_LATENCY: Final = 700


class Measured(NamedTuple):
    """What one run came to.

    Attributes:
        apart: the mean of how far a minute is from the truth, as a part of the truth: of all worlds together in hindsight.
        worst: the same of the world where it is largest, by its mean over the mean of its people.
        live: the same as `apart`, as it was counted at the moment.
        bias: by how much the mean population is too large, as a part of it.
        lost: logouts that nobody was told.
        requests: made to Census.
    """

    apart: float
    worst: float
    live: float
    bias: float
    lost: int
    requests: int
    seconds: float


class _Week:
    """A simulated time, as far as it has come."""

    def __init__(self, scale: float, seed: int) -> None:
        settings = PopulationSettings(seed=seed, scale=scale)
        self.truth = Truth()
        self.clock = VirtualClock(START)
        self.lost = 0
        self.requests = 0
        self._timeline = Timeline(settings, origin_before(START))
        self._rest = Rest(
            self.truth, dict.fromkeys(DEFAULT_WORLDS, True), self.clock, accepts=lambda service_id: True
        )
        for moment in self._timeline.advance(START):
            tell(self.truth, moment)
        self.truth.forget(START)

    def until(self, at: Ms) -> list[Record]:
        """What was received up to then."""
        records: list[Record] = []
        for moment in self._timeline.advance(at):
            if isinstance(moment.event, Logout) and hit("drop_logouts", moment.event, LOST_PERCENT):
                self.lost += 1
                tell(self.truth, moment)
            else:
                tell(self.truth, moment, moment.at)
                records.append(EventRecord(moment.at + _LATENCY, payload_of(moment.event)))
        records += [CoverageRecord(world_id, START, at, "start") for world_id in DEFAULT_WORLDS]
        self.clock.set(at)
        return records

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(200, content=self._rest.answer(request.url.raw_path.decode()))


async def measure(*, days: float, checking: bool, scale: float, seed: int) -> Measured:
    """Records so many days and what comes behind them, and reads them."""
    began = time.monotonic()
    end = START + round(WARM + days * DAY)
    week = _Week(scale, seed)
    telemetry = Telemetry(CollectorRegistry(), clock=week.clock)
    control = Health().add("reconciler", telemetry)
    live = []
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as folder:
        store = await SqliteStore.open(Path(folder) / "ps2.db")
        client = CensusClient(
            rest_url="http://census.example",
            environment="ps2",
            service_id=Secret("bench"),
            requests_per_minute=10_000_000,  # of the clock that this takes no time of
            transport=httpx.MockTransport(week.answer),
        )
        async with client:
            ledger = Ledger(store, week.clock.now)
            checks = Checks(client=client, ledger=ledger, clock=week.clock, events=telemetry)
            for at in range(START + STEP, end + CAP + HOUR, STEP):
                await ledger.apply(make_batch(week.until(at)))
                if checking:
                    await checks.round(control)
                await reconcile(control, ledger=ledger, store=store, clock=week.clock, events=telemetry)
                if START + WARM <= at < end:
                    told = sum(count.online for count in await store.online_at(at - 1, DEFAULT_WORLDS))
                    live.append((told, week.truth.online_count()))
            said, true = await _read(store, week.truth, end)
        await store.aclose()
    counted = np.array(live, dtype=np.float64)
    apart = np.abs(said - true)
    together, whole = np.abs(said.sum(0) - true.sum(0)), true.sum(0)
    return Measured(
        float(np.mean(together / whole)),
        float(np.max(apart.mean(1) / true.mean(1))),
        float(np.mean(np.abs(counted[:, 0] - counted[:, 1]) / counted[:, 1])),
        float(said.sum() / true.sum() - 1),
        week.lost,
        week.requests,
        time.monotonic() - began,
    )


async def _read(store: SqliteStore, truth: Truth, end: Ms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The people of each world minute by minute, as readers are told and as it was."""
    said, true = [], []
    for start in range(START + WARM, end, DAY):
        query = PopulationQuery(start=start, end=min(start + DAY, end), step=MINUTE, worlds=DEFAULT_WORLDS)
        found = await population(store, query)
        said.append(
            [
                numbers(total([each for each in found.series if each.world_id == world_id]))
                for world_id in query.worlds
            ]
        )
        true.append(
            [
                numbers([sum(truth.online(at, world_id).values()) for at in found.times])
                for world_id in query.worlds
            ]
        )
    return np.concatenate(said, axis=1), np.concatenate(true, axis=1)


def numbers(values: Sequence[int | None]) -> NDArray[np.float64]:
    """Values as numbers, NaN where it is not covered."""
    return np.array(values, dtype=np.float64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    parser.add_argument("--days", type=float, default=7.0, help="so long (default: %(default)s)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of some 700 people online (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="one seed, one week (default: %(default)s)")


def one(days: float, scale: float, seed: int, checking: bool) -> Measured:
    """One run, in a process of its own."""
    logging.disable(logging.WARNING)
    return trio.run(partial(measure, days=days, checking=checking, scale=scale, seed=seed))


def main(arguments: argparse.Namespace) -> None:
    """Prints both, and ends with 1 if one is too far off."""
    run = partial(one, arguments.days, arguments.scale, arguments.seed)
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(BOUNDS, pool.map(run, BOUNDS), strict=True))
    print(
        f"{arguments.days:g} days of {len(DEFAULT_WORLDS)} worlds, {LOST_PERCENT:g} % of the logouts lost "
        f"({found[True].lost:,}): people of a minute, against the truth"
    )
    print(
        f"{'':16}{'in hindsight':>14}{'bound':>8}{'worst world':>13}{'too many':>10}{'live':>8}{'requests':>10}{'s':>6}"
    )
    for checking, each in found.items():
        print(
            f"{'with checks' if checking else 'without checks':16}{each.apart:>14.2%}{BOUNDS[checking]:>8.0%}"
            f"{each.worst:>13.2%}{each.bias:>10.2%}{each.live:>8.1%}{each.requests:>10,}{each.seconds:>6.0f}"
        )
    if any(each.apart > BOUNDS[checking] for checking, each in found.items()):
        sys.exit(1)
