"""Alerts, locks and unknown starts that are kept by day are those of the store, whatever was written since; and a day that did not change is not read again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import pytest

from ps2daemon.model.alerts import Alert, derive
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.store.base import Commit, Endings, Store
from ps2daemon.store.days import DaySource
from ps2daemon.store.kept import KeptReader
from ps2daemon.store.kept_days import ATTEMPTS
from ps2daemon.store.kept_endings import MANY_DAYS
from tests.contract.stores import BACKENDS, Backend, change, continent_lock, starting
from tests.memory_reader import session

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

D = 20_500 * DAY
"""A midnight, in the middle of a month."""
WORLDS = (1, 10)


def alert(number: int, start: Ms, *, hours: int | None = 1, world_id: int = 10) -> Alert:
    changes = [change(start, STARTED, number, world_id=world_id)]
    if hours is not None:
        changes.append(change(start + hours * HOUR, ENDED, number, world_id=world_id))
    (found,) = derive(changes, [], start)[0].values()
    return found


MIDNIGHT = alert(1, D + DAY - HOUR)
ACROSS = alert(2, D + 3 * DAY - HOUR, hours=2)
RUNNING = alert(3, D + 5 * DAY, hours=None)
ELSEWHERE = alert(4, D + 2 * DAY, world_id=1)
ALERTS = (MIDNIGHT, ACROSS, RUNNING, ELSEWHERE, *(alert(5, D + day * DAY + HOUR) for day in range(9)))
LOCKS = (
    *(continent_lock(D + day * DAY) for day in range(10)),
    continent_lock(D + 4 * DAY + 1),
    continent_lock(D + 4 * DAY - 1, world_id=1),
)

UNKNOWN = (
    *(session("1", None, D + day * DAY) for day in range(10)),
    session("2", None, D + 4 * DAY + 1),
    session("3", None, D + 4 * DAY - 1, world_id=1),
    session("4", D + 4 * DAY, D + 4 * DAY + HOUR),
)
FIRST = Commit(alerts=ALERTS, locks=LOCKS, sessions=UNKNOWN)

# What is committed, and days of world 10 of which something else ended by it.
COMMITS: dict[str, tuple[Commit, set[int]]] = {
    "one that ends": (Commit(alerts=[alert(3, RUNNING.changes[0].at)]), {5}),
    "one more that runs": (Commit(alerts=[alert(9, D + 6 * DAY, hours=None)]), set()),
    "another end": (Commit(alerts=[alert(1, D + DAY - HOUR, hours=2)]), {0, 1}),
    "an end that was none": (Commit(alerts=[alert(2, D + 3 * DAY - HOUR, hours=None)]), {3}),
    "one gone": (Commit(gone_alerts=[ACROSS.alert_id]), {3}),
    "a lock more": (Commit(locks=[continent_lock(D + 6 * DAY + HOUR)]), {6}),
    "a lock gone": (Commit(gone_locks=[LOCKS[4].lock_id]), {3}),
    "one who came before": (Commit(sessions=[session("5", None, D + 6 * DAY + HOUR)]), {6}),
    "one who is named": (Commit(sessions=[msgspec.structs.replace(UNKNOWN[5], faction_id=3)]), {4}),
    "one who is gone": (Commit(gone_sessions=[UNKNOWN[5].session_id]), {4}),
    "one who logs in": (Commit(sessions=[session("6", D + 6 * DAY, None)]), set()),
    "a lock's alert": (Commit(locks=[msgspec.structs.replace(LOCKS[7], alert_id="an alert")]), {6}),
}
READERS = [
    *((what, True) for what in COMMITS),
    *((what, False) for what in ["an end that was none", "a lock gone", "one who is named"]),
]
"""What is committed, and whether the reader goes on or is one that starts again, with the file of the one before."""

WINDOWS = (
    (D, D + 8 * DAY),
    (D + 1, D + 8 * DAY + 1),
    (D - 20 * DAY, D + 30 * DAY),
    (D + 3 * DAY, D + 4 * DAY),
)


@pytest.mark.parametrize(("what", "goes_on"), READERS)
async def test_they_are_the_stores_and_only_days_that_changed_are_read_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, goes_on: bool
) -> None:
    commit, changed = COMMITS[what]
    async with backend() as (store, _):
        started = starting(store, monkeypatch, tmp_path, goes_on=goes_on)
        kept, read = started(), read_days(store, monkeypatch)
        await store.commit(FIRST)
        await store.refresh()
        for start, end in WINDOWS:
            await same(kept, store, start, end)
        read.clear()
        kept = started()
        for start, end in WINDOWS:
            await same(kept, store, start, end)
        assert read == []
        await store.commit(commit)
        await store.refresh()
        kept = started()
        for start, end in reversed(WINDOWS):
            await same(kept, store, start, end)
        assert set(read) == changed


async def test_who_asks_for_more_than_is_kept_asks_the_store(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backend() as (store, _):
        assert isinstance(store, DaySource)
        kept, read = KeptReader(store), read_days(store, monkeypatch)
        await store.commit(FIRST)
        await store.refresh()
        await same(kept, store, D - (MANY_DAYS + 1) * DAY, D + 9 * DAY)
        assert read == []


@pytest.mark.parametrize("ending", [1, 2, 2 * ATTEMPTS])
async def test_what_ends_while_it_is_read_is_there_once(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, ending: int
) -> None:
    async with backend() as (store, _):
        assert isinstance(store, DaySource)
        running = [alert(number, D + number * HOUR, hours=None) for number in range(2 * ATTEMPTS)]
        await store.commit(Commit(alerts=running, locks=LOCKS, sessions=UNKNOWN))
        await store.refresh()
        left = iter(range(ending))
        read = store.endless

        async def read_and_one_ends(before: Ms, worlds: Collection[int]) -> list[Alert]:
            found = await read(before, worlds)
            number = next(left, None)
            if number is not None:
                await store.commit(Commit(alerts=[alert(number, D + number * HOUR)]))
                await store.refresh()
            return found

        monkeypatch.setattr(store, "endless", read_and_one_ends)
        kept = KeptReader(store)
        found = await kept.alerts(D, D + 9 * DAY, WORLDS)
        assert sorted(each.instance_id for each in found) == list(range(2 * ATTEMPTS))
        await same(kept, store, D, D + 9 * DAY)


def read_days(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The days of world 10 of which endings are read from now on."""
    assert isinstance(store, DaySource)
    found: list[int] = []
    endings: Callable[[Ms, Ms, int], object] = store.endings

    async def endings_and_told(start: Ms, end: Ms, world_id: int) -> Endings:
        found.extend(range((start - D) // DAY, (end - D) // DAY) if world_id == 10 else ())
        return await endings(start, end, world_id)  # type: ignore[misc,no-any-return]

    monkeypatch.setattr(store, "endings", endings_and_told)
    return found


async def same(kept: KeptReader, store: Store, start: Ms, end: Ms) -> None:
    for worlds in (WORLDS, (10,)):
        alerts = await kept.alerts(start, end, worlds)
        assert alerts == await store.alerts(start, end, worlds)
        locks = await kept.locks(start, end, worlds)
        assert locks == await store.locks(start, end, worlds)
        unknown = await kept.unknown_starts(start, end, worlds)
        assert sorted(unknown) == sorted(await store.unknown_starts(start, end, worlds))
        around, _ = await kept.surroundings(start, end, worlds)
        assert sorted(around.alerts, key=lambda each: (each.changes[0].at, each.alert_id)) == alerts
        assert sorted(around.locks, key=lambda each: (each.at, each.lock_id)) == locks
        assert sorted(around.unknown_starts) == sorted(await store.unknown_starts(start, end + DAY, worlds))
        assert alerts
        assert locks
        assert unknown
