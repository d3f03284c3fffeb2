"""Who was online when, as columns of numbers: for questions about many instants at once.

Only sessions whose end is known, or that go on, are in them. Whether somebody whose end is an estimate left within certain minutes can't be said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

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
AT_ONCE: Final = 100_000
"""Logins looked at with one step: 6 MB."""


class Crowd:
    """Sessions of one world.

    Args:
        logins, logouts: of each session, `login < logout`; `NEVER` for one that goes on.
    """

    def __init__(self, logins: Times, logouts: Times) -> None:
        self._logins = np.sort(logins)
        # A day's sittings come in the order of their logouts, and so do days.
        self._logouts = np.sort(logouts) if (logouts[1:] < logouts[:-1]).any() else logouts

    def online(self, at: Times) -> Counts:
        """People with `login <= at < logout`, for each instant (of any shape).

        Instants near to each other, one after the other, are found in a fraction of the time.
        """
        begun = np.searchsorted(self._logins, at, side="right")
        return np.asarray(begun - self.ended(at), dtype=np.int64)

    def ended(self, at: Times) -> Counts:
        """Sessions with `logout <= at`, for each instant (of any shape)."""
        return np.searchsorted(self._logouts, at, side="right")


class AtInstants(NamedTuple):
    """People at some instants.

    Attributes:
        online: (factions, ages, instants).
        left: those of them whose logout comes at most so much later, (factions, ages, spans, instants).
    """

    online: Counts
    left: Counts


class Crowds:
    """The sessions of one world, by faction."""

    def __init__(self, sittings: Sittings) -> None:
        self._sittings = sittings.where(np.isin(sittings.faction_ids, FACTIONS))

    @cached_property
    def together(self) -> Crowd:
        """All of them: where factions don't matter, that is a fifth of the work."""
        return Crowd(self._sittings.logins, self._sittings.logouts)

    def at(self, instants: Times, within: Sequence[Ms], ages: Sequence[Ms]) -> AtInstants:
        """Who is online at each instant, and who leaves soon.

        Args:
            within: how soon, ascending.
            ages: what tells people apart by the time since their login, ascending: who came less than the first of these before an instant, who came less
                than the second, and last all others.
        """
        # One crowd whose times lie `APART` for each faction, as if it were one time after the other.
        faction_ids, logins, logouts = self._sittings
        first = faction_ids * APART
        crowd = Crowd(first + logins, first + np.minimum(logouts, APART - 1))
        own = np.add.outer(np.array(FACTIONS) * APART, instants)
        online, ended = crowd.online(own), crowd.ended(own)
        # Everybody who logs out by then, but for those who come after the instant; those are found on the way.
        left = np.stack([crowd.ended(own + span) - ended for span in within])
        about = self._about(instants, within, ages)
        soon = about[..., 1:-1].cumsum(axis=-1)
        new, new_left = about[1:, ..., 1:].sum(axis=-1), np.moveaxis(soon[1:], -1, 1)
        old_left = left - np.moveaxis(soon.sum(axis=0), -1, 0)
        online = np.concatenate([new, (online - new.sum(axis=0))[None]])
        return AtInstants(
            np.moveaxis(online, 1, 0), np.moveaxis(np.concatenate([new_left, old_left[None]]), 2, 0)
        )

    def _about(self, instants: Times, within: Sequence[Ms], ages: Sequence[Ms]) -> Counts:
        """Those who come about each instant, (ages, factions, instants, ends).

        The first age is of those who come after it, soon enough to leave within the longest span; the others as in `at`, but for the last of those.
        Ends are: by the instant, within each span more, and later.
        """
        faction_ids, logins, logouts = self._by_login
        first = np.searchsorted(logins, instants - ages[-1], side="right")
        behind = np.searchsorted(logins, instants + within[-1], side="right")
        shape = len(FACTIONS), len(ages) + 1, len(within) + 2
        width = math.prod(shape)
        counts = np.empty((len(instants), width), dtype=np.int64)
        for part in _steps(behind - first):
            sizes = (behind - first)[part]
            whose = np.repeat(np.arange(len(sizes)), sizes)
            place = np.arange(len(whose)) + np.repeat(behind[part] - np.cumsum(sizes), sizes)
            at = instants[part][whose]
            kind = faction_ids[place]
            for edges, since in (
                ((0, *ages[:-1]), at - logins[place]),
                ((1, *(span + 1 for span in within)), logouts[place] - at),
            ):
                kind = kind * (len(edges) + 1) + sum((since >= edge).view(np.int8) for edge in edges)
            counts[part] = np.bincount(whose * width + kind, minlength=len(sizes) * width).reshape(-1, width)
        return counts.reshape(-1, *shape).transpose(2, 1, 0, 3)

    @cached_property
    def _by_login(self) -> Sittings:
        return self._sittings.at(np.argsort(self._sittings.logins, kind="stable"))


def _steps(sizes: Counts) -> Iterator[slice]:
    """Instants with at most `AT_ONCE` logins together, or one with more."""
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    start = 0
    while start < len(sizes):
        behind = int(np.searchsorted(bounds, bounds[start] + AT_ONCE, side="right")) - 1
        behind = max(behind, start + 1)
        yield slice(start, behind)
        start = behind
