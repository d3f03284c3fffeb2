"""By how many the people of an empire on a world became more, or fewer, from one instant to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Differences: TypeAlias = dict[tuple[int, int], NDArray[np.int64]]
"""By world and faction, a value for each of the instants: the change since the one before, and 0 for the first."""


def differences_of(size: int, changes: Iterable[tuple[int, int, int, int]]) -> Differences:
    """The sums of single changes.

    Args:
        size: how many instants there are.
        changes: world, faction, number of the instant, and by how many.
    """
    found: Differences = {}
    for world_id, faction_id, number, by in changes:
        row = found.get((world_id, faction_id))
        if row is None:
            row = found[world_id, faction_id] = np.zeros(size, dtype=np.int64)
        row[number] += by
    return found
