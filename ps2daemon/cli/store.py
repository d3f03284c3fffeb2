"""`ps2daemon store`: make the store, look at it, copy it to another kind, drop old months."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec
import trio

from ps2daemon.cli import INTERRUPTED, epilog, settings_of
from ps2daemon.cli.options import reading
from ps2daemon.cli.progress import Bar
from ps2daemon.cli.store_report import (
    contents_facts,
    contents_lines,
    contents_of,
    documents_in,
    listed,
    name_of,
    plan_lines,
    size,
    state_facts,
    state_lines,
    state_of,
)
from ps2daemon.cli.store_target import configuration_of, parse_target, same_place
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings, StoreSettings
from ps2daemon.errors import (
    ConfigError,
    StoreConflict,
    StoreError,
    StoreMismatch,
    StoreUnavailable,
    UsageError,
)
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.times import iso, month_of
from ps2daemon.store.base import Store
from ps2daemon.store.copying import Copied, copy_store
from ps2daemon.store.pruning import Plan
from ps2daemon.store.pruning import plan as plan_pruning
from ps2daemon.store.pruning import prune as prune_store

MIN_AGE_DAYS: Final = 31
"""What the worker still decides about is at most a day old by the records (`sessions.MAX_SESSION`), and those may have waited in the queue
for as long as the store was away. A month is far beyond both, and catches `4d` that should have been `400d`."""
_DAYS: Final = {"d": 1, "w": 7, "y": 366}
"""Years are leap years: whoever asks for two keeps two."""

T = TypeVar("T")


@click.group(
    epilog=epilog(
        "ps2daemon store check",
        "ps2daemon store copy --to http://127.0.0.1:9200",
        "ps2daemon store prune --older-than 400d",
    )
)
def store() -> None:
    """Make the store, look at it, copy it into one of the other kind, drop old months."""


@store.command(epilog=epilog("ps2daemon store check", "ps2daemon store check --json | jq .usable"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Say whether the store is there, can be written, and is complete.

    Ends with 0 if it is; with 1 if it does not answer, can't be written, or is an unfinished copy; with 2 if there is none, or it is none that
    this program reads. Writes nothing.
    """
    settings = settings_of(ctx)

    async def look() -> bool:
        async with reading(settings.store) as reader:
            state = await state_of(reader)
        _show(state_facts(state) if as_json else state_lines(state))
        return state.usable

    if not trio.run(look):
        sys.exit(1)


@store.command(epilog=epilog("ps2daemon store init"))
@click.pass_context
def init(ctx: click.Context) -> None:
    """Make the store, or bring it up to date.

    `run` does the same by itself; this is for whoever wants to see it done. One that is there keeps all that it holds.
    """
    settings = settings_of(ctx)

    async def make() -> bool:
        known = await _is_there(settings.store)
        async with _writing(settings.store) as made:
            state = await state_of(made)
            counts = await made.counts()
        if known:
            what = "It was there and is up to date"
        else:
            what = "It was there and is brought up to date" if any(counts.values()) else "It is made"
        _show(state_lines(state))
        click.echo(f"{what}. It holds {listed(counts)}.", err=True)
        return state.usable

    if not trio.run(make):
        sys.exit(1)


@store.command(epilog=epilog("ps2daemon store stats", "ps2daemon store stats --json | jq '.months[-1]'"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def stats(ctx: click.Context, as_json: bool) -> None:
    """Say what is stored: by kind, by world, by month.

    `recorded` is the share of the time that is vouched for; of a month it is the mean of the worlds that were recorded in it. Disturbs nobody.
    """
    settings = settings_of(ctx)

    async def look() -> None:
        async with reading(settings.store) as reader:
            contents = await contents_of(reader)
        _show(contents_facts(contents) if as_json else contents_lines(contents))

    trio.run(look)


@store.command(
    epilog=epilog(
        "ps2daemon store copy --to http://127.0.0.1:9200",
        "ps2daemon --config elasticsearch.toml store copy --to backup.db",
        "ps2daemon store copy --to-config other.toml    # where a password is needed",
    )
)
@click.option(
    "--to",
    metavar="TARGET",
    help="A file that ends in .db, or an Elasticsearch such as http://127.0.0.1:9200.",
)
@click.option(
    "--to-prefix",
    metavar="PREFIX",
    help="What the indices begin with, where --to is an Elasticsearch.  [default: ps2]",
)
@click.option(
    "--to-config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Another configuration, whose [store] is the target. The environment does not change it.",
)
@click.pass_context
def copy(ctx: click.Context, to: str | None, to_prefix: str | None, to_config: Path | None) -> None:
    """Copy the store into another one, which is empty or an unfinished copy of the same.

    Stop the worker first (`run subscriber` may go on), and let none write to the target before it is done: a copy while
    others write ends with an error. It can be interrupted at any time: the same command goes on where it was.
    The store itself stays as it is.
    """
    target = parse_target(to, to_prefix, to_config)
    settings = settings_of(ctx)
    if same_place(settings.store, target):
        raise UsageError("the target is the store itself: name another place")
    trio.run(_copy, settings, target)
    if to_config is None:
        lines = "\n".join(f"    {line}" for line in configuration_of(target))
        click.echo(
            f"To record into it and read from it, put this into the configuration:\n\n{lines}", err=True
        )
    else:
        click.echo(f"To record into it and read from it, use --config {to_config}.", err=True)


async def _copy(settings: Settings, target: StoreSettings) -> None:
    pid = _worker(settings)
    if pid is not None:
        click.echo(
            f"Process {pid} seems to write into the store: stop it, or the copy may not come to an end.",
            err=True,
        )
    async with reading(settings.store) as source:
        total = documents_in(await source.counts())
        try:
            opened = await _open(target)
        except (StoreError, ConfigError) as error:
            raise type(error)(f"the target: {error}") from None
        try:
            with Bar("Copying", total, "documents") as bar:

                def tell(done: int) -> None:
                    bar.update(done, done, max(total, done))

                copied = await _unless_stopped(
                    lambda: copy_store(source, opened, tell),
                    "What was copied so far stays, marked as unfinished; the same command goes on from there.",
                )
        finally:
            await opened.aclose()
    click.echo(_told(copied, bar), err=True)


def _told(copied: Copied, bar: Bar) -> str:
    what = listed(copied.counts)
    if not copied.written and not copied.deleted:
        return f"It is a complete copy already: {what}. Nothing was written."
    there = documents_in(copied.counts) - copied.written
    parts = [
        f"{copied.written:,} documents written in {bar.seconds():.1f} s",
        f"{there:,} were there already",
    ]
    if copied.deleted:
        parts.append(f"{copied.deleted:,} deleted that the store does not have any more")
    return f"The copy is complete: {what}. {', '.join(parts)}."


@store.command(
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
    """Drop whole months from the store, and never count their time as recorded again.

    A month goes once all of it is older than AGE (calendar months, UTC). It says what goes and asks first. The daemon may run
    meanwhile. What was broken off is completed by running it again. There is no way back but a copy made before (`store copy`).
    """
    before = _cut(older_than, SystemClock().now())
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


def _cut(text: str, now: Ms) -> Ms:
    """The first moment of the month in which what is `text` old began."""
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


async def _plan(settings: Settings, before: Ms, dry_run: bool) -> Plan | None:
    """What would go, told to the person; None if nothing would."""
    async with reading(settings.store) as reader:
        description, unfinished = await reader.describe(), await reader.copying()
        if unfinished is not None:
            raise StoreMismatch(
                f"{name_of(description)} is an unfinished copy of {unfinished}: complete that first"
            )
        found = await plan_pruning(reader, before)
    if not found.documents:
        click.echo(
            f"There is nothing to drop: nothing in {name_of(description)} began before {iso(before)}.",
            err=True,
        )
        return None
    for line in plan_lines(found, description):
        click.echo(line, err=not dry_run)
    return found


async def _prune(settings: Settings, found: Plan) -> None:
    async with _writing(settings.store) as opened:
        with Bar("Dropping", found.documents, "documents") as bar:
            await _unless_stopped(
                lambda: prune_store(opened, found.before, lambda done: bar.update(done, done)),
                "A part of it was dropped already; the same command drops the rest.",
            )
        description = await opened.describe()
    free = (
        f" {size(description.free_bytes)} in the file are free and used again."
        if description.free_bytes
        else ""
    )
    click.echo(f"Dropped: {bar.summary()}.{free}", err=True)


# How it is done


def _show(answer: dict[str, object] | list[str]) -> None:
    if isinstance(answer, dict):
        click.echo(msgspec.json.encode(answer))
    else:
        for line in answer:
            click.echo(line)


async def _open(settings: StoreSettings) -> Store:
    from ps2daemon.daemon import open_store

    return await open_store(settings)


@asynccontextmanager
async def _writing(settings: StoreSettings) -> AsyncIterator[Store]:
    opened = await _open(settings)
    try:
        yield opened
    finally:
        await opened.aclose()


async def _is_there(settings: StoreSettings) -> bool:
    """Whether there is a store of this version.

    Raises:
        StoreUnavailable: it does not answer.
    """
    try:
        async with reading(settings) as reader:
            await reader.describe()
    except StoreMismatch:
        return False
    return True


def _worker(settings: Settings) -> int | None:
    """The process that takes the queue of this configuration into the store, if there seems to be one."""
    try:
        text = (settings.queue.directory / "consumer.lock").read_text()
        os.kill(int(text), 0)
    except PermissionError:
        return int(text) if text.strip().isdigit() else None
    except (OSError, ValueError):
        return None
    return int(text)


async def _unless_stopped(work: Callable[[], Awaitable[T]], advice: str) -> T:
    """What `work` returns. SIGINT and SIGTERM break it off in order, and a failure that passes ends with `advice`, too."""
    from ps2daemon.supervisor import stop_on_signals

    stop = trio.Event()
    results: list[T] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(stop_on_signals, stop)

        async def cancel() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        try:
            results.append(await work())
        except (StoreUnavailable, StoreConflict):
            click.echo(advice, err=True)
            raise
        nursery.cancel_scope.cancel()
    if not results:
        click.echo(f"Stopped. {advice}", err=True)
        sys.exit(INTERRUPTED)
    return results[0]
