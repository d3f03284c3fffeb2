"""Who was online from when to when, as columns: whoever asks who left is asking about a million sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
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


class Part:
    """Sittings that stay as they are, in as few bytes as hold them.

    Args:
        since: no logout is before it.

    Attributes:
        reach: the first login and the last logout.
        counted: what somebody counted of them, for who counts again.
    """

    __slots__ = ("_ends", "_factions", "_lengths", "_since", "counted", "reach")

    def __init__(self, sittings: Sittings, since: Ms = 0) -> None:
        self._since = since
        self._factions = _small(sittings.faction_ids)
        self._ends = _small(sittings.logouts - since)
        self._lengths = _small(sittings.logouts - sittings.logins)
        self.reach = int(sittings.logins.min(initial=NEVER)), int(sittings.logouts.max(initial=0))
        self.counted: object = None

    def __len__(self) -> int:
        return len(self._ends)

    def packed(self) -> bytes:
        """All of it but `counted`."""
        columns = [
            (column.dtype.str, column.tobytes()) for column in (self._factions, self._ends, self._lengths)
        ]
        return msgspec.msgpack.encode((self._since, self.reach, columns))

    @classmethod
    def unpacked(cls, data: bytes) -> Part:
        """What `packed` made these bytes of.

        Raises:
            ValueError: they are not.
        """
        since, reach, columns = _decoder.decode(data)
        part = cls.__new__(cls)
        part._since = since
        part._factions, part._ends, part._lengths = (
            np.frombuffer(values, dtype=kind) for kind, values in columns
        )
        part.reach = reach
        part.counted = None
        return part

    def sittings(self) -> Sittings:
        """The columns, in the order in which they were given."""
        logouts = self._ends + np.int64(self._since)
        return Sittings(self._factions.astype(np.int64), logouts - self._lengths, logouts)


_decoder: Final = msgspec.msgpack.Decoder(tuple[Ms, tuple[Ms, Ms], list[tuple[str, bytes]]])


def _small(values: Numbers) -> NDArray[np.signedinteger[Any]]:
    """The same numbers, of 0 and more, in the fewest bytes."""
    most = int(values.max(initial=0))
    return values.astype(next(kind for kind in (np.int8, np.int32, np.int64) if most <= np.iinfo(kind).max))


def sittings_of(rows: Iterable[tuple[int, Ms, Ms | None]]) -> Sittings:
    """The columns of faction, login and logout, which is None while it goes on."""
    made = [(faction_id, login, NEVER if logout is None else logout) for faction_id, login, logout in rows]
    return Sittings(*np.array(made, dtype=np.int64).reshape(-1, 3).T)


def joined(parts: Sequence[Sittings]) -> Sittings:
    """All of them, one part after the other."""
    return Sittings(*map(np.concatenate, zip(*parts, strict=True))) if parts else sittings_of(())
