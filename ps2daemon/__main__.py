"""The program's entrance."""

from __future__ import annotations

from ps2daemon.cli import main as group


def main() -> None:
    """Runs the command that the arguments name, and exits with its code."""
    group.main(prog_name="ps2daemon")


if __name__ == "__main__":
    main()
