"""`ps2daemon simulate`: a Census on this machine, or the recording of a past span."""

from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import click
import trio

from ps2daemon.cli import epilog
from ps2daemon.clock import SystemClock
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Interval
from ps2daemon.model.recording import format_line
from ps2daemon.model.records import DAY, MINUTE, EventRecord, Ms
from ps2daemon.model.times import parse_iso
from ps2daemon.simulator.faults.catalogue import listing
from ps2daemon.simulator.faults.plan import Planned, parse_fault, read_plan
from ps2daemon.simulator.recording import HistorySettings
from ps2daemon.simulator.recording import history as make_history
from ps2daemon.simulator.server import Address, Simulator, serve_simulator
from ps2daemon.simulator.settings import DEFAULT_WORLDS, PopulationSettings
from ps2daemon.simulator.sources import BurstSource, BusySource, CaptureSource, LiveSource
from ps2daemon.simulator.truth import Truth
from ps2daemon.supervisor import stop_on_signals

DEFAULT_PORT = 8025
HISTORY_DAYS = 14
_COMPRESSION = 3  # a fifth of the time of the default, for a file a fifth larger

Command = TypeVar("Command", bound=Callable[..., Any])


def _time(text: str) -> Ms:
    try:
        return parse_iso(text)
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


def _worlds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of world ids such as 1,10,40") from None


def _gap(text: str) -> Interval:
    start, found, end = text.partition("/")
    if not found:
        raise click.BadParameter(f"{text!r} is no span such as 2026-03-04T01:00Z/2026-03-04T04:00Z")
    return Interval(_time(start), _time(end))


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_population_options = _options(
    click.option("--seed", type=int, default=1, show_default=True, help="One seed, one story."),
    click.option(
        "--worlds",
        type=_worlds,
        default=",".join(map(str, DEFAULT_WORLDS)),
        show_default=True,
        metavar="IDS",
        help="Which worlds there are.",
    ),
    click.option("--scale", type=float, default=1.0, show_default=True, help="Multiplies every population."),
    click.option(
        "--alert-leave",
        type=float,
        default=0.05,
        show_default=True,
        help="Extra share of those online who log off within minutes because an alert ended.",
    ),
    click.option(
        "--lock-leave",
        type=float,
        default=0.03,
        show_default=True,
        help="The same when a continent locks; an alert that ends with a lock causes both.",
    ),
    click.option(
        "--loser-leave",
        type=float,
        default=0.0,
        show_default=True,
        help="Added to --alert-leave for empires that did not win.",
    ),
)

_serve_options = _options(
    click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=DEFAULT_PORT,
        show_default=True,
        help="For stream and REST alike; 0 for any free one.",
    ),
    click.option(
        "--port-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the port here once it listens.",
    ),
    click.option(
        "--service-id",
        "service_ids",
        multiple=True,
        metavar="ID",
        help="Accept this id (without s:) and no others; may be repeated. Otherwise all letters and digits will do.",
    ),
)

_truth_option = click.option(
    "--truth",
    "truth_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what really happened here, as JSON lines (when it ends).",
)


def _list_faults(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(listing())
        ctx.exit()


_fault_options = _options(
    click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="NAME[:VALUE]",
        help="Something that goes wrong from the start; may be repeated. --list-faults explains them.",
    ),
    click.option(
        "--faults",
        "plan",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="A plan of faults, TOML: tables [[fault]] with fault, start and seconds.",
    ),
    click.option(
        "--list-faults",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_list_faults,
        help="Explain all faults in a line each, and exit.",
    ),
)


@click.group(
    epilog=epilog(
        "ps2daemon simulate live --port 8025",
        "ps2daemon simulate history --out history.ndjson.gz && ps2daemon --config config.toml queue import history.ndjson.gz",
    )
)
def simulate() -> None:
    """A Census on this machine, with a population that can be checked."""


@simulate.command(
    epilog=epilog(
        "ps2daemon simulate history --from 2026-03-01 --to 2026-03-15 --out history.ndjson.gz --truth truth.ndjson",
        "ps2daemon simulate history --from 2026-03-01 --to 2026-03-03 --worlds 10 --gap 2026-03-02T01:00Z/2026-03-02T04:00Z --out -",
    )
)
@click.option(
    "--from", "start", type=_time, metavar="TIME", help=f"Default: {HISTORY_DAYS} days before --to."
)
@click.option("--to", "end", type=_time, metavar="TIME", help="Default: now.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True),
    required=True,
    help="The file; gzipped if its name ends in .gz; - for stdout.",
)
@click.option(
    "--gap",
    "gaps",
    type=_gap,
    multiple=True,
    metavar="FROM/TO",
    help="A time in which nothing was recorded; may be repeated. Default: one of three hours.",
)
@click.option("--no-gap", is_flag=True, help="Record without a gap.")
@_population_options
@_truth_option
def history(
    start: Ms | None,
    end: Ms | None,
    out: str,
    gaps: tuple[Interval, ...],
    no_gap: bool,
    truth_file: Path | None,
    **population: Any,
) -> None:
    """Write the recording of a past span, as `queue import` reads it."""
    if gaps and no_gap:
        raise UsageError("--gap and --no-gap exclude each other")
    end = SystemClock().now() // MINUTE * MINUTE if end is None else end
    settings = HistorySettings(
        population=PopulationSettings(**population),
        start=end - HISTORY_DAYS * DAY if start is None else start,
        end=end,
        gaps=gaps if gaps or no_gap else None,
    )
    began = time.monotonic()
    records, truth = make_history(settings)
    events = lines = 0
    with _output(out) as file:
        for record in records:
            events += isinstance(record, EventRecord)
            lines += 1
            file.write(format_line(record))
    if truth_file is not None:
        _save(truth, truth_file)
    click.echo(
        f"{out}: {events:,} events and {lines - events:,} coverage records in {time.monotonic() - began:.1f} s",
        err=True,
    )


@simulate.command(
    epilog=epilog(
        "ps2daemon simulate live --port 8025",
        "ps2daemon simulate live --history-from 2026-03-01    # goes on where a recording with the same settings ended",
        "ps2daemon simulate live --busy 500 --truth truth.ndjson",
        "ps2daemon simulate live --fault drop_logouts:30 --fault half_open:60 --faults plan.toml",
    )
)
@_population_options
@click.option(
    "--history-from",
    type=_time,
    metavar="TIME",
    help="Go on with the recording that began then and had the same settings.",
)
@click.option(
    "--busy",
    type=float,
    metavar="RATE",
    help="Instead: short sessions, with so many events a second altogether.",
)
@click.option(
    "--burst",
    type=click.IntRange(2),
    metavar="N",
    help="Instead: N events to the first who subscribes, as fast as they are taken.",
)
@_fault_options
@_serve_options
@_truth_option
def live(
    history_from: Ms | None,
    busy: float | None,
    burst: int | None,
    faults: tuple[str, ...],
    plan: Path | None,
    host: str,
    port: int,
    port_file: Path | None,
    service_ids: tuple[str, ...],
    truth_file: Path | None,
    **population: Any,
) -> None:
    """Serve the event stream and REST, until SIGTERM or Ctrl-C.

    Without --busy or --burst, people come and go as they do on the real servers. What --burst sends passes by the faults of events.
    While it serves, GET /faults says which faults are on, and POST /faults/start?fault=NAME[:VALUE] and POST /faults/stop?fault=NAME change that.
    """
    if sum(option is not None for option in (history_from, busy, burst)) > 1:
        raise UsageError("--history-from, --busy and --burst exclude each other")
    planned = [Planned(parse_fault(fault)) for fault in faults]
    if plan is not None:
        planned += read_plan(plan)
    settings = PopulationSettings(**population)
    truth = Truth()
    source: LiveSource | BusySource | BurstSource
    if busy is not None:
        source = BusySource(busy, settings.worlds, settings.seed)
    elif burst is not None:
        source = BurstSource(burst, settings.worlds)
    else:
        source = LiveSource(settings, truth, SystemClock().now(), history_from)
    simulator = Simulator(
        source,
        worlds=settings.worlds,
        truth=truth,
        service_ids=frozenset(service_ids) or None,
        seed=settings.seed,
    )
    simulator.faults.plan(planned)
    _run(simulator, host, port, port_file)
    if truth_file is not None:
        _save(truth, truth_file)


@simulate.command(epilog=epilog("ps2daemon simulate capture frames.ndjson --rate 10"))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Frames a second; otherwise as fast as they are taken.",
)
@_serve_options
def capture(
    file: Path, rate: float | None, host: str, port: int, port_file: Path | None, service_ids: tuple[str, ...]
) -> None:
    """Serve the frames of FILE, one a line, to everybody who connects, until SIGTERM or Ctrl-C."""
    source = CaptureSource.read(file, rate)
    simulator = Simulator(
        source, worlds=tuple(source.worlds) or DEFAULT_WORLDS, service_ids=frozenset(service_ids) or None
    )
    simulator.worlds.update(source.worlds)
    _run(simulator, host, port, port_file)


def _run(simulator: Simulator, host: str, port: int, port_file: Path | None) -> None:
    failure = trio.run(_serve, simulator, host, port, port_file)
    if failure is not None:
        raise failure


async def _serve(simulator: Simulator, host: str, port: int, port_file: Path | None) -> UsageError | None:
    """Serves until a signal; returns why it could not."""
    failure: UsageError | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(stop_on_signals, simulator.stopping)
        async with trio.open_nursery() as serving:
            try:
                address: Address = await serving.start(
                    partial(serve_simulator, simulator, host=host, port=port)
                )
                if port_file is not None:
                    _write(port_file, f"{address.port}\n".encode())
                click.echo(f"simulator: {address.stream_url} and {address.rest_url}", err=True)
            except OSError as error:
                failure = UsageError(
                    f"can't listen on {host}:{port}: {error.strerror}; choose another --port"
                )
            except UsageError as error:
                failure = error
                serving.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return failure


@contextmanager
def _output(out: str) -> Iterator[IO[bytes]]:
    if out == "-":
        yield sys.stdout.buffer
        return
    try:
        with open(out, "wb") as file:
            if out.endswith(".gz"):
                # Neither name nor time in the header: one seed, the same bytes.
                with gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as zipped:
                    yield cast(IO[bytes], zipped)
            else:
                yield file
    except OSError as error:
        raise UsageError(f"can't write {out}: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    """All or nothing, since somebody may be waiting for the file."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}") from None


def _save(truth: Truth, path: Path) -> None:
    try:
        truth.save(path)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}") from None
