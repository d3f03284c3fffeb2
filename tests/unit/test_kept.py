"""What is kept of days answers as the store itself would, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.coverage import Span
from ps2daemon.model.differences import Differences
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sittings import Sittings
from ps2daemon.store import kept as kept_module
from ps2daemon.store.base import Commit, SessionDocument, StoreReader
from ps2daemon.store.days import Edges, Pace, Versions
from ps2daemon.store.kept import KeptReader
from ps2daemon.store.kept_days import ATTEMPTS, MOST_AT_ONCE
from ps2daemon.store.sqlite import SqliteStore
from tests.memory_reader import changed, rows_of, session

D = 20_000 * DAY
"""A midnight."""
WORLDS = (1, 10)


class Watched(SqliteStore):
    """Remembers what it was asked, and answers when it may."""

    loads: list[tuple[int, int, int]]
    windows: int
    may_answer: trio.Event

    async def edges(self, start: Ms, end: Ms, world_id: int) -> Edges:
        self.loads.append((world_id, (start - D) // DAY, (end - D) // DAY))
        await self.may_answer.wait()
        return await super().edges(start, end, world_id)

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        self.windows += 1
        return await super().changes(start, end, step, worlds)


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    with TemporaryDirectory() as folder:
        store = await Watched.open(Path(folder) / "ps2.db")
        assert isinstance(store, Watched)
        store.loads, store.windows, store.may_answer = [], 0, trio.Event()
        store.may_answer.set()
        try:
            yield store
        finally:
            await store.aclose()


async def somebody(store: Watched, days: int, worlds: Collection[int] = (10,)) -> None:
    """Somebody is online on each of these days, so that there is something to read."""
    people = [
        session(str(world_id), D + day * DAY + HOUR, D + day * DAY + 2 * HOUR, world_id=world_id)
        for day in range(days)
        for world_id in worlds
    ]
    await store.commit(Commit(sessions=people))


async def told(
    reader: StoreReader, start: Ms, end: Ms, step: Ms = MINUTE, worlds: Collection[int] = WORLDS
) -> list[tuple[int, int, int, int]]:
    return changed(await reader.changes(start, end, step, worlds))


def moments() -> st.SearchStrategy[Ms]:
    """On and beside the edges of days and minutes, and anywhere."""
    edges = st.builds(
        lambda day, rest: D + day * DAY + rest,
        st.integers(0, 4),
        st.sampled_from([-MINUTE, -1, 0, 1, SECOND, MINUTE - 1, MINUTE, MINUTE + 1, 5 * HOUR]),
    )
    return edges | st.integers(D - HOUR, D + 5 * DAY)


@st.composite
def documents(draw: st.DrawFn) -> SessionDocument:
    login, logout = draw(moments()), draw(st.none() | moments())
    if logout is not None and draw(st.integers(0, 9)) == 0:
        found = session(draw(st.sampled_from("12")), None, logout)
    else:
        found = session(
            draw(st.sampled_from("12")), login, logout if logout is None or logout >= login else login + DAY
        )
    world_id, faction_id = draw(st.sampled_from(WORLDS)), draw(st.sampled_from([0, 1, 1, 4, 4, 4, 9]))
    if found.ended_by is not None and draw(st.integers(0, 3)) == 0:
        found = msgspec.structs.replace(found, ended_by="cap", ended_after=login, ended_before=logout)
    return msgspec.structs.replace(found, world_id=world_id, faction_id=faction_id)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Ms, Ms, Ms, Collection[int]]:
    step = draw(st.sampled_from([MINUTE, 2 * MINUTE, 7 * MINUTE, HOUR, DAY, 1000, 90 * SECOND]))
    start = draw(st.integers(-30, 6000).map(lambda minutes: D + minutes * MINUTE) | moments())
    length = draw(st.integers(0, 4 * DAY))
    return start, start + length, step, draw(st.sampled_from([WORLDS, (10,), (1, 1), (5,), ()]))


class Gone(msgspec.Struct, frozen=True):
    """Deletes the session at this place of those written."""

    place: int


class Corrected(msgspec.Struct, frozen=True):
    """Says something else of the session at this place, as naming, a late logout or a late world would."""

    place: int
    logout: Ms | None
    """None if an estimate was right."""
    faction_id: int
    world_id: int


def happenings() -> st.SearchStrategy[SessionDocument | Gone | Corrected | Ms]:
    place = st.integers(0, 20)
    corrected = st.builds(
        Corrected, place, st.none() | moments(), st.sampled_from([1, 4]), st.sampled_from(WORLDS)
    )
    pruned = st.integers(0, 3).map(lambda day: D + day * DAY)
    return documents() | documents() | corrected | st.builds(Gone, place) | pruned


async def happen(
    store: Watched, known: dict[str, SessionDocument], what: SessionDocument | Gone | Corrected | Ms
) -> None:
    """Writes it, and remembers what there is, or was."""
    if isinstance(what, SessionDocument):
        known[what.session_id] = what
        await store.commit(Commit(sessions=[what]))
    elif isinstance(what, int):
        await store.drop_sessions(what, 1000)
    elif known:
        before = list(known.values())[what.place % len(known)]
        if isinstance(what, Gone):
            await store.commit(Commit(gone_sessions=[before.session_id]))
        elif before.login_ts is not None:
            new = msgspec.structs.replace(
                before,
                logout_ts=before.logout_ts if what.logout is None else max(what.logout, before.login_ts),
                ended_by=None if what.logout is None and before.logout_ts is None else "logout",
                faction_id=what.faction_id,
                world_id=what.world_id,
            )
            await happen(store, known, new)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(happenings(), windows()), min_size=1, max_size=15), st.sampled_from([1, 3, 1_000_000])
)
def test_it_answers_as_the_store_does_whatever_happens_between(
    course: list[tuple[SessionDocument | Gone | Corrected | Ms, tuple[Ms, Ms, Ms, Collection[int]]]],
    most: int,
) -> None:
    async def run() -> None:
        async with watched() as store:
            kept = KeptReader(store, most, most)
            known: dict[str, SessionDocument] = {}
            for what, window in course:
                await happen(store, known, what)
                assert await told(kept, *window) == await told(store, *window)
                start, end, _, worlds = window
                sittings = await kept.sittings(start, end, worlds)
                assert rows_of(sittings) == rows_of(await store.sittings(start, end, worlds))
                assert kept._minutes is not None
                assert max(kept._minutes.size, kept._ended.size) <= most

    trio.run(run)


async def test_days_that_did_not_change_are_not_read_again() -> None:
    async with watched() as store:
        kept = KeptReader(store)
        await somebody(store, 3)
        first = await told(kept, D, D + 3 * DAY, worlds=(10,))
        assert store.loads == [(10, 0, 3)]
        assert await told(kept, D, D + 3 * DAY, worlds=(10,)) == first
        assert len(await told(kept, D + DAY, D + 2 * DAY, 15 * MINUTE, worlds=(10,))) == 2
        assert len(store.loads) == 1
        assert store.windows == 0


async def test_of_days_of_which_there_is_nothing_nothing_is_read() -> None:
    async with watched() as store:
        kept = KeptReader(store)
        await somebody(store, 3)
        assert len(await told(kept, D - 300 * DAY, D + 300 * DAY)) == 6
        assert store.loads == [(10, 0, 3)]
        late = session("2", D - 9 * DAY + HOUR, D - 9 * DAY + 2 * HOUR)
        await store.commit(Commit(sessions=[late]))
        assert len(await told(kept, D - 300 * DAY, D + 300 * DAY)) == 8
        assert store.loads == [(10, 0, 3), (10, -9, -8)]
        assert store.windows == 0


async def test_a_late_correction_is_in_the_next_answer_and_only_its_days_are_read_again() -> None:
    async with watched() as store:
        kept = KeptReader(store)
        open_one = session("1", D + HOUR, None)
        await store.commit(Commit(sessions=[open_one]))
        await told(kept, D, D + 5 * DAY, worlds=(10,))
        store.loads.clear()
        late = msgspec.structs.replace(open_one, logout_ts=D + 3 * DAY, ended_by="logout")
        await store.commit(Commit(sessions=[late]))
        # A logout at midnight belongs to the day before it, as to the bucket.
        assert (10, 1, 3 * 1440, -1) in await told(kept, D, D + 5 * DAY, worlds=(10,))
        assert store.loads == [(10, 2, 3)]
        store.loads.clear()
        await store.commit(Commit(sessions=[msgspec.structs.replace(late, faction_id=2)]))
        assert {faction_id for _, faction_id, _, _ in await told(kept, D, D + 5 * DAY, worlds=(10,))} == {2}
        assert store.loads == [(10, 0, 1), (10, 2, 3)]


async def test_writing_the_same_again_changes_no_version() -> None:
    async with watched() as store:
        both = [session("1", D + HOUR, D + 2 * HOUR), session("2", None, D + HOUR)]
        await store.commit(Commit(sessions=both))
        before = await store.day_versions(range(20_000, 20_001), WORLDS)
        assert list(before) == [(10, 20_000)]
        await store.commit(Commit(sessions=both))
        assert await store.day_versions(range(20_000, 20_001), WORLDS) == before


async def test_those_that_were_asked_for_longest_ago_go_first() -> None:
    async with watched() as store:
        kept = KeptReader(store, most_days=2)
        await somebody(store, 3)
        for day in (0, 1, 0, 2):
            await told(kept, D + day * DAY, D + (day + 1) * DAY, worlds=(10,))
        store.loads.clear()
        await told(kept, D, D + DAY, worlds=(10,))
        assert store.loads == []
        await told(kept, D + DAY, D + 2 * DAY, worlds=(10,))
        assert store.loads == [(10, 1, 2)]


async def test_those_who_ask_at_once_share_one_load() -> None:
    async with watched() as store:
        await somebody(store, 3)
        kept, answers = KeptReader(store), []
        store.may_answer = trio.Event()

        async def ask(days: int) -> None:
            answers.append((await told(kept, D, D + days * DAY, worlds=(10,)))[:4])

        async with trio.open_nursery() as nursery:
            for days in (3, 3, 2):
                nursery.start_soon(ask, days)
            await trio.testing.wait_all_tasks_blocked(0.05)
            store.may_answer.set()
        # Whoever of them is first.
        assert sorted(store.loads) in ([(10, 0, 3)], [(10, 0, 2), (10, 2, 3)])
        assert answers == [answers[0]] * 3


async def test_who_waits_for_a_load_that_breaks_off_reads_for_itself() -> None:
    async with watched() as store:
        await somebody(store, 1, WORLDS)
        kept, store.may_answer = KeptReader(store), trio.Event()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.05):
                await told(kept, D, D + DAY, worlds=(10,))
            nursery.start_soon(told, kept, D, D + DAY)
            store.may_answer.set()
        assert store.loads[:2] == [(10, 0, 1), (1, 0, 1)]
        assert len(await told(kept, D, D + DAY)) == 4


async def test_what_is_committed_while_it_reads_is_in_the_next_answer() -> None:
    async with watched() as store:
        await store.commit(Commit(sessions=[session("2", D + HOUR, None)]))
        kept, store.may_answer = KeptReader(store), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told, kept, D, D + DAY, MINUTE, (10,))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert store.loads == [(10, 0, 1)]
            await store.commit(Commit(sessions=[session("1", D + HOUR, None)]))
            store.may_answer.set()
        assert await told(kept, D, D + DAY, worlds=(10,)) == [(10, 1, 60, 2)]


@pytest.mark.parametrize("after", ["lasting", "ended"])
@pytest.mark.parametrize("leaving", [1, 2, 2 * ATTEMPTS])
async def test_who_logs_out_while_it_is_read_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, after: str, leaving: int
) -> None:
    async with watched() as store:
        kept = KeptReader(store)
        people = [session(str(number), D + HOUR, None) for number in range(2 * ATTEMPTS)]
        await store.commit(Commit(sessions=people))
        left = iter(people[:leaving])
        read = getattr(store, after)

        async def read_and_somebody_leaves(*args: object) -> object:
            found = await read(*args)
            for each in islice(left, 1):
                over = msgspec.structs.replace(each, logout_ts=D + 2 * HOUR, ended_by="logout")
                await store.commit(Commit(sessions=[over]))
            return found

        monkeypatch.setattr(store, after, read_and_somebody_leaves)
        for _ in range(2):
            assert len(rows_of(await kept.sittings(D, D + DAY, (10,)))) == len(people)
        assert rows_of(await kept.sittings(D, D + DAY, (10,))) == rows_of(
            await store.sittings(D, D + DAY, (10,))
        )


async def test_a_day_whose_sittings_did_not_change_is_not_read_again() -> None:
    async with watched() as store:
        kept = KeptReader(store)
        await store.commit(
            Commit(sessions=[session(str(n), D + n * DAY + 1, D + n * DAY + HOUR) for n in (0, 1, 2)])
        )
        loads: list[tuple[Ms, Ms]] = []
        ended = store.ended

        async def ended_and_told(start: Ms, end: Ms, world_id: int) -> Sittings:
            loads.append(((start - D) // DAY, (end - D) // DAY))
            return await ended(start, end, world_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "ended", ended_and_told)
            first = rows_of(await kept.sittings(D, D + 3 * DAY, (10,)))
            assert loads == [(0, 3)]
            assert rows_of(await kept.sittings(D, D + 3 * DAY, (10,))) == first
            await kept.sittings(D + DAY, D + 2 * DAY, (10,))
            assert loads == [(0, 3)]
            await store.commit(Commit(gone_sessions=[f"1-{D + DAY + 1}"]))
            assert len(rows_of(await kept.sittings(D, D + 3 * DAY, (10,)))) == 2
            assert loads == [(0, 3), (1, 2)]


@pytest.mark.parametrize("what", ["ended", "lasting", "day_versions"])
async def test_a_store_that_cant_be_read_says_so_of_all_worlds_at_once(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def refuses(*args: object) -> object:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("gone")

    async with watched() as store:
        await somebody(store, 1, WORLDS)
        kept = KeptReader(store)
        monkeypatch.setattr(store, what, refuses)
        with pytest.raises(StoreUnavailable, match="gone"):
            await kept.sittings(D, D + DAY, WORLDS)
        monkeypatch.undo()
        assert len(rows_of(await kept.sittings(D, D + DAY, WORLDS))) == 2


async def test_an_estimate_that_turns_out_to_be_right_makes_a_leaver() -> None:
    """Though the session ends when it ended before."""
    async with watched() as store:
        kept = KeptReader(store)
        over = session("1", D + HOUR, D + 2 * HOUR)
        guess = msgspec.structs.replace(over, ended_by="cap", ended_after=D + HOUR, ended_before=D + 3 * HOUR)
        await store.commit(Commit(sessions=[guess]))
        assert rows_of(await kept.sittings(D, D + DAY, (10,))) == []
        await store.commit(Commit(sessions=[over]))
        assert rows_of(await kept.sittings(D, D + DAY, (10,))) == [(10, 1, D + HOUR, D + 2 * HOUR)]


async def test_warming_reads_the_latest_days_first_and_waits_while_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched() as store:
        await somebody(store, 10)
        await store.commit(Commit(spans=[Span(10, D, D + 10 * DAY - 1, "start")]))
        kept, store.may_answer = KeptReader(store), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.warm)
            with kept.asked():
                nursery.start_soon(told, kept, D + 4 * DAY, D + 5 * DAY, MINUTE, (10,))
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert store.loads == [(10, 4, 5)]
                store.may_answer.set()
        assert store.loads[1:] == [(10, 6, 10), (10, 2, 4), (10, 5, 6), (10, 0, 2)]
        await told(kept, D, D + 10 * DAY, worlds=(10,))
        assert len(store.loads) == 5
        monkeypatch.setattr(store, "ended", None)  # of what is kept nothing is read
        assert len(rows_of(await kept.sittings(D, D + 8 * DAY, (10,)))) == 8


async def test_warming_keeps_within_its_bound_and_leaves_a_store_alone_that_it_cant_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched() as store:
        await somebody(store, 100)
        await store.commit(Commit(spans=[Span(10, D, D + 100 * DAY - 1, "start")]))
        await KeptReader(store, most_days=10).warm()
        assert store.loads == [(10, 96, 100), (10, 92, 96), (10, 90, 92)]

        async def refuses(*args: object) -> Edges:
            raise StoreUnavailable("gone")

        monkeypatch.setattr(store, "edges", refuses)
        await KeptReader(store).warm()


async def test_a_store_that_counts_in_less_time_is_asked_to() -> None:
    async with watched() as store:
        store.pace = Pace(counts=3, reads=2)
        kept = KeptReader(store)
        times = [D + day * DAY + HOUR for day in range(5)]
        await store.commit(Commit(sessions=[session("1", at, at + HOUR) for at in times]))
        for days, windows, loads in ((3, 1, 0), (9, 2, 0), (5, 3, 0)):
            await told(kept, D, D + days * DAY, worlds=(10,))
            assert (store.windows, len(store.loads)) == (windows, loads), "too short, or too much is not kept"
        store.pace = Pace(counts=0, reads=9)
        await told(kept, D + DAY, D + 3 * DAY, worlds=(10,))
        store.pace = Pace(counts=3, reads=2)
        store.loads.clear()
        found = await told(kept, D, D + 4 * DAY, HOUR, worlds=(10,))
        assert (store.windows, store.loads) == (3, [(10, 0, 1), (10, 3, 4)])
        assert found == await told(store, D, D + 4 * DAY, HOUR, worlds=(10,))


async def test_what_is_kept_heals_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changed, and though the store was away at first."""
    monkeypatch.setattr(kept_module, "WARM_SECONDS", 0.05)
    async with watched() as store, trio.open_nursery() as nursery:
        store.pace = Pace(counts=3, reads=2)
        times = [D + day * DAY + HOUR for day in range(9)]
        await store.commit(
            Commit(
                sessions=[session("1", at, at + HOUR) for at in times],
                spans=[Span(10, D, D + 9 * DAY - 1, "start")],
            )
        )
        kept = KeptReader(store)

        async def without_the_store() -> list[tuple[int, int, int, int]]:
            while True:
                windows = store.windows
                found = await told(kept, D, D + 9 * DAY, HOUR, worlds=(10,))
                if store.windows == windows:
                    return found
                await trio.sleep(2 * kept_module.QUIET_SECONDS)

        async def refuses(*args: object) -> Edges:
            raise StoreUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(store, "edges", refuses)
            await kept.warm()
        nursery.start_soon(kept.keep_warm)
        with trio.fail_after(30):
            for hours in (2, 3):
                found = await without_the_store()
                assert found == await told(store, D, D + 9 * DAY, HOUR, worlds=(10,))
                await store.commit(Commit(sessions=[session("1", at, at + hours * HOUR) for at in times[:6]]))
                assert await told(kept, D, D + 9 * DAY, HOUR, worlds=(10,)) != found
        nursery.cancel_scope.cancel()


async def test_a_day_that_changed_while_it_was_read_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched() as store:
        await store.commit(Commit(sessions=[session("1", D + HOUR, D + 2 * HOUR)]))
        kept, true = KeptReader(store), await store.change_versions(range(D // DAY, D // DAY + 1), (10,))

        async def lags(days: range, worlds: Collection[int]) -> Versions:
            return dict.fromkeys(true, "of another copy")

        first = await told(kept, D, D + DAY, worlds=(10,))
        with monkeypatch.context() as patch:
            patch.setattr(kept._minutes, "versions", lags)
            await store.commit(Commit(sessions=[session("1", D + HOUR, D + 3 * HOUR)]))
            assert await told(kept, D, D + DAY, worlds=(10,)) != first
            store.loads.clear()
            await told(kept, D, D + DAY, worlds=(10,))
            assert store.loads == [(10, 0, 1)], "once more, until its versions agree"
        await told(kept, D, D + DAY, worlds=(10,))
        await told(kept, D, D + DAY, worlds=(10,))
        assert store.loads == [(10, 0, 1), (10, 0, 1)]


async def test_long_windows_are_read_in_few_questions() -> None:
    async with watched() as store:
        await somebody(store, 2 * MOST_AT_ONCE)
        await told(KeptReader(store), D, D + 2 * MOST_AT_ONCE * DAY, HOUR, worlds=(10,))
        assert store.loads == [(10, 0, MOST_AT_ONCE), (10, MOST_AT_ONCE, 2 * MOST_AT_ONCE)]
