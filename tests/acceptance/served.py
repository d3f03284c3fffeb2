"""The page, from a process or from this one, as a browser shows it, and what no page may do."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import trio
from starlette.types import ASGIApp

from bench.programs import program
from ps2daemon.web.server import serve_app
from tests.acceptance.browser import Tab, open_tab

CONFIGURED: Final = ("--config", "config.toml")
PATIENCE: Final = 60.0
"""Seconds; what is waited for takes a few."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """`ps2daemon serve` with the configuration there; gives the page's address."""
    log = directory / "bench.log"
    log.unlink(missing_ok=True)
    with program(directory, *CONFIGURED, "serve", "--port", "0") as page:
        deadline = time.monotonic() + PATIENCE
        while (told := re.search(r"The page is at (http://\S+)", log.read_text())) is None:
            assert page.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.02)
        yield told[1]


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
