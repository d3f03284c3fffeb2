"""A spec as the bytes of a picture. It loads the drawing library, which holds well over 100 MB, only when it draws."""

from __future__ import annotations

import sys
from typing import Final

from ps2daemon.errors import UsageError

PICTURES: Final = ("png", "svg", "pdf")
ADVICE: Final = "choose a shorter window or a longer step"
SCALE: Final = 2
"""Pixels of a PNG for each of the spec's, for screens that are as fine as that."""


def drawn(spec: str, kind: str) -> bytes:
    """The file.

    Args:
        spec: Vega-Lite, as JSON.
        kind: one of `PICTURES`.

    Raises:
        UsageError: the library can't draw it.
    """
    import vl_convert

    try:
        if kind == "png":
            return bytes(vl_convert.vegalite_to_png(spec, scale=SCALE))
        if kind == "pdf":
            return bytes(vl_convert.vegalite_to_pdf(spec))
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"this picture can't be drawn, {ADVICE}; the drawing library says: {reason}"
        ) from error


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(drawn(sys.stdin.read(), sys.argv[1]))
    except UsageError as error:
        sys.exit(str(error))  # one line for whoever started it
