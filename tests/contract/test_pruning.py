"""Pruning, on whichever store: what goes, what stays, and that what stays reads as before."""

from __future__ import annotations

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.analysis.population import Population, PopulationQuery, population
from ps2daemon.model.alerts import derive
from ps2daemon.model.batch import Batch
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import STARTED, Login, Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import MAX_SESSION, Character, Session
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import CharacterDocument, Commit, StoreReader
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.pruning import plan, prune
from tests.contract.histories import WORLDS, lives
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


def nothing(number: int) -> None:
    pass


async def test_nothing_to_drop_changes_nothing(backend: Backend) -> None:
    kept = character("1", session(APRIL))
    async with backend() as (store, _):
        await store.commit(msgspec.structs.replace(all_of(kept), spans=[Span(10, APRIL, MAY, "start")]))
        await store.refresh()
        found = await plan(store, APRIL)
        assert (found.months, found.characters, found.shortened, found.documents) == ((), 0, 0, 0)
        assert [month.start for month in found.kept] == [APRIL]


async def test_whole_months_go_with_all_that_is_only_theirs(backend: Backend) -> None:
    gone = character("1", session(MARCH, MARCH + HOUR), session(APRIL - HOUR, APRIL + HOUR))
    both = character("2", session(MARCH, MARCH + HOUR), session(APRIL + DAY, None))
    kept = character("3", session(APRIL, APRIL + 2 * HOUR, 1))
    alerts, locks = derive(
        [change(APRIL - 1, STARTED), change(APRIL, STARTED, 2, world_id=1)],
        [continent_lock(APRIL - 1, 40), continent_lock(APRIL, 40)],
        APRIL,
    )
    old, last = (
        Span(10, MARCH, MARCH + DAY, "start"),
        Span(10, MARCH + 2 * DAY, MARCH + 3 * DAY, "connection"),
    )
    span, other = Span(10, MARCH + 4 * DAY, MAY, "connection"), Span(40, MARCH, MARCH + DAY, "start")
    async with backend() as (store, reader):
        await store.commit(
            msgspec.structs.replace(
                all_of(gone, both, kept),
                alerts=list(alerts.values()),
                locks=list(locks.values()),
                spans=[old, last, span, other],
                records_until=MAY,
            )
        )
        await store.refresh()
        found = await plan(store, APRIL)
        assert (found.sessions, found.characters, found.shortened) == (3, 1, 1)
        assert (found.alerts, found.locks, found.until) == (1, 1, APRIL + HOUR)
        told: list[int] = []
        await prune(store, APRIL, told.append)
        assert told == sorted(told)
        assert told[-1] == found.documents == 7
        later = both.state.sessions[1:]
        shortened = msgspec.structs.replace(both, state=Character(later, APRIL, MARCH + HOUR))
        async with reader() as after:
            assert await exported(after) == ([shortened, kept], sessions_of(shortened, kept))
            assert [each.changes[0].at for each in await after.alerts(0, 2 * T0, None)] == [APRIL]
            assert [each.at for each in await after.locks(0, 2 * T0, None)] == [APRIL]
            assert await after.spans() == [
                Span(10, APRIL + HOUR, MAY, "pruned", MARCH + 4 * DAY),
                Span(40, APRIL + HOUR, APRIL + HOUR, "pruned"),
            ]
            assert await after.records_until() == MAY
        # The last span that ended tells where a gap began, and for a world without another that it once was recorded.
        assert await store.stored_spans() == [last, span, other]
        again = await plan(store, APRIL)
        assert (again.documents, again.months) == (0, ())


async def test_open_sessions_count_as_long_as_they_might_last(backend: Backend) -> None:
    async with backend() as (store, _):
        span = Span(10, MARCH, MAY, "start")
        await store.commit(
            msgspec.structs.replace(all_of(character("1", session(APRIL - HOUR))), spans=[span])
        )
        await store.refresh()
        await prune(store, APRIL, nothing)
        assert await store.pruned_until() == APRIL - HOUR + MAX_SESSION
        assert await exported(store) == ([], [])


# What stays reads as before


def shifted(document: CharacterDocument, by: Ms) -> CharacterDocument:
    def later(session: Session) -> Session:
        times = ("login_ts", "logout_ts", "ended_after", "ended_before")
        values = {name: getattr(session, name) for name in times}
        return msgspec.structs.replace(
            session, **{name: None if at is None else at + by for name, at in values.items()}
        )

    sessions = tuple(map(later, document.state.sessions))
    return msgspec.structs.replace(document, state=Character(sessions))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[CharacterDocument], list[Span]]:
    """Characters around the beginning of April, and coverage with and without breaks."""
    by = APRIL - T0 - draw(st.integers(0, 5)) * DAY
    documents = [
        shifted(CharacterDocument(str(number), None, 1, T0, Character(draw(lives()))), by)
        for number in range(draw(st.integers(1, 5)))
    ]
    spans = {}
    for world_id, start, length in draw(
        st.lists(
            st.tuples(st.sampled_from(WORLDS), st.integers(-60, 60), st.integers(0, 100)),
            min_size=1,
            max_size=6,
        )
    ):
        at = APRIL + start * HOUR
        spans[world_id, at] = Span(world_id, at, at + length * HOUR, "connection")
    return [document for document in map(settled, documents) if document.state.sessions], list(spans.values())


def settled(document: CharacterDocument) -> CharacterDocument:
    """Without an open session that no store has for long, since it counts as over after `CAP`."""
    sessions = document.state.sessions
    kept = tuple(each for each in sessions if each.logout_ts is not None or each.start >= APRIL)
    return msgspec.structs.replace(document, state=Character(kept))


async def read(reader: StoreReader) -> Population:
    return await population(
        reader,
        PopulationQuery(start=APRIL - 7 * DAY, end=APRIL + 10 * DAY, step=15 * MINUTE, worlds=WORLDS),
    )


@given(history=histories())
@settings(max_examples=60, deadline=None)
async def test_covered_time_reads_as_before(
    backend: Backend, history: tuple[list[CharacterDocument], list[Span]]
) -> None:
    documents, spans = history
    async with backend() as (store, _):
        await store.commit(msgspec.structs.replace(all_of(*documents), spans=spans, records_until=MAY))
        await store.refresh()
        before = await read(store)
        found = await plan(store, APRIL)
        await prune(store, APRIL, nothing)
        after = await read(store)
        until = await store.pruned_until()
        assert until == found.until >= APRIL
        left = {(each.world_id, each.faction_id): each.online for each in after.series}
        for series in before.series:
            was = series.online
            now = left.get((series.world_id, series.faction_id), (None,) * len(was))
            for at, old, new in zip(before.times, was, now, strict=True):
                assert new == (old if at >= until else None)
        assert all(each.login_ts is None or each.login_ts >= APRIL for each in (await exported(store))[1])


# Broken off, and beside a worker


async def test_whatever_breaks_it_off_claims_nothing_and_pruning_again_completes_it(backend: Backend) -> None:
    documents = [
        character(str(number), session(APRIL - DAY + number * MINUTE, APRIL + number * SECOND))
        for number in range(30)
    ]
    kept = character("kept", session(APRIL - DAY, APRIL - HOUR), session(APRIL + HOUR))
    span = Span(10, MARCH, MAY, "start")

    class Broken(Exception):
        pass

    for steps in range(4):
        async with backend() as (store, _):
            alerts, _locks = derive([change(MARCH, STARTED)], [], MARCH)
            await store.commit(
                msgspec.structs.replace(
                    all_of(*documents, kept), spans=[span], alerts=list(alerts.values()), records_until=MAY
                )
            )
            left = steps

            def tell(done: int) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Broken

            try:
                await prune(store, APRIL, tell)
            except Broken:
                pass
            else:
                assert steps == 3, "it was not broken off"
            await store.refresh()
            (vouched,) = await store.spans()
            assert vouched.start == APRIL + 29 * SECOND
            await prune(store, APRIL, nothing)
            assert len((await exported(store))[0]) == len((await exported(store))[1]) == 1
            assert (await store.spans()) == [vouched]
            assert (await plan(store, APRIL)).documents == 0


def batch_of(events: dict[str, list[Login | Logout]], spans: list[Span], until: Ms) -> Batch:
    return Batch(
        records=0,
        events=events,
        changes=[],
        locks=[],
        spans=spans,
        refused=[],
        until=until,
        oldest=None,
    )


async def test_a_worker_that_runs_meanwhile_decides_again(backend: Backend) -> None:
    def batch(*events: Login | Logout) -> Batch:
        by_character: dict[str, list[Login | Logout]] = {}
        for event in events:
            by_character.setdefault(event.character_id, []).append(event)
        span = Span(10, MARCH, APRIL + 2 * DAY, "start")
        return batch_of(by_character, [span], APRIL + 2 * DAY)

    async with backend() as (store, _):
        ledger = Ledger(store, lambda: MAY)
        await ledger.apply(
            batch(
                Login("1", 10, MARCH),
                Logout("1", 10, MARCH + HOUR),
                Login("2", 10, MARCH),
                Logout("2", 10, MARCH + HOUR),
                Login("2", 10, APRIL + HOUR),
            )
        )
        await store.refresh()
        await prune(store, APRIL, nothing)
        # It still has both in its cache, as they were.
        late = Login("2", 10, MARCH + DAY)
        applied = await ledger.apply(
            batch(
                Login("1", 10, APRIL + DAY),
                Logout("2", 10, APRIL + 2 * HOUR),
                late,
                Logout("1", 10, APRIL + 30 * HOUR),
            )
        )
        assert ledger.conflicts > 0
        assert applied.too_old == (late,)
        await ledger.settle()
        await store.refresh()
        characters, sessions = await exported(store)
        assert [(each.character_id, each.login_ts, each.logout_ts) for each in sessions] == [
            ("2", APRIL + HOUR, APRIL + 2 * HOUR),
            ("1", APRIL + DAY, APRIL + 30 * HOUR),
        ]
        assert [document.state.pruned_before for document in characters] == [None, APRIL]
        assert await store.spans() == [Span(10, APRIL, APRIL + 2 * DAY, "pruned", MARCH)]


async def test_it_goes_on_while_others_write(backend: Backend) -> None:
    documents = [
        character(str(number), session(MARCH + number), session(APRIL + number)) for number in range(40)
    ]
    async with backend() as (store, _):
        await store.commit(all_of(*documents))
        await store.refresh()
        ledger = Ledger(store, lambda: MAY)
        batch = batch_of(
            {str(number): [Logout(str(number), 10, APRIL + HOUR)] for number in range(40)}, [], APRIL + HOUR
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.apply, batch)
            nursery.start_soon(prune, store, APRIL, nothing)
        await store.refresh()
        characters, sessions = await exported(store)
        assert len(characters) == len(sessions) == 40
        assert {each.logout_ts for each in sessions} == {APRIL + HOUR}
        assert all(len(each.state.sessions) == 1 for each in characters)
        await store.commit(Commit())
