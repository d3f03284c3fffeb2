"""The page and its API over ASGI, on a store that is made up."""

from __future__ import annotations

import httpx

from ps2daemon.model.records import HOUR, Ms
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import StoreReader
from ps2daemon.web.app import page_app
from tests.memory_reader import MemoryReader
from tests.synthetic import fortnight

END = parse_iso("2026-03-15T18:00:00Z")
"""Where what is recorded ends, and a little before what the clock says."""


class FixedClock:
    """Stands."""

    def __init__(self, at: Ms = END + 70_000) -> None:
        self._at = at

    def now(self) -> Ms:
        return self._at


def two_weeks() -> MemoryReader:
    """Two worlds with a gap of three hours in each."""
    return fortnight(END, worlds=(1, 10), days=14, people=20, gaps=((30 * HOUR, 3 * HOUR),))


def client_of(reader: StoreReader, now: Ms = END + 70_000) -> httpx.AsyncClient:
    """Asks over ASGI; an app that raises is an error here."""
    transport = httpx.ASGITransport(app=page_app(reader, FixedClock(now)))
    return httpx.AsyncClient(transport=transport, base_url="http://page.test")
