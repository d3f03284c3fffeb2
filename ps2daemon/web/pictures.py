"""Charts as PNG and SVG files for the page, drawn by a process of its own: a picture that takes too long ends with it, and the server goes on.

One is drawn at a time, since each takes a core.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

import msgspec
import trio

from ps2daemon.analysis.view import View
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.times import from_ms
from ps2daemon.web.bundle import require_charts
from ps2daemon.web.specs import Spec

MEDIA: Final = {"png": "image/png", "svg": "image/svg+xml"}
DRAWING_SECONDS: Final = 30
_DRAW: Final = (sys.executable, "-m", "ps2daemon.web.drawing")


class Pictures:
    """Draws specs, one after the other."""

    def __init__(self) -> None:
        self._limit = trio.CapacityLimiter(1)

    async def draw(self, spec: Spec, kind: str) -> bytes:
        """The file's bytes; `kind` is one of `MEDIA`.

        Raises:
            UsageError: the extra is missing, or the picture is too much for it.
        """
        require_charts()
        async with self._limit:
            with trio.move_on_after(DRAWING_SECONDS):
                done = await trio.run_process(
                    [*_DRAW, kind],
                    stdin=msgspec.json.encode(spec),
                    capture_stdout=True,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
                if done.returncode == 0 and done.stdout:
                    return bytes(done.stdout)
        raise UsageError("this picture can't be drawn: choose a shorter window or a longer step")


def file_name(view: View, kind: str) -> str:
    """World and window, in letters that every system takes."""
    start, end = (
        from_ms(at).astimezone(view.zone).strftime("%Y-%m-%dT%H%M") for at in (view.start, view.end)
    )
    world = re.sub(r"[^A-Za-z0-9]+", "-", tables.world_name(view.world_id)).strip("-").lower()
    return f"ps2-{world}-{start}-to-{end}.{kind}"
