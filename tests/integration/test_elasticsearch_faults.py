"""What a server refuses, the worker behind the queue against real ones: nothing is lost, nothing doubled, and `/readyz` says what is wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from ps2daemon.health import Health
from ps2daemon.model.batch import make_batch
from ps2daemon.model.events import decode_event
from ps2daemon.model.records import HOUR, EventRecord, Record
from ps2daemon.queue.frames import decode_frame
from ps2daemon.stages import enricher
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.pruning import prune
from tests.elasticsearch import EACH_MAJOR, Indices, address, indices
from tests.elasticsearch_worker import (
    FRAME,
    HALF,
    START,
    Told,
    Worker,
    assert_same,
    assert_whole,
    character_of,
    in_elasticsearch,
    in_sqlite,
    told,
    worker,
)
from tests.front import (
    BAD_GATEWAY,
    BUSY,
    LOGIN_PAGE,
    NO_MASTER,
    OPENSEARCH,
    REJECTED,
    TIMED_OUT,
    UNAUTHORIZED,
    Answer,
    Asked,
    Front,
    Item,
    Rule,
    Upstream,
    answering,
    front,
    honestly,
    items_of,
    refusing_items,
)
from tests.stores import Content

pytestmark = EACH_MAJOR


class Scene:
    """A worker, the front of its server, and what is on that."""

    def __init__(self, ours: Indices, server: Front, each: Worker) -> None:
        self.ours = ours
        self.server = server
        self.worker = each

    async def content(self) -> Content:
        """What is in the store, as another process sees it."""
        return await in_elasticsearch(self.ours.settings())

    async def assert_whole(self) -> None:
        """See `elasticsearch_worker.assert_whole`."""
        await assert_whole(self.worker, self.ours.settings())


@asynccontextmanager
async def scene(major: int, what: Told | None = None, **settings: Any) -> AsyncIterator[Scene]:
    """A worker with a full queue, and a front without faults between it and the server."""
    async with (
        indices(address(major)) as ours,
        front(ours.url) as server,
        worker(ours.settings(urls=(server.url,), **settings), what or told()) as each,
    ):
        yield Scene(ours, server, each)


async def test_without_a_fault(major: int) -> None:
    async with scene(major) as found:
        async with found.worker.draining():
            pass
        await found.assert_whole()


# Answers that pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(BUSY, "has too much to do (429", id="429"),
        pytest.param(NO_MASTER, "status 503: waited for", id="503"),
        pytest.param(BAD_GATEWAY, "status 502", id="502"),
        pytest.param(LOGIN_PAGE, "is not itself", id="a login page"),
        pytest.param(OPENSEARCH, "is not itself", id="another server"),
        pytest.param(UNAUTHORIZED, "does not let this user do that (401", id="401"),
    ],
)
async def test_an_answer_that_passes_is_waited_out(major: int, answer: Answer, words: str) -> None:
    async with scene(major) as found:
        async with found.worker.draining():
            await found.worker.until_left(HALF)
            found.server.rule = answering(answer, lambda asked: True)
            await found.worker.says(words)
            await found.worker.holds()
            found.server.rule = honestly
        await found.assert_whole()


async def test_a_server_that_rejects_single_documents_is_waited_out(major: int) -> None:
    async with scene(major) as found:
        async with found.worker.draining():
            await found.worker.until_left(HALF)
            found.server.rule = refusing_items(lambda item: hash(item.key) % 3 == 0, 429, REJECTED)
            await found.worker.says("has too much to do (429")
            await found.worker.holds()
            found.server.rule = honestly
        await found.assert_whole()


# Documents that it won't take


def event_of(record: Record) -> object:
    """What a record of an event says."""
    assert isinstance(record, EventRecord)
    return decode_event(record.payload)


def poisoning(matches: Callable[[Item], bool]) -> Rule:
    """Makes of the documents that match what no server takes, on their way there."""

    async def rule(asked: Asked, upstream: Upstream) -> Answer:
        if not asked.bulk:
            return await upstream(asked)
        lines = []
        for item in items_of(asked.body):
            head, *source = item.lines
            if source and matches(item):
                document = msgspec.json.decode(source[0])
                source = [msgspec.json.encode({**document, **POISON}) + b"\n"]
            lines += [head, *source]
        return await upstream(asked._replace(body=b"".join(lines)))

    return rule


POISON = {"first_ts": "never", "last_ts": "never"}
"""No time, in a field of each session and of each character."""


@pytest.mark.parametrize("kind", ["sessions", "characters"])
async def test_a_document_that_the_server_refuses_goes_to_the_dead_letters_with_its_character_alone(
    major: int, kind: str
) -> None:
    events = Counter(filter(None, map(character_of, told().records)))
    ((character_id, _),) = events.most_common(1)
    async with scene(major) as found:
        found.server.rule = poisoning(
            lambda item: f"-{kind}" in item.folder and item.key.partition("-")[0] == character_id
        )
        async with found.worker.draining():
            pass
        assert_same(await found.content(), await in_sqlite(told().without(character_id)))
        letters = await found.worker.letters.list(1_000)
        for letter in letters:
            assert letter.reason.startswith("the store refuses its character: ")
            assert "failed to parse date field [never]" in letter.reason
        buried = [record for letter in letters for record in decode_frame(letter.frame)]
        assert set(map(event_of, buried)) == {
            event_of(record) for record in told().records if character_of(record) == character_id
        }
        # Once what was wrong is mended, they are what was missing.
        found.server.rule = honestly
        await found.worker.queue_up(*(letter.frame for letter in letters))
        found.worker.health = Health()
        async with found.worker.draining():
            pass
        assert_same(await found.content(), await in_sqlite(told()))


async def test_many_documents_that_the_server_refuses_are_waited_out(major: int) -> None:
    async with scene(major) as found:
        found.server.rule = poisoning(lambda item: item.folder.endswith("-characters"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(enricher, "FRAMES", HALF)
            patch.setattr(enricher, "RECORDS", HALF * FRAME)
            async with found.worker.draining():
                await found.worker.says("refuses", "documents for", "failed to parse")
                await found.worker.holds()
                found.server.rule = honestly
        await found.assert_whole()


async def test_a_read_only_index_is_waited_out(major: int) -> None:
    async with scene(major) as found:
        path = f"/{found.ours.prefix}-*/_settings"
        async with found.worker.draining():
            await found.worker.until_left(HALF)
            await found.ours.ask("PUT", path, {"index.blocks.read_only_allow_delete": True})
            await found.worker.says("an index may not be written", "make room")
            await found.worker.holds()
            await found.ours.ask("PUT", path, {"index.blocks.read_only_allow_delete": None})
        await found.assert_whole()


# Indices that are not as they should be


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        pytest.param(
            {"properties": {"login_ts": {"type": "text"}}},
            "maps login_ts as text and not as date",
            id="a type",
        ),
        pytest.param({"_meta": {"owner": "somebody"}}, "is not this program's", id="an owner"),
        pytest.param({"_meta": {"version": 9}}, "is of version 9", id="a version"),
    ],
)
async def test_an_index_made_by_hand_is_waited_out(major: int, mapping: dict[str, Any], words: str) -> None:
    async with scene(major) as found:
        index = f"{found.ours.prefix}-sessions-2026.03"
        await found.ours.ask("PUT", f"/{index}", {"mappings": mapping})
        async with found.worker.draining():
            why = await found.worker.says(f"the index {index}", words)
            assert "\n" not in why
            await found.worker.holds()
            await found.ours.ask("DELETE", f"/{index}")
        await found.assert_whole()


async def test_an_index_that_somebody_replaces_is_waited_out(major: int) -> None:
    async with scene(major) as found:
        index = f"{found.ours.prefix}-characters"  # which the store has seen, and nothing is in it yet
        await found.ours.ask("DELETE", f"/{index}")
        await found.ours.ask("PUT", f"/{index}", {"mappings": {"properties": {"last_ts": {"type": "ip"}}}})
        async with found.worker.draining():
            await found.worker.says(f"the index {index}", "maps last_ts as ip and not as date")
            await found.worker.holds()
            await found.ours.ask("DELETE", f"/{index}")
        await found.assert_whole()


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
    async with scene(major) as found:
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
    async with scene(major, ours) as found:
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
    async with scene(major) as found:
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
            after = self._random.choice([1, 2, 3, 5, 8, 13, 1_000_000])
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
    async with scene(major) as found:
        late = Late(chance)
        found.server.rule = late
        async with found.worker.draining():
            pass
        await late.all(found.server.ask)
        assert late.lost > 10
        assert late.done_late > 5
        await found.assert_whole()
