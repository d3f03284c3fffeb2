"""`ps2daemon run`: the daemon."""

from __future__ import annotations

import click
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.daemon import Part
from ps2daemon.daemon import run as run_daemon
from ps2daemon.logs import configure_logging
from ps2daemon.supervisor import stop_on_signals
from ps2daemon.telemetry import Telemetry


@click.command(
    epilog=epilog(
        "ps2daemon --config /etc/ps2daemon/config.toml run",
        "ps2daemon run subscriber & ps2daemon run worker    # so that the worker can be upgraded while recording goes on",
    )
)
@click.argument("part", type=click.Choice(["subscriber", "worker"]), required=False)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve metrics and health here instead of web.metrics_port; 0 for any free one. "
    "A worker of its own takes the next port after web.metrics_port, so that both halves fit on one machine.",
)
@click.pass_context
def run(ctx: click.Context, part: Part | None, metrics_port: int | None) -> None:
    """Record, until SIGTERM or Ctrl-C.

    Without PART it is the whole daemon in one process. `run subscriber` only receives into the queue, and `run worker` only takes
    the queue into the store: two processes, of which each may stop and start on its own.
    """
    settings = settings_of(ctx, secret=True)
    trio.run(_run, settings, part, metrics_port)


async def _run(settings: Settings, part: Part | None, metrics_port: int | None) -> None:
    configure_logging(secrets=settings.secrets)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signals, stop)
        await run_daemon(
            settings, part, telemetry=Telemetry(), clock=SystemClock(), stop=stop, metrics_port=metrics_port
        )
        nursery.cancel_scope.cancel()
