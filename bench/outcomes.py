"""What came of faults that a recording went through, held against the truth, and a table of that."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bench.comparison import compare_sessions, coverage_of, edges_of
from ps2daemon.model.records import SECOND
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.base import StoreReader

COLUMNS: Final = ("times", "noticed after", "lost", "doubled", "invented", "falsely covered s")
_EXAMPLES: Final = 3


class Outcome(NamedTuple):
    """Of one run.

    Attributes:
        lost: what happened in time that is vouched for and is not stored.
        doubled: what is stored more than once.
        invented: what is stored and never was.
        falsely_covered: seconds that are vouched for and in which an event could not have arrived, of all worlds together.
        facts: how many had to be stored: where there are none, nothing was tried.
        noticed: seconds from the fault's beginning until the recording knew; None if it never did, or need not.
    """

    lost: Sequence[str]
    doubled: Sequence[str]
    invented: Sequence[str]
    falsely_covered: float
    facts: int
    noticed: float | None = None

    def counts(self) -> tuple[float, ...]:
        """The figures of the table that have to be zero."""
        return len(self.lost), len(self.doubled), len(self.invented), self.falsely_covered


async def held_against(store: StoreReader, truth: Truth) -> Outcome:
    """What a store holds of a simulator's logins and logouts. A second is falsely covered if an event of it was handed to no socket."""
    result = await compare_sessions(store, truth, by_sent=True)
    coverage = await coverage_of(store)
    unsent = {
        (told.fact.world_id, told.fact.at)
        for true in truth.sessions
        for told in edges_of(true, by_sent=True)
        if not told.moments
    }
    falsely = sum(
        world_id in coverage and coverage[world_id].covers(at) and coverage[world_id].covers(at + SECOND)
        for world_id, at in unsent
    )
    return Outcome(result.lost, result.doubled, result.invented, float(falsely), result.edges)


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        run: lets it happen, as a seed has it; to be run in another process.
        runs: how often.
        times: how often the fault strikes in one run.
        to_be_noticed: the recording has to know of it.
        skipped: why it can't be run here.
        seconds: how long a run takes, if that is much.
    """

    name: str
    run: Callable[[int], Outcome]
    runs: int
    times: int = 1
    to_be_noticed: bool = False
    skipped: str | None = None
    seconds: float = 0.0


def wrong(outcome: Outcome) -> list[str]:
    """What is lost, doubled, invented and falsely covered; some examples of each kind."""
    found = [
        f"{kind}: {each}"
        for kind in ("lost", "doubled", "invented")
        for each in getattr(outcome, kind)[:_EXAMPLES]
    ]
    if outcome.falsely_covered:
        found.append(f"{outcome.falsely_covered:g} s falsely covered")
    if not outcome.facts:
        found.append("nothing was recorded, and so nothing tried")
    return found


def failures(row: Row, outcomes: dict[int, Outcome]) -> list[str]:
    """What is wrong with a row, with the seed by which it comes again."""
    found = []
    for seed, outcome in sorted(outcomes.items()):
        said = wrong(outcome)
        if row.to_be_noticed and outcome.noticed is None:
            said.append("not noticed")
        found += [f"{row.name}, seed {seed}: {each}" for each in said]
    return found


def line(row: Row, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The cells of a row, the sums of all runs; `noticed after` is the median, and the longest behind it. What was skipped says why instead."""
    if row.skipped is not None:
        return row.name, "0", row.skipped
    sums = [sum(each) for each in zip(*(outcome.counts() for outcome in outcomes), strict=True)]
    noticed = [outcome.noticed for outcome in outcomes if outcome.noticed is not None]
    after = "-"
    if row.to_be_noticed:
        after = f"{statistics.median(noticed):.1f} s (max {max(noticed):.1f})" if noticed else "never"
    return (row.name, str(len(outcomes) * row.times), after, *(f"{each:g}" for each in sums))


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """Lines under their heads, in columns; the first to the left."""
    heads = ("fault", *COLUMNS)
    widths = [
        max(map(len, cells))
        for cells in zip(heads, *(each for each in lines if len(each) == len(heads)), strict=True)
    ]
    widths[0] = max(len(each[0]) for each in (heads, *lines))
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        " | ".join((cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])))
        for cells in (heads, rule, *lines)
    )
