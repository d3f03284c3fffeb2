"""Who was online when, as columns of numbers: for questions about many instants at once.

Only sessions whose end is known, or that go on, are in them. Whether somebody whose end is an estimate left within certain minutes can't be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.model import tables
from ps2daemon.model.records import Ms
from ps2daemon.model.sittings import Sittings

Times: TypeAlias = NDArray[np.int64]
"""Milliseconds."""
Counts: TypeAlias = NDArray[np.int64]

FACTIONS: Final = (tables.UNKNOWN_FACTION, tables.VS, tables.NC, tables.TR, tables.NSO)
"""In the order of the rows of all counts; a faction's id is its row."""
APART: Final = 2**44
"""Milliseconds: no time is later, since that is the year 2527."""
AT_ONCE: Final = 1_000_000
"""Logouts looked at with one step: 24 MB."""


class Crowd:
    """Sessions of one world.

    Args:
        logins, logouts: of each session, `login < logout`; `NEVER` for one that goes on.
    """

    def __init__(self, logins: Times, logouts: Times) -> None:
        if (logouts[1:] < logouts[:-1]).any():  # a day's sittings come in order, and so do days
            order = np.argsort(logouts)
            logins, logouts = logins[order], logouts[order]
        self._logins = np.sort(logins)
        self._logouts, self._since = logouts, logins

    def online(self, at: Times) -> Counts:
        """People with `login <= at < logout`, for each instant (of any shape).

        Instants near to each other, one after the other, are found in a fraction of the time.
        """
        begun = np.searchsorted(self._logins, at, side="right")
        ended = np.searchsorted(self._logouts, at, side="right")
        return np.asarray(begun - ended, dtype=np.int64)

    def newcomers(self, at: Times, age: Ms) -> Counts:
        """Those of the people online at each instant who came less than so long before it."""
        begun = np.searchsorted(self._logins, at, side="right")
        begun -= np.searchsorted(self._logins, at - age, side="right")
        return np.asarray(begun - self._visitors(at - age, (age,))[0], dtype=np.int64)

    def leavers(self, at: Times, within: Sequence[Ms], ages: Sequence[Ms] = ()) -> Counts:
        """Those of the people online at each instant whose logout comes at most so much later: (ages and everybody, spans, instants).

        That is everybody who logs out by then, but for those who came after the instant.

        Args:
            ages: first come the newcomers alone, who came less than so long before, for each of these.
        """
        ended = np.searchsorted(self._logouts, at, side="right")
        everybody = np.stack(
            [np.searchsorted(self._logouts, at + span, side="right") - ended for span in within]
        )
        newcomers = [self._visitors(at, within, age) for age in ages]
        return np.asarray(np.stack([*newcomers, everybody]) - self._visitors(at, within), dtype=np.int64)

    def _visitors(self, at: Times, within: Sequence[Ms], before: Ms = 0) -> Counts:
        """Those who leave after each instant and at most so much later, and came after it, or less than `before` before: only short sessions have room for both."""
        brief = self._logouts - self._since < max(within) + before
        logouts, since = self._logouts[brief], self._since[brief]
        counts = np.zeros((len(within), len(at)), dtype=np.int64)
        first = np.searchsorted(logouts, at, side="right")
        sizes = np.searchsorted(logouts, at + max(within), side="right") - first
        bounds = np.concatenate(([0], np.cumsum(sizes)))
        start = 0
        while start < len(at):
            behind = int(np.searchsorted(bounds, bounds[start] + AT_ONCE, side="right")) - 1
            behind = min(len(at), max(behind, start + 1))
            whose = np.repeat(np.arange(start, behind), sizes[start:behind])
            index = np.arange(bounds[behind] - bounds[start]) + (first - bounds[:-1])[whose] + bounds[start]
            came = since[index] > at[whose] - before
            whose, index = whose[came], index[came]
            for row, span in enumerate(within):
                left = logouts[index] <= at[whose] + span
                counts[row, start:behind] = np.bincount(whose[left] - start, minlength=behind - start)
            start = behind
        return counts


class Crowds:
    """The sessions of one world, by faction: one crowd whose times lie `APART` for each faction, as if it were one time after the other."""

    def __init__(self, sittings: Sittings) -> None:
        self._sittings = sittings.where(np.isin(sittings.faction_ids, FACTIONS))
        faction_ids, logins, logouts = self._sittings
        first = faction_ids * APART
        self._crowd = Crowd(first + logins, first + np.minimum(logouts, APART - 1))

    @cached_property
    def together(self) -> Crowd:
        """All of them: where factions don't matter, that is a fifth of the work."""
        return Crowd(self._sittings.logins, self._sittings.logouts)

    def online(self, at: Times, ages: Sequence[Ms] = ()) -> Counts:
        """People online at each instant, as (factions, ages, instants).

        Args:
            ages: apart are those who came less than the first of these before, then those who came less than the second, and last all others.
        """
        own = _of_each(at)
        younger = [self._crowd.newcomers(own, age) for age in ages]
        return self._by_age(np.stack([*younger, self._crowd.online(own)]))

    def leavers(self, at: Times, within: Sequence[Ms], ages: Sequence[Ms] = ()) -> Counts:
        """People who leave (see `Crowd.leavers`), as (factions, ages, spans, instants); see `online`."""
        return self._by_age(self._crowd.leavers(_of_each(at), within, ages))

    @staticmethod
    def _by_age(younger: Counts) -> Counts:
        """From those who are younger than each age, everybody at last: those between each age and the one before."""
        found = younger.copy()
        found[1:] -= younger[:-1]
        return np.moveaxis(found.reshape(*found.shape[:-1], len(FACTIONS), -1), -2, 0)


def _of_each(at: Times) -> Times:
    """The instants in the time of each faction, one faction after the other."""
    return np.asarray(np.add.outer(np.array(FACTIONS) * APART, at).ravel(), dtype=np.int64)
