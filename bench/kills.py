"""The program as processes that get SIGKILL at random moments while they record."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from bench.programs import stop

COMMANDS: Final = {
    "daemon": ("run",),
    "subscriber": ("run", "subscriber"),
    "worker": ("run", "worker"),
}
"""What runs, by name."""
STOP_SECONDS: Final = 10.0
"""SIGTERM ends a program in that."""


def start(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts `ps2daemon` with these arguments; it writes to `log`."""
    with (directory / "log").open("ab") as log:
        command = [sys.executable, "-m", "ps2daemon", *arguments]
        return subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The same, ended at the end whatever happens."""
    process = start(directory, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def chosen() -> random.Random:
    """Chance by a seed that is printed; `PS2DAEMON_TEST_SEED` gives it again."""
    seed = int(os.environ.get("PS2DAEMON_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"PS2DAEMON_TEST_SEED={seed}")
    return random.Random(seed)


async def record_through_kills(
    directory: Path,
    parts: Sequence[str],
    *,
    victims: Sequence[str],
    kills: int,
    seconds: float,
    chance: random.Random,
) -> None:
    """Records for so long with what `config.toml` says, and then stops in order, which must go well.

    Args:
        parts: what runs; see `COMMANDS`.
        victims: the parts that are killed, each time one of them, and started again at once.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}

    def begin(part: str) -> None:
        running[part] = start(directory, "--config", "config.toml", *COMMANDS[part])

    try:
        for part in parts:
            begin(part)
        began = time.monotonic()
        for moment in sorted(chance.uniform(3.0, seconds - 5.0) for _ in range(kills)):
            await trio.sleep(max(0.0, began + moment - time.monotonic()))
            part = chance.choice(victims)
            assert running[part].poll() is None, (directory / "log").read_text()
            running[part].kill()
            running[part].wait()
            begin(part)
        await trio.sleep(max(0.0, began + seconds - time.monotonic()))
        for part in parts:
            assert stop(running[part]) < STOP_SECONDS
            assert running[part].returncode == 0, (directory / "log").read_text()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
