"""SIGKILL at random moments of a busy live recording: what the daemon vouched for is there, once, as it was."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import trio

from bench.programs import configure, ps2daemon, simulator, stop
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore
from tests.acceptance.comparison import compare_sessions, coverage_of

SECONDS = 180.0
KILLS = 20
RATE = 200
"""Events a second."""
WORLDS = (1, 10, 40)


def start(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (directory / "log").open("ab") as log:
        command = [sys.executable, "-m", "ps2daemon", *arguments]
        return subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)


async def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("PS2DAEMON_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"PS2DAEMON_TEST_SEED={seed}")
    chance = random.Random(seed)
    census = start(tmp_path, *simulator(tmp_path, "--busy", str(RATE), "--truth", "truth"))
    configure(tmp_path, verify_seconds=2.0)
    parts = ("subscriber", "worker")
    running = {part: start(tmp_path, "--config", "config.toml", "run", part) for part in parts}
    began = time.monotonic()
    for moment in sorted(chance.uniform(3.0, SECONDS - 5.0) for _ in range(KILLS)):
        await trio.sleep(max(0.0, began + moment - time.monotonic()))
        part = chance.choice(parts)
        assert running[part].poll() is None, (tmp_path / "log").read_text()
        running[part].kill()
        running[part].wait()
        running[part] = start(tmp_path, "--config", "config.toml", "run", part)
    await trio.sleep(max(0.0, began + SECONDS - time.monotonic()))
    for part in parts:
        assert stop(running[part]) < 10.0
        assert running[part].returncode == 0
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
