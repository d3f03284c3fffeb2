from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from ps2daemon.census.characters import (
    HIGHEST_WAIT_SECONDS,
    LEVELS,
    LINGER_SECONDS,
    REFUSED_SECONDS,
    CharacterObserver,
    CharacterSource,
)
from ps2daemon.census.rest import BATCH, Identity, IdRefused
from ps2daemon.errors import CensusError, CensusRefused, CensusUnavailable

INFINITE = float("inf")


def identity(character_id: str, name: str | None = "Ann", faction_id: int = 1) -> Identity:
    return Identity(character_id, name, faction_id)


class Census:
    """Knows everybody with an even number; tells what it was asked, and when (seconds since the beginning)."""

    def __init__(self) -> None:
        self._began = trio.current_time()
        self.asked: list[list[str]] = []
        self.times: list[float] = []
        self.seconds = 1.0
        self.failure: Callable[[Sequence[str]], CensusError | None] = lambda ids: None
        self.rows: Callable[[str], Identity | None] = lambda id: identity(id) if int(id) % 2 == 0 else None

    async def characters(self, ids: Sequence[str]) -> dict[str, Identity]:
        assert 0 < len(ids) <= BATCH
        assert len(set(ids)) == len(ids)
        self.times.append(round(trio.current_time() - self._began, 3))
        self.asked.append(list(ids))
        await trio.sleep(self.seconds)
        if (error := self.failure(ids)) is not None:
            raise error
        return {id: found for id in ids if (found := self.rows(id)) is not None}


class Observer(CharacterObserver):
    def __init__(self) -> None:
        self.levels: dict[str, int] = dict.fromkeys(LEVELS, 0)
        self.answers: list[tuple[int, int]] = []
        self.failures: list[tuple[str, float]] = []
        self.queue: list[int] = []

    def looked_up(self, level: str, characters: int) -> None:
        self.levels[level] += characters

    def answered(self, found: int, absent: int) -> None:
        self.answers.append((found, absent))

    def failed(self, error: CensusError, seconds: float) -> None:
        self.failures.append((str(error), seconds))

    def waiting(self, characters: int) -> None:
        self.queue.append(characters)


@asynccontextmanager
async def asking(**changes: Any) -> AsyncIterator[tuple[Census, CharacterSource, Observer]]:
    """A source whose requester runs until the block ends."""
    census, observer = Census(), Observer()
    source = CharacterSource(census, observer=observer, chance=lambda: 0.0, **changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        yield census, source, observer
        nursery.cancel_scope.cancel()


async def test_a_lookup_is_answered_and_remembered(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, observer):
        assert source.known("2") is None
        assert source.ask_in("2") == 0
        assert await source.lookup(["2", "4", "2"]) == {"2": identity("2"), "4": identity("4")}
        assert source.known("2") == identity("2")
        assert source.ask_in("2") == INFINITE
        assert await source.lookup(["4", "2"]) == {"2": identity("2"), "4": identity("4")}
        assert await source.lookup([]) == {}
    assert census.asked == [["2", "4"]]
    assert observer.levels == {"memory": 2, "absent": 0, "census": 2}
    assert observer.answers == [(2, 0)]
    assert observer.queue[-1] == 0


async def test_concurrent_lookups_share_a_request_and_a_character_is_asked_once(
    autojump_clock: MockClock,
) -> None:
    found: list[dict[str, Identity]] = []

    async def look(*ids: str) -> None:
        found.append(await source.lookup(ids))

    async with asking() as (census, source, _), trio.open_nursery() as nursery:
        for ids in (["2"], ["2", "4"], ["4", "6", "1"]):
            nursery.start_soon(partial(look, *ids))
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        nursery.start_soon(partial(look, "2", "8"))  # the request about 2 is under way
    assert [sorted(ids) for ids in census.asked] == [["1", "2", "4", "6"], ["8"]]
    assert census.times == [LINGER_SECONDS, LINGER_SECONDS + 1 + LINGER_SECONDS]
    assert sorted(map(len, found)) == [1, 2, 2, 2]


async def test_many_characters_go_in_full_batches_without_a_pause(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _):
        ids = [str(number) for number in range(2, 702, 2)]
        assert len(await source.lookup(ids)) == 350
    assert [len(asked) for asked in census.asked] == [100, 100, 100, 50]
    assert census.times == pytest.approx([0, 1, 2, 3 + LINGER_SECONDS])
    assert [id for asked in census.asked for id in asked] == ids, "the oldest first"


async def test_a_cancelled_lookup_takes_nothing_from_the_others(autojump_clock: MockClock) -> None:
    async def give_up(seconds: float, *ids: str) -> None:
        with trio.move_on_after(seconds) as scope:
            await source.lookup(ids)
        assert scope.cancelled_caught

    for seconds in (0.01, 0.5):  # before the request, and while it is under way
        async with asking() as (census, source, _), trio.open_nursery() as nursery:
            nursery.start_soon(partial(give_up, seconds, "2", "4"))
            await wait_all_tasks_blocked()
            assert await source.lookup(["2"]) == {"2": identity("2")}
            assert len(census.asked) == 1


async def test_what_nobody_waits_for_is_not_asked(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, observer):
        with trio.move_on_after(0.01):
            await source.lookup(["2"])
        await trio.sleep(10)
        assert census.asked == []
        assert await source.lookup(["4"]) == {"4": identity("4")}
    assert census.asked == [["4"]]
    assert observer.queue[-1] == 0


async def test_an_answer_that_nobody_waits_for_any_longer_is_kept(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _):
        with trio.move_on_after(0.5):
            await source.lookup(["2"])
        await trio.sleep(1)
        assert source.known("2") == identity("2")
    assert len(census.asked) == 1


async def test_an_absent_character_is_asked_about_again_ever_more_seldom(autojump_clock: MockClock) -> None:
    async with asking(highest_negative_seconds=200) as (census, source, observer):
        waits = []
        for _ in range(5):
            assert await source.lookup(["1"]) == {}
            asked = len(census.asked)
            assert await source.lookup(["1"]) == {}, "it is known to be absent"
            assert len(census.asked) == asked
            waits.append(source.ask_in("1"))
            await trio.sleep(source.ask_in("1"))
        assert waits == pytest.approx([60, 120, 200, 200, 200])
        assert len(census.asked) == 5
        census.rows = identity
        assert await source.lookup(["1"]) == {"1": identity("1")}
        assert source.ask_in("1") == INFINITE
    assert observer.levels == {"memory": 0, "absent": 5, "census": 6}
    assert observer.answers == [(0, 1)] * 5 + [(1, 0)]


async def test_a_character_without_a_name_is_known_and_asked_about_again(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _):
        census.rows = lambda id: identity(id, name=None, faction_id=3)
        assert await source.lookup(["2"]) == {"2": identity("2", None, 3)}
        assert source.ask_in("2") == pytest.approx(60)
        assert await source.lookup(["2"]) == {"2": identity("2", None, 3)}
        await trio.sleep(60)
        census.rows = lambda id: None
        assert await source.lookup(["2"]) == {"2": identity("2", None, 3)}, "known is known"
        assert source.ask_in("2") == pytest.approx(120)
        await trio.sleep(120)
        census.rows = identity
        assert await source.lookup(["2"]) == {"2": identity("2")}
    assert len(census.asked) == 3


async def test_what_is_known_from_elsewhere_is_not_asked(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _):
        source.remember([identity("1"), identity("3", None)])
        assert source.known("3") == identity("3", None)
        assert await source.lookup(["1"]) == {"1": identity("1")}
        assert census.asked == []
        assert await source.lookup(["3"]) == {"3": identity("3", None)}
    assert census.asked == [["3"]]


async def test_less_does_not_replace_more_that_came_meanwhile(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _), trio.open_nursery() as nursery:
        census.rows = lambda id: identity(id, None, 3)
        nursery.start_soon(source.lookup, ["2"])
        await trio.sleep(0.5)
        source.remember([identity("2", "Ann", 1)])
        await trio.sleep(1)
        assert source.known("2") == identity("2", "Ann", 3)
        assert source.ask_in("2") == INFINITE


async def test_memory_is_bounded_and_keeps_what_is_used(autojump_clock: MockClock) -> None:
    async with asking(capacity=10) as (_, source, _):
        ids = [str(number) for number in range(2, 62, 2)]
        assert len(await source.lookup(ids)) == 30, (
            "an answer is complete, even if memory is too small for it"
        )
        assert sum(source.known(id) is not None for id in ids) == 10
        source.known("42")
        await source.lookup(["62", "64", "66", "68", "70", "72", "74", "76", "78"])
        assert source.known("42") is not None
        assert source.known("44") is None


async def test_a_lookup_waits_through_an_outage(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, observer):
        census.failure = lambda ids: CensusUnavailable("down") if len(census.asked) <= 8 else None
        assert await source.lookup(["2"]) == {"2": identity("2")}
        waits = [2, 4, 8, 16, 32, HIGHEST_WAIT_SECONDS, HIGHEST_WAIT_SECONDS, HIGHEST_WAIT_SECONDS]
        assert observer.failures == [("down", wait) for wait in waits]
        census.failure = lambda ids: CensusUnavailable("down") if len(census.asked) <= 10 else None
        await source.lookup(["4"])
        assert [wait for _, wait in observer.failures[8:]] == [2], "an answer makes the waits short again"
    gaps = [
        later - earlier - 1 - LINGER_SECONDS
        for earlier, later in zip(census.times, census.times[1:9], strict=False)
    ]
    assert gaps == pytest.approx(waits, abs=0.01)


async def test_a_refusal_is_told_and_not_repeated_soon(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, observer):
        census.failure = lambda ids: CensusRefused("who are you?") if len(census.asked) <= 3 else None
        assert await source.lookup(["2"]) == {"2": identity("2")}
    assert observer.failures == [("who are you?", REFUSED_SECONDS)] * 3


async def test_a_lookup_can_be_given_up_during_an_outage(autojump_clock: MockClock) -> None:
    async with asking() as (census, source, _):
        census.failure = lambda ids: CensusUnavailable("down")
        with trio.move_on_after(1000):
            await source.lookup(["2", "4"])
        asked = len(census.asked)
        await trio.sleep(1000)
        assert len(census.asked) <= asked + 1


@pytest.mark.parametrize("size", [1, 2, 7, 100, 230])
async def test_an_id_that_is_none_spoils_nothing_for_the_others(autojump_clock: MockClock, size: int) -> None:
    ids = [str(2 * number) for number in range(1, size + 1)]
    bad = {ids[size // 3], ids[-1]}
    async with asking() as (census, source, observer):
        census.failure = lambda asked: IdRefused("not a number") if bad & set(asked) else None
        found = await source.lookup(ids)
        assert found.keys() == set(ids) - bad
        assert all(source.ask_in(id) > 0 for id in ids)
    assert observer.failures == []
    assert len(census.asked) <= 35


async def test_the_requester_may_end_and_begin_again(autojump_clock: MockClock) -> None:
    census = Census()
    source = CharacterSource(census)
    found: dict[str, Identity] = {}

    async def look() -> None:
        found.update(await source.lookup(["2", "4"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for seconds in (0.01, 0.5):
            with trio.move_on_after(seconds):
                await source.run()
        assert not found
        async with trio.open_nursery() as running:
            running.start_soon(source.run)
            await trio.sleep(2)
            running.cancel_scope.cancel()
    assert found.keys() == {"2", "4"}
    assert census.asked == [["2", "4"]] * 2


async def test_a_defect_of_the_client_is_not_taken_for_an_outage(autojump_clock: MockClock) -> None:
    census = Census()

    def defect(ids: Sequence[str]) -> CensusError | None:
        raise ZeroDivisionError

    census.failure = defect
    source = CharacterSource(census)

    async def look() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run)
            await source.lookup(["2"])

    with pytest.raises(BaseExceptionGroup) as caught:
        await look()
    assert caught.group_contains(ZeroDivisionError)


LOOKUPS = st.lists(
    st.tuples(
        st.floats(0, 5),  # when it begins
        st.sets(st.integers(1, 12).map(str), min_size=1, max_size=6),
        st.none() | st.floats(0, 3),  # after how long it is given up
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(lookups=LOOKUPS, outages=st.sets(st.integers(0, 6)), capacity=st.integers(1, 20))
def test_whoever_waits_gets_the_whole_answer(
    lookups: list[tuple[float, set[str], float | None]], outages: set[int], capacity: int
) -> None:
    async def look(source: CharacterSource, begin: float, ids: set[str], patience: float | None) -> None:
        await trio.sleep(begin)
        with trio.move_on_after(INFINITE if patience is None else patience) as scope:
            found = await source.lookup(ids)
        if not scope.cancelled_caught:
            assert found == {id: identity(id) for id in ids if int(id) % 2 == 0}

    async def main() -> None:
        async with asking(capacity=capacity) as (census, source, observer):
            census.failure = lambda ids: CensusUnavailable("") if len(census.asked) - 1 in outages else None
            async with trio.open_nursery() as nursery:
                for lookup in lookups:
                    nursery.start_soon(look, source, *lookup)
            assert observer.queue[-1:] in ([], [0])

    trio.run(main, clock=MockClock(autojump_threshold=0))
