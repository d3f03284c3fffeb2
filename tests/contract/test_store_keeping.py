"""What any `Store` tells and does for moving and keeping: what it holds by month, what pruning hides and deletes, the mark of a copy."""

from __future__ import annotations

import msgspec
import pytest
import trio

from ps2daemon.errors import StoreConflict, StoreMismatch
from ps2daemon.model.alerts import derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sessions import MAX_SESSION, Session
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import Commit, Month, Stored
from ps2daemon.store.ledger import Ledger
from tests.contract.stores import (
    BACKENDS,
    T0,
    Backend,
    all_of,
    change,
    character,
    continent_lock,
    exported,
    session,
    sessions_of,
)

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

MARCH = parse_iso("2026-03-01")
APRIL = parse_iso("2026-04-01")
MAY = parse_iso("2026-05-01")


async def test_an_empty_store_has_nothing_to_keep(backend: Backend) -> None:
    async with backend() as (store, _):
        assert await store.months() == []
        assert await store.stored_spans() == []
        assert await store.pruned_until() is None
        assert await store.copying() is None
        assert await store.latest_end(T0) is None
        assert await store.drop_sessions(MARCH, 100) == 0


async def test_a_store_says_what_and_where_it_is(backend: Backend) -> None:
    async with backend() as (store, _):
        before = await store.describe()
        assert before.kind in ("sqlite", "elasticsearch")
        assert before.place
        assert before.server
        assert before.schema_version >= 1
        assert before.unwritable is None
        assert 0 <= before.free_bytes <= before.size_bytes
        await store.commit(all_of(*(character(str(number), session(T0)) for number in range(3000))))
        await store.refresh()
        # A server of Elasticsearch may just have thrown away what was deleted, and be smaller than before.
        least = 100_000 + (before.size_bytes if before.kind == "sqlite" else 0)
        for _ in range(30):  # a server looks every ten seconds
            after = await store.describe()
            if after.size_bytes > least:
                break
            await trio.sleep(1)
        assert after.size_bytes > least
        assert after.place == before.place


async def test_documents_are_counted_by_the_month_that_they_belong_to(backend: Backend) -> None:
    out = Session(world_id=1, logout_ts=APRIL, started_by="unknown", ended_by="logout")
    documents = [
        character("1", session(MARCH, APRIL), session(APRIL + 5, None, 40)),
        character("2", session(APRIL - 1, APRIL + DAY)),
        character("3", out),
        character("4", session(parse_iso("2024-12-31T23:59:59.999Z"))),
    ]
    alerts, locks = derive(
        [change(APRIL - 1, STARTED), change(APRIL + HOUR, ENDED), change(MAY, STARTED, world_id=77)],
        [continent_lock(APRIL), continent_lock(parse_iso("2026-07-01"), 78)],
        APRIL,
    )
    async with backend() as (store, _):
        commit = msgspec.structs.replace(
            all_of(*documents), alerts=list(alerts.values()), locks=list(locks.values())
        )
        await store.commit(commit)
        await store.refresh()
        assert await store.months() == [
            Month(parse_iso("2024-12-01"), 1, 0, 0),
            Month(MARCH, 2, 1, 0),
            Month(APRIL, 2, 0, 1),
            Month(MAY, 0, 1, 0),
            Month(parse_iso("2026-07-01"), 0, 0, 1),
        ]


async def test_alerts_and_locks_of_all_worlds_are_found_without_naming_them(backend: Backend) -> None:
    alerts, _ = derive([change(T0, STARTED), change(T0 + MINUTE, STARTED, world_id=77)], [], T0)
    locks = [continent_lock(T0), continent_lock(T0 + MINUTE, 78)]
    async with backend() as (store, _):
        await store.commit(Commit(alerts=list(alerts.values()), locks=locks))
        await store.refresh()
        assert await store.alerts(T0, T0 + HOUR, None) == list(alerts.values())
        assert await store.alerts(T0, T0 + 1, None) == list(alerts.values())[:1]
        assert await store.alerts(T0, T0 + HOUR, []) == []
        assert await store.locks(T0, T0 + HOUR, None) == locks
        assert await store.locks(T0 + 1, T0 + HOUR, None) == locks[1:]
        assert await store.locks(T0, T0 + HOUR, []) == []


# Pruning


async def test_what_was_pruned_vouches_for_nothing(backend: Backend) -> None:
    crossing, later = Span(10, T0, T0 + 9 * HOUR, "start"), Span(10, T0 + 10 * HOUR, T0 + DAY, "connection")
    over, new = Span(1, T0, T0 + HOUR, "start"), Span(40, T0 + 4 * HOUR, T0 + 5 * HOUR, "start")
    at = T0 + 3 * HOUR
    async with backend() as (store, reader):
        await store.commit(Commit(spans=[crossing, later, over, new]))
        await store.commit(Commit(pruned_until=at))
        await store.refresh()
        assert await store.pruned_until() == at
        cut = Span(10, at, T0 + 9 * HOUR, "pruned", T0)
        gone = Span(1, at, at, "pruned")
        async with reader() as other:
            for each in (store, other):
                assert await each.spans() == [gone, cut, later, new]
                assert await each.spans([10, 40]) == [cut, later, new]
                assert await each.spans([10], end=at - 1) == []
                assert await each.spans(None, T0, at) == [gone, cut]
                assert await each.spans([10, 1], T0 + 9 * HOUR + 1) == [later]
        assert await store.stored_spans() == [over, crossing, later, new]
        # A worker that runs goes on to tell its span from where it began.
        await store.commit(Commit(spans=[Span(10, T0, T0 + 9 * HOUR + 1, "start")], pruned_until=at - HOUR))
        await store.refresh()
        assert await store.pruned_until() == at
        assert (await store.spans([10]))[0] == Span(10, at, T0 + 9 * HOUR + 1, "pruned", T0)


async def test_spans_are_deleted_by_world_and_start(backend: Backend) -> None:
    spans = [
        Span(1, T0, T0 + HOUR, "start"),
        Span(10, T0, T0 + HOUR, "start"),
        Span(10, T0 + DAY, T0 + 2 * DAY, "start"),
    ]
    async with backend() as (store, _):
        await store.commit(Commit(spans=spans))
        await store.commit(Commit(gone_spans=[(10, T0), (10, T0 + 1), (40, T0)]))
        await store.refresh()
        assert await store.stored_spans() == [spans[0], spans[2]]
        assert (await store.counts())["spans"] == 2


async def test_characters_are_deleted_as_they_were_loaded(backend: Backend) -> None:
    documents = [character(str(number), session(T0 + number)) for number in range(5)]
    async with backend() as (store, _):
        versions = (await store.commit(all_of(*documents))).versions
        await store.commit(Commit(gone_characters={"1": versions["1"], "3": versions["3"]}))
        await store.refresh()
        assert (await exported(store))[0] == [documents[0], documents[2], documents[4]]
        assert (await store.counts())["characters"] == 3
        assert await store.unnamed("", 10) == ["0", "2", "4"]
        for stale in ({"1": versions["1"]}, {"2": versions["2"] + 1}, {"9": 1}):
            with pytest.raises(StoreConflict):
                await store.commit(Commit(gone_characters=stale))
        # Who knew it as it was decides again, too, and it may come back.
        with pytest.raises(StoreConflict):
            await store.commit(Commit(characters=[Stored(documents[1], versions["1"])]))
        again = await store.commit(Commit(characters=[Stored(documents[1], 0)]))
        await store.refresh()
        assert (await store.load_characters(["1"]))["1"] == Stored(documents[1], again.versions["1"])
        assert (await store.counts())["characters"] == 4


async def test_how_far_old_sessions_reach_is_known(backend: Backend) -> None:
    async with backend() as (store, _):

        async def found(before: Ms) -> Ms | None:
            await store.refresh()
            return await store.latest_end(before)

        await store.commit(all_of(character("1", session(APRIL - HOUR, APRIL + HOUR, 1))))
        assert await found(APRIL) == APRIL + HOUR
        assert await found(APRIL - HOUR) is None
        await store.commit(all_of(character("2", session(APRIL, APRIL + DAY))))
        assert await found(APRIL) == APRIL + HOUR
        assert await found(APRIL + 1) == APRIL + DAY
        await store.commit(all_of(character("3", session(APRIL - 3 * DAY, APRIL + 2 * HOUR))))
        assert await found(APRIL) == APRIL + 2 * HOUR
        await store.commit(all_of(character("4", session(APRIL - 2 * HOUR))))
        assert await found(APRIL) == APRIL - 2 * HOUR + MAX_SESSION
        out = Session(world_id=1, logout_ts=APRIL - 1, started_by="unknown", ended_by="logout")
        await store.commit(all_of(character("5", out)))
        assert await found(APRIL) == APRIL - 2 * HOUR + MAX_SESSION


async def test_sessions_before_a_month_are_dropped_step_by_step(backend: Backend) -> None:
    out = Session(world_id=1, logout_ts=APRIL, started_by="unknown", ended_by="logout")
    old = [character(f"a{number}", session(MARCH + number * HOUR, APRIL + DAY)) for number in range(25)]
    old.append(character("b", session(parse_iso("2024-06-30T12:00:00Z"), world_id=40)))
    kept = [character("c", session(APRIL)), character("d", out), character("e", session(MAY))]
    async with backend() as (store, _):
        await store.commit(all_of(*old, *kept))
        await store.refresh()
        dropped = 0
        while step := await store.drop_sessions(APRIL, 10):
            dropped += step
        assert dropped == len(old)
        await store.refresh()
        assert (await exported(store))[1] == sessions_of(*kept)
        counts = await store.counts()
        assert (counts["sessions"], counts["open"]) == (3, 2)
        assert [month.start for month in await store.months()] == [APRIL, MAY]
        assert sum(count.online for count in await store.online_at(MARCH + DAY, [10, 40])) == 0
        # The months may come back.
        await store.commit(all_of(character("f", session(MARCH))))
        await store.refresh()
        assert (await store.months())[0] == Month(MARCH, 1, 0, 0)


# Copying


async def test_the_mark_of_a_copy_stays_until_it_is_taken_away(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.mark_copying("a/place")
        assert await store.copying() == "a/place"
        await store.mark_copying("another: 'place'")
        assert await store.copying() == "another: 'place'"
        await store.mark_copying(None)
        assert await store.copying() is None
        assert await exported(store) == ([], [])
        assert await store.records_until() is None


async def test_nothing_is_recorded_into_a_part_of_a_copy(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.mark_copying("sqlite /else/where.db")
        with pytest.raises(StoreMismatch, match=r"sqlite /else/where\.db.*complete the copy"):
            await Ledger(store, lambda: MAY).coverage()
        await store.mark_copying(None)
        assert await Ledger(store, lambda: MAY).coverage() == {}
