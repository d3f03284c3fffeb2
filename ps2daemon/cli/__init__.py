"""The command line: how commands (`commands.py`) are found, and how their errors end the process.

A command's module is imported when the command is called, or its own help asked for, and not before.

Exit codes: 0 done; 1 failed; 2 the person's input, or a file that it points to, is at fault; 130 interrupted. An error of this program (`Ps2Error`) is one line on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from ps2daemon import __version__
from ps2daemon.commands import COMMANDS, CONFIG_HELP, help_text
from ps2daemon.errors import (
    ConfigError,
    Ps2Error,
    QueueDamaged,
    QueueLocked,
    QueueMismatch,
    QueueMissing,
    QueueUnwritable,
    StoreMismatch,
    UsageError,
)

if TYPE_CHECKING:
    from ps2daemon.config import Settings

_FOR_A_PERSON: Final = (
    UsageError,
    QueueDamaged,
    QueueLocked,
    QueueMismatch,
    QueueMissing,
    QueueUnwritable,
    StoreMismatch,
)
"""What only a person can set right: the configuration, or what it points to. These end with 2."""
INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def epilog(*examples: str) -> str:
    """The end of a command's help: command lines that can be copied."""
    title = "Example:" if len(examples) == 1 else "Examples:"
    return "\n".join(("\b", title, *(f"  {example}" for example in examples)))


def settings_of(ctx: click.Context, *, secret: bool = False) -> Settings:
    """The settings of this call, read when the command asks for them.

    Args:
        secret: with the service id; who only reads may not be allowed to see it.

    Raises:
        ConfigError: they are at fault, or there are none.
    """
    from pathlib import Path

    from ps2daemon.config import configured, load_settings

    config: str | None = ctx.find_root().params.get("config")
    path = Path(config) if config is not None else None
    settings = load_settings(path, os.environ, secret=secret)
    if path is None and not configured(os.environ):
        raise ConfigError(
            "there is no configuration: copy config.example.toml and give --config FILE before the command, or set"
            " PS2DAEMON_CONFIG"
        )
    return settings


class LazyGroup(click.Group):
    """Knows its commands by `COMMANDS`, and is where every command's errors end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def get_help(self, ctx: click.Context) -> str:
        return help_text().rstrip("\n")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (Ps2Error, KeyboardInterrupt, BrokenPipeError, BaseExceptionGroup) as error:
            code = _tell(error)
            if code is None:
                raise
            raise click.exceptions.Exit(code) from None
        return result


def _tell(error: BaseException) -> int | None:
    """Says what a person needs to know and returns the exit code, or None if it is a defect."""
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return INTERRUPTED
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        # Whoever read stdout has enough; what is still buffered has no one to go to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if not all(isinstance(leaf, Ps2Error) for leaf in leaves):
        return None
    leaves.sort(key=lambda leaf: not isinstance(leaf, _FOR_A_PERSON))
    click.echo(f"ps2daemon: error: {' '.join(str(leaves[0]).split())}", err=True)
    return 2 if isinstance(leaves[0], _FOR_A_PERSON) else 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Trio raises what happened in a nursery as a group, even of one."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(), metavar="FILE", envvar="PS2DAEMON_CONFIG", help=CONFIG_HELP)
@click.version_option(__version__, prog_name="ps2daemon", message="%(prog)s %(version)s")
def main(config: str | None) -> None:
    """Its help is `commands.help_text`."""
