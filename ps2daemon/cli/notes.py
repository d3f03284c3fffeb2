"""`ps2daemon notes`: what the operator writes beside the record, such as the day of a patch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import IO, Final

import click
import msgspec
import trio
from rich.markup import escape
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.listing import notes_answer
from ps2daemon.analysis.sheets import notes_sheet
from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import (
    format_options,
    open_window,
    out_option,
    output,
    reading,
    window_options,
    world_option,
    writing,
    zone_option,
)
from ps2daemon.cli.tables import console_on, write_csv
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.notes import Note, make_note
from ps2daemon.model.times import clock_text

FORMATS: Final = ("table", "csv", "json")


@click.group(
    epilog=epilog(
        'ps2daemon notes add "Outfit wars begin" --at 2026-03-07T18:00 --tz Europe/Berlin',
        'ps2daemon notes add "Moved to another machine"',
        "ps2daemon notes list --from -30d",
        "ps2daemon notes remove 3f2a90c1d4e7",
    )
)
def notes() -> None:
    """Write down what happened, such as a patch: it is shown at its time in the page's charts.

    Nothing that is recorded depends on a note. The daemon may run meanwhile.
    """


@notes.command(
    epilog=epilog(
        'ps2daemon notes add "Patch 5.3" --at 2026-03-04T15:00Z',
        'ps2daemon notes add "Server merge" --world 10 --world 13 --at -2h',
    )
)
@click.argument("text")
@click.option(
    "--at",
    default="now",
    show_default=True,
    metavar="TIME",
    help="When: 2026-03-01, 2026-03-01T12:00, 2026-03-01T12:00:00Z, now, or a span back from now such as -7d.",
)
@click.option(
    "--world",
    "worlds",
    multiple=True,
    metavar="WORLD",
    help="A world's number or name; may be given several times. It is about all, if none is given.",
)
@zone_option
@click.pass_context
def add(ctx: click.Context, text: str, at: str, worlds: tuple[str, ...], zone: str) -> None:
    """Write a note about a moment. To add the same one again changes nothing."""
    place = asking.parse_zone(zone)
    when = asking.parse_time(at, now=SystemClock().now(), zone=place)
    try:
        note = make_note(when, asking.parse_worlds(worlds), text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    trio.run(_add, settings_of(ctx), note)
    about = f" about {_about(note)}" if note.world_ids else ""
    click.echo(f"Noted{about} at {clock_text(note.at, place)} ({place}), as {note.note_id}.", err=True)


@notes.command("list", epilog=epilog("ps2daemon notes list", "ps2daemon notes list --world 10 --json"))
@world_option
@window_options(None, None)
@zone_option
@format_options(FORMATS)
@out_option
@click.pass_context
def list_(
    ctx: click.Context,
    worlds: tuple[str, ...],
    start: str | None,
    end: str | None,
    zone: str,
    kind: str,
    out: Path | None,
) -> None:
    """List the notes, in the order of time. Those about all worlds are about each."""
    place = asking.parse_zone(zone)
    first, behind = open_window(start, end, SystemClock().now(), place)
    wanted = asking.parse_worlds(worlds) or None
    settings = settings_of(ctx)

    async def read() -> list[Note]:
        async with reading(settings.store) as reader:
            return await reader.notes(first, behind, wanted)

    found = trio.run(read)
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(notes_answer(found)) + b"\n")
        elif kind == "csv":
            write_csv(file, notes_sheet(notes_answer(found)))
        else:
            _print(file, found, place)


@notes.command(epilog=epilog("ps2daemon notes remove 3f2a90c1d4e7"))
@click.argument("note_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_context
def remove(ctx: click.Context, note_ids: tuple[str, ...]) -> None:
    """Remove notes by their ids, as `list` shows them."""
    settings = settings_of(ctx)

    async def take_away() -> list[str]:
        await _there(settings)
        async with writing(settings.store) as store:
            return [key for key in dict.fromkeys(note_ids) if not await store.remove_note(key)]

    unknown = trio.run(take_away)
    if unknown:
        raise UsageError(
            f"there is no note {', '.join(unknown)}: `ps2daemon notes list` shows the ids of those that are there"
        )
    click.echo("Removed.", err=True)


async def _add(settings: Settings, note: Note) -> None:
    await _there(settings)
    async with writing(settings.store) as store:
        await store.write_note(note)


async def _there(settings: Settings) -> None:
    """That there is a store: a note makes none, whose place could be a mistake."""
    async with reading(settings.store):
        pass


def _about(note: Note) -> str:
    return ", ".join(map(tables.world_name, note.world_ids)) or "all worlds"


def _print(file: IO[bytes], found: Sequence[Note], zone: tzinfo) -> None:
    with console_on(file) as console:
        if not found:
            console.print("there is no note")
            return
        table = Table(box=None)
        for name in (str(zone), "id", "about", "note"):
            table.add_column(name, no_wrap=name != "note")
        for note in found:
            table.add_row(clock_text(note.at, zone), note.note_id, _about(note), escape(note.text))
        console.print(table)
