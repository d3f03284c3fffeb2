"""The chart library for the page, from this machine: Vega, Vega-Lite and Vega-Embed as one script.

It comes out of `vl-convert` (the `charts` extra). Making it starts a JavaScript engine that holds well over 100 MB, so a process of its own does it,
once; what stays is the text.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from importlib.util import find_spec
from typing import Final, NamedTuple

import trio

from ps2daemon.errors import UsageError

MAKING_SECONDS: Final = 60.0
COMPRESSION: Final = 9
"""The smallest: 35 ms, once, for the 0.9 MB of the script."""
_MAKE: Final = "import sys, vl_convert; sys.stdout.write(vl_convert.javascript_bundle())"


def charts_installed() -> bool:
    """Whether the `charts` extra is there."""
    return find_spec("vl_convert") is not None


def require_charts() -> None:
    """Refuses where the extra is missing.

    Raises:
        UsageError: it says how to install it.
    """
    if not charts_installed():
        raise UsageError("pictures need the `charts` extra: pip install 'ps2daemon[charts]'")


class Script(NamedTuple):
    """The script as it is, and as it goes out to those who take gzip."""

    plain: bytes
    compressed: bytes


class ChartLibrary:
    """Makes the script when it is first asked for, and keeps it; those who ask meanwhile wait for the same one.

    Attributes:
        warmed: set once `warm` is done.
    """

    def __init__(self) -> None:
        self.warmed = trio.Event()
        self._lock = trio.Lock()
        self._script: Script | None = None

    async def warm(self) -> None:
        """Makes the script before anybody asks."""
        await self.script()
        self.warmed.set()

    async def script(self) -> Script | None:
        """The script, or None where the extra is missing or does not work."""
        if self._script is None and charts_installed():
            async with self._lock:
                if self._script is None:
                    self._script = await _make()
        return self._script


async def _make() -> Script | None:
    with trio.move_on_after(MAKING_SECONDS):
        done = await trio.run_process(
            [sys.executable, "-c", _MAKE],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode == 0 and done.stdout:
            plain = bytes(done.stdout)
            return Script(plain, await trio.to_thread.run_sync(gzip.compress, plain, COMPRESSION))
    return None
