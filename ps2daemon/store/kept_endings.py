"""Alerts, locks, and logouts without a login, kept by the day on which they ended or were (see `kept.py`): of a year of four worlds there are 40,000.

Alerts that have no end are read each time, again if a day has another version after that than before: none is left out that ends meanwhile, or whose
end turns out to be on another day. Locks and logouts move to no other day; each is what it is by its time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import msgspec

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import Endings, UnknownStart
from ps2daemon.store.day_file import DayFile, Shelf
from ps2daemon.store.days import DaySource, Versions
from ps2daemon.store.kept_days import KeptDays, settled

FEW_DAYS: Final = 7
"""What ended on so many days is read in about the time that it takes to tell whether it changed."""
MANY_DAYS: Final = 3000
"""Of worlds together, two years of four: who asks for more asks the store, since it would push out what others ask for, and be read anew each time."""
MOST: Final = 80_000
"""What ended in as much; the two thirds that are alerts and locks have about a kilobyte each. Each day counts as one more."""

T = TypeVar("T")


class KeptEndings:
    """The alerts, locks and unknown starts of a source, as `StoreReader` tells them.

    Args:
        most: so many are kept, of the days that were asked for last.
        file: where they are kept beyond this process.

    Attributes:
        days: what is kept.
    """

    def __init__(self, source: DaySource, most: int = MOST, file: DayFile | None = None) -> None:
        self._source = source
        encode, decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Endings).decode
        self.days: KeptDays[Endings] = KeptDays(
            self._read,
            source.ending_versions,
            Endings(),
            most,
            lambda endings: 1 + endings.number,
            file and Shelf(file, "endings", encode, decode),
        )

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        """See `StoreReader.alerts`."""
        if worlds is None or not _worth_keeping(start, end, worlds):
            return await self._source.alerts(start, end, worlds)
        found = (await self.around(start, end, worlds)).alerts
        return sorted(found, key=lambda alert: (alert.changes[0].at, alert.alert_id))

    async def around(self, start: Ms, end: Ms, worlds: Collection[int]) -> Endings:
        """Alerts and locks of the window, and unknown starts up to a day later, with one look at what changed."""
        if not _worth_keeping(start, end, worlds):
            return await self._ask(start, end, worlds)
        # An alert that began in the window ends within a day.
        days = range((start - 1) // DAY, -(-(end + DAY) // DAY))

        async def read(versions: Versions, left: Collection[int]) -> dict[int, Endings]:
            endless = await self._source.endless(end, left)
            found = {}
            for world_id in left:
                kept = await self.days.get(world_id, days, versions)
                alerts = [alert for alert in endless if alert.world_id == world_id]
                alerts += [
                    alert
                    for day in kept
                    for alert in day.alerts
                    if alert.changes[0].at < end and alert.end is not None and alert.end > start
                ]
                unknown = _unknown_starts(kept, start, end + DAY)
                found[world_id] = Endings(tuple(alerts), tuple(_locks(kept, start, end)), tuple(unknown))
            return found

        found, restless = await settled(partial(self._source.ending_versions, days), read, worlds)
        of_all = [*found.values(), *([await self._ask(start, end, restless)] if restless else [])]
        return Endings(*(tuple(chain.from_iterable(kind)) for kind in zip(*of_all, strict=True)))

    async def _ask(self, start: Ms, end: Ms, worlds: Collection[int]) -> Endings:
        alerts = await self._source.alerts(start, end, worlds)
        locks = await self._source.locks(start, end, worlds)
        unknown_starts = await self._source.unknown_starts(start, end + DAY, worlds)
        return Endings(tuple(alerts), tuple(locks), tuple(unknown_starts))

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        """See `StoreReader.locks`."""
        if worlds is None or not _worth_keeping(start, end, worlds):
            return await self._source.locks(start, end, worlds)
        days = range((start - 1) // DAY, -((1 - end) // DAY))  # a day begins after its midnight
        return sorted(_locks(await self._get(days, worlds), start, end), key=_order_of_locks)

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        """See `StoreReader.unknown_starts`."""
        if not _worth_keeping(start, end, worlds):
            return await self._source.unknown_starts(start, end, worlds)
        days = range(start // DAY, -(-end // DAY))
        return list(_unknown_starts(await self._get(days, worlds), start, end))

    async def _get(self, days: range, worlds: Collection[int]) -> list[Endings]:
        versions = await self._source.ending_versions(days, worlds)
        return [day for world_id in set(worlds) for day in await self.days.get(world_id, days, versions)]

    async def _read(self, world_id: int, days: range) -> Mapping[int, Endings]:
        found = await self._source.endings(days.start * DAY, days.stop * DAY, world_id)
        alerts = _by_day(found.alerts, lambda alert: alert.end or 0)
        locks = _by_day(found.locks, lambda lock: lock.at)
        unknown = _by_day(found.unknown_starts, lambda each: each.logout_ts)
        return {day: Endings(tuple(alerts[day]), tuple(locks[day]), tuple(unknown[day])) for day in days}


def _worth_keeping(start: Ms, end: Ms, worlds: Collection[int]) -> bool:
    return FEW_DAYS * DAY < end - start <= MANY_DAYS * DAY // max(1, len(set(worlds)))


def _locks(days: Iterable[Endings], start: Ms, end: Ms) -> Iterator[Lock]:
    return (lock for day in days for lock in day.locks if start <= lock.at < end)


def _order_of_locks(lock: Lock) -> tuple[Ms, str]:
    return lock.at, lock.lock_id


def _unknown_starts(days: Iterable[Endings], start: Ms, end: Ms) -> Iterator[UnknownStart]:
    return (each for day in days for each in day.unknown_starts if start < each.logout_ts <= end)


def _by_day(values: Iterable[T], at: Callable[[T], Ms]) -> Mapping[int, Sequence[T]]:
    found: defaultdict[int, list[T]] = defaultdict(list)
    for value in values:
        found[(at(value) - 1) // DAY].append(value)
    return found
