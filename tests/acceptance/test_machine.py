"""What the machine does wrong: what was vouched for is in the store, once, as it was; the rest is a gap; and nobody has to lend a hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from bench.comparison import coverage_of, covered
from bench.content import Content, content
from bench.machine import (
    QUEUE,
    RATE,
    STORE,
    VERIFY_SECONDS,
    WORLDS,
    Machine,
    failing_writes,
    locked,
    lonely_machine,
    machine,
    now,
    small_disk,
    why_no_disk,
)
from bench.programs import ps2daemon
from ps2daemon.model.batch import make_batch
from ps2daemon.model.coverage import Interval, WorldCoverage
from ps2daemon.model.records import HOUR, SECOND, Record
from ps2daemon.queue.rescue import damages
from ps2daemon.queue.sqlite import read_statistics
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.sqlite import SqliteStore


async def without_faults(folder: Path, records: Iterable[Record]) -> Content:
    """What a store holds of these records where nothing goes wrong."""
    store = await SqliteStore.open(folder / "without_faults.db")
    ledger = Ledger(store, now)
    await ledger.apply(make_batch(records))
    await ledger.settle()
    try:
        return await content(store)
    finally:
        await store.aclose()


async def check(found: Machine) -> dict[int, WorldCoverage]:
    """Everything that is vouched for is stored, once, as it was; returns what is vouched for."""
    outcome = await found.outcome()
    assert outcome.counts() == (0, 0, 0, 0), outcome
    assert outcome.facts > RATE
    async with found.store() as store:
        coverage = await coverage_of(store)
    assert set(coverage) == set(WORLDS)
    return coverage


@pytest.fixture
def mounting() -> None:
    """Disks can be mounted."""
    if why := why_no_disk():
        pytest.skip(why)


async def some_time() -> Interval:
    """Lets some seconds pass, and says which."""
    start = now()
    await trio.sleep(1.5)
    return Interval(start, now())


async def test_a_disk_under_the_queue_that_takes_nothing(tmp_path: Path, mounting: None) -> None:
    """It is full, then it fails, then somebody else has the file locked."""
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

            with locked(tmp_path / QUEUE / "queue.db"):
                await found.until_stage("subscriber", "degraded", "is locked by another program")
                assert found.value("ps2_queue_up") == 0
                assert found.value("ps2_stream_connected") == 1
                locked_at = now()
            await found.until_covered()
            assert found.value("ps2_queue_full") == 0
            assert found.value("ps2_queue_up") == 1
            assert found.value("ps2_stage_restarts_total") == 0
        coverage = await check(found)
    for world in coverage.values():
        for recorded in (began, again, end):
            assert world.covers(recorded - SECOND)
        assert covered(world, end - SECOND, locked_at) == (locked_at - end + SECOND) / SECOND, (
            "no time was lost"
        )
        for start, until in away:
            assert covered(world, start, until) == 0
            assert [gap.after for gap in world.gaps(start, until)] == ["disk_full"]


async def test_a_store_that_takes_nothing(tmp_path: Path, mounting: None) -> None:
    """Its disk is full, and after that somebody else has its file locked; what comes meanwhile is in the queue, and nothing of it is acked."""
    start = 1_772_323_200_000
    population = PopulationSettings(seed=5, worlds=(10, 40), scale=0.05)
    told, _ = history(HistorySettings(population=population, start=start, end=start + 12 * HOUR, gaps=()))
    records = list(told)
    middle = len(records) // 2
    with small_disk(tmp_path / STORE, 24):
        found = lonely_machine(tmp_path)
        with found.running("worker"):
            await found.until_ready(worker=True)

            filler = found.filled(STORE)
            held = await found.taken_in(records[:middle])
            await found.until_stage("writer", "degraded", "the disk is full: make room", worker=True)
            await found.until(
                lambda: found.value("ps2_queue_records", worker=True) == held, "the queue's growth"
            )
            assert found.value("ps2_store_up", worker=True) == 0
            assert "store is away" in found.log
            filler.unlink()
            await found.until_empty()
            assert found.value("ps2_store_up", worker=True) == 1

            with locked(tmp_path / STORE / "ps2.db"):
                held = await found.taken_in(records[middle:])
                await found.until_stage("writer", "degraded", "another process holds its lock", worker=True)
                assert read_statistics(tmp_path / QUEUE).records == held
            await found.until_empty()
            assert found.value("ps2_stage_restarts_total", worker=True) == 0
        async with found.store() as store:
            assert await content(store) == await without_faults(tmp_path, records)


async def test_a_queue_that_is_damaged(tmp_path: Path) -> None:
    """In the middle while it is recorded into, and then at its beginning while nobody runs."""
    with machine(tmp_path) as found:
        with found.running("subscriber"):
            began = await found.until_covered()
            await trio.sleep(1.5)  # so that there is something behind the hole as well
            found.damage(QUEUE, "queue.db-wal", 0.3, 0.6)
            start = now()
            with found.running("worker"):
                await found.until(lambda: "coverage begins anew" in found.log, "a word of it")
                await trio.sleep(VERIFY_SECONDS)
                again = await found.until_covered()
                assert len(damages(tmp_path / QUEUE)) == 1
                assert found.value("ps2_stage_restarts_total") == 0
                assert found.value("ps2_stage_restarts_total", worker=True) == 0
            assert "queue damaged: it was set aside, and a new one goes on" in found.log
            said = ps2daemon(tmp_path, "--config", "config.toml", "queue", "status")
            assert re.search(
                r"damaged   \S+: \d+ records in \d+ frames were saved, \d+ frames are lost", said
            )
        found.damage(QUEUE, "queue.db", 0.0, 0.01)
        with found.running():
            end = await found.until_covered()
            assert found.value("ps2_queue_damaged_files") == 2
            assert len(damages(tmp_path / QUEUE)) == 2
        coverage = await check(found)
    for world in coverage.values():
        assert world.covers(again - SECOND)
        assert world.covers(end - SECOND)
        assert covered(world, began, start) < (start - began) / SECOND
        assert [gap.after for gap in world.gaps(0, end)][-1] == "start"
        assert {gap.after for gap in world.gaps(0, again - SECOND)} <= {"disk_full"}
