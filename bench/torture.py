"""`make torture`: every fault of the stream, of REST and of the machine, mixtures of them, and SIGKILL at random moments; what is lost, doubled, invented or falsely vouched for.

Faults of the stream and of REST strike in virtual time; those of the machine, and the kills, are of real processes that record a busy simulator, with a store in SQLite and one in Elasticsearch.
All is held against the simulator's truth. Ends with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Final

from bench import answers, breakdowns, kills, strikes
from bench.outcomes import Outcome, Row, failures, line, table

SERVER: Final = "PS2DAEMON_TEST_ELASTICSEARCH_9"
"""The environment variable that tells of a server for tests."""
_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    option = parser.add_argument
    option(
        "--times",
        type=int,
        default=8,
        help="runs of each fault that is in virtual time (default: %(default)s)",
    )
    option("--kills", type=int, default=200, help="all kills together (default: %(default)s)")
    option(
        "--seed",
        type=int,
        help="of the first run of each fault; the next has the next (default: by the clock)",
    )
    option("--only", action="append", metavar="TEXT", help="faults with this in their name; may be repeated")
    option("--url", help=f"the Elasticsearch (default: ${SERVER}, then http://127.0.0.1:9200)")
    option("--jobs", type=int, default=os.cpu_count(), help="runs at once (default: one for each core)")


def main(arguments: argparse.Namespace) -> None:
    """Lets everything happen, and prints the table."""
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 1_000_000
    url = arguments.url or os.environ.get(SERVER, "http://127.0.0.1:9200")
    rows = [
        row
        for row in (
            *strikes.rows(arguments.times),
            *answers.rows(arguments.times),
            *breakdowns.rows(arguments.times),
            *kills.rows(arguments.kills, url),
        )
        if not arguments.only or any(text in row.name for text in arguments.only)
    ]
    print(f"--seed {seed}", file=sys.stderr)
    began = time.monotonic()
    outcomes = _run(rows, seed, arguments.jobs)
    print(table([line(row, list(outcomes[row.name].values())) for row in rows]))
    minutes = (time.monotonic() - began) / 60
    facts = sum(outcome.facts for of_row in outcomes.values() for outcome in of_row.values())
    print(f"\n{facts:,} events had to be stored; {minutes:.0f} minutes, --seed {seed}")
    wrong = [each for row in rows for each in failures(row, outcomes[row.name])]
    if wrong:
        print("\n".join(["", *wrong[:_SHOWN]]))
        sys.exit(1)


def _run(rows: Sequence[Row], seed: int, jobs: int) -> dict[str, dict[int, Outcome]]:
    """What came of each run, by row and seed; the long ones first."""
    outcomes: dict[str, dict[int, Outcome]] = {row.name: {} for row in rows}
    with ProcessPoolExecutor(jobs) as pool:
        runs: dict[Future[Outcome], tuple[Row, int]] = {}
        for row in sorted(rows, key=lambda row: -row.seconds):
            if row.skipped is None:
                runs |= {pool.submit(row.run, seed + n): (row, seed + n) for n in range(row.runs)}
        try:
            for number, done in enumerate(as_completed(runs), 1):
                row, of_run = runs[done]
                outcomes[row.name][of_run] = _result(done, f"{row.name}, seed {of_run}")
                if len(outcomes[row.name]) == row.runs:
                    print(f"[{number}/{len(runs)}] {_said(row, outcomes[row.name])}", file=sys.stderr)
        except BaseException:  # whatever it is, what has not begun does not
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def _result(done: Future[Outcome], what: str) -> Outcome:
    try:
        return done.result()
    except Exception as error:
        error.add_note(what)
        raise


def _said(row: Row, outcomes: dict[int, Outcome]) -> str:
    wrong = failures(row, outcomes)
    return f"{row.name}: {wrong[0] if wrong else 'as it should be'}"
