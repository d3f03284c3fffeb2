"""Who was online when, as columns of numbers: for questions about many instants at once.

Only sessions whose end is known, or that go on, are in them. Whether somebody whose end is an estimate left within certain minutes can't be said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.model import tables
from ps2daemon.model.records import Ms
from ps2daemon.model.sittings import Sittings

Times: TypeAlias = NDArray[np.int64]
"""Milliseconds, one dimension."""
Counts: TypeAlias = NDArray[np.int64]

FACTIONS: Final = (tables.UNKNOWN_FACTION, tables.VS, tables.NC, tables.TR, tables.NSO)
"""In the order of the rows of all counts; a faction's id is its row."""
AT_ONCE: Final = 1_000_000
"""Logouts looked at with one step: 24 MB."""


class Crowd:
    """The sessions of one world and faction.

    Args:
        logins, logouts: of each session, `login < logout`; `NEVER` for one that goes on.
    """

    def __init__(self, logins: Times, logouts: Times) -> None:
        if (logouts[1:] < logouts[:-1]).any():  # a day's sittings come in order, and so do days
            order = np.argsort(logouts, kind="stable")
            logins, logouts = logins[order], logouts[order]
        self._logins = np.sort(logins, kind="stable")
        self._logouts, self._since = logouts, logins

    def online(self, at: Times) -> Counts:
        """People with `login <= at < logout`, for each instant (of any shape).

        Instants near to each other, one after the other, are found in a fraction of the time.
        """
        begun = np.searchsorted(self._logins, at, side="right")
        ended = np.searchsorted(self._logouts, at, side="right")
        return np.asarray(begun - ended, dtype=np.int64)

    def leavers(self, at: Times, within: Sequence[Ms]) -> Counts:
        """Those of the people online at each instant whose logout comes at most so much later: a row for each of `within`."""
        counts = np.zeros((len(within), len(at)), dtype=np.int64)
        first = np.searchsorted(self._logouts, at, side="right")
        sizes = np.searchsorted(self._logouts, at + max(within), side="right") - first
        bounds = np.concatenate(([0], np.cumsum(sizes)))
        start = 0
        while start < len(at):
            behind = int(np.searchsorted(bounds, bounds[start] + AT_ONCE, side="right")) - 1
            behind = min(len(at), max(behind, start + 1))
            part = slice(start, behind)
            whose = np.repeat(np.arange(start, behind), sizes[part])
            index = np.arange(bounds[behind] - bounds[start]) + (first - bounds[:-1])[whose] + bounds[start]
            was_there = self._since[index] <= at[whose]
            for row, span in enumerate(within):
                left = was_there & (self._logouts[index] <= at[whose] + span)
                counts[row, part] = np.bincount(whose[left] - start, minlength=behind - start)
            start = behind
        return counts


class Crowds:
    """The sessions of several worlds, by faction.

    Args:
        sittings: of each world.
    """

    def __init__(self, sittings: Mapping[int, Sittings]) -> None:
        self._sittings = {
            world_id: columns.where(np.isin(columns.faction_ids, FACTIONS))
            for world_id, columns in sittings.items()
        }
        self._crowds = {
            (world_id, faction_id): Crowd(logins[of_it], logouts[of_it])
            for world_id, (faction_ids, logins, logouts) in self._sittings.items()
            for faction_id in FACTIONS
            if (of_it := faction_ids == faction_id).any()
        }
        self._nobody = Crowd(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        self._together: dict[int, Crowd] = {}

    def of(self, world_id: int, faction_id: int) -> Crowd:
        """Those of one world and faction, of whom there may be none."""
        return self._crowds.get((world_id, faction_id), self._nobody)

    def together(self, world_id: int) -> Crowd:
        """Those of one world: where factions don't matter, that is a fifth of the work."""
        if world_id not in self._sittings:
            return self._nobody
        if world_id not in self._together:
            _, logins, logouts = self._sittings[world_id]
            self._together[world_id] = Crowd(logins, logouts)
        return self._together[world_id]

    def online(self, world_id: int, at: Times) -> Counts:
        """People online, a row for each of `FACTIONS`; the other dimensions are those of `at`."""
        return np.stack([self.of(world_id, faction).online(at) for faction in FACTIONS])

    def leavers(self, world_id: int, at: Times, within: Sequence[Ms]) -> Counts:
        """People who leave (see `Crowd.leavers`), as (factions, spans, instants)."""
        return np.stack([self.of(world_id, faction).leavers(at, within) for faction in FACTIONS])
