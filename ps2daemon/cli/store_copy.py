"""`ps2daemon store copy`: into an address, a file, or what another configuration says."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import reading, writing
from ps2daemon.cli.progress import Bar
from ps2daemon.cli.stopping import unless_stopped
from ps2daemon.cli.store_report import documents_in, listed
from ps2daemon.config import ElasticsearchSettings, Settings, StoreSettings, load_settings
from ps2daemon.errors import ConfigError, StoreError, UsageError
from ps2daemon.settings_keys import KEYS
from ps2daemon.store.base import Store
from ps2daemon.store.copying import Copied, copy_store

SUFFIXES: Final = (".db", ".sqlite", ".sqlite3")
"""Of a file that may not be there yet: a server's address without its scheme would be a file's name, too."""
ACCEPTED: Final = f"accepted is the path of a file that ends in {', '.join(SUFFIXES)}, or an address that begins with http:// or https://"
AGAIN: Final = "What was copied so far stays, marked as unfinished; the same command goes on from there."


@click.command(
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
    """Copy the store into another one.

    That one is empty, or an unfinished copy of the same. Stop the worker first (`run subscriber` may go on), and let none write to
    the target before it is done: a copy while others write ends with an error. It can be interrupted at any time: the same
    command goes on where it was. The store itself stays as it is.
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
        bar = Bar("Copying", total, "documents")
        async with _target(target) as opened:

            async def work() -> Copied:
                with bar:
                    return await copy_store(source, opened, lambda done: bar.update(done, done))

            copied = await unless_stopped(work, advice=AGAIN)
    click.echo(_told(copied, bar), err=True)


def _told(copied: Copied, bar: Bar) -> str:
    what = listed(copied.counts)
    if not copied.written and not copied.deleted:
        return f"It is a complete copy already: {what}. Nothing was written."
    there = max(0, documents_in(copied.counts) - copied.written)
    parts = [
        f"{copied.written:,} documents written in {bar.seconds():.1f} s",
        f"{there:,} were there already",
    ]
    if copied.deleted:
        parts.append(f"{copied.deleted:,} deleted that the store does not have any more")
    return f"The copy is complete: {what}. {', '.join(parts)}."


@asynccontextmanager
async def _target(settings: StoreSettings) -> AsyncIterator[Store]:
    """The store to copy to, once it answers; its errors say that they are about it."""
    opened = False
    try:
        async with writing(settings) as target:
            await target.describe()
            opened = True
            yield target
    except (StoreError, ConfigError) as error:
        if opened:
            raise
        raise type(error)(f"the target: {str(error).removeprefix('store.path: ')}") from None


def _worker(settings: Settings) -> int | None:
    """The process that takes the queue of this configuration into the store, if there seems to be one."""
    try:
        pid = int((settings.queue.directory / "consumer.lock").read_text())
    except (OSError, ValueError):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # another user's
    return pid


def parse_target(
    to: str | None, prefix: str | None, config: Path | None, option: str = "--to"
) -> StoreSettings:
    """The settings of the store to copy to: `to` is a file or an address, or `config` says it.

    Args:
        prefix: of the indices, where `to` is an address; None for the configuration's default.
        option: what said `to`.

    Raises:
        UsageError: not exactly one is given, or what is given is not accepted.
    """
    if (to is None) == (config is None):
        raise UsageError("say where to copy to: give --to or --to-config, and only one of them")
    if prefix is not None and (to is None or not is_address(to)):
        raise UsageError(
            "--to-prefix goes with an address after --to; a file has no prefix, and a configuration its own"
        )
    if config is not None:
        # The environment says what the store to copy from is; it would make both the same.
        return load_settings(config, {}, secret=False).store
    assert to is not None
    if is_address(to):
        url: tuple[str, ...] = _checked(option, "url", [to])
        chosen: str = _checked(
            "--to-prefix", "index_prefix", KEYS["store"]["index_prefix"].default if prefix is None else prefix
        )
        return StoreSettings(
            kind="elasticsearch",
            path=Path(),
            elasticsearch=ElasticsearchSettings(urls=url, index_prefix=chosen),
        )
    path = Path(to).expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"--to: {to} is a folder: name a file in it, such as {path / 'ps2.db'}")
    if path.suffix not in SUFFIXES and not path.is_file():
        raise UsageError(f"--to: {to!r} is not accepted; {ACCEPTED}")
    return StoreSettings(kind="sqlite", path=path, elasticsearch=ElasticsearchSettings(urls=()))


def is_address(text: str) -> bool:
    """Whether it is meant as the address of a server."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def _checked(option: str, name: str, value: object) -> Any:
    key = KEYS["store"][name]
    try:
        return key.check(value)
    except ValueError as error:
        reason = f" ({error})" if str(error) else ""
        if key.hidden(value):
            raise UsageError(
                f"{option}: the address is not accepted{reason}; for one that needs a password, write a configuration and give --to-config"
            ) from None
        shown = value[0] if isinstance(value, list) else value
        raise UsageError(
            f"{option}: {shown!r} is not accepted{reason}; accepted is {_accepted(name)}"
        ) from None


def _accepted(name: str) -> str:
    return "an address such as http://127.0.0.1:9200" if name == "url" else KEYS["store"][name].accepted


def same_place(one: StoreSettings, other: StoreSettings) -> bool:
    """Whether both say the same store, as far as can be told without asking it."""
    if one.kind != other.kind:
        return False
    if one.kind == "sqlite":
        return one.path.resolve() == other.path.resolve()
    ours, theirs = one.elasticsearch, other.elasticsearch
    shared = {url.rstrip("/") for url in ours.urls} & {url.rstrip("/") for url in theirs.urls}
    return ours.index_prefix == theirs.index_prefix and bool(shared)


def configuration_of(settings: StoreSettings) -> list[str]:
    """The lines of `[store]` that make it the store."""
    if settings.kind == "sqlite":
        return ["[store]", 'kind = "sqlite"', f'path = "{settings.path}"']
    server = settings.elasticsearch
    return [
        "[store]",
        'kind = "elasticsearch"',
        f'url = "{server.urls[0]}"',
        f'index_prefix = "{server.index_prefix}"',
    ]
