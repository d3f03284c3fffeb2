"""The program as processes that get SIGKILL at random moments while they record."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import trio

from bench.backlog import store_section
from bench.elasticsearch import prefix
from bench.outcomes import Outcome, Row, held_against
from bench.programs import configure, ps2daemon, simulator, stop, until_ready
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.sqlite import SqliteStore

COMMANDS: Final = {
    "daemon": ("run",),
    "subscriber": ("run", "subscriber"),
    "worker": ("run", "worker"),
}
"""What runs, by name."""
STOP_SECONDS: Final = 10.0
"""SIGTERM ends a program in that."""
BEFORE: Final = 3.0
BEHIND: Final = 5.0
"""Seconds in which nothing is killed: at the beginning, and at the end, once every part is ready again."""
RATE: Final = 100
"""Events a second that are recorded while the parts are killed."""
SPACING: Final = 3.0
"""Seconds from one kill to the next, in the mean."""
VERIFY_SECONDS: Final = 1.0
SPLIT: Final = ("subscriber", "worker")
VICTIMS: Final[dict[str, tuple[Sequence[str], Sequence[str]]]] = {
    "subscriber": (SPLIT, ("subscriber",)),
    "worker": (SPLIT, ("worker",)),
    "both at once": (SPLIT, SPLIT),
    "both in one process": (("daemon",), ("daemon",)),
}
"""What runs, and what of it is killed, by what the table calls it."""


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


async def record_through_kills(
    directory: Path,
    parts: Sequence[str],
    *,
    port: int,
    victims: Sequence[Sequence[str]],
    kills: int,
    until: float,
    chance: random.Random,
) -> None:
    """Records with what `config.toml` says through so many kills, and then stops in order, which must go well.

    Args:
        parts: what runs; see `COMMANDS`.
        port: of the metrics, as `configure` said.
        victims: the parts that are killed, each time one of these groups at once, and started again at once.
        until: so many seconds after the start, nothing is killed any more.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}

    def begin(part: str) -> None:
        running[part] = start(directory, "--config", "config.toml", *COMMANDS[part])

    try:
        for part in parts:
            begin(part)
        began = time.monotonic()
        for moment in sorted(chance.uniform(BEFORE, until) for _ in range(kills)):
            await trio.sleep(max(0.0, began + moment - time.monotonic()))
            struck = chance.choice(victims)
            for part in struck:
                assert running[part].poll() is None, (directory / "log").read_text()
                running[part].kill()
            for part in struck:
                running[part].wait()
                begin(part)
        await trio.sleep(max(0.0, began + until - time.monotonic()))
        for part in parts:  # a start takes longer beside other work, and until then a signal to stop may find nobody who heeds it
            await trio.to_thread.run_sync(until_ready, port + (part == "worker"))
        await trio.sleep(BEHIND)
        for part in parts:
            assert stop(running[part]) < STOP_SECONDS
            assert running[part].returncode == 0, (directory / "log").read_text()
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def rows(kills: int, url: str) -> list[Row]:
    """One for each victim and kind of store; so many kills in all.

    Args:
        url: of an Elasticsearch; where there is none, all kills are with the store in SQLite.
    """
    away = why_away(url)
    stores = {"SQLite": None, "Elasticsearch": away}
    shares = len(VICTIMS) * sum(why is None for why in stores.values())
    found: list[Row] = []
    for store, why in stores.items():
        for what, (parts, victims) in VICTIMS.items():
            times = 0 if why else kills * (len(found) + 1) // shares - kills * len(found) // shares
            run = partial(killed, parts, [victims], url if store == "Elasticsearch" else None, times)
            found.append(
                Row(f"SIGKILL of {what}, {store}", run, 1, times, skipped=why, seconds=times * SPACING)
            )
    return found


def why_away(url: str) -> str | None:
    """Why a server can't be used; None if it can."""
    try:
        httpx.get(url, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        return f"no Elasticsearch at {url}: {error}"
    return None


def killed(
    parts: Sequence[str],
    victims: Sequence[Sequence[str]],
    url: str | None,
    kills: int,
    seed: int,
    spacing: float = SPACING,
) -> Outcome:
    """A recording that goes through so many kills, with its store in SQLite or at an Elasticsearch; see `record_through_kills`."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ps2-bench-")))
        server = stack.enter_context(prefix(url)) if url is not None else None
        section = 'path = "ps2.db"' if server is None else store_section(server)
        with started(directory, *simulator(directory, "--busy", str(RATE), "--truth", "truth")) as census:
            port = configure(directory, verify_seconds=VERIFY_SECONDS, store=section)
            trio.run(
                partial(
                    record_through_kills,
                    directory,
                    parts,
                    port=port,
                    victims=victims,
                    kills=kills,
                    until=BEFORE + kills * spacing,
                    chance=random.Random(f"{seed}/{victims}"),
                )
            )
            stop(census)
        ps2daemon(directory, "--config", "config.toml", "queue", "drain")
        return trio.run(_compared, directory, server)


async def _compared(directory: Path, server: ElasticsearchSettings | None) -> Outcome:
    truth = Truth.load(directory / "truth")
    store: SqliteStore | ElasticsearchStore
    if server is None:
        store = await SqliteStore.open(directory / "ps2.db", read_only=True)
    else:
        store = await ElasticsearchStore.open(server, read_only=True)
    try:
        await store.refresh()
        return await held_against(store, truth)
    finally:
        await store.aclose()
