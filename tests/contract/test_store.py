"""What any `Store` keeps to, whichever implementation it is: documents, commits, and finding them again."""

from __future__ import annotations

import msgspec
import pytest
import trio

from ps2daemon.errors import StoreConflict, StoreUnavailable
from ps2daemon.model.alerts import Alert, derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import Character, Check, Session
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Edge,
    Stored,
    Unsettled,
)
from ps2daemon.store.sqlite import SqliteStore
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


# Documents


async def test_an_empty_store_answers_everything(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.refresh()
        assert await store.load_characters(["1"]) == {}
        assert await store.load_characters([]) == {}
        assert await store.known_edges([Edge("1", T0, True), Edge("1", T0, False)]) == set()
        assert await store.known_edges([]) == set()
        assert await store.unsettled() == []
        assert await store.estimated(10, 0, T0, "", 10) == []
        assert await store.open_since(T0, "", 10) == []
        assert await store.running_alerts() == []
        assert await store.unnamed("", 10) == []
        assert await store.online_at(T0, [10]) == []
        assert await store.changes(0, T0, MINUTE, [10]) == {}
        assert await store.unknown_starts(0, T0, [10]) == []
        assert await store.spans() == []
        assert await store.alerts(0, T0, [10]) == []
        assert await store.locks(0, T0, [10]) == []
        assert await store.worlds() == []
        assert await store.records_until() is None
        assert set((await store.counts()).values()) == {0}
        assert await exported(store) == ([], [])
        await store.commit(Commit())
        assert await exported(store) == ([], [])


async def test_characters_and_sessions_come_back_as_they_were(backend: Backend) -> None:
    state = Character(
        sessions=(
            Session(world_id=1, logout_ts=T0, started_by="unknown", ended_by="logout"),
            Session(
                world_id=10,
                login_ts=T0,
                logout_ts=T0 + 90 * MINUTE,
                ended_by="offline_check",
                ended_after=T0 + HOUR,
                ended_before=T0 + 2 * HOUR,
                checks=(Check(T0 + 2 * HOUR, T0 + HOUR), Check(T0 + 3 * HOUR)),
            ),
            Session(
                world_id=10,
                login_ts=T0 + 4 * HOUR,
                logout_ts=T0 + 5 * HOUR,
                ended_by="logout",
                logout_world_id=1,
            ),
            Session(world_id=2**32 - 1, login_ts=T0 + 6 * HOUR, started_by="online_check"),
        ),
        pruned_before=T0,
        pruned_logout=T0 - HOUR,
    )
    named = CharacterDocument("5428010618035589553", "Zoë <b>'\"; DROP", 2, T0 + 7 * HOUR, state)
    unknown = character("18446744073709551615", session(T0 + 1))
    async with backend() as (store, reader):
        await store.commit(all_of(named, unknown))
        await store.refresh()
        loaded = await store.load_characters([named.character_id, "7", unknown.character_id])
        assert {key: stored.document for key, stored in loaded.items()} == {
            named.character_id: named,
            unknown.character_id: unknown,
        }
        async with reader() as other:
            for each in (store, other):
                characters, sessions = await exported(each)
                assert characters == [unknown, named]
                assert sessions == sessions_of(named, unknown)
        assert {found.not_before for found in sessions if found.login_ts is None} == {T0 - HOUR}
        assert await store.worlds() == [1, 10, 2**32 - 1]
        assert await store.counts() == {
            "characters": 2,
            "unnamed": 1,
            "sessions": 5,
            "open": 2,
            "alerts": 0,
            "locks": 0,
            "spans": 0,
            "notes": 0,
        }


async def test_a_document_replaces_the_one_of_its_id(backend: Backend) -> None:
    before = character("1", session(T0), session(T0 + DAY, T0 + DAY + HOUR))
    after = character(
        "1",
        session(T0, T0 + HOUR, world_id=1),
        session(T0 + DAY, T0 + DAY + 2 * HOUR),
        name="Somebody",
        faction_id=3,
        enriched_at=T0,
    )
    async with backend() as (store, _):
        await store.commit(all_of(before))
        (stored,) = (await store.load_characters(["1"])).values()
        assert stored.version != 0
        await store.commit(all_of(after, version=stored.version))
        await store.refresh()
        assert await exported(store) == ([after], sessions_of(after))
        counts = await store.counts()
        assert (counts["characters"], counts["unnamed"], counts["sessions"], counts["open"]) == (1, 0, 2, 0)
        assert await store.unnamed("", 10) == []
        assert await store.open_since(T0 + 2 * DAY, "", 10) == []


async def test_a_commit_tells_the_versions_that_came_of_it(backend: Backend) -> None:
    # So that the only writer may keep what it wrote and need not load it again.
    async with backend() as (store, _):
        versions = [0]
        for number in range(3):
            told = all_of(character("1", session(T0 + number)), version=versions[-1])
            versions.append((await store.commit(told)).versions["1"])
            assert (await store.load_characters(["1"]))["1"].version == versions[-1]
        assert len(set(versions)) == len(versions)
        told = all_of(character("2", session(T0)), character("3", session(T0)))
        committed = await store.commit(told)
        assert committed.refused == {}
        assert {key: stored.version for key, stored in (await store.load_characters("123")).items()} == {
            "1": versions[-1],
            **committed.versions,
        }


async def test_sessions_are_deleted_by_id(backend: Backend) -> None:
    # A login that is told late takes the place of "a logout without a login".
    out = Session(world_id=10, logout_ts=T0, started_by="unknown", ended_by="logout")
    same_moment = session(T0, T0 + HOUR)  # a login at the second of that logout is a session of its own
    before = character("1", out, same_moment)
    after = character("1", session(T0 - HOUR, T0), same_moment)
    async with backend() as (store, _):
        await store.commit(all_of(before))
        (stored,) = (await store.load_characters(["1"])).values()
        commit = msgspec.structs.replace(
            all_of(after, version=stored.version),
            gone_sessions=[f"1-{T0}-out", "2-77", "2-77-out"],  # what is not there can be gone, too
        )
        await store.commit(commit)
        await store.refresh()
        assert await exported(store) == ([after], sessions_of(after))
        assert (await store.counts())["sessions"] == 2
        assert await store.unknown_starts(0, T0 + DAY, [10]) == []


async def test_alerts_and_locks_come_back_as_they_were(backend: Backend) -> None:
    changes = [change(T0, STARTED, 2**64 - 1), change(T0 + HOUR, ENDED, 2**64 - 1), change(T0 + DAY, STARTED)]
    alerts, locks = derive(changes, [continent_lock(T0 + HOUR), continent_lock(T0 + 2 * HOUR)], T0 + DAY)
    assert len(alerts) == len(locks) == 2
    async with backend() as (store, reader):
        await store.commit(Commit(alerts=list(alerts.values()), locks=list(locks.values())))
        await store.refresh()
        async with reader() as other:
            assert await other.alerts(T0, T0 + 2 * DAY, [10]) == list(alerts.values())
            assert await other.locks(T0, T0 + DAY, [10, 1]) == list(locks.values())
        assert await store.running_alerts() == [(10, T0 + DAY)]

        ended, _ = derive([*changes, change(T0 + DAY + HOUR, ENDED)], [], T0 + 2 * DAY)
        await store.commit(Commit(alerts=[list(ended.values())[1]], gone_alerts=[next(iter(alerts))]))
        await store.commit(Commit(gone_locks=[next(iter(locks))]))
        await store.refresh()
        assert await store.running_alerts() == []
        assert await store.alerts(T0, T0 + 2 * DAY, [10]) == [list(ended.values())[1]]
        assert await store.locks(T0, T0 + DAY, [10]) == [list(locks.values())[1]]
        counts = await store.counts()
        assert (counts["alerts"], counts["locks"]) == (1, 1)


async def test_alerts_are_found_by_when_they_ran_and_locks_by_when_they_were(backend: Backend) -> None:
    ran, _ = derive([change(T0, STARTED), change(T0 + HOUR, ENDED)], [], T0 + HOUR)
    runs, _ = derive([change(T0 + 2 * HOUR, STARTED, 2)], [], T0 + 2 * HOUR)
    elsewhere, _ = derive([change(T0 - HOUR, STARTED, 3, world_id=1)], [], T0)
    (first,), (second,), (third,) = ran.values(), runs.values(), elsewhere.values()
    early, late = continent_lock(T0), continent_lock(T0 + HOUR, world_id=1)
    async with backend() as (store, _):
        await store.commit(Commit(alerts=[second, first, third], locks=[late, early]))
        await store.refresh()

        async def found(start: Ms, end: Ms, *worlds: int) -> list[Alert]:
            return await store.alerts(start, end, worlds)

        assert await found(T0, T0 + 3 * HOUR, 1, 10) == [third, first, second]
        assert await found(T0, T0 + 3 * HOUR, 10) == [first, second]
        assert await found(T0 + HOUR - 1, T0 + 2 * HOUR, 10) == [first]
        assert await found(T0 + HOUR, T0 + 2 * HOUR, 10) == []  # the end is the first moment without it
        assert await found(T0 - HOUR, T0, 10) == []
        assert await found(T0 - HOUR, T0 + 1, 10) == [first]
        assert await found(T0 + DAY, T0 + 2 * DAY, 10) == [second]
        assert await store.locks(T0, T0 + HOUR, [1, 10]) == [early]
        assert await store.locks(T0, T0 + HOUR + 1, [1, 10]) == [early, late]
        assert await store.running_alerts() == [(1, T0 - HOUR), (10, T0 + 2 * HOUR)]


async def test_a_span_only_grows(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.commit(Commit(spans=[Span(10, T0, T0 + HOUR, "start"), Span(1, T0 + 5, T0 + 6, "start")]))
        await store.commit(Commit(spans=[Span(10, T0, T0 + MINUTE, "start")]))
        await store.refresh()
        assert await store.spans() == [Span(1, T0 + 5, T0 + 6, "start"), Span(10, T0, T0 + HOUR, "start")]
        await store.commit(
            Commit(
                spans=[
                    Span(10, T0, T0 + 2 * HOUR, "start"),
                    Span(10, T0 + 3 * HOUR, T0 + 4 * HOUR, "connection"),
                ]
            )
        )
        await store.refresh()
        first = Span(10, T0, T0 + 2 * HOUR, "start")
        second = Span(10, T0 + 3 * HOUR, T0 + 4 * HOUR, "connection")
        assert await store.spans([10]) == [first, second]
        assert await store.spans([10], start=T0 + 2 * HOUR) == [first, second]  # touching counts
        assert await store.spans([10], start=T0 + 2 * HOUR + 1) == [second]
        assert await store.spans([10], end=T0 + 3 * HOUR) == [first, second]
        assert await store.spans([10], end=T0 + 3 * HOUR - 1) == [first]
        assert await store.spans([10], T0 + 2 * HOUR + 1, T0 + 3 * HOUR - 1) == []
        assert await store.spans(None, T0, T0 + MINUTE) == [Span(1, T0 + 5, T0 + 6, "start"), first]
        assert (await store.counts())["spans"] == 3
        assert await store.worlds() == [1, 10]


async def test_how_far_the_records_reach_only_grows(backend: Backend) -> None:
    async with backend() as (store, reader):
        for told, known in ((T0, T0), (T0 - 1, T0), (None, T0), (T0 + 1, T0 + 1)):
            await store.commit(Commit(records_until=told))
            async with reader() as other:
                assert await other.records_until() == await store.records_until() == known


async def test_what_is_unsettled_stays_until_it_is_settled(backend: Backend) -> None:
    first, second = Unsettled(f"10-{T0}-{T0 + 5}", 10, T0, T0 + 5), Unsettled("1-0-5", 1, 0, 5)
    async with backend() as (store, _):
        await store.commit(Commit(unsettled=[first, second]))
        await store.commit(Commit(unsettled=[first]))
        await store.refresh()
        assert sorted(await store.unsettled(), key=lambda entry: entry.id) == [second, first]
        await store.commit(Commit(settled=[first.id, "never"]))
        await store.refresh()
        assert await store.unsettled() == [second]


# Commits


async def test_many_characters_are_loaded_at_once(backend: Backend) -> None:
    documents = {str(number): character(str(number), session(T0 + number)) for number in range(2500)}
    async with backend() as (store, _):
        await store.commit(all_of(*documents.values()))
        loaded = await store.load_characters([*documents, "none", "0"])
        assert {key: stored.document for key, stored in loaded.items()} == documents


async def test_a_conflict_leaves_nothing(backend: Backend) -> None:
    kept = character("1", session(T0))
    async with backend() as (store, _):
        await store.commit(all_of(kept))
        (stored,) = (await store.load_characters(["1"])).values()
        for version in (0, stored.version + 1):
            commit = msgspec.structs.replace(
                all_of(character("1", session(T0 - HOUR)), version=version),
                spans=[Span(10, T0, T0 + HOUR, "start")],
                records_until=T0,
            )
            with pytest.raises(StoreConflict):
                await store.commit(commit)
            await store.refresh()
            assert await store.load_characters(["1"]) == {"1": stored}
            assert await store.spans() == []
            assert await store.records_until() is None
        with pytest.raises(StoreConflict):  # an update of what does not exist
            await store.commit(all_of(character("2", session(T0)), version=3))
        assert await store.load_characters(["2"]) == {}


async def test_a_commit_whose_answer_was_lost_can_be_told_again(backend: Backend) -> None:
    commit = msgspec.structs.replace(
        all_of(character("1", session(T0)), character("2", session(T0, T0 + 1))),
        spans=[Span(10, T0, T0 + HOUR, "start")],
        locks=[continent_lock(T0)],
        unsettled=[Unsettled("10-0-1", 10, 0, 1)],
        records_until=T0 + HOUR,
    )
    async with backend() as (store, _):
        await store.commit(commit)
        await store.refresh()
        before = await exported(store), await store.counts(), await store.spans()
        with pytest.raises(StoreConflict):
            await store.commit(commit)
        loaded = await store.load_characters(["1", "2"])
        await store.commit(
            msgspec.structs.replace(
                commit,
                characters=[
                    Stored(document, loaded[document.character_id].version)
                    for document, _ in commit.characters
                ],
            )
        )
        await store.commit(msgspec.structs.replace(commit, characters=()))
        await store.refresh()
        assert (await exported(store), await store.counts(), await store.spans()) == before
        assert await store.locks(0, 2 * T0, [10]) == [continent_lock(T0)]
        assert await store.unsettled() == [Unsettled("10-0-1", 10, 0, 1)]


async def test_a_cancelled_commit_is_whole_or_nothing(backend: Backend) -> None:
    # Where the store has no transactions, sessions and characters agree all the same, and what is missing can be told again.
    documents = [character(str(number), session(T0 + number), session(T0 + DAY)) for number in range(300)]
    async with backend() as (store, _):
        for deadline in (0.0, 0.001, 0.005, 0.02, 0.05, 30.0):
            found = await store.load_characters([document.character_id for document in documents])
            told = [stored.document for stored in found.values() if stored.document.state.sessions]
            assert not isinstance(store, SqliteStore) or len(told) in (0, len(documents))
            await store.refresh()
            assert await exported(store) == (
                sorted((stored.document for stored in found.values()), key=lambda each: each.character_id),
                sessions_of(*told),
            )
            commit = Commit(
                sessions=sessions_of(*documents),
                characters=[
                    Stored(document, found[key].version if (key := document.character_id) in found else 0)
                    for document in documents
                ],
            )
            with trio.move_on_after(deadline):
                await store.commit(commit)
        await store.refresh()
        assert await exported(store) == (
            sorted(documents, key=lambda each: each.character_id),
            sessions_of(*documents),
        )


async def test_a_reader_sees_no_time_vouched_for_without_its_events(backend: Backend) -> None:
    commits = 40
    async with backend() as (store, reader), reader() as other:
        done = trio.Event()

        async def write() -> None:
            for number in range(commits):
                at = T0 + number * MINUTE
                await store.commit(
                    msgspec.structs.replace(
                        all_of(character(str(number), session(at, at + SECOND))),
                        spans=[Span(10, T0, at + MINUTE, "start")],
                        records_until=at + MINUTE,
                    )
                )
                await store.refresh()
            done.set()

        seen = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while not done.is_set():
                try:
                    spans = await other.spans()
                    sessions = [found async for found in other.all_sessions(None, None, None)]
                except StoreUnavailable:
                    continue  # a server that is busy says so while it makes the index of a month
                vouched = (spans[0].end - T0) // MINUTE if spans else 0
                assert len(sessions) >= vouched
                seen.add(vouched)
        assert len(seen) > 2, "the reader saw nothing in between"
        assert (await other.spans())[0].end == T0 + commits * MINUTE


async def test_sessions_without_an_empire_are_found(backend: Backend) -> None:
    named = character("2", session(T0), name="b", faction_id=2, enriched_at=T0)
    unnamed = character("1", session(T0, T0 + SECOND), session(T0 + MINUTE))
    async with backend() as (store, _):
        committed = await store.commit(all_of(unnamed, named, character("3", session(T0))))
        await store.refresh()
        found = await store.unnamed_sessions(["1", "2", "4"])
        assert sorted(found, key=lambda document: document.session_id) == sessions_of(unnamed)
        assert await store.unnamed_sessions([]) == []
        version = committed.versions["1"]
        await store.commit(all_of(msgspec.structs.replace(unnamed, faction_id=1), version=version))
        await store.refresh()
        assert await store.unnamed_sessions(["1", "2"]) == []
