"""The program's entrance."""

from __future__ import annotations

import sys

from ps2daemon.commands import help_text


def main() -> None:
    """Runs the command that the arguments name, and exits with its code."""
    if sys.argv[1:] in (["--help"], ["-h"]):
        sys.stdout.write(help_text())  # the command line prints the same, but takes longer to be imported
        return
    from ps2daemon.cli import main as group

    group.main(prog_name="ps2daemon")


if __name__ == "__main__":
    main()
