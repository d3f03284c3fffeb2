"""`python -m bench soak`: half an hour of the daemon with random faults, and whether its memory and its files stay as large as they are.

A simulator in a process of its own sends short sessions at a steady rate, and while it does, something goes wrong about half of the time: with connections,
subscriptions, frames and REST, at random. Every few seconds the daemon's resident set, its files, and how much it stored are written down. At the end come the
medians of the last third against the second one, and a picture of all of it.

Ends with 1 if memory or the queue's files have grown by more than a tenth meanwhile, if the queue is not empty within a minute after the last fault, or if
anything is lost, doubled, invented or falsely covered, as in `make torture`.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import trio

from bench.outcomes import COLUMNS, Outcome, held_against, wrong
from bench.programs import configure, metric, program, ps2daemon, simulator, stop, until_ready
from bench.recorded import Fault
from ps2daemon.model.silence import KNOWN
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.web.drawing import drawn

FAULTS: Final = (
    *("refuse_upgrade", "refuse_upgrade:503", "accept_silent", "close_at_once", "reset:3", "half_open:3"),
    *("heartbeats_only", "subscription_emptied:3", "subscription_narrowed:3", "no_ack", "stream_down"),
    *("heartbeat_without_timestamp", "ghost_world", "false_while_flowing:10", "renamed_endpoint"),
    *("unknown_event", "payload_without_name", "unparseable_frame", "truncated_json", "large_frame"),
    *("duplicate", "duplicate_late:5", "out_of_order", "numbers_for_strings"),
    *("rest_partial", "rest_reordered", "rest_empty", "rest_error_body", "rest_html", "rest_status:503"),
    *("rest_redirect", "rest_trickle:5", "rest_reset", "rest_down", "rest_nameless", "rest_null_names"),
)
"""Those after which what happened is told as it was, so that the same rate goes on."""
SILENCES: Final = ("heartbeats_only",)
"""Of these, those that can't be noticed until it is known what is usual."""
LONGEST: Final = 40.0
PAUSE: Final = 60.0
"""The longest time between the beginnings of two faults, in seconds."""
CALM: Final = 60.0
"""Without faults, at the beginning and at the end."""
SAMPLE_SECONDS: Final = 5.0
GROWTH: Final = 0.1
MB: Final = 1_000_000


class Sample(NamedTuple):
    """One look.

    Attributes:
        second: since the beginning.
        memory: the resident set; this and the files in MB.
        received, stored: events a second since the look before.
        waiting: records that are in the queue.
    """

    second: float
    memory: float
    queue: float
    store: float
    received: float
    stored: float
    waiting: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    option = parser.add_argument
    option("--minutes", type=float, default=30.0, help="how long (default: %(default)s)")
    option("--rate", type=int, default=500, help="events a second (default: %(default)s)")
    option("--seed", type=int, default=1, help="of the faults (default: %(default)s)")
    option(
        "--out", type=Path, default=Path("soak"), help="a directory for what is left (default: %(default)s)"
    )


def main(arguments: argparse.Namespace) -> None:
    """Runs it, prints what came of it, and draws it.

    Raises:
        SystemExit: 1, something grew or is wrong.
    """
    out: Path = arguments.out
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        sys.exit(f"{out} is there already: move it away, or name another one with --out")
    plan = planned(Random(arguments.seed), 60 * arguments.minutes)
    (out / "faults.toml").write_text(
        "\n".join(
            f'[[fault]]\nfault = "{fault}"\nstart = {start:.1f}\nseconds = {seconds:.1f}\n'
            for fault, start, seconds in plan
        )
    )
    asked = ("--busy", str(arguments.rate), "--faults", "faults.toml", "--truth", "truth")
    with program(out, *simulator(out, *asked)) as census:
        port = configure(out, verify_seconds=5.0)
        with program(out, "--config", "config.toml", "run") as daemon:
            samples = _watch(out, port, daemon.pid, 60 * arguments.minutes)
            waiting = metric(port, "ps2_queue_records")
            stopped = stop(daemon)
        stop(census)
    ps2daemon(out, "--config", "config.toml", "queue", "drain")
    outcome = trio.run(_outcome, out)
    with (out / "samples.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([Sample._fields, *samples])
    picture(out / "soak.png", samples, plan)
    print(
        f"{len(plan)} faults in {arguments.minutes:g} minutes at {arguments.rate} events/s; see {out / 'soak.png'}"
    )
    grown = [name for name in ("memory", "queue") if not _flat(name, samples)]
    _flat("store", samples)
    print(f"left in the queue: {waiting:.0f} records; stopped within {stopped:.1f} s")
    counts = [f"{head} {number:g}" for head, number in zip(COLUMNS[2:], outcome.counts(), strict=True)]
    print("\n".join([f"{outcome.facts:,} events had to be stored: {', '.join(counts)}", *wrong(outcome)]))
    if grown or wrong(outcome) or waiting > arguments.rate * SAMPLE_SECONDS:
        sys.exit(1)


async def _outcome(out: Path) -> Outcome:
    store = await SqliteStore.open(out / "ps2.db", read_only=True)
    try:
        return await held_against(store, Truth.load(out / "truth"))
    finally:
        await store.aclose()


def planned(random: Random, seconds: float) -> list[Fault]:
    """Faults at random, calm at both ends; no silence before it would be known for one."""
    plan: list[Fault] = []
    start = CALM
    while True:
        lasts = random.uniform(5.0, LONGEST)
        if start + lasts > seconds - CALM:
            return plan
        known = start > KNOWN + CALM
        faults = [each for each in FAULTS if known or each not in SILENCES]
        plan.append(Fault(random.choice(faults), start, lasts))
        start += random.uniform(5.0, PAUSE)


def _watch(out: Path, port: int, pid: int, seconds: float) -> list[Sample]:
    began = time.monotonic()
    try:
        until_ready(port)
    except TimeoutError as error:
        sys.exit(f"{error}:\n{(out / 'bench.log').read_text()}")
    samples: list[Sample] = []
    received = stored = 0.0
    last = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        time.sleep(max(0.0, last + SAMPLE_SECONDS - now))
        span, last = time.monotonic() - last, time.monotonic()
        events, records = metric(port, "ps2_events_total"), metric(port, "ps2_writer_records_total")
        samples.append(
            Sample(
                last - began,
                _resident(pid) / MB,
                _size(out / "queue") / MB,
                sum(_size(file) for file in out.glob("ps2.db*")) / MB,
                (events - received) / span,
                (records - stored) / span,
                metric(port, "ps2_queue_records"),
            )
        )
        received, stored = events, records
    return samples


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a directory, as far as they are still there."""
    try:
        if path.is_dir():
            return sum(_size(file) for file in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _flat(name: str, samples: Sequence[Sample]) -> bool:
    """Whether the last third is hardly larger than the second one; prints both."""
    third = len(samples) // 3
    before, after = (
        statistics.median(getattr(sample, name) for sample in part)
        for part in (samples[third : 2 * third], samples[2 * third :])
    )
    print(
        f"{name:<8}{before:>10,.1f} MB, then{after:>10,.1f} MB; at most {max(getattr(s, name) for s in samples):,.1f} MB"
    )
    return bool(after <= before * (1 + GROWTH))


def picture(path: Path, samples: Sequence[Sample], plan: Sequence[Fault]) -> None:
    """Draws all of it, with the faults as bands behind."""
    rows = [{**sample._asdict(), "minute": sample.second / 60} for sample in samples]
    bands = [
        {"from": each.start / 60, "to": (each.start + (each.seconds or 0.0)) / 60, "fault": each.text}
        for each in plan
    ]
    panels = (
        ("memory", "resident set, MB"),
        ("queue", "files of the queue, MB"),
        ("store", "files of the store, MB"),
        ("received", "events received a second"),
        ("stored", "records stored a second"),
    )
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "vconcat": [_panel(field, title, rows, bands) for field, title in panels],
    }
    path.write_bytes(drawn(json.dumps(spec), "png"))


def _panel(field: str, title: str, rows: list[dict[str, Any]], bands: list[dict[str, Any]]) -> dict[str, Any]:
    minutes = {"type": "quantitative", "title": "minutes"}
    return {
        "width": 900,
        "height": 120,
        "layer": [
            {
                "data": {"values": bands},
                "mark": {"type": "rect", "color": "#f0c48a", "opacity": 0.5},
                "encoding": {"x": {"field": "from", **minutes}, "x2": {"field": "to"}},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "line", "color": "#1b5e9b", "strokeWidth": 1},
                "encoding": {
                    "x": {"field": "minute", **minutes},
                    "y": {"field": field, "type": "quantitative", "title": title},
                },
            },
        ],
    }
