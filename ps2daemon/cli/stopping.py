"""Long work that a person may break off."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from ps2daemon.cli import INTERRUPTED
from ps2daemon.errors import StoreConflict, StoreUnavailable
from ps2daemon.supervisor import stop_on_signals

T = TypeVar("T")


async def unless_stopped(work: Callable[[], Awaitable[T]], *, advice: str) -> T:
    """What `work` returns. SIGINT and SIGTERM break it off in order, and a failure that passes ends with `advice`, too."""
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
