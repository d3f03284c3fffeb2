"""Others that write to the store of a worker, and requests of its own that are done late: nothing is lost, doubled or undone."""

from __future__ import annotations

import random
from collections import Counter
from operator import itemgetter

import msgspec
import pytest

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.batch import make_batch
from ps2daemon.model.records import DAY, HOUR, EventRecord, Ms, Record
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.pruning import prune
from tests.elasticsearch import EACH_MAJOR, Indices, address, indices
from tests.elasticsearch_worker import (
    HALF,
    START,
    Told,
    assert_same,
    character_of,
    fronted,
    in_elasticsearch,
    in_sqlite,
    told,
)
from tests.front import (
    TIMED_OUT,
    Answer,
    Asked,
    Rule,
    Upstream,
    front,
    honestly,
    items_of,
)
from tests.records import T0

pytestmark = EACH_MAJOR


# Somebody else who writes


def meddling(ours: Indices, times: int) -> Rule:
    """Writes characters that are about to be written, just before: what is there once more, or something where nothing is."""
    left = times

    async def rule(asked: Asked, upstream: Upstream) -> Answer:
        nonlocal left
        items = (
            [item for item in items_of(asked.body) if item.folder.endswith("-characters")]
            if asked.bulk
            else []
        )
        known = [item for item in items if item.action == "index"]
        if known and left:
            left -= 1
            path = f"/{known[0].folder}/_doc/{known[0].key}"
            stored = await ours.ask("GET", path)
            await ours.ask("PUT", path, stored["_source"])
        return await upstream(asked)

    return rule


async def test_a_character_that_changed_between_load_and_commit_is_decided_again(major: int) -> None:
    async with fronted(major) as found:
        found.server.rule = meddling(found.ours, 3)
        async with found.worker.draining():
            pass
        assert found.worker.value("writer_conflicts_total") == 3
        await found.assert_whole()


def in_turns(what: Told) -> tuple[Told, list[Record]]:
    """Each character's records from after the gap, one here and one there; all others here."""
    seen: Counter[str] = Counter()
    here: list[Record] = []
    there: list[Record] = []
    for record in what.records:
        owner = character_of(record)
        if owner is None or not isinstance(record, EventRecord) or record.received_at < START + 5 * HOUR:
            here.append(record)
            continue
        seen[owner] += 1
        (here if seen[owner] % 2 else there).append(record)
    return Told(tuple(here), what.names), there


async def test_two_that_write_the_same_characters_lose_nothing(major: int) -> None:
    ours, theirs = in_turns(told())
    chunks = [theirs[first::5] for first in range(5)]
    assert all(chunks)
    async with fronted(major, ours) as found:
        rival = await ElasticsearchStore.open(found.ours.settings())
        commits = 0

        async def beside(asked: Asked, upstream: Upstream) -> Answer:
            """Each second time that characters are about to be written, the rival is faster."""
            nonlocal commits
            if asked.bulk and b"-characters" in asked.body and found.worker.left < HALF:
                commits += 1
                if chunks and commits % 2:
                    await Ledger(rival, found.worker.clock.now).apply(make_batch(chunks.pop()))
            return await upstream(asked)

        found.server.rule = beside
        try:
            async with found.worker.draining():
                pass
        finally:
            await rival.aclose()
        assert not chunks
        assert (found.worker.value("writer_conflicts_total") or 0) >= 5
        await found.assert_whole()


async def test_pruning_while_it_writes_drops_what_is_old_and_nothing_else(major: int) -> None:
    march = START + 6 * HOUR
    async with fronted(major) as found:
        pruner = await ElasticsearchStore.open(found.ours.settings())
        try:
            async with found.worker.draining():
                await found.worker.until_left(HALF // 2)
                await prune(pruner, march, lambda number: None)
            until = await pruner.pruned_until()
        finally:
            await pruner.aclose()
        content = await found.content()
    wanted = await in_sqlite(told())
    assert until is not None
    assert all(span.start >= until for span in content.spans)
    later = {
        key: msgspec.structs.replace(each, not_before=None)
        for key, each in wanted.sessions.items()
        if each.login_ts is not None and each.login_ts >= march
    }
    assert len(later) > 20
    found_later = {
        key: msgspec.structs.replace(each, not_before=None)
        for key, each in content.sessions.items()
        if each.login_ts is not None and each.login_ts >= march
    }
    assert found_later == later
    assert {
        key: each for key, each in wanted.locks.items() if each.at >= march
    }.keys() <= content.locks.keys()


# Answers that are lost


class Late:
    """A rule by which some bulk requests are given up on and done later, some done with their answer lost, and some never done.

    Args:
        chance: how many of a hundred.
    """

    def __init__(self, chance: int) -> None:
        self._chance = chance
        self._random = random.Random(chance)
        self._waiting: list[tuple[int, Asked]] = []
        self._asked = 0
        self.lost = 0
        self.done_late = 0

    async def __call__(self, asked: Asked, upstream: Upstream) -> Answer:
        self._asked += 1
        while self._waiting and self._waiting[0][0] <= self._asked:
            await self.one(upstream)
        if not asked.bulk or self._random.randrange(100) >= self._chance:
            return await upstream(asked)
        self.lost += 1
        what = self._random.randrange(4)
        if what == 0:
            await upstream(asked)
        elif what > 1:
            after = self._random.choice([1, 3, 10, 30, 1_000_000])
            self._waiting = sorted([*self._waiting, (self._asked + after, asked)], key=itemgetter(0))
        return TIMED_OUT

    async def one(self, upstream: Upstream) -> None:
        """Does the next of those that wait."""
        _, asked = self._waiting.pop(0)
        self.done_late += 1
        await upstream(asked)

    async def all(self, upstream: Upstream) -> None:
        """Does all of them."""
        while self._waiting:
            await self.one(upstream)


@pytest.mark.parametrize("chance", [15])
async def test_requests_that_are_done_late_or_whose_answers_are_lost_change_nothing(
    major: int, chance: int
) -> None:
    async with fronted(major) as found:
        late = Late(chance)
        found.server.rule = late
        async with found.worker.draining():
            pass
        await late.all(found.server.ask)
        assert late.lost > 10
        assert late.done_late > 5
        await found.assert_whole()


async def test_a_worker_that_starts_again_with_other_batches_undoes_what_broke_off(major: int) -> None:
    """Records in another order make sessions that go again, so that what a broken-off commit wrote is not what is right later."""
    chance = random.Random(major)
    records = sorted(told().records, key=lambda record: (chance.randrange(4), received(record)))
    async with indices(address(major)) as ours, front(ours.url) as server:
        settings = ours.settings(urls=(server.url,))
        late = Late(25)
        done = 0
        while done < len(records):
            server.rule = honestly
            store = await ElasticsearchStore.open(settings)
            server.rule = late
            try:
                ledger = Ledger(store, lambda: T0 + 30 * DAY)
                while done < len(records):
                    number = chance.randrange(20, 150)
                    await ledger.apply(make_batch(records[done : done + number]))
                    done += number
            except StoreUnavailable:
                pass  # as if it had died
            finally:
                server.rule = honestly
                await store.aclose()
        await late.all(server.ask)
        store = await ElasticsearchStore.open(settings)
        try:
            ledger = Ledger(store, lambda: T0 + 30 * DAY)
            await ledger.identify(told().names, START)
            await ledger.settle()
        finally:
            await store.aclose()
        assert late.lost > 10
        assert_same(await in_elasticsearch(ours.settings()), await in_sqlite(told()))


def received(record: Record) -> Ms:
    return record.received_at if isinstance(record, EventRecord) else record.end
