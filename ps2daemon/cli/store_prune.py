"""`ps2daemon store prune`: what would go, the question, and the dropping."""

from __future__ import annotations

import re
import sys
from typing import Final

import click
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import reading, writing
from ps2daemon.cli.progress import Bar
from ps2daemon.cli.stopping import unless_stopped
from ps2daemon.cli.store_report import name_of, plan_lines, size
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.errors import StoreMismatch, StoreUnavailable, UsageError
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.times import iso, month_of
from ps2daemon.store import pruning

MIN_AGE_DAYS: Final = 31
"""What the worker still decides about is at most a day old by the records (`sessions.MAX_SESSION`), and those may have waited in the queue
for as long as the store was away. A month is far beyond both, and catches `4d` that should have been `400d`."""
_DAYS: Final = {"d": 1, "w": 7, "y": 366}
"""Years are leap years: whoever asks for two keeps two."""
AGAIN: Final = "A part of it may be dropped already; the same command drops the rest."


@click.command(
    epilog=epilog(
        "ps2daemon store prune --older-than 400d --dry-run",
        "ps2daemon store prune --older-than 2y --yes    # from a timer",
    )
)
@click.option(
    "--older-than",
    required=True,
    metavar="AGE",
    help=f"What goes: 400d, 60w or 2y; at least {MIN_AGE_DAYS}d.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.pass_context
def prune(ctx: click.Context, older_than: str, yes: bool, dry_run: bool) -> None:
    """Drop whole months from the store.

    A month goes once all of it is older than AGE (calendar months, UTC), and its time never counts as recorded again. It says what goes
    and asks first. The daemon may run meanwhile. What was broken off is completed by running it again. There is no way back
    but a copy made before (`store copy`).
    """
    before = cut(older_than, SystemClock().now())
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError(
            "there is no terminal to ask on: give --yes to drop it, or --dry-run to see what would go"
        )
    settings = settings_of(ctx)
    found = trio.run(_plan, settings, before, dry_run)
    if found is None or dry_run:
        return
    if not yes and not click.confirm("There is no way back. Drop it?", err=True):
        click.echo("Nothing was dropped.", err=True)
        sys.exit(1)
    trio.run(_prune, settings, found)


def cut(text: str, now: Ms) -> Ms:
    """The first moment of the month in which what is `text` old began: before it, all is older.

    Raises:
        UsageError: it is no age, or too short.
    """
    found = re.fullmatch(r"([0-9]{1,5})([dwy])", text)
    days = 0 if found is None else int(found[1]) * _DAYS[found[2]]
    if found is None:
        raise UsageError(
            f"--older-than: {text[:60]!r} is no age; it takes days, weeks or years, such as 400d, 60w or 2y"
        )
    if days < MIN_AGE_DAYS:
        raise UsageError(
            f"--older-than: {text} is too short: it takes at least {MIN_AGE_DAYS}d, since of what is younger some may still change"
        )
    return month_of(max(0, now - days * DAY))


async def _plan(settings: Settings, before: Ms, dry_run: bool) -> pruning.Plan | None:
    """What would go, told to the person; None if nothing would."""
    if sys.stderr.isatty():
        click.echo("Looking for what there is to drop, which takes a while in a large store.", err=True)
    async with reading(settings.store) as reader:
        description, unfinished = await reader.describe(), await reader.copying()
        if description.unwritable is not None and not dry_run:
            raise StoreUnavailable(f"{name_of(description)} can't be written now: {description.unwritable}")
        if unfinished is not None:
            raise StoreMismatch(
                f"{name_of(description)} is an unfinished copy of {unfinished}: complete that first"
            )
        found = await pruning.plan(reader, before)
    if not found.documents:
        click.echo(
            f"There is nothing to drop: nothing in {name_of(description)} began before {iso(before)}.",
            err=True,
        )
        return None
    for line in plan_lines(found, description):
        click.echo(line, err=not dry_run)
    return found


async def _prune(settings: Settings, found: pruning.Plan) -> None:
    async with writing(settings.store) as opened:
        bar = Bar("Dropping", found.documents, "documents")

        async def work() -> None:
            with bar:
                await pruning.prune(opened, found.before, lambda done: bar.update(done, done))

        await unless_stopped(work, advice=AGAIN)
        description = await opened.describe()
    free = (
        f" {size(description.free_bytes)} in the file are free and used again."
        if description.free_bytes
        else ""
    )
    click.echo(f"Dropped: {bar.summary()}.{free}", err=True)
