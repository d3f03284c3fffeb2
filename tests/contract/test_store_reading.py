"""What any `Store` finds: searches and exports, and readers against a slow and obvious model on histories made by chance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import pairwise
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import CAP, Evidence, Session, settle
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Count,
    Edge,
    SessionDocument,
    Store,
    Stored,
    StoreReader,
    UnknownStart,
    first_known,
)
from ps2daemon.store.changes import session_documents
from tests.contract.histories import GRID, WORLDS, History, finals, folded, histories, moments
from tests.contract.stores import (
    BACKENDS,
    T0,
    Backend,
    all_of,
    character,
    exported,
    session,
    sessions_of,
)
from tests.memory_reader import MemoryReader, changed, rows_of

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


# Searches


async def test_exports_are_in_order_and_within_the_window(backend: Backend) -> None:
    documents = []
    for number in range(1300):
        world_id = (1, 10, 40)[number % 3]
        at = T0 + (number * 7919 % 650) * SECOND  # each moment twice
        states = [session(at, at + SECOND, world_id)]
        unseen = Session(world_id=world_id, logout_ts=at, started_by="unknown", ended_by="logout")
        if number % 5 == 0:
            states = [unseen]
        elif number % 7 == 0:
            states = [unseen, *states]
        documents.append(character(str(10_000 + number), *states))
    expected = sessions_of(*documents)
    async with backend() as (store, _):
        for first in range(0, len(documents), 400):
            await store.commit(all_of(*documents[first : first + 400]))
        await store.refresh()
        assert await exported(store) == (documents, expected)
        start, end = T0 + 100 * SECOND, T0 + 600 * SECOND
        windows: list[tuple[Ms | None, Ms | None, list[int] | None]] = [
            (start, end, None),
            (start, None, [10]),
            (None, end, [1, 40]),
            (end, start, None),
            (start, start + 1, None),
            (None, None, [7]),
            (None, None, []),
        ]
        for window in windows:
            found = [found async for found in store.all_sessions(*window)]
            assert found == [
                document
                for document in expected
                if (window[0] is None or first_known(document) >= window[0])
                and (window[1] is None or first_known(document) < window[1])
                and (window[2] is None or document.world_id in window[2])
            ]


async def test_edges_of_sessions_are_found_long_after(backend: Backend) -> None:
    documents = [
        character("1", session(T0, T0 + HOUR)),
        character(
            "2",
            Session(
                world_id=1,
                login_ts=T0,
                logout_ts=T0 + HOUR,
                ended_by="cap",
                ended_after=T0,
                ended_before=T0 + CAP,
            ),
        ),
        character("3", Session(world_id=1, logout_ts=T0, started_by="unknown", ended_by="logout")),
        character("4", session(T0, world_id=40)),
        character("5", session(T0, T0)),
    ]
    async with backend() as (store, _):
        await store.commit(all_of(*documents))
        await store.refresh()
        edges = [
            Edge(character_id, at, login)
            for character_id in "123456"
            for at in (T0, T0 + HOUR)
            for login in (True, False)
        ]
        known = await store.known_edges(edges)
        assert [edge for edge in edges if edge in known] == [
            ("1", T0, True),
            ("1", T0 + HOUR, False),
            ("2", T0, True),  # the end of "2" is an estimate: no logout is known
            ("3", T0, False),
            ("4", T0, True),
            ("5", T0, True),
            ("5", T0, False),
        ]


async def test_unknown_worlds_have_nobody(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.commit(
            msgspec.structs.replace(
                all_of(character("1", session(T0))), spans=[Span(10, T0, T0 + HOUR, "start")]
            )
        )
        await store.refresh()
        worlds = [7, 2**32 - 1]
        assert await store.online_at(T0, worlds) == []
        assert await store.online_at(T0, []) == []
        assert await store.online_at(T0, [10, 10]) == [Count(10, 0, 1)]
        assert await store.changes(T0 - HOUR, T0 + HOUR, MINUTE, worlds) == {}
        assert changed(await store.changes(T0 - HOUR, T0 + HOUR, MINUTE, [10, 7])) == [(10, 0, 60, 1)]
        assert await store.spans(worlds) == []
        assert await store.alerts(0, 2 * T0, worlds) == []
        assert await store.estimated(7, 0, 2 * T0, "", 10) == []


Page: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


async def paged(page: Page, limit: int) -> list[str]:
    """All pages of a search."""
    found: list[str] = []
    while True:
        part = await page(found[-1] if found else "", limit)
        assert len(part) <= limit
        found += part
        if len(part) < limit:
            assert found == sorted(set(found))
            return found


async def test_an_end_in_a_short_gap_may_move_to_a_longer_one_until_the_cap(backend: Backend) -> None:
    in_gap = Session(
        world_id=10,
        login_ts=T0,
        logout_ts=T0 + 150 * MINUTE,
        ended_by="cap",
        ended_after=T0 + 2 * HOUR,
        ended_before=T0 + 3 * HOUR,
    )
    async with backend() as (store, _):
        await store.commit(all_of(character("1", in_gap)))
        await store.refresh()
        assert await store.estimated(10, T0 + 6 * HOUR, T0 + 11 * HOUR, "", 10) == ["1"]
        assert await store.estimated(10, T0 - 5 * HOUR, T0 + 1, "", 10) == ["1"]
        assert await store.estimated(10, T0 - 5 * HOUR, T0, "", 10) == []
        assert await store.estimated(1, T0 + 6 * HOUR, T0 + 11 * HOUR, "", 10) == []


# Readers against a slow, obvious model


async def tell(store: Store, history: History) -> None:
    """Writes every state that the characters pass through, as differences."""
    for states in history:
        before: dict[str, SessionDocument] = {}
        for document in states:
            loaded = await store.load_characters([document.character_id])
            version = loaded[document.character_id].version if loaded else 0
            after = session_documents(document)
            await store.commit(
                Commit(
                    sessions=[found for key, found in after.items() if before.get(key) != found],
                    gone_sessions=[key for key in before if key not in after],
                    characters=[Stored(document, version)],
                )
            )
            before = after
    await store.refresh()


def online(sessions: Iterable[SessionDocument], at: Ms) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for each in sessions:
        if (
            each.login_ts is not None
            and each.login_ts <= at
            and (each.logout_ts is None or at < each.logout_ts)
        ):
            key = (each.world_id, each.faction_id)
            found[key] = found.get(key, 0) + 1
    return found


@given(history=histories(), data=st.data())
@settings(max_examples=60, deadline=None)
async def test_readers_answer_as_a_slow_model_does(
    backend: Backend, history: History, data: st.DataObject
) -> None:
    async with backend() as (store, reader):
        await tell(store, history)
        sessions = sessions_of(*finals(history))
        async with reader() as other:
            characters, found = await exported(other)
            assert found == sessions
            assert characters == sorted(finals(history), key=lambda each: each.character_id)
            assert sorted(await other.worlds()) == sorted({each.world_id for each in sessions})
            await check_population(other, sessions, data)
            await check_counts(other, finals(history), sessions)
        await check_searches(store, finals(history), data)


async def check_population(reader: StoreReader, sessions: list[SessionDocument], data: st.DataObject) -> None:
    worlds = data.draw(st.sampled_from([(*WORLDS, 7), (10,), (10, 1)]), label="worlds")
    of_worlds = [each for each in sessions if each.world_id in worlds]
    edges = {at for each in sessions for at in (each.login_ts, each.logout_ts) if at is not None} or {T0}
    for at in edges | {edge - 1 for edge in edges} | {edge + DAY for edge in edges}:
        counts = await reader.online_at(at, worlds)
        assert {(each.world_id, each.faction_id): each.online for each in counts} == online(of_worlds, at)
        assert len(counts) == len({count[:2] for count in counts})
    starts = st.sampled_from(sorted(edges | {min(edges) - 1}))
    for step in (HOUR + MINUTE, GRID, 3 * DAY):
        start, end = data.draw(starts, label="start"), data.draw(starts, label="end")
        await check_changes(reader, of_worlds, worlds, start, end + data.draw(st.integers(0, 1)), step)
        sittings = await reader.sittings(start, end, worlds)
        assert sittings.keys() == set(worlds)
        assert rows_of(sittings) == rows_of(await MemoryReader(of_worlds).sittings(start, end, worlds))
        unknown = await reader.unknown_starts(start, end, worlds)
        assert sorted(unknown, key=repr) == sorted(
            (
                UnknownStart(each.world_id, each.faction_id, each.logout_ts, each.not_before)
                for each in of_worlds
                if each.login_ts is None and each.logout_ts is not None and start < each.logout_ts <= end
            ),
            key=repr,
        )


async def check_changes(
    reader: StoreReader,
    of_worlds: list[SessionDocument],
    worlds: Collection[int],
    start: Ms,
    end: Ms,
    step: Ms,
) -> None:
    """The changes are the differences of who is online at each bucket and at the one before."""
    changes = await reader.changes(start, end, step, worlds)
    by_key = {change[:3]: change[3] for change in changed(changes)}
    assert all(len(row) == len(range(start, end, step)) and row[0] == 0 for row in changes.values())
    instants = [online(of_worlds, at) for at in range(start, end, step)]
    for bucket, (before, after) in enumerate(pairwise(instants), start=1):
        for key in before.keys() | after.keys():
            assert by_key.pop((*key, bucket), 0) == after.get(key, 0) - before.get(key, 0)
    assert not any(by_key.values()), "changes outside the window"


async def check_counts(
    reader: StoreReader, characters: list[CharacterDocument], sessions: list[SessionDocument]
) -> None:
    counts = await reader.counts()
    assert counts["characters"] == len(characters)
    assert counts["unnamed"] == sum(each.enriched_at is None for each in characters)
    assert counts["sessions"] == len(sessions)
    assert counts["open"] == sum(each.logout_ts is None for each in sessions)


async def check_searches(store: Store, characters: list[CharacterDocument], data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, 3), label="limit")
    at = data.draw(moments(), label="at")
    sessions = sessions_of(*characters)
    start, end = sorted((at, data.draw(moments(), label="end")))
    for world_id in WORLDS:
        uncertain = [each for each in sessions if each.world_id == world_id and each.ended_by != "logout"]
        found = await paged(
            lambda after, limit, world_id=world_id: store.estimated(world_id, start, end, after, limit),  # type: ignore[misc]
            limit,
        )
        assert set(found) <= {each.character_id for each in uncertain if first_known(each) < end}
        assert set(found) >= {
            each.character_id
            for each in uncertain
            if first_known(each) < end and (each.ended_before is None or each.ended_before > start)
        }
    assert await paged(store.unnamed, limit) == sorted(
        each.character_id for each in characters if each.enriched_at is None
    )
    assert await paged(lambda after, limit: store.open_since(at, after, limit), limit) == sorted(
        {
            each.character_id
            for each in sessions
            if each.logout_ts is None and each.login_ts is not None and each.login_ts <= at
        }
    )
    logins = {Edge(each.character_id, each.login_ts, True) for each in sessions if each.login_ts is not None}
    ends = {Edge(each.character_id, each.logout_ts, False) for each in sessions if each.logout_ts is not None}
    logouts = {
        Edge(each.character_id, each.logout_ts, False)
        for each in sessions
        if each.logout_ts is not None and each.ended_by == "logout"
    }
    assert await store.known_edges(logins | ends) == logins | logouts


@given(history=folded(), start=moments(), hours=st.integers(1, 60))
@settings(max_examples=100, deadline=None)
async def test_whom_a_change_of_coverage_concerns_is_found(
    backend: Backend, history: tuple[CharacterDocument, WorldCoverage, Ms], start: Ms, hours: int
) -> None:
    document, before, as_of = history
    coverage = WorldCoverage(Span(1, *span, "start") for span in before.spans)
    changed = coverage.add(Span(1, start, start + hours * HOUR, "connection"))
    assume(changed is not None)
    assert changed is not None
    evidence = Evidence(as_of, lambda world_id, start, end: coverage.gaps(start, end))
    after = settle(document.state, evidence)
    async with backend() as (store, _):
        await tell(store, [[document]])
        for world_id in WORLDS:
            found = await store.estimated(world_id, *changed, "", 10)
            concerned = any(
                session.world_id == world_id for session in set(document.state.sessions) ^ set(after.sessions)
            )
            may = any(
                session.world_id == world_id and session.ended_by != "logout"
                for session in document.state.sessions
            )
            assert found == ["1"] if concerned else found in ([], ["1"] if may else [])
