"""`ps2daemon serve`: the page and its JSON API as a process of its own."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.clock import SystemClock
from ps2daemon.errors import StoreMissing
from ps2daemon.supervisor import stop_on_signals

if TYPE_CHECKING:
    from ps2daemon.config import Settings, StoreSettings
    from ps2daemon.store.base import StoreReader, StoreSource

STORE_SECONDS: Final = 10.0
"""How long it waits for a store that is not there yet."""
POLL_SECONDS: Final = 0.1
LIBRARY_SECONDS: Final = 5.0
"""How long it waits for the chart library, which takes one or two."""


@click.command(
    epilog=epilog("ps2daemon serve", "ps2daemon --config /etc/ps2daemon/config.toml serve --port 9000")
)
@click.option("--host", metavar="ADDRESS", help="Listen there instead of at web.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Listen there instead of at web.port; 0 for any free one.",
)
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Serve the page and its JSON API, until SIGTERM or Ctrl-C.

    It only reads the store, and may run beside the daemon, or without it. The address is printed once it listens.
    """
    settings = settings_of(ctx)
    web = settings.web
    keys = ("web.host" if host is None else "--host", "web.port" if port is None else "--port")
    trio.run(_serve, settings, web.host if host is None else host, web.port if port is None else port, keys)


async def _open(settings: StoreSettings) -> StoreSource:
    """The store, once it is there: a daemon that was started a moment ago has the time to make it.

    Raises:
        StoreError: it can't be read, or there is none within `STORE_SECONDS`.
    """
    from ps2daemon.daemon import open_reader

    deadline = trio.current_time() + STORE_SECONDS
    while True:
        try:
            return await open_reader(settings)
        except StoreMissing:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(POLL_SECONDS)


async def _serve(settings: Settings, host: str, port: int, keys: tuple[str, str]) -> None:
    from ps2daemon.store.days import DaySource
    from ps2daemon.store.kept import KeptReader
    from ps2daemon.web.ahead import count_ahead
    from ps2daemon.web.app import page_app
    from ps2daemon.web.bundle import ChartLibrary
    from ps2daemon.web.recording import Daemon
    from ps2daemon.web.server import check_bind, serve_app

    stopping = trio.Event()
    await check_bind(host, port, *keys)
    async with aclosing(await _open(settings.store)) as reader, trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signals, stopping)
        done = trio.Event()
        library = ChartLibrary()
        nursery.start_soon(library.warm)
        store: StoreReader = reader
        if isinstance(reader, DaySource):
            file = settings.web.cache_directory / f"{settings.store.elasticsearch.index_prefix}.days"
            store = kept = KeptReader(reader, file=file)
            nursery.start_soon(kept.keep_warm)
            nursery.start_soon(count_ahead, kept)

        async def run(task_status: trio.TaskStatus[int]) -> None:
            app = page_app(store, SystemClock(), library, Daemon(settings).facts)
            await serve_app(
                app,
                host=host,
                port=port,
                stopping=stopping,
                host_key=keys[0],
                port_key=keys[1],
                task_status=task_status,
            )
            done.set()

        # Whoever is told that the page is there shall not wait for what is made once.
        with trio.move_on_after(LIBRARY_SECONDS):
            await library.warmed.wait()
        bound = await nursery.start(run)
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"The page is at http://{shown}:{bound}/", err=True)
        await done.wait()
        nursery.cancel_scope.cancel()
