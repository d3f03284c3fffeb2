"""The page and its API as an ASGI app.

Promises:
- It only reads the store.
- Bad input is a 400 and a store that can't be read a 503, all errors with `{"error": "one line"}`; anything else that raises is a defect, and a 500.
- Every answer carries a content security policy that allows this server's own files only, and an ETag; nothing is asked of another host.
- At most `READERS` requests read the store at a time; up to `WAITING` others wait. A request that is not answered after `REQUEST_SECONDS`, waiting
  included, is cancelled and answered 503; its place is free once the call that it was in has returned, so that no threads pile up.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from importlib.resources import files
from typing import Any, Final, TypeVar

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ps2daemon.analysis.sheets import write_sheet
from ps2daemon.clock import Clock
from ps2daemon.errors import StoreError, UsageError
from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import StoreReader
from ps2daemon.store.kept import KeptReader
from ps2daemon.web import openapi, shell
from ps2daemon.web.bundle import ChartLibrary
from ps2daemon.web.endpoints import DRAWINGS, ENDPOINTS, Drawing, Endpoint, recording
from ps2daemon.web.parameters import FORMAT, MAX_QUERY, WORLD, Asked, Parameter
from ps2daemon.web.pictures import MEDIA, Picture, Pictures
from ps2daemon.web.recording import Probe
from ps2daemon.web.responses import (
    COMPRESSED,
    CSV,
    HEADERS,
    JSON,
    AsciiQueries,
    Body,
    error,
    preferred,
    respond,
)
from ps2daemon.web.shell import VIEWS, page_of

READERS: Final = 4
WAITING: Final = 60
"""More than a page with all its worlds asks at a time."""
REQUEST_SECONDS: Final = 30
"""As long as one request to Elasticsearch may take by default."""
SETTLES: Final = DAY
"""After so long a time changes no more but by an import, a late name or pruning: sessions without evidence end after 12 hours, and so far back starts are estimated."""
MAX_AGE: Final = 600
"""Seconds for which a copy of a settled window is used unasked, and so how late such a change is seen."""
FILES: Final = {
    "/static/trends.js": ("trends.js", "text/javascript"),
    "/static/now.js": ("now.js", "text/javascript"),
    "/static/spark.js": ("spark.js", "text/javascript"),
    "/static/recording.js": ("recording.js", "text/javascript"),
    "/static/page.js": ("page.js", "text/javascript"),
    "/static/alerts.js": ("alerts.js", "text/javascript"),
    "/static/events.js": ("events.js", "text/javascript"),
    "/static/cells.js": ("cells.js", "text/javascript"),
    "/static/shared.js": ("shared.js", "text/javascript"),
    "/static/windows.js": ("windows.js", "text/javascript"),
    "/static/pointer.js": ("pointer.js", "text/javascript"),
    "/static/zoom.js": ("zoom.js", "text/javascript"),
    "/static/page.css": ("page.css", "text/css"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
OF_HISTORY: Final = ("window", "from", "to", "by", "back", "lines", "empire")
"""Parameters that only this view has; with one of them `/` leads there, as that was once its address."""

Handler = Callable[[Request], Awaitable[Response]]


T = TypeVar("T")


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

    def answering(endpoint: Endpoint[Any]) -> Handler:
        async def handle(request: Request) -> Response:
            media_type = _media_type(request, endpoint)
            body = await _in_time(
                limit, store, lambda: _answer(store, endpoint, request, media_type, clock.now())
            )
            return respond(request, body)

        return handle

    def drawing(each: Drawing, kind: str) -> Handler:
        async def handle(request: Request) -> Response:
            _check_length(request)
            picture = await _in_time(limit, store, lambda: _picture(store, each, request, clock.now()))
            content = await pictures.draw(picture.spec, kind)
            headers = {"Content-Disposition": f'attachment; filename="{picture.name}.{kind}"'}
            return respond(request, Body(content, MEDIA[kind], headers))

        return handle

    async def chart_library(request: Request) -> Response:
        script = await charts.script()
        if script is None:
            raise HTTPException(404, "the charts extra is not installed: pip install 'ps2daemon[charts]'")
        return respond(request, Body(script.plain, "text/javascript", compressed=script.compressed))

    routes = [Route(f"/api/v1/{each.name}", answering(each)) for each in (*ENDPOINTS, recording(daemon))]
    routes += [
        Route(f"/api/v1/{each.name}.{kind}", drawing(each, kind)) for each in DRAWINGS for kind in MEDIA
    ]
    routes.append(Route("/api/v1/openapi.json", _always(Body(openapi.encoded(), JSON))))
    routes += [Route(path, _file(name, media)) for path, (name, media) in FILES.items()]
    routes += [Route(view.path, _page(view)) for view in VIEWS]
    routes.append(Route("/static/vega.js", chart_library))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(AsciiQueries),
            Middleware(GZipMiddleware, minimum_size=COMPRESSED, compresslevel=5),
        ],
        exception_handlers={
            UsageError: _refused,
            StoreError: _unavailable,
            HTTPException: _http_error,
            Exception: _defect,
        },
    )


async def _in_time(limit: trio.CapacityLimiter, store: StoreReader, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, once it is its turn; what is read or counted ahead waits for it.

    Raises:
        HTTPException: 503, there are too many, or it takes too long.
    """
    if limit.statistics().tasks_waiting >= WAITING:
        raise HTTPException(503, f"{READERS + WAITING} requests are being answered already: ask again later")
    waits = store.asked() if isinstance(store, KeptReader) else nullcontext()
    with waits, trio.move_on_after(REQUEST_SECONDS):
        async with limit:
            return await work()
    raise HTTPException(
        503,
        f"this took longer than {REQUEST_SECONDS} seconds and was cancelled: "
        "ask for a shorter window, a longer step or fewer worlds, or again later",
    )


def _check_length(request: Request) -> None:
    """Refuses a query that is too long."""
    size = len(request.scope["query_string"])
    if size > MAX_QUERY:
        raise UsageError(
            f"the query is {size:,} bytes long, and at most {MAX_QUERY:,} are read; leave out what is not needed"
        )


def _media_type(request: Request, endpoint: Endpoint[Any]) -> str:
    """In which form the answer is wanted.

    Raises:
        UsageError: the query is too long, or `format` is none.
        HTTPException: 406, the client takes none of the forms that there are.
    """
    _check_length(request)
    if endpoint.sheet is None:
        offered: tuple[str, ...] = (JSON,)
    else:
        offered = (JSON, CSV)
        chosen = request.query_params.get(FORMAT.name)
        if chosen is not None:
            if chosen not in FORMAT.choices:
                raise UsageError(f"format can't be {chosen[:40]!r}; it takes {', '.join(FORMAT.choices)}")
            return CSV if chosen == "csv" else JSON
    found = preferred(",".join(request.headers.getlist("accept")), offered)
    if found is None:
        raise HTTPException(406, f"this address answers {' or '.join(offered)}: let Accept name that, or */*")
    return found


async def _answer(
    store: StoreReader, endpoint: Endpoint[Any], request: Request, media_type: str, now: Ms
) -> Body:
    asked = await _asked(store, endpoint.takes, request, now)
    answer = await endpoint.ask(store, asked)
    headers = {}
    if endpoint.sheet is not None:
        headers["Vary"] = "Accept"
    if asked.bears_on is not None and asked.bears_on + SETTLES <= min(now, await store.records_until() or 0):
        headers["Cache-Control"] = f"max-age={MAX_AGE}"
    if media_type == CSV:
        headers["Content-Disposition"] = f'attachment; filename="{endpoint.name.replace("/", "-")}.csv"'
    # Of a large answer this takes a good part of a second.
    content = await trio.to_thread.run_sync(_encode, endpoint, answer, media_type)
    return Body(content, media_type, headers)


async def _picture(store: StoreReader, drawing: Drawing, request: Request, now: Ms) -> Picture:
    return await drawing.ask(store, await _asked(store, drawing.takes, request, now))


async def _asked(store: StoreReader, takes: Iterable[Parameter], request: Request, now: Ms) -> Asked:
    worlds = () if WORLD.name in request.query_params else await store.worlds()
    return Asked(request.query_params, takes, worlds, now)


def _encode(endpoint: Endpoint[Any], answer: Any, media_type: str) -> bytes:
    if media_type != CSV or endpoint.sheet is None:
        return msgspec.json.encode(answer)
    text = io.StringIO()
    write_sheet(text, endpoint.sheet(answer))
    return text.getvalue().encode()


def _always(body: Body) -> Handler:
    async def handle(request: Request) -> Response:
        return respond(request, body)

    return handle


def _file(name: str, media_type: str) -> Handler:
    return _always(Body(files("ps2daemon.web").joinpath("static", name).read_bytes(), media_type))


def _page(view: shell.View) -> Handler:
    page = _always(Body(page_of(view), "text/html"))

    async def handle(request: Request) -> Response:
        if view.path == "/" and any(name in request.query_params for name in OF_HISTORY):
            return RedirectResponse(f"/history?{request.url.query}", headers=HEADERS)
        return await page(request)

    return handle


async def _refused(request: Request, problem: Exception) -> Response:
    return error(400, str(problem))


async def _unavailable(request: Request, problem: Exception) -> Response:
    return error(503, str(problem))


async def _http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return error(problem.status_code, problem.detail, problem.headers)


async def _defect(request: Request, problem: Exception) -> Response:
    return error(500, "this is a defect of ps2daemon: its log has the details")
