"""All of them, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import asked, census, queued
from tests.fuzz.running import Surface

SURFACES: Final[dict[str, Surface]] = {
    each.name: each
    for each in (
        census.MESSAGES_SURFACE,
        census.WIRE_SURFACE,
        census.REST_SURFACE,
        queued.FRAMES_SURFACE,
        queued.LINES_SURFACE,
        asked.CONFIGURATION_SURFACE,
        asked.QUERIES_SURFACE,
        asked.REQUESTS_SURFACE,
    )
}
