"""What the machine does wrong, for the table of faults: disks that are full, a store that is locked, a queue's file that is damaged, a clock that is set.

The clock is set in virtual time. The others are done to real processes, which record a hundred events a second.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import trio

from bench import strikes
from bench.machine import (
    QUEUE,
    STORE,
    VERIFY_SECONDS,
    Machine,
    locked,
    machine,
    small_disk,
    why_no_disk,
)
from bench.outcomes import Outcome, Row
from bench.recorded import Fault
from bench.strikes import LONG

LOCKED_SECONDS: Final = 60.0
SET_BACK_SECONDS: Final = 3_600.0
_MEGABYTES: Final = 40
"""Of a disk that fills up."""
_FULL_SECONDS: Final = 3.0


class Breakdown(NamedTuple):
    """Something that the machine does wrong while it records, until it is right again.

    Attributes:
        happens: lets it happen; returns how long it took to be noticed.
        disk: which folder is on a small disk of its own.
        part: what runs.
        seconds: how long a run takes.
    """

    happens: Callable[[Machine, Random], Awaitable[float]]
    disk: str | None = None
    part: tuple[str, ...] = ()
    seconds: float = 20.0


async def _disk_full(disk: str, stage: str, words: str, found: Machine, random: Random) -> float:
    began = time.monotonic()
    filler = found.filled(disk)
    await found.until_stage(stage, "degraded", words)
    noticed = time.monotonic() - began
    await trio.sleep(_FULL_SECONDS)
    filler.unlink()
    return noticed


async def _store_locked(found: Machine, random: Random) -> float:
    began = time.monotonic()
    with locked(found.folder / STORE / "ps2.db"):
        await found.until_stage("writer", "degraded", "another process holds its lock")
        noticed = time.monotonic() - began
        await trio.sleep(LOCKED_SECONDS - noticed)
    return noticed


async def _queue_damaged(found: Machine, random: Random) -> float:
    """In the middle of what a worker has not read yet, which it then does."""
    start = random.uniform(0.2, 0.5)
    found.damage(QUEUE, "queue.db-wal", start, start + random.uniform(0.1, 0.4))
    began = time.monotonic()
    with found.running("worker"):
        await found.until(lambda: "coverage begins anew" in found.log, "a word of it")
        noticed = time.monotonic() - began
        await trio.sleep(VERIFY_SECONDS)
        await found.until_covered()
    return noticed


BREAKDOWNS: Final = {
    "disk full under the queue": Breakdown(partial(_disk_full, QUEUE, "subscriber", "make room"), disk=QUEUE),
    "disk full under the store": Breakdown(
        partial(_disk_full, STORE, "writer", "the disk is full: make room"), disk=STORE
    ),
    f"store locked by another program for {LOCKED_SECONDS:g} s": Breakdown(
        _store_locked, seconds=LOCKED_SECONDS + 15
    ),
    "queue file damaged": Breakdown(_queue_damaged, part=("subscriber",)),
}


def rows(runs: int) -> list[Row]:
    """One for each; those of real processes a quarter as often, but once."""
    why = why_no_disk()
    found = [
        Row(
            name,
            partial(broken, breakdown),
            -(-runs // 4),
            to_be_noticed=True,
            skipped=why if breakdown.disk else None,
            seconds=breakdown.seconds,
        )
        for name, breakdown in BREAKDOWNS.items()
    ]
    return [
        *found,
        Row("clock set back an hour, and right again", clock_set_back, runs, to_be_noticed=True),
    ]


def broken(breakdown: Breakdown, seed: int) -> Outcome:
    """One recording on a machine that breaks down."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ps2-bench-")))
        if breakdown.disk is not None:
            stack.enter_context(small_disk(folder / breakdown.disk, _MEGABYTES))
        found = stack.enter_context(machine(folder))
        return trio.run(_broken, found, breakdown, Random(seed))


async def _broken(found: Machine, breakdown: Breakdown, random: Random) -> Outcome:
    with found.running(*breakdown.part):
        await found.until_covered()
        await trio.sleep(random.uniform(0.5, 2.5))
        noticed = await breakdown.happens(found, random)
        await found.until_covered()
        await trio.sleep(VERIFY_SECONDS)
    return (await found.outcome())._replace(noticed=noticed)


def clock_set_back(seed: int) -> Outcome:
    """One recording whose machine has another time for some minutes: one in which the stream was down."""
    at = Random(f"{seed}/clock").uniform(4_500.0, 4_620.0)
    set_at = [(at, -SET_BACK_SECONDS), (at + LONG, SET_BACK_SECONDS)]
    down = Fault("stream_down", at - SET_BACK_SECONDS - LONG / 2, 2 * LONG)
    found = strikes.recorded([down], seed=seed, minutes=90, clock_set=set_at)
    outcome = trio.run(strikes.compared, found, None)
    return outcome._replace(noticed=found.noticed(at))
