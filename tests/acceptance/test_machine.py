"""What the machine does wrong: what was vouched for is in the store, once, as it was; the rest is a gap; and nobody has to lend a hand."""

from __future__ import annotations

from pathlib import Path

import trio

from ps2daemon.model.coverage import Interval
from ps2daemon.model.records import SECOND
from tests.acceptance.machine import (
    QUEUE,
    covered,
    failing_writes,
    machine,
    now,
    small_disk,
)


async def some_time() -> Interval:
    """Lets some seconds pass, and says which."""
    start = now()
    await trio.sleep(1.5)
    return Interval(start, now())


async def test_a_disk_under_the_queue_that_takes_nothing(tmp_path: Path) -> None:
    """It is full, and after that it fails."""
    away: list[Interval] = []
    with small_disk(tmp_path / QUEUE, 40), machine(tmp_path) as found:
        with found.running() as daemon:
            began = await found.until_covered()

            filler = found.filled(QUEUE)
            await found.until_stage("subscriber", "degraded", "make room")
            assert found.value("ps2_queue_full") == 1
            assert found.value("ps2_stream_connected") == 0
            assert "queue full: nothing is recorded until there is room" in found.log
            away.append(await some_time())
            filler.unlink()
            again = await found.until_covered()

            with failing_writes(daemon, 64 * 1024):
                await found.until_stage("subscriber", "degraded", "can't be used")
                assert found.value("ps2_queue_up") == 0
                assert found.value("ps2_stream_connected") == 0
                assert "queue is away" in found.log
                away.append(await some_time())
            end = await found.until_covered()
            assert found.value("ps2_queue_full") == 0
            assert found.value("ps2_queue_up") == 1
            assert found.value("ps2_stage_restarts_total") == 0
        coverage = await found.check()
    for world in coverage.values():
        for recorded in (began, again, end):
            assert world.covers(recorded - SECOND)
        for start, until in away:
            assert covered(world, start, until) == 0
            assert [gap.after for gap in world.gaps(start, until)] == ["disk_full"]
