"""`python -m bench elasticsearch`: what the store in Elasticsearch is held to, on servers that run already.

Everything is written under index prefixes of its own, and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import trio

from bench import backlog, series
from bench.figures import Figures, show
from bench.live import live
from ps2daemon.config import ElasticsearchSettings

CASES: Final = ("backlog", "series", "live")
DEFAULT_URL: Final = "http://127.0.0.1:9200"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    option = parser.add_argument
    option("--url", action="append", help=f"a server; may be repeated (default: {DEFAULT_URL})")
    option("--only", action="append", choices=CASES, help="leave out the others; may be repeated")
    option("--runs", type=int, default=5, help="runs of each measurement (default: %(default)s)")
    option("--events", type=int, default=1_000_000, help="events of the backlog (default: %(default)s)")
    option(
        "--sessions",
        type=int,
        default=600_000,
        help=f"sessions of the {series.RECENT_DAYS} days that series are asked of; 6,000,000 are those of all servers of the game"
        " (default: %(default)s)",
    )
    option(
        "--growth",
        type=int,
        default=10,
        help="by which the history becomes longer; 1 leaves it as it is (default: %(default)s)",
    )
    option(
        "--rate", type=float, default=200.0, help="events a second of the live case (default: %(default)s)"
    )
    option("--minutes", type=float, default=2.0, help="of each live run (default: %(default)s)")


def main(arguments: argparse.Namespace) -> None:
    """Measures each server in turn."""
    cases = arguments.only or CASES
    for url in arguments.url or [DEFAULT_URL]:
        version = httpx.get(url, trust_env=False).raise_for_status().json()["version"]["number"]
        print(f"Elasticsearch {version} at {url}; median (lowest to highest)\n")
        for case in cases:
            {"backlog": _backlog, "series": _series, "live": _live}[case](url, arguments)
            print()


def _backlog(url: str, arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as name:
        directory = Path(name) / "backlog"
        directory.mkdir()
        backlog.record(directory, arguments.events)

        def once() -> Figures:
            with prefix(url) as settings:
                figures = backlog.write(directory, settings, arguments.events)
                trio.run(backlog.check, settings, arguments.events)
                return figures

        runs = [once() for _ in range(arguments.runs)]
    show(f"queue to store (run worker), {arguments.events:,} events, {arguments.runs} runs", runs)


def _series(url: str, arguments: argparse.Namespace) -> None:
    sessions, growth = arguments.sessions, arguments.growth
    with prefix(url) as settings:

        def grow(part: series.Part) -> None:
            print(
                f"  {part.sessions:,} sessions written: {trio.run(series.fill, settings, part):,.0f}/s",
                flush=True,
            )
            trio.run(series.settled, settings)
            trio.run(partial(series.ask, settings, 0, warm_up=True))

        title = f"28 days of one world at 5 minutes by empire, {series.WINDOWS} windows a run, {arguments.runs} runs"
        print(title)
        grow(series.recent(sessions))
        before = [trio.run(series.ask, settings, run + 1) for run in range(arguments.runs)]
        show(f"with {sessions:,} sessions of {series.RECENT_DAYS} days", before)
        if growth <= 1:
            return
        grow(series.older(sessions, growth))
        after = [trio.run(series.ask, settings, 100 + run) for run in range(arguments.runs)]
        show(f"with {growth * sessions:,} sessions of {growth * series.RECENT_DAYS} days", after)
    ratios = [
        {label: late[label] / early[label] for label in early}
        for early, late in zip(before, after, strict=True)
    ]
    show("ratio", [{label.replace(", ms", ""): value for label, value in ratio.items()} for ratio in ratios])


def _live(url: str, arguments: argparse.Namespace) -> None:
    def once() -> Figures:
        with prefix(url) as settings:
            return trio.run(live, settings, arguments.rate, 60 * arguments.minutes)

    show(
        f"event to reader (run), {arguments.minutes:g} minutes, {arguments.runs} runs",
        [once() for _ in range(arguments.runs)],
    )


@contextmanager
def prefix(url: str) -> Iterator[ElasticsearchSettings]:
    """An index prefix of one's own, and nothing left of it behind."""
    settings = ElasticsearchSettings(urls=(url,), index_prefix=f"bench-{os.getpid()}")
    try:
        yield settings
    finally:
        _remove(url, settings.index_prefix)


def _remove(url: str, name: str) -> None:
    """One by one: the server refuses to delete by a pattern."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        indices = (
            client.get(f"/{name}-*/_alias", params={"expand_wildcards": "all"}).raise_for_status().json()
        )
        templates = client.get(f"/_index_template/{name}-*").json().get("index_templates", [])
        for index in indices:
            client.delete(f"/{index}").raise_for_status()
        for template in templates:
            client.delete(f"/_index_template/{template['name']}").raise_for_status()
