"""Answers as pictures: what the commands that draw have in common, so that each gives only its spec."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ps2daemon.cli.options import output
from ps2daemon.errors import UsageError
from ps2daemon.web.bundle import require_charts
from ps2daemon.web.drawing import PICTURES, drawn
from ps2daemon.web.specs import Spec

__all__ = ["PICTURES", "require_recorded", "wants_picture", "write_picture"]


def wants_picture(kind: str, out: Path | None) -> bool:
    """Whether `kind` is a picture; told before the store is read, so that what is missing is said at once.

    Raises:
        UsageError: it is one that a terminal would get, or the `charts` extra is missing.
    """
    if kind not in PICTURES:
        return False
    if out is None and sys.stdout.isatty():
        raise UsageError(f"a terminal can't show {kind}: give --out FILE")
    require_charts()
    return True


def write_picture(spec: Spec, kind: str, out: Path | None) -> None:
    """Draws it, and writes it where `out` says once it is whole.

    Raises:
        UsageError: it can't be drawn, or the file not be written.
    """
    picture = drawn(msgspec.json.encode(spec).decode(), kind)
    with output(out) as file:
        file.write(picture)


def require_recorded(recorded: bool) -> None:
    """Refuses a picture in which there would be nothing but a gap.

    Raises:
        UsageError: nothing was recorded.
    """
    if not recorded:
        raise UsageError(
            "nothing was recorded in this window: choose another, with --from and --to; `ps2daemon coverage` says what was recorded"
        )
