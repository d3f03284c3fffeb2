"""An HTTP server in front of Elasticsearch, or instead of it, that answers what a test wants it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import httpx
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ps2daemon.web.server import serve_app

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
JSON: Final = "application/json"


class Asked(NamedTuple):
    """A request.

    Attributes:
        authorization: that header, or nothing.
    """

    method: str
    path: str
    query: str
    body: bytes
    authorization: str = ""

    @property
    def bulk(self) -> bool:
        """Whether it is a bulk request."""
        return self.path.endswith("/_bulk")


class Answer(NamedTuple):
    """An answer.

    Attributes:
        elastic: says of itself that it is an Elasticsearch.
    """

    status: int
    body: bytes
    content_type: str = JSON
    elastic: bool = True


Upstream: TypeAlias = Callable[[Asked], Awaitable[Answer]]
"""Asks the server itself."""
Rule: TypeAlias = Callable[[Asked, Upstream], Awaitable[Answer]]
"""What is done with a request; it may ask the server, or not."""


async def honestly(asked: Asked, upstream: Upstream) -> Answer:
    """The rule without a fault: what the server says."""
    return await upstream(asked)


class Front:
    """Answers HTTP; made by `front`.

    Attributes:
        url: where it listens.
        rule: what it does with requests; may be changed at any time.
        asked: requests so far, without their bodies.
    """

    def __init__(self, upstream: str | None, client: httpx.AsyncClient) -> None:
        self._upstream = upstream
        self._client = client
        self.url = ""
        self.rule: Rule = honestly
        self.asked: list[Asked] = []

    async def answer(self, request: Request) -> Response:
        """Does what the rule says."""
        asked = Asked(
            request.method,
            request.url.path,
            request.url.query,
            await request.body(),
            request.headers.get("authorization", ""),
        )
        self.asked.append(asked._replace(body=b""))
        answer = await self.rule(asked, self.ask)
        headers = {"x-elastic-product": "Elasticsearch"} if answer.elastic else {}
        return Response(answer.body, answer.status, headers, answer.content_type)

    async def ask(self, asked: Asked) -> Answer:
        """Asks the server itself."""
        assert self._upstream is not None, "there is no server behind"
        kind = "application/x-ndjson" if asked.bulk else JSON
        answer = await self._client.request(
            asked.method,
            f"{self._upstream}{asked.path}?{asked.query}",
            content=asked.body,
            headers={"content-type": kind},
        )
        return Answer(answer.status_code, answer.content, answer.headers.get("content-type", ""))


@asynccontextmanager
async def front(upstream: str | None = None) -> AsyncIterator[Front]:
    """A front of the server with this URL, or of nothing."""
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client, trio.open_nursery() as nursery:
        found = Front(upstream, client)
        app = Starlette(routes=[Route("/{path:path}", found.answer, methods=METHODS)])
        serve = partial(serve_app, app, host="127.0.0.1", port=0, stopping=trio.Event())
        found.url = f"http://127.0.0.1:{await nursery.start(serve)}"
        yield found
        nursery.cancel_scope.cancel()


# Rules


def answering(answer: Answer, matches: Callable[[Asked], bool], times: int | None = None) -> Rule:
    """Gives this answer to the requests that match, or the first so many of them, and asks the server the others."""
    left = times

    async def rule(asked: Asked, upstream: Upstream) -> Answer:
        nonlocal left
        if left == 0 or not matches(asked):
            return await upstream(asked)
        left = None if left is None else left - 1
        return answer

    return rule


class Item(NamedTuple):
    """One action of a bulk request.

    Attributes:
        action: index, create, update or delete.
        folder, key: index and id of its document.
        lines: as they were sent.
    """

    action: str
    folder: str
    key: str
    lines: list[bytes]


def items_of(body: bytes) -> list[Item]:
    """The actions of a bulk request."""
    lines = body.splitlines(keepends=True)
    found = []
    while lines:
        head = lines.pop(0)
        ((action, target),) = msgspec.json.decode(head).items()
        source = [] if action == "delete" else [lines.pop(0)]
        found.append(Item(action, target["_index"], target["_id"], [head, *source]))
    return found


def refusing_items(
    matches: Callable[[Item], bool], status: int, error: Mapping[str, Any], times: int | None = None
) -> Rule:
    """Refuses the actions that match, in bulk requests with any such (or the first so many of them), and has the server do the others."""
    left = times

    async def rule(asked: Asked, upstream: Upstream) -> Answer:
        nonlocal left
        items = items_of(asked.body) if asked.bulk else []
        refused = [matches(item) for item in items]
        if left == 0 or not any(refused):
            return await upstream(asked)
        left = None if left is None else left - 1
        results: list[dict[str, Any]] = []
        kept = [line for item, no in zip(items, refused, strict=True) if not no for line in item.lines]
        if kept:
            results = msgspec.json.decode((await upstream(asked._replace(body=b"".join(kept)))).body)["items"]
        done = iter(results)
        answered = [
            {item.action: {"_index": item.folder, "_id": item.key, "status": status, "error": error}}
            if no
            else next(done)
            for item, no in zip(items, refused, strict=True)
        ]
        return Answer(200, msgspec.json.encode({"errors": True, "items": answered}))

    return rule


# Answers as real servers give them


def _error(status: int, error: Mapping[str, str]) -> Answer:
    body = {"error": {"root_cause": [error], **error}, "status": status}
    return Answer(status, msgspec.json.encode(body))


def _root(version: Mapping[str, str], *, elastic: bool) -> Answer:
    body = {"name": "n1", "cluster_name": "c", "cluster_uuid": "u", "version": version}
    return Answer(200, msgspec.json.encode(body), elastic=elastic)


REJECTED: Final = {
    "type": "es_rejected_execution_exception",
    "reason": "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, "
    "coordinating_operation_bytes=108400734, max_coordinating_and_primary_bytes=107374182]",
}
"""Why a server that has too much to do takes neither a request nor a document."""
BUSY: Final = _error(429, REJECTED)
NO_MASTER: Final = _error(503, {"type": "master_not_discovered_exception", "reason": "waited for [30s]"})
TIMED_OUT: Final = _error(504, {"type": "timeout_exception", "reason": "upstream request timeout"})
BAD_GATEWAY: Final = Answer(
    502, b"<html><head><title>502 Bad Gateway</title></head></html>", "text/html", elastic=False
)
LOGIN_PAGE: Final = Answer(
    200, b"<!DOCTYPE html><html><body><form>Sign in</form></body></html>", "text/html", elastic=False
)
UNAUTHORIZED: Final = _error(
    401,
    {
        "type": "security_exception",
        "reason": "missing authentication credentials for REST request [/]",
    },
)
OPENSEARCH: Final = _root({"distribution": "opensearch", "number": "2.19.1"}, elastic=False)
SEVEN: Final = _root({"number": "7.17.28", "build_flavor": "default"}, elastic=True)
TEN: Final = _root({"number": "10.0.0", "build_flavor": "default"}, elastic=True)
"""What does not exist yet."""
