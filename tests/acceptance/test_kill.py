"""SIGKILL at random moments of a busy live recording: what the daemon vouched for is there, once, as it was."""

from __future__ import annotations

from pathlib import Path

from bench.comparison import compare_sessions, coverage_of
from bench.kills import chosen, record_through_kills, started
from bench.programs import configure, ps2daemon, simulator, stop
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore

SECONDS = 180.0
KILLS = 20
RATE = 200
"""Events a second."""
WORLDS = (1, 10, 40)


async def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    parts = ("subscriber", "worker")
    with started(tmp_path, *simulator(tmp_path, "--busy", str(RATE), "--truth", "truth")) as census:
        configure(tmp_path, verify_seconds=2.0)
        await record_through_kills(
            tmp_path, parts, victims=parts, kills=KILLS, seconds=SECONDS, chance=chosen()
        )
        stop(census)
    ps2daemon(tmp_path, "--config", "config.toml", "queue", "drain")

    truth = Truth.load(tmp_path / "truth")
    store = await SqliteStore.open(tmp_path / "ps2.db", read_only=True)
    result = await compare_sessions(store, truth, by_sent=True)
    coverage = await coverage_of(store)
    await store.aclose()
    assert result.wrong == []
    assert result.compared > RATE / 2 * SECONDS / 4
    for world_id in WORLDS:
        covered = sum(span.end - span.start for span in coverage[world_id].spans) / 1000
        assert covered > SECONDS / 4  # each death of the subscriber costs a few seconds, and no more
    print(f"{result.compared} sessions compared, {len(truth.sessions)} true ones")
