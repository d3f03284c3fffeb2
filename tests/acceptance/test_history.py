"""Two weeks through the whole path: recording, queue, enricher, writer, store; and back out as series."""

from __future__ import annotations

import time
from pathlib import Path

from bench.comparison import compare_minutes, compare_sessions, unnamed
from bench.programs import configure, program, ps2daemon, simulator
from ps2daemon.model.records import DAY, MINUTE, SECOND
from ps2daemon.model.times import iso
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore

WORLDS = (1, 10, 40)
DAYS = 14
GAP = 3 * 60
"""Minutes of the recording's gap."""


async def test_two_weeks_are_stored_as_they_were(tmp_path: Path) -> None:
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    start = now - DAYS * DAY
    people = ("--seed", "5", "--scale", "0.35", "--worlds", ",".join(map(str, WORLDS)))
    with program(tmp_path, *simulator(tmp_path, "--history-from", iso(start), *people)):
        configure(tmp_path)
        history = ("--from", iso(start), "--to", iso(now), "--out", "recording.ndjson.gz", "--truth", "truth")
        ps2daemon(tmp_path, "simulate", "history", *history, *people)
        ps2daemon(tmp_path, "--config", "config.toml", "queue", "import", "recording.ndjson.gz")
        ps2daemon(tmp_path, "--config", "config.toml", "queue", "drain")
    truth = Truth.load(tmp_path / "truth")
    events = sum(2 if session.logout is not None else 1 for session in truth.sessions)
    assert events >= 150_000

    store = await SqliteStore.open(tmp_path / "ps2.db", read_only=True)
    sessions = await compare_sessions(store, truth)
    nobody = await unnamed(store)
    minutes = await compare_minutes(store, truth, start, now, WORLDS)
    await store.aclose()
    assert sessions.wrong == []
    assert sessions.compared > 70_000
    assert minutes.wrong == []
    # A recording vouches for nothing before its first minute and after its last full one, nor within its gap.
    assert GAP <= minutes.uncovered / len(WORLDS) <= GAP + 5
    assert minutes.compared + 5 * minutes.uncovered == 5 * len(WORLDS) * DAYS * DAY // MINUTE
    # Census names everybody but those who are still in their first session.
    assert all(truth.characters[character].first_end is None for character in nobody)
