"""Several runs of one measurement, as lines of a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

Figures = dict[str, float]
"""What one run measured, by label; a label says its unit."""


def show(title: str, runs: Sequence[Figures]) -> None:
    """Prints the median of each figure, with the lowest and the highest beside it."""
    print(title, flush=True)
    for label in runs[0]:
        values = [run[label] for run in runs]
        digits = 2 if max(values) < 10 else 0
        middle, low, high = (
            f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))
        )
        print(f"  {label:<36}{middle:>10}  ({low} to {high})", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
