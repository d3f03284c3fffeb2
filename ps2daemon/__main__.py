"""The program's entrance."""

from __future__ import annotations

import gc
import os
import sys

from ps2daemon.commands import help_text

GC_THRESHOLDS = (10_000, 20, 50)
"""How rarely the interpreter looks for cycles: few objects are in one, and at its own 700, 10, 10 the search takes a tenth of a worker's time."""


def main() -> None:
    """Runs the command that the arguments name, and exits with its code."""
    gc.set_threshold(*GC_THRESHOLDS)
    # Of matrices as small as ours, two threads make no more in less time, and spin while something else has the other core (measured).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:] in (["--help"], ["-h"]):
        sys.stdout.write(help_text())  # the command line prints the same, but takes longer to be imported
        return
    from ps2daemon.cli import main as group

    group.main(prog_name="ps2daemon")


if __name__ == "__main__":
    main()
