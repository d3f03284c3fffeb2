"""How fast the worker takes a backlog out of the queue into Elasticsearch, and how much memory that takes."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Final

from bench.figures import Figures
from bench.programs import ASKED_SECONDS, configure, cpu_seconds, metric, peak_megabytes, program, simulator
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.store.elasticsearch import ElasticsearchStore

PATIENCE: Final = 600.0
"""Seconds for one backlog of a million."""
REQUESTS_PER_MINUTE: Final = 100
"""What Census allows, and the default: the simulator would answer any number, and names would take a third of the time."""
APPENDED: Final = "ps2_queue_appended_records_total"
WRITTEN: Final = "ps2_writer_records_total"


def record(directory: Path, events: int) -> None:
    """Fills the queue in `directory` with logins and logouts of new characters, from a burst of the simulator."""
    with program(directory, *simulator(directory, "--burst", str(events))):
        port = configure(directory)
        with program(directory, "--config", "config.toml", "run", "subscriber"):
            _until(directory, port, APPENDED, events)


def write(backlog: Path, settings: ElasticsearchSettings, events: int) -> Figures:
    """Takes a copy of the queue into the store: from its first records there to its last ones."""
    directory = backlog.with_name("run")
    shutil.copytree(backlog, directory)
    try:
        with program(directory, *simulator(directory, "--scale", "0.1")):
            port = configure(
                directory, store=store_section(settings), requests_per_minute=REQUESTS_PER_MINUTE
            )
            port += 1  # a worker's own
            with program(directory, "--config", "config.toml", "run", "worker") as worker:
                first = _until(directory, port, WRITTEN, 1)
                cpu, began = cpu_seconds(worker), time.monotonic()
                _until(directory, port, WRITTEN, events)
                seconds = time.monotonic() - began
                return {
                    "events/s": (events - first) / seconds,
                    "CPU µs/event": (cpu_seconds(worker) - cpu) / (events - first) * 1e6,
                    "peak MB": peak_megabytes(worker),
                }
    finally:
        shutil.rmtree(directory)


async def check(settings: ElasticsearchSettings, events: int) -> None:
    """Ends with a message if not every session is in the store, and over."""
    store = await ElasticsearchStore.open(settings)
    try:
        await store.refresh()
        counts = await store.counts()
    finally:
        await store.aclose()
    if counts["sessions"] != events // 2 or counts["open"]:
        sys.exit(f"the store holds {counts}, and {events // 2} sessions were to be there, all of them over")


def store_section(settings: ElasticsearchSettings) -> str:
    """What `[store]` says for it."""
    urls = ", ".join(f'"{url}"' for url in settings.urls)
    return f'kind = "elasticsearch"\nurl = [{urls}]\nindex_prefix = "{settings.index_prefix}"'


def _until(directory: Path, port: int, name: str, wanted: int) -> int:
    """Waits until a metric has counted so far; returns how far it was then."""
    deadline = time.monotonic() + PATIENCE
    while (found := metric(port, name)) < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"{name}: only {found:.0f} of {wanted}:\n{(directory / 'bench.log').read_text()}")
        time.sleep(ASKED_SECONDS)
    return int(found)
