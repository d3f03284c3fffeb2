"""What a store can tell beside `StoreReader`, so that what was counted of a day may be kept (`kept.py`).

The store of SQLite does. Elasticsearch does not: it keeps no such version, and its numbers of writing (`_seq_no`), each shard's own, would have
to be searched for in all sessions of a window.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from ps2daemon.model.records import Ms
from ps2daemon.store.base import StoreReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Edges(NamedTuple):
    """Logins and logouts of one world, in no order; each is `at * 8 + faction_id`, with 7 for a faction of which nothing is known."""

    logins: NDArray[np.int64]
    logouts: NDArray[np.int64]


@runtime_checkable
class MinuteSource(StoreReader, Protocol):
    """A reader that tells which days changed, so that what was counted of the others may be kept (`kept.py`).

    Day `n` is the time `(n * DAY, (n + 1) * DAY]`, open at its start as the buckets of `changes` are.
    """

    async def edges(self, start: Ms, end: Ms, world_id: int) -> Edges:
        """Logins and logouts in `(start, end]` of sessions whose login is known."""

    async def day_versions(
        self, first: int, behind: int, worlds: Collection[int]
    ) -> dict[tuple[int, int], int]:
        """The version of each world and day from `first` up to the one before `behind`; 0 for what is not in it.

        A day's version grows whenever what `edges` says of it may have changed, in the same moment for readers; it never falls.
        """
