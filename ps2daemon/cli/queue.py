"""`ps2daemon queue`: look into the queue, fill it from a recording, empty it into the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.dead_letters import dead_letters
from ps2daemon.cli.progress import Bar
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.errors import QueueFull, RecordingError, UsageError
from ps2daemon.model.recording import format_line
from ps2daemon.model.records import Record
from ps2daemon.model.times import iso
from ps2daemon.probe import damage_facts, queue_facts
from ps2daemon.queue.base import Producer
from ps2daemon.queue.frames import decode_frame, encode_frames, frame_header
from ps2daemon.queue.recordings import read_recording
from ps2daemon.queue.rescue import damages
from ps2daemon.queue.sqlite import peek as peek_frames
from ps2daemon.queue.sqlite import read_statistics

FULL_RETRY_SECONDS = 1.0


@click.group(
    epilog=epilog("ps2daemon queue status", "ps2daemon queue import old.ndjson.gz && ps2daemon queue drain")
)
def queue() -> None:
    """Look into the queue, fill it from a recording, empty it into the store."""


queue.add_command(dead_letters)


@queue.command(epilog=epilog("ps2daemon queue status", "ps2daemon queue status --json | jq .records"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Say how much waits in the queue. Disturbs nobody."""
    directory = settings_of(ctx).queue.directory
    statistics, damaged = read_statistics(directory), damages(directory)
    if as_json:
        click.echo(msgspec.json.encode(queue_facts(statistics) | {"damaged": damage_facts(damaged)}))
        return
    click.echo(f"records   {statistics.records:,} in {statistics.frames:,} frames")
    share = statistics.bytes / statistics.max_bytes if statistics.max_bytes else 0.0
    click.echo(f"bytes     {statistics.bytes:,} of {statistics.max_bytes:,} ({share:.1%})")
    click.echo(f"oldest    {'-' if statistics.oldest_at is None else iso(statistics.oldest_at)}")
    click.echo(f"retained  {statistics.retained:,} frames that are done with")
    for damage in damaged:
        click.echo(f"damaged   {iso(damage.at)}: {damage}")


@queue.command(epilog=epilog("ps2daemon queue peek --limit 5", "ps2daemon queue peek | jq .payload"))
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.pass_context
def peek(ctx: click.Context, limit: int) -> None:
    """Print the records that are next, as lines of a recording. Takes nothing out and disturbs nobody."""
    for record in _records(settings_of(ctx).queue.directory, limit):
        sys.stdout.buffer.write(format_line(record))


def _records(directory: Path, limit: int) -> Iterator[Record]:
    left = limit
    for item in peek_frames(directory, limit):
        for record in decode_frame(item.frame)[:left]:
            yield record
            left -= 1
        if left <= 0:
            return


@queue.command(
    epilog=epilog("ps2daemon queue drain", "ps2daemon queue import old.ndjson.gz && ps2daemon queue drain")
)
@click.pass_context
def drain(ctx: click.Context) -> None:
    """Put everything that waits into the store, then end.

    It is the worker, so it refuses while one runs. It can be interrupted at any time, and goes on where it was.
    """
    trio.run(_drain, settings_of(ctx, secret=True))


async def _drain(settings: Settings) -> None:
    from ps2daemon.daemon import drain as run_drain
    from ps2daemon.logs import configure_logging
    from ps2daemon.supervisor import stop_on_signals
    from ps2daemon.telemetry import Telemetry

    configure_logging(secrets=settings.secrets, level="WARNING")
    directory = settings.queue.directory
    waiting = read_statistics(directory).records
    stop = trio.Event()
    with Bar("Draining", waiting) as bar:
        async with trio.open_nursery() as nursery:

            async def show() -> None:
                total = waiting
                while True:
                    await trio.sleep(0.25)
                    left = (await trio.to_thread.run_sync(read_statistics, directory)).records
                    total = max(total, left)
                    bar.update(total - left, total - left, total)

            nursery.start_soon(show)
            nursery.start_soon(stop_on_signals, stop)
            await run_drain(settings, telemetry=Telemetry(), clock=SystemClock(), stop=stop)
            nursery.cancel_scope.cancel()
        left = read_statistics(directory).records
        bar.update(waiting - left, max(0, waiting - left))
    if left:
        click.echo(f"Stopped with {left:,} records left in the queue; drain again to go on.", err=True)
        sys.exit(1)
    click.echo(f"The queue is empty: {bar.summary()}.", err=True)


@queue.command(
    name="import",
    epilog=epilog("ps2daemon queue import recording.ndjson.gz", "zcat *.gz | ps2daemon queue import -"),
)
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False))
@click.pass_context
def import_(ctx: click.Context, file: str) -> None:
    """Put a recording into the queue; `-` reads it from the standard input.

    Importing again what is in the store already changes nothing. The queue has one entrance, so it refuses while a subscriber runs.
    """
    settings = settings_of(ctx)
    source: Path | BinaryIO = sys.stdin.buffer if file == "-" else Path(file)
    size = source.stat().st_size if isinstance(source, Path) and source.is_file() else None
    trio.run(_import, settings, source, size)


async def _import(settings: Settings, source: Path | BinaryIO, size: int | None) -> None:
    from ps2daemon.daemon import open_producer

    producer = await open_producer(settings)
    number = 0
    try:
        with (
            Bar("Importing", size) as bar,
            source.open("rb") if isinstance(source, Path) else nullcontext(source) as file,
        ):
            bad: list[RecordingError] = []
            for frame in encode_frames(_until_bad(read_recording(file), bad)):
                await _append(producer, frame)
                number += frame_header(frame).records
                bar.update(file.tell() if size is not None else 0, number)
            if bad:
                raise bad[0]
    except RecordingError as error:
        raise UsageError(
            f"{error}. The {number:,} records before it are in the queue; "
            "mend it, or get the file again if it is cut off, and import it again: what is there already does no harm"
        ) from None
    except OSError as error:
        raise UsageError(f"can't read {source}: {error.strerror}") from None
    finally:
        await producer.aclose()
    if number:
        click.echo(f"Imported {bar.summary()}.", err=True)
    else:
        click.echo("The recording is empty: nothing was imported.", err=True)


def _until_bad(records: Iterator[Record], bad: list[RecordingError]) -> Iterator[Record]:
    """The records before the first bad line, whose error is put into `bad`."""
    try:
        yield from records
    except RecordingError as error:
        bad.append(error)


async def _append(producer: Producer, frame: bytes) -> None:
    told = False
    while True:
        try:
            await producer.append(frame)
        except QueueFull as error:
            if not told:
                click.echo(f"{error}; waiting for a worker to make room", err=True)
                told = True
            await trio.sleep(FULL_RETRY_SECONDS)
        else:
            return
