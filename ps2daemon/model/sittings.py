"""Who was online from when to when, as columns: whoever asks who left is asking about a million sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps2daemon.model.records import Ms

NEVER: Final = 2**63 - 1
"""The logout of a session that goes on."""

Numbers: TypeAlias = NDArray[np.int64]


class Sittings(NamedTuple):
    """Sessions whose login was seen and whose end is known, or that go on, in no order: one value each in every column.

    Attributes:
        logins, logouts: milliseconds; a logout is `NEVER` while the session goes on.
    """

    faction_ids: Numbers
    logins: Numbers
    logouts: Numbers

    def within(self, start: Ms, end: Ms) -> Sittings:
        """Those that were online at any time in `[start, end)`."""
        return self.where((self.logins < end) & (self.logouts > start))

    def where(self, holds: NDArray[np.bool_]) -> Sittings:
        """Those for which it holds; they share their memory with these if that is all."""
        return self if holds.all() else self.at(holds)

    def at(self, places: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Sittings:
        """Those at these places."""
        return Sittings(*(column[places] for column in self))


def sittings_of(rows: Iterable[tuple[int, Ms, Ms | None]]) -> Sittings:
    """The columns of faction, login and logout, which is None while it goes on."""
    made = [(faction_id, login, NEVER if logout is None else logout) for faction_id, login, logout in rows]
    return Sittings(*np.array(made, dtype=np.int64).reshape(-1, 3).T)


def joined(parts: Sequence[Sittings]) -> Sittings:
    """All of them, one part after the other."""
    return Sittings(*map(np.concatenate, zip(*parts, strict=True))) if parts else sittings_of(())
