"""The worker stands still while the subscriber takes in 100,000 events: they wait in the queue, and none is lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import trio

from bench.comparison import compare_sessions
from bench.programs import configure, metric, program, ps2daemon, simulator, stop
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore

EVENTS = 100_000
PATIENCE = 120.0
"""Seconds; it takes about ten."""


async def test_a_backlog_is_kept_told_and_drained(tmp_path: Path) -> None:
    arguments = simulator(tmp_path, "--burst", str(EVENTS), "--truth", "truth")
    with program(tmp_path, *arguments) as census:
        port = configure(tmp_path)
        with program(tmp_path, "--config", "config.toml", "run", "subscriber") as subscriber:
            deadline = time.monotonic() + PATIENCE
            appended = "ps2_queue_appended_records_total"
            while metric(port, appended) < EVENTS and time.monotonic() < deadline:  # noqa: ASYNC110 (another process)
                await trio.sleep(0.1)
            status = json.loads(ps2daemon(tmp_path, "--config", "config.toml", "queue", "status", "--json"))
            assert status["records"] >= EVENTS
            assert stop(subscriber) < 10.0
        ps2daemon(tmp_path, "--config", "config.toml", "queue", "drain")
        status = json.loads(ps2daemon(tmp_path, "--config", "config.toml", "queue", "status", "--json"))
        assert status["records"] == 0
        stop(census)
    truth = Truth.load(tmp_path / "truth")
    store = await SqliteStore.open(tmp_path / "ps2.db", read_only=True)
    counts = await store.counts()
    result = await compare_sessions(store, truth, by_sent=True)
    await store.aclose()
    assert counts["sessions"] == EVENTS // 2
    assert counts["open"] == 0
    assert result.wrong == []
