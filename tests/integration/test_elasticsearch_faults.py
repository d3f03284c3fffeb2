"""What a server refuses, the worker behind the queue against real ones: nothing is lost, nothing doubled, and `/readyz` says what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from ps2daemon.health import Health
from ps2daemon.model.events import decode_event
from ps2daemon.model.records import EventRecord, Record
from ps2daemon.model.sessions import fold
from ps2daemon.queue.frames import decode_frame
from ps2daemon.stages import enricher
from ps2daemon.store import deciding
from tests.elasticsearch import EACH_MAJOR
from tests.elasticsearch_worker import (
    FRAME,
    HALF,
    assert_same,
    character_of,
    fronted,
    in_sqlite,
    told,
)
from tests.front import (
    BAD_GATEWAY,
    BUSY,
    LOGIN_PAGE,
    NO_MASTER,
    OPENSEARCH,
    REJECTED,
    UNAUTHORIZED,
    Answer,
    Asked,
    Item,
    Rule,
    Upstream,
    answering,
    honestly,
    items_of,
    refusing_items,
)

pytestmark = EACH_MAJOR


async def test_without_a_fault(major: int) -> None:
    async with fronted(major) as found:
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
    async with fronted(major) as found:
        async with found.worker.draining():
            await found.worker.until_left(HALF)
            found.server.rule = answering(answer, lambda asked: True)
            await found.worker.says(words)
            await found.worker.holds()
            found.server.rule = honestly
        await found.assert_whole()


async def test_a_document_that_can_not_be_looked_up_is_not_taken_for_absent(major: int) -> None:
    """As while an index comes back: the answer as a whole is none of an outage."""

    async def missing(asked: Asked, upstream: Upstream) -> Answer:
        if not asked.path.endswith("/_mget"):
            return await upstream(asked)
        ids = msgspec.json.decode(asked.body)["ids"]
        cause = {"type": "no_shard_available_action_exception", "reason": "it is starting"}
        docs = [{"_index": "some", "_id": key, "error": {**cause, "root_cause": [cause]}} for key in ids]
        return Answer(200, msgspec.json.encode({"docs": docs}))

    async with fronted(major) as found:
        async with found.worker.draining():
            await found.worker.until_left(HALF)
            found.server.rule = missing
            await found.worker.says("it is starting")
            await found.worker.holds()
            found.server.rule = honestly
        await found.assert_whole()


async def test_a_server_that_rejects_single_documents_is_waited_out(major: int) -> None:
    async with fronted(major) as found:
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


def poisoning(matches: Callable[[Item], bool], fields: Sequence[str] = ("first_ts", "last_ts")) -> Rule:
    """Makes of the documents that match what no server takes, on their way there: these fields have no time."""

    async def rule(asked: Asked, upstream: Upstream) -> Answer:
        if not asked.bulk:
            return await upstream(asked)
        lines = []
        for item in items_of(asked.body):
            head, *source = item.lines
            if source and matches(item):
                document = msgspec.json.decode(source[0])
                source = [msgspec.json.encode({**document, **dict.fromkeys(fields, "never")}) + b"\n"]
            lines += [head, *source]
        return await upstream(asked._replace(body=b"".join(lines)))

    return rule


@pytest.mark.parametrize("kind", ["sessions", "characters"])
async def test_a_document_that_the_server_refuses_goes_to_the_dead_letters_with_its_character_alone(
    major: int, kind: str
) -> None:
    events = Counter(filter(None, map(character_of, told().records)))
    ((character_id, _),) = events.most_common(1)
    async with fronted(major) as found:
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


@pytest.mark.logs_errors
async def test_events_that_the_fold_or_the_server_fails_with_go_to_the_dead_letters_alone(
    major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server names an alert, and the fold nothing: which events those are has to be found out."""
    events = Counter(filter(None, map(character_of, told().records)))
    character_id = min(events, key=lambda each: (abs(events[each] - 2), each))  # some, and in few batches
    whole = await in_sqlite(told().without(character_id))
    (refused, *_) = whole.alerts.values()

    def failing(state: Any, events: Any, *more: Any) -> Any:
        if events[0].character_id == character_id:
            raise LookupError("nobody thought of that")
        return fold(state, events, *more)

    monkeypatch.setattr(deciding, "fold", failing)
    async with fronted(major) as found:
        found.server.rule = poisoning(
            lambda item: item.folder.endswith("-alerts") and item.key == refused.alert_id, ["first_change"]
        )
        async with found.worker.draining():
            pass
        content = await found.content()
        letters = await found.worker.letters.list(1_000)
    assert content.alerts == {key: each for key, each in whole.alerts.items() if key != refused.alert_id}
    assert (content.characters, content.sessions) == (whole.characters, whole.sessions)
    assert content.spans == whole.spans
    fates = {"LookupError: nobody thought of that": set[Record](), "StoreRefused: ": set[Record]()}
    for letter in letters:
        (fate,) = [fate for fate in fates if letter.reason.startswith(f"it can't be applied: {fate}")]
        fates[fate] |= set(decode_frame(letter.frame))
    assert list(fates.values()) == [
        {record for record in told().records if character_of(record) == character_id},
        {
            record
            for record in told().records
            if isinstance(record, EventRecord) and decode_event(record.payload) in refused.changes
        },
    ]


async def test_many_documents_that_the_server_refuses_are_waited_out(major: int) -> None:
    async with fronted(major) as found:
        found.server.rule = poisoning(lambda item: item.folder.endswith("-characters"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(enricher, "FRAMES", HALF)
            patch.setattr(enricher, "RECORDS", HALF * FRAME)
            async with found.worker.draining():
                await found.worker.says("refuses", "documents for", "failed to parse")
                await found.worker.holds()
                found.server.rule = honestly
        await found.assert_whole()


async def test_few_documents_that_are_all_refused_are_waited_out(major: int) -> None:
    """By a pipeline, say, that somebody gave to the index."""
    async with fronted(major) as found:
        found.server.rule = poisoning(lambda item: item.folder.endswith("-characters"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(enricher, "RECORDS", 1)  # a frame a batch
            async with found.worker.draining():
                await found.worker.says("refuses", "documents for", "failed to parse")
                assert await found.worker.letters.count() == 0
                found.server.rule = honestly
        await found.assert_whole()


async def test_a_read_only_index_is_waited_out(major: int) -> None:
    async with fronted(major) as found:
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
        pytest.param(
            {"_meta": {"owner": "ps2daemon"}, "dynamic": "strict"}, "set its dynamic to false", id="strict"
        ),
    ],
)
async def test_an_index_made_by_hand_is_waited_out(major: int, mapping: dict[str, Any], words: str) -> None:
    async with fronted(major) as found:
        index = f"{found.ours.prefix}-sessions-2026.03"
        await found.ours.ask("PUT", f"/{index}", {"mappings": mapping})
        async with found.worker.draining():
            why = await found.worker.says(f"the index {index}", words)
            assert "\n" not in why
            await found.worker.holds()
            await found.ours.ask("DELETE", f"/{index}")
        await found.assert_whole()


async def test_an_index_that_somebody_replaces_is_waited_out(major: int) -> None:
    async with fronted(major) as found:
        index = f"{found.ours.prefix}-characters"  # which the store has seen, and nothing is in it yet
        await found.ours.ask("DELETE", f"/{index}")
        await found.ours.ask("PUT", f"/{index}", {"mappings": {"properties": {"last_ts": {"type": "ip"}}}})
        async with found.worker.draining():
            await found.worker.says(f"the index {index}", "maps last_ts as ip and not as date")
            await found.worker.holds()
            await found.ours.ask("DELETE", f"/{index}")
        await found.assert_whole()
