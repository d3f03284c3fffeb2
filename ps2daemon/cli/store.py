"""`ps2daemon store`: make the store, look at it, copy it into another one, drop old months."""

from __future__ import annotations

import sys

import click
import msgspec
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import reading, writing
from ps2daemon.cli.store_copy import copy
from ps2daemon.cli.store_prune import prune
from ps2daemon.cli.store_report import (
    contents_facts,
    contents_lines,
    contents_of,
    listed,
    state_facts,
    state_lines,
    state_of,
)
from ps2daemon.config import StoreSettings
from ps2daemon.errors import StoreMismatch


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
        async with writing(settings.store) as made:
            counts = await made.counts()
        async with reading(settings.store) as reader:
            state = await state_of(reader)
        held = any(counts.values())
        what = (
            "It was there, and is up to date"
            if known
            else "It was there, and was brought up to date"
            if held
            else "It is made"
        )
        _show(state_lines(state))
        click.echo(f"{what}. It holds {listed(counts) if held else 'nothing yet'}.", err=True)
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


store.add_command(copy)
store.add_command(prune)


def _show(answer: dict[str, object] | list[str]) -> None:
    if isinstance(answer, dict):
        click.echo(msgspec.json.encode(answer))
    else:
        for line in answer:
            click.echo(line)


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
