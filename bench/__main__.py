"""`make bench`: events per second from socket to disk and to the store, memory, CPU per event, start-up time.

A simulator in a process of its own sends a burst of logins and logouts of new characters, as fast as they are taken, and the daemon
takes it in. The rate is the number of events by the time from the first one received to the last one on disk, or in
the store. Each figure is the median of several runs, with the lowest and the highest beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import effect, elasticsearch, page, sessions, soak, torture
from bench.figures import Figures, show
from bench.programs import (
    ASKED_SECONDS,
    configure,
    cpu_seconds,
    metric,
    peak_megabytes,
    program,
    simulator,
    until_ready,
)


def intake(part: str, metric_name: str, events: int) -> Figures:
    """One burst into the daemon, until `metric_name` has counted all of it."""
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as name:
        directory = Path(name)
        with program(directory, *simulator(directory, "--burst", str(events))):
            port = configure(directory)
            with program(directory, "--config", "config.toml", "run", *([part] if part else [])) as daemon:
                began = 0.0
                deadline = time.monotonic() + 300
                while (done := metric(port, metric_name)) < events:
                    if not began and metric(port, "ps2_events_total"):
                        began = time.monotonic()
                        cpu = cpu_seconds(daemon)
                    if time.monotonic() > deadline or daemon.poll() is not None:
                        sys.exit(
                            f"only {done:.0f} of {events} events arrived:\n{(directory / 'bench.log').read_text()}"
                        )
                    time.sleep(ASKED_SECONDS if began else 0.02)
                seconds = time.monotonic() - began
                return {
                    "events/s": events / seconds,
                    "CPU µs/event": (cpu_seconds(daemon) - cpu) / events * 1e6,
                    "peak MB": peak_megabytes(daemon),
                }


def start_up() -> Figures:
    """From the call to help, and to a daemon whose every stage works."""
    figures = {}
    for label, command in (
        ("python -c pass, ms", [sys.executable, "-c", "pass"]),
        ("ps2daemon --help, ms", [sys.executable, "-m", "ps2daemon", "--help"]),
    ):
        began = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        figures[label] = (time.monotonic() - began) * 1000
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as name:
        directory = Path(name)
        with program(directory, *simulator(directory, "--scale", "0.1")):
            port = configure(directory)
            began = time.monotonic()
            with program(directory, "--config", "config.toml", "run"):
                until_ready(port, every=0.01)
                figures["run until ready, ms"] = (time.monotonic() - began) * 1000
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=200_000, help="events of one burst (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement (default: %(default)s)")
    parser.set_defaults(measure=measure)
    others = parser.add_subparsers(title="instead", metavar="")
    for name, part, about in (
        ("elasticsearch", elasticsearch, "what the store in Elasticsearch is held to"),
        ("effect", effect, "how often what is said about leaving is true"),
        ("page", page, "how long the page waits with a year behind it"),
        ("soak", soak, "whether memory and files stay as large as they are"),
        ("sessions", sessions, "what lost logouts do to the population"),
        ("torture", torture, "what every fault, and SIGKILL, makes of a recording"),
    ):
        other = others.add_parser(name, help=about, description=part.__doc__)
        part.add_arguments(other)
        other.set_defaults(measure=part.main)
    arguments = parser.parse_args()
    arguments.measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """The daemon with its defaults, one burst after the other."""
    cases: dict[str, Callable[[], Figures]] = {
        "socket to disk (run subscriber)": lambda: intake(
            "subscriber", "ps2_queue_appended_records_total", arguments.events
        ),
        "socket to SQLite store (run)": lambda: intake("", "ps2_writer_records_total", arguments.events),
        "start-up": start_up,
    }
    print(f"{arguments.events:,} events a burst, {arguments.runs} runs; median (lowest to highest)\n")
    for title, case in cases.items():
        show(title, [case() for _ in range(arguments.runs)])


if __name__ == "__main__":
    main()
