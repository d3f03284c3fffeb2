"""The page and its JSON API as an ASGI app.

Promises:
- It only reads the store.
- Bad input is a 400 and a store that can't be read a 503, both with `{"error": "one line"}`; anything else that raises is a defect.
- Every answer carries a content security policy that allows this server's own files only, and an ETag; nothing is asked of another host.
- At most `READERS` requests read the store at a time; the others wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, TypeAlias

import msgspec
import trio
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ps2daemon.analysis.documents import Document
from ps2daemon.clock import Clock
from ps2daemon.errors import StoreError, UsageError
from ps2daemon.model.records import Ms
from ps2daemon.store.base import StoreReader
from ps2daemon.web import api
from ps2daemon.web.bundle import ChartLibrary
from ps2daemon.web.charts import chart
from ps2daemon.web.now import overview_of
from ps2daemon.web.pictures import MEDIA, Pictures, file_name
from ps2daemon.web.recording import Probe, recording_of
from ps2daemon.web.shell import VIEWS, View, page_of

READERS: Final = 4
JSON: Final = "application/json"
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
FILES: Final = {
    "/static/trends.js": ("trends.js", "text/javascript"),
    "/static/now.js": ("now.js", "text/javascript"),
    "/static/spark.js": ("spark.js", "text/javascript"),
    "/static/recording.js": ("recording.js", "text/javascript"),
    "/static/page.js": ("page.js", "text/javascript"),
    "/static/events.js": ("events.js", "text/javascript"),
    "/static/shared.js": ("shared.js", "text/javascript"),
    "/static/pointer.js": ("pointer.js", "text/javascript"),
    "/static/zoom.js": ("zoom.js", "text/javascript"),
    "/static/page.css": ("page.css", "text/css"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
OF_HISTORY: Final = ("window", "from", "to", "by", "back", "lines", "empire")
"""Parameters that only this view has; with one of them `/` leads there, as that was once its address."""

Answer: TypeAlias = Callable[[StoreReader, QueryParams, Ms], Awaitable[Document]]

ANSWERS: Final[dict[str, Answer]] = {
    "worlds": api.worlds,
    "now": api.now_online,
    "population": api.population_of,
    "overlay": api.overlay_of,
    "alerts": api.alerts,
    "locks": api.locks,
    "coverage": api.coverage,
    "effect": api.effect_of,
    "trends": api.trends_of,
    "overview": overview_of,
    "trends/charts": api.trend_charts_of,
    "effect/charts": api.effect_charts_of,
    "chart": api.chart_of,
}


def page_app(
    store: StoreReader, clock: Clock, library: ChartLibrary | None = None, daemon: Probe | None = None
) -> ASGIApp:
    """The ASGI app over a store that stays open for as long as it is served.

    Args:
        library: one that may be warm already.
        daemon: what is known of the daemon, see `recording.Daemon`.
    """
    limit = trio.CapacityLimiter(READERS)
    charts = ChartLibrary() if library is None else library
    pictures = Pictures()

    def drawing(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            async with limit:
                view, theme = await api.chart_view(store, request.query_params, clock.now())
            answer = respond(request, await pictures.draw(chart(view, theme=theme), kind), MEDIA[kind])
            answer.headers["Content-Disposition"] = f'attachment; filename="{file_name(view, kind)}"'
            return answer

        return handle

    def answering(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            async with limit:
                document = await answer(store, request.query_params, clock.now())
            return respond(request, msgspec.json.encode(document), JSON)

        return handle

    async def chart_library(request: Request) -> Response:
        script = await charts.script()
        if script is None:
            raise HTTPException(404, "the charts extra is not installed: pip install 'ps2daemon[charts]'")
        return respond(request, script.plain, "text/javascript", script.compressed)

    answers = ANSWERS | {"recording": recording_of(daemon)}
    routes = [Route(f"/api/v1/{name}", answering(answer)) for name, answer in answers.items()]
    routes += [Route(f"/api/v1/chart.{kind}", drawing(kind)) for kind in MEDIA]
    routes += [Route(path, _file(name, media)) for path, (name, media) in FILES.items()]
    routes += [Route(view.path, _page(view)) for view in VIEWS]
    routes.append(Route("/static/vega.js", chart_library))
    return Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)],
        exception_handlers={UsageError: _refused, StoreError: _unavailable, HTTPException: _http_error},
    )


def respond(request: Request, body: bytes, media_type: str, compressed: bytes | None = None) -> Response:
    """The body, or 304 where the client has it already.

    Args:
        compressed: the body by gzip, where it is kept; it is compressed on its way otherwise.
    """
    # Weak, since the same body goes out plain and compressed.
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = HEADERS | {"ETag": etag}
    if etag in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    if compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = compressed, headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(body, media_type=media_type, headers=headers)


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("ps2daemon.web").joinpath("static", name).read_bytes()

    async def handle(request: Request) -> Response:
        return respond(request, content, media_type)

    return handle


def _page(view: View) -> Callable[[Request], Awaitable[Response]]:
    content = page_of(view)

    async def handle(request: Request) -> Response:
        if view.path == "/" and any(name in request.query_params for name in OF_HISTORY):
            return RedirectResponse(f"/history?{request.url.query}", headers=HEADERS)
        return respond(request, content, "text/html")

    return handle


def _error(status: int, message: str) -> Response:
    body = msgspec.json.encode({"error": " ".join(message.split())})
    return Response(body, status, HEADERS | {"Cache-Control": "no-store"}, JSON)


async def _refused(request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    return _error(503, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)
