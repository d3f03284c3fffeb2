"""Events with their controls, written one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ps2daemon.analysis.matching import REASONS, WEEKS, Matched, Matches
from ps2daemon.model.sittings import NEVER


def matches_of(rows: Sequence[Matched]) -> Matches:
    """The same in columns."""
    controls = np.full((len(rows), 2 * WEEKS), NEVER)
    for place, row in enumerate(rows):
        controls[place, : len(row.controls)] = row.controls
    reasons = np.array([REASONS.index(row.left_out) for row in rows], dtype=np.int8)
    return Matches([row.event for row in rows], controls, reasons)
