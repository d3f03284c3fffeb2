"""Options that several commands share, and how their values are read.

Whatever a person got wrong is a `UsageError`: one line, exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import tzinfo
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from ps2daemon.analysis import asking
from ps2daemon.errors import UsageError
from ps2daemon.model.records import Ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ps2daemon.config import StoreSettings
    from ps2daemon.store.base import Store, StoreReader, StoreSource

Command = TypeVar("Command", bound=Callable[..., Any])

world_option = click.option(
    "--world",
    "worlds",
    multiple=True,
    metavar="WORLD",
    help="A world's number or name; may be given several times. All that are stored, if none is given.",
)
empire_option = click.option(
    "--empire",
    "empires",
    multiple=True,
    metavar="EMPIRE",
    help="vs, nc, tr, nso or unknown (not named by Census yet); may be given several times. All, if none is given.",
)
zone_option = click.option(
    "--tz",
    "zone",
    default="UTC",
    show_default=True,
    metavar="ZONE",
    help="The time zone of times without an offset, of a table and of a picture, such as Europe/Berlin.",
)
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write there instead of to stdout.",
)


def format_options(formats: Sequence[str]) -> Callable[[Command], Command]:
    """`--format` and `--json`, as one argument `kind`; otherwise the ending of `--out` decides, and then it is the first."""

    def add(command: Command) -> Command:
        def chosen(*args: Any, kind: str | None, as_json: bool, out: Path | None, **others: Any) -> Any:
            return command(*args, kind=format_of(kind, as_json, out, formats), out=out, **others)

        wrapped = cast(Command, wraps(command)(chosen))
        wrapped = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(wrapped)
        return click.option(
            "--format",
            "kind",
            type=click.Choice(formats),
            help=f"What to write; the ending of --out decides, and otherwise it is a {formats[0]}.",
        )(wrapped)

    return add


def format_of(kind: str | None, as_json: bool, out: Path | None, formats: Sequence[str]) -> str:
    """Which of `formats` was asked for.

    Raises:
        UsageError: two different ones were, or the file's name says another one.
    """
    if as_json:
        if kind not in (None, "json"):
            raise UsageError(f"--json and --format {kind} contradict each other: give one of them")
        return "json"
    if kind is not None:
        return kind
    ending = "" if out is None else out.suffix.lstrip(".").lower()
    if out is not None and ending and ending not in formats and ending != "txt":
        raise UsageError(f"{out.name} does not say which format: give --format, one of {', '.join(formats)}")
    return ending if ending in formats else formats[0]


def window_options(start: str | None, end: str | None) -> Callable[[Command], Command]:
    """`--from` and `--to` with their defaults; None leaves that side open."""

    def add(command: Command) -> Command:
        times = "2026-03-01, 2026-03-01T12:00, 2026-03-01T12:00:00Z, now, or a span back from now such as -7d"
        for name, side, default in (("--to", "end", end), ("--from", "start", start)):
            command = click.option(
                name,
                side,
                default=default,
                show_default=default is not None,
                metavar="TIME",
                help=f"{'Where it begins' if side == 'start' else 'Where it ends, itself left out'}: {times}.",
            )(command)
        return command

    return add


def open_window(start: str | None, end: str | None, now: Ms, zone: tzinfo) -> tuple[Ms | None, Ms | None]:
    """A window of which either side may be open.

    Raises:
        UsageError: a time is none, or the window is empty or reversed.
    """
    first = None if start is None else asking.parse_time(start, now=now, zone=zone)
    behind = None if end is None else asking.parse_time(end, now=now, zone=zone)
    if first is not None and behind is not None:
        check_order(first, behind)
    return first, behind


def closed_window(start: str, end: str, now: Ms, zone: tzinfo) -> tuple[Ms, Ms]:
    """A window with both sides.

    Raises:
        UsageError: a time is none, or the window is empty or reversed.
    """
    first, behind = (asking.parse_time(time, now=now, zone=zone) for time in (start, end))
    check_order(first, behind)
    return first, behind


def check_order(start: Ms, end: Ms) -> None:
    """Refuses a window that is empty or reversed, in the words of the command line.

    Raises:
        UsageError: it is.
    """
    if start >= end:
        what = "empty" if start == end else "reversed"
        raise UsageError(f"the window is {what}: let --to be later than --from")


@asynccontextmanager
async def reading(settings: StoreSettings) -> AsyncIterator[StoreSource]:
    """The store, for reading.

    Raises:
        StoreError: there is none, or it can't be read.
    """
    from ps2daemon.daemon import open_reader

    reader = await open_reader(settings)
    try:
        yield reader
    finally:
        await reader.aclose()


async def worlds_of(reader: StoreReader, asked: tuple[int, ...]) -> tuple[int, ...]:
    """The worlds that were asked for; all that are stored, if none was.

    Raises:
        UsageError: there is none.
    """
    worlds = asked or tuple(await reader.worlds())
    if not worlds:
        raise UsageError("nothing is stored yet: record or import something, or give --world")
    return worlds


@asynccontextmanager
async def writing(settings: StoreSettings) -> AsyncIterator[Store]:
    """The store, for writing; made if there is none.

    Raises:
        StoreError: it is not this program's, or can't be written.
    """
    from ps2daemon.daemon import open_store

    store = await open_store(settings)
    try:
        yield store
    finally:
        await store.aclose()


@contextmanager
def output(out: Path | None) -> Iterator[IO[bytes]]:
    """Where data goes: `out`, or stdout.

    Raises:
        UsageError: the file can't be written.
    """
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = out.open("wb")
    except OSError as error:
        raise UsageError(f"{out} can't be written ({error.strerror}): choose another --out") from None
    with file:
        yield file
