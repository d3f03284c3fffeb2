"""The page as a browser shows it, and what no page may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio
from starlette.types import ASGIApp

from ps2daemon.web.server import serve_app
from tests.acceptance.browser import Tab, open_tab


class Page(NamedTuple):
    """A page that is served, and the tab that shows it."""

    origin: str
    tab: Tab


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Its origin."""
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_app, app, host="127.0.0.1", port=0, stopping=stopping))
        yield f"http://127.0.0.1:{port}"
        stopping.set()


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Tab]:
    """A tab in which nothing may go wrong: no error, no violation of the policy, no name that became markup, no request elsewhere."""
    async with open_tab(folder) as tab:
        await tab.size(1400, 1000)
        yield tab
        assert await tab.value("window.violations") == []
        assert await tab.value("window.broken") is None
        assert tab.complaints == []
        elsewhere = [
            url for url in tab.requested if not url.startswith(("http://127.0.0.1:", "data:", "about:"))
        ]
        assert elsewhere == []
