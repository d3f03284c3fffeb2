"""Sittings that are kept by day are those of the store, whichever it is, whatever was written since; and a day that did not change is not read again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import pytest

from ps2daemon.model.differences import Differences
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sittings import Sittings
from ps2daemon.store.base import Commit, SessionDocument, Store
from ps2daemon.store.days import DaySource, Pace
from ps2daemon.store.kept import KeptReader
from tests.contract.stores import BACKENDS, Backend, starting
from tests.memory_reader import changed, rows_of, session

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

D = 20_500 * DAY
"""A midnight, in the middle of a month."""
WORLDS = (1, 10)


def stay(number: int, day: int, *, world_id: int = 10, hours: int = 1) -> SessionDocument:
    login = D + day * DAY + number * MINUTE + 1
    return session(str(number), login, login + hours * HOUR, world_id=world_id)


def over(open_one: SessionDocument, logout: Ms) -> SessionDocument:
    return msgspec.structs.replace(open_one, logout_ts=logout, ended_by="logout")


MIDNIGHT = over(stay(1, 0), D + DAY)
LONG = stay(2, 0, hours=60)
OPEN = session("3", D + 2 * DAY + HOUR, None)
GUESS = msgspec.structs.replace(stay(4, 1), ended_by="cap", ended_after=D, ended_before=D + 5 * DAY)
UNSEEN = session("5", None, D + DAY + HOUR)
ELSEWHERE = stay(6, 2, world_id=1)
TWIN = msgspec.structs.replace(stay(8, 2), session_id="twin", character_id="88")
FIRST = (MIDNIGHT, LONG, OPEN, GUESS, UNSEEN, ELSEWHERE, stay(7, 1), stay(8, 2), TWIN)

# What is committed, days whose sittings are others by it, and days that may be read again: of those that have none any more a store may know.
COMMITS: dict[str, tuple[Commit, set[int], set[int]]] = {
    "one more": (Commit(sessions=[stay(9, 1)]), {1}, set()),
    "one that is open": (Commit(sessions=[session("9", D + DAY + HOUR, None)]), set(), {1}),
    "who logs out": (Commit(sessions=[over(OPEN, D + 2 * DAY + 3 * HOUR)]), {2}, set()),
    "an estimate that was right": (Commit(sessions=[msgspec.structs.replace(stay(4, 1))]), {1}, set()),
    "another empire": (Commit(sessions=[msgspec.structs.replace(LONG, faction_id=3)]), {2}, {0}),
    "another end": (Commit(sessions=[over(MIDNIGHT, D + DAY + 1)]), {1}, {0}),
    "an end that was none": (
        Commit(sessions=[msgspec.structs.replace(MIDNIGHT, logout_ts=None, ended_by=None)]),
        set(),
        {0},
    ),
    "one gone": (Commit(gone_sessions=[stay(7, 1).session_id]), {1}, set()),
    "one gone and another there": (
        Commit(gone_sessions=[stay(7, 1).session_id], sessions=[stay(10, 1)]),
        {1},
        set(),
    ),
}


READERS = [
    *((what, True) for what in COMMITS),
    *((what, False) for what in ["who logs out", "another end", "one gone and another there"]),
]
"""What is committed, and whether the reader goes on or is one that starts again, with the file of the one before."""


@pytest.mark.parametrize(("what", "goes_on"), READERS)
async def test_they_are_the_stores_and_only_days_that_changed_are_read_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, goes_on: bool
) -> None:
    commit, changed, also = COMMITS[what]
    async with backend() as (store, _):
        started = starting(store, monkeypatch, tmp_path, goes_on=goes_on)
        kept, read = started(), read_days(store, monkeypatch)
        await store.commit(Commit(sessions=FIRST))
        await store.refresh()
        windows = [(D, D + 2 * DAY), (D + DAY + HOUR, D + DAY + 2 * HOUR), (D - 3 * DAY, D + 5 * DAY)]
        for start, end in windows:
            await same(kept, store, start, end)
        read.clear()
        kept = started()
        await store.commit(commit)
        await store.refresh()
        for start, end in reversed(windows):
            await same(kept, store, start, end)
        assert {world_id for world_id, _ in read} <= {10}
        assert changed <= {day for _, day in read} <= changed | also


@pytest.mark.parametrize(("what", "goes_on"), READERS)
async def test_changes_that_are_kept_are_the_stores(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, goes_on: bool
) -> None:
    commit, _, _ = COMMITS[what]
    async with backend() as (store, _):
        started = starting(store, monkeypatch, tmp_path, goes_on=goes_on)
        monkeypatch.setattr(store, "pace", Pace(counts=0, reads=100))  # whatever is quicker
        kept, steps = started(), counted_steps(store, monkeypatch)
        for written in (Commit(sessions=FIRST), commit):
            await store.commit(written)
            await store.refresh()
            for start, end, step in (
                (D, D + 2 * DAY, MINUTE),
                (D + DAY - HOUR, D + DAY + 2 * HOUR + 1, HOUR),
                (D - 3 * DAY, D + 5 * DAY, 15 * MINUTE),
            ):
                steps.clear()
                found = changed(await kept.changes(start, end, step, WORLDS))
                assert set(steps) <= {MINUTE}, "days are read, and no window"
                steps.clear()
                kept = started()
                again = changed(await kept.changes(start, end, step, WORLDS))
                assert not steps, "what did not change is not read again"
                assert found == again == changed(await store.changes(start, end, step, WORLDS))
                assert found


def counted_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Ms]:
    """The steps of all windows that the store counts from now on."""
    found: list[Ms] = []
    changes = store.changes

    async def changes_and_told(start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        found.append(step)
        return await changes(start, end, step, worlds)

    monkeypatch.setattr(store, "changes", changes_and_told)
    return found


def read_days(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """World and day of all that is read from now on, in order."""
    assert isinstance(store, DaySource)
    found: list[tuple[int, int]] = []
    ended: Callable[[Ms, Ms, int], object] = store.ended

    async def ended_and_told(start: Ms, end: Ms, world_id: int) -> Sittings:
        found.extend((world_id, day) for day in range((start - D) // DAY, (end - D) // DAY))
        return await ended(start, end, world_id)  # type: ignore[misc,no-any-return]

    monkeypatch.setattr(store, "ended", ended_and_told)
    return found


async def same(kept: KeptReader, store: Store, start: Ms, end: Ms) -> None:
    found = rows_of(await kept.sittings(start, end, WORLDS))
    assert found == rows_of(await store.sittings(start, end, WORLDS))
    assert found
