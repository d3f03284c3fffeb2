"""What a store can tell beside `StoreReader`, so that what was read of a day may be kept (`kept.py`)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from ps2daemon.model.alerts import Alert
from ps2daemon.model.records import Ms
from ps2daemon.store.base import Endings, StoreReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ps2daemon.model.sittings import Sittings

Day: TypeAlias = tuple[int, int]
"""A world and a number: day `n` is the time `(n * DAY, (n + 1) * DAY]`, open at its start as the instants of `changes` are."""
Versions: TypeAlias = dict[Day, Hashable]
"""By day; of a day that is not in it the store has nothing."""


class Edges(NamedTuple):
    """Logins and logouts of one world, in no order; each is `at * 8 + faction_id`, with 7 for a faction of which nothing is known."""

    logins: NDArray[np.int64]
    logouts: NDArray[np.int64]


class Pace(NamedTuple):
    """What is quicker for a store: to count a window, or to tell what changed and read that.

    Attributes:
        counts: windows of up to so many days it counts in less time.
        reads: so many days that changed it reads in less time than it counts a longer window.
    """

    counts: int
    reads: int


@runtime_checkable
class DaySource(StoreReader, Protocol):
    """A reader that tells which days changed, so that what was read of the others may be kept (`kept.py`).

    A version is another one, and never one of before, whenever what it is of has changed, in the same moment for readers.
    """

    @property
    def pace(self) -> Pace: ...

    async def ended(self, start: Ms, end: Ms, world_id: int) -> Sittings:
        """Sittings whose logout lies in `(start, end]`, by logout."""

    async def lasting(self, days: range, before: Ms, world_id: int) -> Sittings:
        """Sittings that began before `before` and go on, or ended after the last of these days, which reach to a day after `before`."""

    async def day_versions(self, days: range, worlds: Collection[int]) -> Versions:
        """The version of what `ended` says of each of these days."""

    async def change_versions(self, days: range, worlds: Collection[int]) -> Versions:
        """The version of what `changes` says of each of these days."""

    async def endings(self, start: Ms, end: Ms, world_id: int) -> Endings:
        """What ended in `(start, end]`."""

    async def endless(self, before: Ms, worlds: Collection[int]) -> list[Alert]:
        """Alerts that began before `before` and have no end."""

    async def ending_versions(self, days: range, worlds: Collection[int]) -> Versions:
        """The version of what `endings` says of each of these days."""


@runtime_checkable
class EdgeSource(DaySource, Protocol):
    """One that gives logins and logouts in less time than it counts them minute by minute; the store of SQLite does."""

    async def edges(self, start: Ms, end: Ms, world_id: int) -> Edges:
        """Logins and logouts in `(start, end]` of sessions whose login is known."""


@runtime_checkable
class LivesSource(DaySource, Protocol):
    """One whose days are worth a file (`day_file.py`), since to read them takes minutes, and that tells what its versions outlive; Elasticsearch's does."""

    async def lives(self) -> Mapping[str, str]:
        """Of each part of the store which life it lives: another one once it was put back from a backup, or made anew under the same name.

        A version is never one of before within the same lives. A part that can't be reached may be left out.

        Raises:
            StoreError: they are not told.
        """
