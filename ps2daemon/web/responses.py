"""What goes out: headers, copies that are still right, errors, and in which form the client wants its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

JSON: Final = "application/json"
CSV: Final = "text/csv"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""`no-cache` keeps a copy and asks whether it is still right; the ETag answers that."""
COMPRESSED: Final = 1024
"""Bytes from which on an answer is compressed where the client takes that."""
RETRY_SECONDS: Final = 10
"""When a client that was told 503 may come again."""


class Body(NamedTuple):
    """What is answered.

    Attributes:
        headers: beside those of every answer, or instead of them.
        compressed: the content by gzip, where that is kept; it is compressed on its way otherwise.
    """

    content: bytes
    media_type: str
    headers: Mapping[str, str] = {}
    compressed: bytes | None = None


def respond(request: Request, body: Body) -> Response:
    """The body, or 304 where the client has it already."""
    # Weak, since the same body goes out plain and compressed.
    tag = f'"{hashlib.blake2b(body.content, digest_size=12).hexdigest()}"'
    headers = {**HEADERS, **body.headers, "ETag": f"W/{tag}"}
    if _knows(request.headers.get("if-none-match", ""), tag):
        headers.pop("Content-Disposition", None)
        if len(body.content) >= COMPRESSED:
            headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
        return Response(status_code=304, headers=headers)
    if body.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(body.compressed, media_type=body.media_type, headers=headers)
    return Response(body.content, media_type=body.media_type, headers=headers)


def _knows(header: str, tag: str) -> bool:
    """Whether If-None-Match names this one, by the weak comparison (RFC 9110, 13.1.2 and 8.8.3.2)."""
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return tag in tags or tags == ["*"]


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": "one line"}`."""
    body = msgspec.json.encode({"error": " ".join(message.split())})
    own = {"Cache-Control": "no-store", "Vary": "Accept"}
    if status == 503:
        own["Retry-After"] = str(RETRY_SECONDS)
    return Response(body, status, HEADERS | own | dict(headers or {}), JSON)


class AsciiQueries:
    """Refuses a query with other bytes, as HTTP/1.1 forbids them (RFC 3986, 3.4): over HTTP/2 they come through, and Starlette ends over some.

    Args:
        app: answers all else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not scope["query_string"].isascii():
            app = error(400, "the query has bytes that no address can have; write them as %XX")
        await app(scope, receive, send)


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """Which of the offered media types an Accept header likes best, the first of them where it likes several as much (RFC 9110, 12.5.1).

    A range that can't be read counts for nothing, and a header without any other as none at all.

    Returns:
        None if it takes none of them.
    """
    ranges = dict(found for part in accept.split(",") if (found := _range(part)) is not None)
    if not ranges:
        return offered[0]

    def quality(media_type: str) -> float:
        kind = media_type.partition("/")[0]
        return next((ranges[each] for each in (media_type, f"{kind}/*", "*/*") if each in ranges), 0.0)

    best = max(offered, key=quality)
    return best if quality(best) > 0 else None


def _range(text: str) -> tuple[str, float] | None:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    if media_range.count("/") != 1:
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            whole, point, digits = value.strip().partition(".")
            # 0 to 1 with at most three digits (RFC 9110, 12.4.2).
            if whole not in ("0", "1") or not (digits == "" or (digits.isascii() and digits.isdecimal())):
                return None
            return media_range, min(float(f"{whole}{point}{digits[:3]}"), 1.0)
    return media_range, 1.0
