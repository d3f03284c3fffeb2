from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TypeVar

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.comparison import compare_minutes, compare_sessions
from bench.content import Content, content
from bench.recorded import without_threads
from ps2daemon.census.rest import Identity
from ps2daemon.errors import StoreConflict, StoreUnavailable
from ps2daemon.model import sessions as session_model
from ps2daemon.model.batch import Batch, make_batch
from ps2daemon.model.coverage import Interval
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.sessions import Character, Evidence, Folded
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.store import deciding
from ps2daemon.store import ledger as ledger_module
from ps2daemon.store.base import Commit, Committed, SessionDocument, Stored
from ps2daemon.store.changes import session_documents
from ps2daemon.store.deciding import Told
from ps2daemon.store.ledger import CONFLICTS, Applied, Ledger, Settled
from tests.records import T0, change, covered, lock, login, logout
from tests.stores import Fault, FaultyStore, faulty_store

PRESENT: Ms = T0 + 365 * DAY
"""What the ledger takes for the present: later than all records."""
T = TypeVar("T")


def new_ledger(store: FaultyStore) -> Ledger:
    return Ledger(store, lambda: PRESENT)


async def apply(ledger: Ledger, *records: Record, identities: dict[str, Identity] | None = None) -> Applied:
    return await ledger.apply(make_batch(records), identities)


@asynccontextmanager
async def opened(*faults: Fault) -> AsyncIterator[tuple[FaultyStore, Ledger]]:
    async with faulty_store(faults) as store:
        yield store, new_ledger(store)


# What the store holds is a function of the set of records

CHARACTERS = ("1", "2", "3")
WORLDS = (10, 40)
IDENTITIES = {
    "1": Identity("1", "one", 1),
    "2": Identity("2", "two", 3),
    "3": Identity("3", None, 2),
}
# Half hours over four days, so that the cap, the longest session and midnight all play their parts.
moments = st.integers(0, 192).map(lambda half_hours: T0 + half_hours * HOUR // 2)
near = st.integers(0, 20).map(lambda minutes: minutes * MINUTE)
players = st.tuples(st.sampled_from(CHARACTERS), moments, st.sampled_from(WORLDS))
presence = st.one_of(players.map(lambda values: login(*values)), players.map(lambda values: logout(*values)))
changes = st.builds(
    lambda at, more, state, instance_id, kind: change(at + more, state, instance_id, kind),
    moments,
    near,
    st.integers(135, 139),
    st.integers(1, 2),
    st.sampled_from((147, 150)),
)
locks = st.builds(
    lambda at, more, zone_id, winner: lock(at + more, zone_id, winner),
    moments,
    near,
    st.sampled_from((2, 4)),
    st.integers(1, 3),
)
spans = st.builds(
    lambda start, length, world_id: covered(start, start + length * HOUR // 2, world_id),
    moments,
    st.integers(0, 40),
    st.sampled_from(WORLDS),
)
FAULTS: tuple[Fault, ...] = ("before", "after", "rival", "cancel before", "cancel after")


def when(record: Record) -> Ms:
    return record.end if isinstance(record, CoverageRecord) else record.received_at


async def in_order(records: Sequence[Record]) -> Content:
    """What the store holds if all goes well."""
    async with opened() as (store, ledger):
        ordered = sorted(records, key=when)
        for first in range(0, len(ordered), 3):
            await apply(ledger, *ordered[first : first + 3])
            await ledger.settle()
        await ledger.identify(IDENTITIES.values(), PRESENT)
        return await content(store)


class Chaos:
    """Applies records in any order, with repetitions, through faults, on one ledger after the other."""

    def __init__(self, store: FaultyStore, records: Sequence[Record], seed: int, rate: float) -> None:
        self.store = store
        self.records = records
        self.random = random.Random(seed)
        self.store.faults.extend(
            self.random.choice(FAULTS) if self.random.random() < rate else "none" for _ in range(300)
        )
        self.rivals = 0
        self.ledger = new_ledger(store)
        store.rival = self.rival

    async def rival(self, commit: Commit) -> None:
        """Somebody else applies something to a character of this commit."""
        if self.rivals == CONFLICTS:
            return
        self.rivals += 1
        mine = {stored.document.character_id for stored in commit.characters}
        events = [
            record
            for record in self.records
            if isinstance(record, EventRecord) and mine & make_batch([record]).events.keys()
        ]
        await apply(new_ledger(self.store), *self.random.sample(events, min(2, len(events))))

    async def insist(self, operation: Callable[[Ledger], Awaitable[object]]) -> None:
        """Repeats it until it goes through."""
        self.rivals = 0
        while True:
            with trio.CancelScope() as self.store.scope:
                try:
                    await operation(self.ledger)
                except StoreUnavailable:
                    pass
                else:
                    return
            if self.random.random() < 0.3:
                self.ledger = new_ledger(self.store)

    async def run(self) -> Content:
        told = [*self.records, *self.random.sample(self.records, len(self.records) // 2)]
        self.random.shuffle(told)
        batches: list[Told] = []
        while told:
            size = self.random.randint(1, 6)
            some = {name: IDENTITIES[name] for name in CHARACTERS if self.random.random() < 0.2}
            batches.append((make_batch(told[:size]), some))
            told = told[size:]
        for number, batch in enumerate(batches, 1):
            following = batches[number] if number < len(batches) and self.random.random() < 0.7 else None
            if following is not None and self.random.random() < 0.2:
                following = self.random.choice(batches)  # it need not be what comes
            await self.insist(partial(Ledger.apply, batch=batch[0], identities=batch[1], following=following))
            if self.random.random() < 0.2:
                await self.insist(lambda ledger: ledger.settle())
            if self.random.random() < 0.2:
                one = [IDENTITIES[self.random.choice(CHARACTERS)]]
                await self.insist(lambda ledger, one=one: ledger.identify(one, PRESENT))  # type: ignore[misc]
        await self.insist(lambda ledger: ledger.identify(IDENTITIES.values(), PRESENT))
        await self.insist(lambda ledger: ledger.settle())
        self.store.faults.clear()
        assert await self.store.unsettled() == []
        assert await self.ledger.settle() == Settled(0, 0)
        return await content(self.store)


def consistent(found: Content) -> None:
    """A character's sessions are its session documents, and what is counted is there."""
    told: dict[str, SessionDocument] = {}
    for document in found.characters.values():
        told |= session_documents(document)
    assert found.sessions == told
    assert found.counts["sessions"] == len(found.sessions)
    assert found.counts["characters"] == len(found.characters)
    assert {alert.lock_id for alert in found.alerts.values()} - {None} == {
        each.lock_id for each in found.locks.values() if each.alert_id is not None
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    people=st.lists(presence, min_size=5, max_size=40),
    coverage=st.lists(spans, min_size=2, max_size=12),
    world=st.lists(st.one_of(changes, locks), max_size=20),
    rate=st.sampled_from((0.0, 0.1, 0.4)),
    seed=st.integers(0, 2**32),
    cached=st.sampled_from((1, 8, 1000)),
)
async def test_neither_order_nor_repetition_nor_faults_make_a_difference(
    people: list[Record],
    coverage: list[Record],
    world: list[Record],
    rate: float,
    seed: int,
    cached: int,
) -> None:
    records = [*people, *coverage, *world]
    expected = await in_order(records)
    consistent(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "CACHED_SESSIONS", cached)
        async with faulty_store() as store:
            found = await Chaos(store, records, seed, rate).run()
    assert found == expected


# Coverage and estimates

GAP = (T0 + HOUR, T0 + 2 * HOUR)


async def open_session_before_a_gap(ledger: Ledger) -> None:
    """A session, and coverage up to a gap."""
    await apply(ledger, login("1", T0 + MINUTE), covered(T0, GAP[0]))
    await apply(ledger, login("1", T0 + 5 * HOUR))


async def estimate_of_the_first(store: FaultyStore) -> tuple[Ms | None, Ms | None]:
    first = min((await content(store)).sessions.values(), key=lambda session: session.login_ts or 0)
    assert first.ended_by == "next_login"
    return first.ended_after, first.ended_before


@pytest.mark.parametrize("fault", ["before", "after", "cancel before", "cancel after"])
async def test_a_gap_whose_commit_failed_is_settled_after_its_repetition(fault: Fault) -> None:
    async with opened() as (store, ledger):
        await open_session_before_a_gap(ledger)
        assert await estimate_of_the_first(store) == (T0 + MINUTE, T0 + 5 * HOUR)
        batch = make_batch([covered(GAP[1], GAP[1] + HOUR)])
        store.faults.append(fault)
        with trio.CancelScope() as store.scope, pytest.raises(StoreUnavailable):
            await ledger.apply(batch)
        assert store.happened == [fault]
        await ledger.apply(batch)
        assert await ledger.settle() == Settled(
            estimated=2, capped=0
        )  # the second one's `not_before` changes too
        assert await estimate_of_the_first(store) == GAP


async def test_coverage_that_changes_while_a_gap_is_settled_is_settled_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as (store, ledger):
        await open_session_before_a_gap(ledger)
        await apply(ledger, covered(GAP[1], GAP[1] + HOUR))
        await ledger.settle()
        assert await estimate_of_the_first(store) == GAP
        await apply(ledger, covered(GAP[0] + 10 * MINUTE, GAP[0] + 20 * MINUTE))
        found = store.estimated
        grown = False

        async def estimated(world_id: int, start: Ms, end: Ms, after: str, limit: int) -> list[str]:
            nonlocal grown
            if after and not grown:  # the character is settled already, and the entry not yet taken away
                grown = True
                await apply(ledger, covered(GAP[0] + 20 * MINUTE, GAP[0] + 40 * MINUTE))
            return await found(world_id, start, end, after, limit)

        monkeypatch.setattr(store, "estimated", estimated)
        await ledger.settle()
        assert grown
        assert await estimate_of_the_first(store) == (GAP[0] + 20 * MINUTE, GAP[1])
        await ledger.settle()
        assert await estimate_of_the_first(store) == (GAP[0] + 40 * MINUTE, GAP[1])
        assert await store.unsettled() == []


async def test_a_session_is_over_by_the_time_of_the_records_and_not_by_the_present() -> None:
    async with opened() as (store, ledger):
        await apply(ledger, login("1", T0))
        await apply(ledger, login("2", T0 + 12 * HOUR - SECOND))
        assert await ledger.settle() == Settled(0, 0)
        await apply(ledger, login("2", T0 + 12 * HOUR))
        assert await ledger.settle() == Settled(0, 1)
        session = (await content(store)).sessions[f"1-{T0}"]
        assert (session.ended_by, session.logout_ts) == ("cap", T0 + HOUR)
        await apply(ledger, logout("1", T0 + 13 * HOUR))
        session = (await content(store)).sessions[f"1-{T0}"]
        assert (session.ended_by, session.logout_ts) == ("logout", T0 + 13 * HOUR)


async def test_a_clock_that_was_far_ahead_ends_no_session() -> None:
    async with faulty_store() as store:
        present = T0 + HOUR
        ledger = Ledger(store, lambda: present)
        await apply(ledger, login("1", T0))
        await apply(ledger, EventRecord(T0 + 2 * DAY, login("2", T0 + MINUTE).payload))
        assert ledger.records_until == present
        assert await ledger.settle() == Settled(0, 0)
        assert (await content(store)).sessions[f"1-{T0}"].ended_by is None


# Conflicts


async def test_somebody_who_always_writes_first_is_an_error_in_the_end() -> None:
    async with opened() as (store, ledger):
        number = 0

        async def rival(commit: Commit) -> None:
            nonlocal number
            number += 1
            await apply(new_ledger(store), login("1", T0 + number * MINUTE))

        await apply(new_ledger(store), login("1", T0))
        store.rival = rival
        store.faults.extend(["rival"] * 100)
        with pytest.raises(StoreConflict):
            await apply(ledger, logout("1", T0 + SECOND))
        assert ledger.conflicts == number - 1 == CONFLICTS
        store.faults.clear()
        await apply(ledger, logout("1", T0 + SECOND))
        assert (await content(store)).sessions[f"1-{T0}"].logout_ts == T0 + SECOND


async def test_a_character_that_outgrew_the_cache_meets_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "CACHED_SESSIONS", 5)
    async with opened() as (store, ledger):
        for number in range(10):
            await apply(ledger, login("1", T0 + number * HOUR))
        assert ledger.conflicts == 0
        assert (await content(store)).counts["sessions"] == 10


FOLLOWING = make_batch(
    [
        login("2", T0 + 3 * HOUR),
        login("6", T0 + 3 * HOUR),
        logout("4", T0 + 3 * HOUR),
        login("5", T0 + 10 * HOUR),
        covered(T0, T0 + 20 * HOUR, 40),
    ]
)
"""What comes after the batch in between: "2" logs in again behind a gap, "4" logs out, "5" and "6" are new, and the time of "6" is up by the end."""


async def before_following(store: FaultyStore) -> Ledger:
    """A ledger that knows what came before, but for the batch in between, and has no character in memory."""
    await apply(
        new_ledger(store),
        covered(T0, T0 + MINUTE),
        covered(T0 + 30 * MINUTE, T0 + 12 * HOUR),
        *(login(character_id, T0) for character_id in "124"),
    )
    return new_ledger(store)


async def test_what_follows_is_loaded_and_decided_while_the_batch_before_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as (store, _):
        ledger = await before_following(store)
        without_threads(monkeypatch)
        happened: list[object] = []
        load, commit, fold = store.load_characters, store.commit, session_model.fold

        async def load_and_tell(character_ids: Collection[str]) -> dict[str, Stored]:
            happened.append(sorted(character_ids))
            return await load(character_ids)

        async def commit_and_tell(what: Commit) -> Committed:
            await trio.testing.wait_all_tasks_blocked()
            happened.append("written")
            return await commit(what)

        def fold_and_tell(
            character: Character, events: Sequence[Login | Logout], evidence: Evidence, seen_at: Ms | None
        ) -> Folded:
            folded = fold(character, events, evidence, seen_at)
            happened.extend({event.character_id for event in events})
            return folded

        monkeypatch.setattr(store, "load_characters", load_and_tell)
        monkeypatch.setattr(store, "commit", commit_and_tell)
        monkeypatch.setattr(deciding, "fold", fold_and_tell)
        await ledger.apply(make_batch([login("1", T0 + MINUTE)]), following=(FOLLOWING, {}))
        assert happened[:3] == [["1"], "1", ["2", "4", "5", "6"]]
        # Where the others end, coverage has a say, and some comes with them.
        assert sorted(map(str, happened[3:-1])) == ["4", "5"]
        assert happened.pop() == "written"
        happened.clear()
        await ledger.apply(FOLLOWING)
        assert happened == ["2", "6", "written"]
        assert ledger.conflicts == 0
        assert (await content(store)).sessions[f"4-{T0}"].logout_ts == T0 + 3 * HOUR


@pytest.mark.parametrize("between", [(), ("4",), ("1",), ("1", "4")])
async def test_what_was_decided_ahead_is_what_is_decided_in_its_turn(between: Sequence[str]) -> None:
    """Also if Census names some characters in between, those that follow or others."""
    first = make_batch([login("1", T0 + MINUTE)])
    found = []
    neither: Told | None = None
    for following in (neither, (FOLLOWING, {})):
        async with opened() as (store, _):
            ledger = await before_following(store)
            await ledger.apply(first, following=following)
            if between:
                await ledger.identify([Identity(character_id, "x", 2) for character_id in between], PRESENT)
            await ledger.apply(FOLLOWING)
            assert ledger.conflicts == 0
            found.append(await content(store))
    assert found[0] == found[1]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_decided_ahead_is_dropped_with_a_failure_or_if_something_else_comes(
    fails: bool,
) -> None:
    async with opened() as (store, _):
        ledger = await before_following(store)
        if fails:
            store.faults.extend(("none", "none", "after"))
        with pytest.raises(StoreUnavailable) if fails else nullcontext():
            await ledger.apply(make_batch([login("1", T0 + MINUTE)]), following=(FOLLOWING, {}))
        assert store.happened == (["after"] if fails else [])
        await apply(ledger, logout("4", T0 + HOUR))
        await ledger.apply(FOLLOWING)
        assert ledger.conflicts == 0
        assert (await content(store)).sessions[f"4-{T0}"].logout_ts == T0 + HOUR


async def test_a_store_in_this_process_leaves_no_time_to_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as (store, _):
        ledger = await before_following(store)
        monkeypatch.setattr(store, "remote", False)
        loaded: list[str] = []
        load = store.load_characters

        async def load_and_tell(character_ids: Collection[str]) -> dict[str, Stored]:
            loaded.extend(character_ids)
            return await load(character_ids)

        monkeypatch.setattr(store, "load_characters", load_and_tell)
        await ledger.apply(make_batch([login("1", T0 + MINUTE)]), following=(FOLLOWING, {}))
        assert loaded == ["1"]


# Who characters are


async def test_a_name_reaches_every_session_and_what_comes_later() -> None:
    async with opened() as (store, ledger):
        applied = await apply(ledger, login("1", T0), logout("1", T0 + MINUTE), login("2", T0))
        assert sorted(applied.unnamed) == ["1", "2"]
        assert await ledger.identify([Identity("1", "one", 3), Identity("9", "nobody", 1)], PRESENT) == 1
        assert await ledger.identify([Identity("1", "one", 3)], PRESENT) == 0
        applied = await apply(ledger, login("1", T0 + HOUR), login("2", T0 + HOUR))
        assert applied.unnamed == ("2",)
        found = await content(store)
        assert {session.faction_id for session in found.sessions.values() if session.character_id == "1"} == {
            3
        }
        assert (found.characters["1"].character_name, found.characters["1"].enriched_at) == ("one", PRESENT)
        assert "9" not in found.characters
        assert await store.unnamed("", 10) == ["2"]


async def test_a_row_without_a_name_gives_the_empire_and_is_asked_for_again() -> None:
    async with opened() as (store, ledger):
        await apply(ledger, login("1", T0), identities={"1": Identity("1", None, 3)})
        found = await content(store)
        assert (found.characters["1"].faction_id, found.characters["1"].character_name) == (3, None)
        assert found.sessions[f"1-{T0}"].faction_id == 3
        assert await store.unnamed("", 10) == ["1"]
        assert await ledger.identify([Identity("1", "one", 3)], PRESENT) == 1
        assert await store.unnamed("", 10) == []
        assert await ledger.identify([Identity("1", None, 3)], PRESENT) == 0
        assert (await content(store)).characters["1"].character_name == "one"


@pytest.mark.parametrize("by_batch", [True, False])
async def test_sessions_that_fell_off_before_the_name_came_get_the_empire(
    monkeypatch: pytest.MonkeyPatch, by_batch: bool
) -> None:
    monkeypatch.setattr(session_model, "KEPT_SESSIONS", 3)
    async with opened() as (store, ledger):
        for number in range(10):
            at = T0 + number * HOUR
            await apply(ledger, login("1", at), logout("1", at + MINUTE), login("2", at))
        identity = Identity("1", "one", 2)
        if by_batch:
            await apply(ledger, login("1", T0 + 10 * HOUR), identities={"1": identity})
        else:
            await ledger.identify([identity], PRESENT)
        found = (await content(store)).sessions.values()
        assert {session.faction_id for session in found if session.character_id == "1"} == {2}
        assert {session.faction_id for session in found if session.character_id == "2"} == {0}


# Sessions that fall off


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(
        st.tuples(st.integers(1, 40), st.booleans(), st.sampled_from(WORLDS)), min_size=10, max_size=40
    ),
    rate=st.sampled_from((0.0, 0.3)),
    seed=st.integers(0, 2**32),
)
async def test_sessions_are_the_same_whether_they_fell_off_or_not(
    events: list[tuple[int, bool, int]], rate: float, seed: int
) -> None:
    at = T0
    records: list[Record] = []
    for minutes, comes, world_id in events:
        at += minutes * 10 * MINUTE
        records.append((login if comes else logout)("1", at, world_id))
        if minutes % 7 == 0:
            records.append(covered(at - minutes * MINUTE, at))
    expected = await in_order(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_model, "KEPT_SESSIONS", 4)
        async with faulty_store() as store:
            chaos = Chaos(store, records, seed, rate)
            store.rival = None
            for first in range(0, len(records), 3):
                again = max(0, first - chaos.random.randint(0, 12))
                batch = make_batch(records[again : first + 3])

                async def told(ledger: Ledger, batch: Batch = batch) -> None:
                    applied = await ledger.apply(batch)
                    assert applied.too_old == ()

                await chaos.insist(told)
                await chaos.insist(lambda ledger: ledger.settle())
            await chaos.insist(lambda ledger: ledger.identify(IDENTITIES.values(), PRESENT))
            store.faults.clear()
            found = await content(store)
    assert found.sessions == expected.sessions
    assert len(found.characters["1"].state.sessions) == min(4, len(expected.sessions))


async def test_what_is_too_old_is_told_unless_it_is_a_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_model, "KEPT_SESSIONS", 3)
    async with opened() as (store, ledger):
        whole = [
            each("1", T0 + number * HOUR + more)
            for number in range(8)
            for each, more in ((login, 0), (logout, 10 * MINUTE))
        ]
        alone = logout("2", T0)
        await apply(ledger, *whole, alone)
        before = await content(store)
        assert (await apply(ledger, *whole, alone)).too_old == ()
        late = [login("1", T0 + 30 * MINUTE), logout("1", T0 + 40 * MINUTE), logout("1", T0)]
        applied = await apply(ledger, *late, logout("1", T0 + 10 * MINUTE))
        assert {(type(event).__name__, event.at) for event in applied.too_old} == {
            ("Login", T0 + 30 * MINUTE),
            ("Logout", T0 + 40 * MINUTE),
            ("Logout", T0),
        }
        after = await content(store)
        assert (after.sessions, after.characters) == (before.sessions, before.characters)


# Alerts


async def test_alerts_of_one_number_and_day_stay_apart_in_any_order() -> None:
    """Instance numbers begin anew when the server restarts; the second alert of the day is told first."""
    start = T0 - 12 * HOUR  # midnight
    early = [change(start + 10 * MINUTE, 135), change(start + 100 * MINUTE, 138)]
    late = [change(start + 22 * HOUR, 135, kind=150), change(start + 23 * HOUR, 138, kind=150)]
    async with opened() as (store, ledger):
        await apply(ledger, *early, *late)
        expected = (await content(store)).alerts
    assert [alert.start for alert in expected.values()] == [start + 10 * MINUTE, start + 22 * HOUR]
    async with opened() as (store, ledger):
        await apply(ledger, *late)
        await apply(ledger, *early)
        assert (await content(store)).alerts == expected


async def test_an_alert_ends_when_its_time_is_up_unless_an_event_says_otherwise() -> None:
    async with opened() as (store, ledger):
        await apply(ledger, change(T0, 135))
        assert await store.running_alerts() == [(10, T0)]
        await apply(ledger, login("1", T0 + 90 * MINUTE))
        await ledger.settle()
        (alert,) = (await content(store)).alerts.values()
        assert (alert.end, alert.ended_by) == (None, None)
        await apply(ledger, login("1", T0 + 2 * HOUR))
        await ledger.settle()
        (alert,) = (await content(store)).alerts.values()
        assert (alert.end, alert.ended_by) == (T0 + 90 * MINUTE, "duration")
        await apply(ledger, change(T0 + 80 * MINUTE, 138), lock(T0 + 80 * MINUTE))
        found = await content(store)
        (alert,) = found.alerts.values()
        assert (alert.end, alert.ended_by, alert.winner) == (T0 + 80 * MINUTE, "event", 1)
        assert [each.alert_id for each in found.locks.values()] == [alert.alert_id]


# A whole small history


async def test_a_history_in_any_order_gives_what_really_happened() -> None:
    end = T0 + 4 * DAY
    gaps = (
        Interval(T0 + DAY, T0 + DAY + 2 * HOUR),
        Interval(T0 + 2 * DAY + HOUR, T0 + 2 * DAY + 80 * MINUTE),
    )
    population = PopulationSettings(seed=5, worlds=(10, 40), scale=0.05)
    told, truth = history(HistorySettings(population=population, start=T0, end=end, gaps=gaps))
    records = list(told)
    shuffled = random.Random(1)
    records += shuffled.sample(records, len(records) // 10)
    shuffled.shuffle(records)
    async with opened() as (store, ledger):
        for first in range(0, len(records), 2_000):
            applied = await apply(ledger, *records[first : first + 2_000])
            assert applied.too_old == ()
        identities = [
            Identity(person.character_id, person.name, person.faction_id)
            for person in truth.characters.values()
        ]
        await ledger.identify(identities, PRESENT)
        await ledger.settle()
        assert await ledger.settle() == Settled(0, 0)
        sessions = await compare_sessions(store, truth)
        assert sessions.wrong == []
        assert sessions.compared > 1_000
        # Who never logged off within twelve hours of the beginning can't be known of; nobody stays so long here.
        minutes = await compare_minutes(store, truth, T0, end, (10, 40))
        assert minutes.wrong == []
        assert minutes.compared > 2 * 5 * 5_000
        assert minutes.uncovered < 2 * 250
        assert await store.unnamed("", 10) == []
