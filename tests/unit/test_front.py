"""The front answers as its rule says, and is honest otherwise."""

from __future__ import annotations

import httpx
import msgspec

from tests.front import (
    BUSY,
    LOGIN_PAGE,
    OPENSEARCH,
    REJECTED,
    SEVEN,
    Answer,
    Asked,
    Item,
    Upstream,
    answering,
    front,
    items_of,
    refusing_items,
)

LINES = [
    b'{"index":{"_index":"a","_id":"1"}}\n',
    b'{"n":1}\n',
    b'{"delete":{"_index":"a","_id":"2"}}\n',
    b'{"update":{"_index":"b","_id":"3"}}\n',
    b'{"doc":{}}\n',
]


async def ask(url: str, method: str = "GET", path: str = "/", body: bytes = b"") -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return await client.request(
            method, path, content=body, headers={"content-type": "application/x-ndjson"}
        )


async def server(asked: Asked, upstream: Upstream) -> Answer:
    """Stands for one: does each action of a bulk request, and otherwise says what was asked."""
    if asked.bulk:
        items = [{item.action: {"_id": item.key, "status": 201}} for item in items_of(asked.body)]
        return Answer(200, msgspec.json.encode({"errors": False, "items": items}))
    return Answer(200, msgspec.json.encode([asked.method, asked.path, asked.query, asked.body.decode()]))


async def test_without_a_rule_it_asks_the_server() -> None:
    async with front() as behind, front(behind.url) as found:
        behind.rule = server
        answer = await ask(found.url, "PUT", "/a/_doc/1?refresh=true", b"{}")
        assert answer.json() == ["PUT", "/a/_doc/1", "refresh=true", "{}"]
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
        assert answer.headers["content-type"] == "application/json"
        assert [each.path for each in found.asked] == ["/a/_doc/1"]


async def test_it_answers_the_first_requests_that_match() -> None:
    async with front() as behind, front(behind.url) as found:
        behind.rule = server
        found.rule = answering(BUSY, lambda asked: asked.bulk, times=2)
        body = b"".join(LINES)
        statuses = [(await ask(found.url, "POST", "/_bulk", body)).status_code for _ in range(3)]
        assert statuses == [429, 429, 200]
        assert len(behind.asked) == 1
        found.rule = answering(LOGIN_PAGE, lambda asked: True)
        answer = await ask(found.url)
        assert answer.headers["content-type"].startswith("text/html")
        assert "x-elastic-product" not in answer.headers


async def test_it_refuses_some_actions_and_has_the_others_done_in_their_places() -> None:
    async with front() as behind, front(behind.url) as found:
        behind.rule = server
        found.rule = refusing_items(lambda item: item.key == "2", 429, REJECTED, times=1)
        answer = (await ask(found.url, "POST", "/_bulk", b"".join(LINES))).json()
        assert answer["errors"] is True
        assert [next(iter(item.values()))["status"] for item in answer["items"]] == [201, 429, 201]
        assert answer["items"][1]["delete"]["error"]["type"] == "es_rejected_execution_exception"
        assert not (await ask(found.url, "POST", "/_bulk", b"".join(LINES))).json()["errors"]


def test_a_bulk_body_is_taken_apart() -> None:
    assert items_of(b"".join(LINES)) == [
        Item("index", "a", "1", LINES[:2]),
        Item("delete", "a", "2", LINES[2:3]),
        Item("update", "b", "3", LINES[3:]),
    ]


async def test_other_servers_say_what_they_are() -> None:
    async with front() as found:
        found.rule = answering(OPENSEARCH, lambda asked: True)
        answer = await ask(found.url)
        assert answer.json()["version"]["distribution"] == "opensearch"
        assert "x-elastic-product" not in answer.headers
        found.rule = answering(SEVEN, lambda asked: True)
        answer = await ask(found.url)
        assert answer.json()["version"]["number"].startswith("7.")
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
