"""Copying a store into any other: everything, once, whatever breaks it off, and never into another's data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings

from bench.content import content
from ps2daemon.errors import StoreConflict, StoreMismatch
from ps2daemon.model.alerts import derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.model.sessions import Character, Session
from ps2daemon.store import copying
from ps2daemon.store.base import CharacterDocument, Commit, Store, Stored, StoreSource, Unsettled
from ps2daemon.store.copying import copy_store
from tests.contract.histories import History, finals, histories
from tests.contract.stores import (
    BACKENDS,
    T0,
    Backend,
    all_of,
    change,
    character,
    continent_lock,
    session,
    sqlite,
)
from tests.stores import Calls

pytestmark = [
    pytest.mark.parametrize("backend", BACKENDS),
    pytest.mark.parametrize("to_sqlite", [False, True], ids=["into", "back"]),
]


@asynccontextmanager
async def pair(backend: Backend, to_sqlite: bool) -> AsyncIterator[tuple[Store, Store]]:
    """A source and a target, one of them SQLite."""
    async with sqlite() as (embedded, _), backend() as (other, _):
        yield (other, embedded) if to_sqlite else (embedded, other)


def nothing(number: int) -> None:
    pass


async def fill(store: Store) -> None:
    """All that a store can hold, with some sessions that their characters don't hold any more."""
    outgrown = CharacterDocument(
        "9",
        "Zoë",
        2,
        T0,
        Character(
            (Session(world_id=10, login_ts=T0 + DAY),), pruned_before=T0 + DAY, pruned_logout=T0 + HOUR
        ),
    )
    alone = all_of(character("9", session(T0, T0 + HOUR)), character("8", session(T0 - 60 * DAY, T0)))
    out = Session(world_id=1, logout_ts=T0, started_by="unknown", ended_by="logout")
    alerts, locks = derive(
        [
            change(T0, STARTED, 2**64 - 1),
            change(T0 + HOUR, ENDED, 2**64 - 1),
            change(T0 - 90 * DAY, ENDED, 3),
        ],
        [continent_lock(T0), continent_lock(T0 + 90 * DAY)],
        T0,
    )
    await store.commit(
        msgspec.structs.replace(
            all_of(
                outgrown,
                *(
                    character(str(number), session(T0 + number % 3, T0 + HOUR), out)
                    for number in range(100, 110)
                ),
            ),
            alerts=list(alerts.values()),
            locks=list(locks.values()),
            spans=[
                Span(77, T0, T0, "start"),
                Span(10, T0, T0 + DAY, "start"),
                Span(10, T0 + DAY, T0 + 2 * DAY, "connection"),
            ],
            unsettled=[Unsettled("10-0-5", 10, 0, 5)],
            records_until=T0 + 2 * DAY,
        )
    )
    await store.write_note(make_note(T0, (10,), "Patch 5.3"))
    await store.commit(Commit(sessions=alone.sessions, pruned_until=T0 - 61 * DAY))
    await store.refresh()


async def everything(store: StoreSource) -> Any:
    return (
        await content(store),
        await store.stored_spans(),
        await store.unsettled(),
        await store.pruned_until(),
        await store.copying(),
    )


async def test_a_copy_is_the_same(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await fill(source)
        told: list[int] = []
        copied = await copy_store(source, target, told.append)
        assert await everything(target) == await everything(source)
        counts = await source.counts()
        number = sum(counts[kind] for kind in ("characters", "sessions", "alerts", "locks", "notes", "spans"))
        assert copied.counts == counts
        assert (copied.written, copied.deleted) == (number, 0)
        assert told == sorted(told)
        assert told[-1] == number
        again = await copy_store(source, target, told.append)
        assert (again.counts, again.written, again.deleted) == (counts, 0, 0)


async def test_an_empty_store_makes_an_empty_copy(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        assert (await copy_store(source, target, nothing)).written == 0
        assert await everything(target) == await everything(source)


@given(history=histories())
@settings(max_examples=25, deadline=None)
async def test_any_history_is_copied(backend: Backend, to_sqlite: bool, history: History) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await source.commit(all_of(*finals(history)))
        await source.refresh()
        await copy_store(source, target, nothing)
        assert await everything(target) == await everything(source)


async def test_another_s_data_is_left_alone(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await fill(source)
        for own in (
            all_of(character("5", session(T0))),
            Commit(spans=[Span(10, T0, T0 + DAY, "start")], records_until=T0),
        ):
            await target.commit(own)
            await target.refresh()
            before = await everything(target)
            with pytest.raises(StoreMismatch, match="holds data of its own already"):
                await copy_store(source, target, nothing)
            assert await everything(target) == before


async def test_a_part_of_another_copy_is_left_alone(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await target.mark_copying("sqlite /elsewhere")
        with pytest.raises(StoreMismatch, match="holds a part of a copy of sqlite /elsewhere"):
            await copy_store(source, target, nothing)
        await target.mark_copying(None)
        await source.mark_copying("sqlite /elsewhere")
        with pytest.raises(StoreMismatch, match="itself a copy of sqlite /elsewhere that is not complete"):
            await copy_store(source, target, nothing)
        assert await target.copying() is None


class Faulty:
    """A store whose writing calls are counted, and one of which is the last of the process."""

    def __init__(self, store: Store, calls: Calls) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in ("commit", "mark_copying"):
            return method

        async def call(argument: Any) -> Any:
            return await self._calls(lambda: method(argument))

        return call


class Death(BaseException):
    pass


async def test_it_may_break_off_anywhere(
    backend: Backend, to_sqlite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGE", 4)
    async with pair(backend, to_sqlite) as (source, target):
        await fill(source)
        calls = Calls()
        await copy_store(source, Faulty(target, calls), nothing)
        number = calls.number
    assert number > 12
    # Each call in turn, done or not; against a server only some of them.
    every = [sign * call for call in range(1, number + 1) for sign in (1, -1)]
    for last in every if backend is sqlite else every[:: max(1, len(every) // 5)]:
        async with pair(backend, to_sqlite) as (source, target):
            await fill(source)
            with pytest.raises(Death):
                await copy_store(source, Faulty(target, Calls(last, error=Death)), nothing)
            await target.refresh()
            counts = await source.counts()
            if await target.spans():
                found = await target.counts()
                assert {**found, "spans": 0} == {**counts, "spans": 0}, "vouched for what is not there"
            assert (await target.copying() is None) == (last in (1, -number))
            written = (await target.counts())["sessions"] if last != 1 else 0
            copied = await copy_store(source, target, nothing)
            assert await everything(target) == await everything(source)
            number_of = sum(
                counts[kind] for kind in ("characters", "sessions", "alerts", "locks", "notes", "spans")
            )
            assert copied.written <= number_of - written, "what was there was written again"


async def test_what_became_of_the_source_in_between_is_followed(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await fill(source)
        places = [await store.describe() for store in (source, target)]
        await copy_store(source, target, nothing)
        await target.mark_copying(copying.place_of(places[0]))  # as if it was not complete
        loaded = await source.load_characters(["100", "101", "9"])
        later = character("100", session(T0 + 5, T0 + 2 * HOUR))
        await source.commit(
            Commit(
                sessions=all_of(later).sessions,
                gone_sessions=[f"100-{T0 + 1}", f"8-{T0 - 60 * DAY}"],
                characters=[Stored(later, loaded["100"].version)],
                gone_characters={"101": loaded["101"].version},
                gone_locks=[lock.lock_id for lock in await source.locks(0, 2 * T0, None)][:1],
                gone_alerts=[alert.alert_id for alert in await source.alerts(0, 2 * T0, None)][:1],
                gone_spans=[(77, T0)],
                spans=[Span(10, T0 + DAY, T0 + 3 * DAY, "connection")],
                settled=["10-0-5"],
                unsettled=[Unsettled("10-7-9", 10, 7, 9)],
                records_until=T0 + 3 * DAY,
                pruned_until=T0 - 50 * DAY,
            )
        )
        await source.refresh()
        copied = await copy_store(source, target, nothing)
        assert await everything(target) == await everything(source)
        assert copied.deleted == 6
        assert copied.written == 3


async def test_who_writes_meanwhile_is_found_out(backend: Backend, to_sqlite: bool) -> None:
    async with pair(backend, to_sqlite) as (source, target):
        await fill(source)
        written = trio.Event()

        class Rival(Faulty):
            async def unsettled(self) -> list[Unsettled]:
                if not written.is_set():
                    written.set()
                    await target.commit(all_of(character("rival", session(T0))))
                return await target.unsettled()

        with pytest.raises(StoreConflict, match="somebody else writes"):
            await copy_store(source, Rival(target, Calls()), nothing)
        assert await target.spans() == []
        await copy_store(source, target, nothing)
        assert await everything(target) == await everything(source)
