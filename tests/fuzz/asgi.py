"""An ASGI app, asked with bytes that no client would let through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import trio
from starlette.types import ASGIApp


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def get(app: ASGIApp, path: str, query: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """One request. What the app raises is raised."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": query, "root_path": "", "headers": list(headers), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"], dict(start["headers"]), b"".join(each.get("body", b"") for each in sent[1:])
    )
