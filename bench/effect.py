"""`python -m bench effect`: how often what is said about leaving is true, against histories of which the truth is known.

One world of the simulator for eight weeks, each run with another seed. Of those online when an alert ends, a share leaves because of it, after a time that is
exponential; the truth about a span is that share, less those who would not have gone by then or would have gone anyway.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from ps2daemon.analysis.counting import count
from ps2daemon.analysis.effect import Effect, Found, measure
from ps2daemon.analysis.matching import Event, match
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sittings import Part, sittings_of
from ps2daemon.simulator.population import LONGEST_SECONDS, WorldPopulation
from ps2daemon.simulator.schedule import Schedule
from ps2daemon.simulator.settings import LEAVE_MEAN_SECONDS, PopulationSettings

SHARES: Final = (0.0, 0.02, 0.05, 0.15)
DAYS: Final = 56
START: Final[Ms] = 1_772_323_200_000  # 2026-03-01T00:00Z
WORLD: Final = 10
SCALE: Final = 0.25
"""Of the largest world's 850 people at the busiest hour."""
MINUTES: Final = 15


class Said(NamedTuple):
    """What was said of one history, and what is true."""

    effect: Effect
    truth: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        low, high = self.effect.low, self.effect.high
        return low is not None and high is not None and low <= self.truth <= high


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    parser.add_argument(
        "--runs", type=int, default=100, help="histories of each share (default: %(default)s)"
    )


def main(arguments: argparse.Namespace) -> None:
    """Prints how often the truth is within the interval."""
    print(f"{arguments.runs} histories of {DAYS} days each, an alert's end with a lock, {MINUTES} minutes\n")
    print(
        f"{'true share':>10}  {'covered':>8}  {'more':>5}  {'fewer':>5}  {'no difference':>13}  {'interval, points':>16}"
    )
    for share in SHARES:
        with ProcessPoolExecutor() as pool:
            said = list(pool.map(one, range(1, arguments.runs + 1), repeat(share)))
        verdicts = [each.effect.verdict for each in said]
        widths = [
            100 * (each.effect.high - each.effect.low)
            for each in said
            if each.effect.low is not None and each.effect.high is not None
        ]
        print(
            f"{100 * share:>8g} %  {sum(each.covered for each in said):>8}  {verdicts.count('more'):>5}  "
            f"{verdicts.count('fewer'):>5}  {verdicts.count('no difference found'):>13}  {np.median(widths):>16.1f}",
            flush=True,
        )


def one(seed: int, share: float, days: int = DAYS) -> Said:
    """One history."""
    found = history(seed, share, days)
    (effect,) = (
        row
        for row in found.effects
        if (row.event, row.group, row.minutes) == ("alert_end_and_lock", "all", MINUTES)
    )
    gone_by_then = 1 - math.exp(-MINUTES * MINUTE / (LEAVE_MEAN_SECONDS * SECOND))
    return Said(effect, share * gone_by_then * (1 - (effect.control_share or 0.0)))


def history(seed: int, share: float, days: int = DAYS) -> Found:
    """What is found in the history of one seed."""
    settings = PopulationSettings(seed=seed, worlds=(WORLD,), scale=SCALE, alert_leave=share, lock_leave=0.0)
    origin, end = START - 2 * LONGEST_SECONDS * SECOND, START + days * DAY
    schedule = Schedule(settings, WORLD, origin)
    people = WorldPopulation(settings, WORLD, schedule, origin, hostile=False).sittings(end)
    columns = sittings_of((each.character.faction_id, each.login, each.logout) for each in people)
    ends = [(alert.end, alert.lock_at) for alert in schedule.alerts]
    disturbances = [at for pair in ends for at in pair if at is not None]
    disturbances += [lock.at for lock in schedule.locks if lock.instance_id is None]
    events = [
        Event(
            "alert_end_and_lock",
            WORLD,
            min(alert.end, alert.lock_at),
            max(alert.end, alert.lock_at),
            alert.winner or 0,
        )
        for alert in schedule.alerts
        if alert.lock_at is not None and START <= alert.end < end - HOUR
    ]
    coverage = {WORLD: WorldCoverage([Span(WORLD, START, end, "start")])}
    zone = ZoneInfo("UTC")
    matched = match(events, {WORLD: disturbances}, coverage, zone)
    return measure(matched, count(matched, {WORLD: [Part(columns)]}), zone)
