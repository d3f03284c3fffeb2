"""`ps2daemon coverage`: what was recorded, and why the rest was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.documents import coverage_answer
from ps2daemon.analysis.population import covered_share, spans_by_world
from ps2daemon.analysis.sheets import coverage_sheet
from ps2daemon.analysis.view import unrecorded
from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import (
    closed_window,
    format_options,
    out_option,
    output,
    reading,
    window_options,
    world_option,
    worlds_of,
    zone_option,
)
from ps2daemon.cli.pictures import PICTURES, wants_picture, write_picture
from ps2daemon.cli.tables import console_on, sparkline, write_csv
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import Ms
from ps2daemon.model.times import clock_text, length_text
from ps2daemon.web.coverage_charts import coverage_chart

FORMATS: Final = ("table", "csv", "json", *PICTURES)
DEFAULT_START: Final = "-7d"
BARS: Final = 56
"""Characters of the line that shows how much of the window was recorded: eight a day of a week."""
MOST: Final = 20
"""Gaps that a table shows of one world, the latest ones."""

Spans = Mapping[int, Sequence[Span]]


@click.command(
    epilog=epilog(
        "ps2daemon coverage",
        "ps2daemon coverage --world 10 --from 2026-03-01 --to 2026-04-01 --tz Europe/Berlin",
        "ps2daemon coverage --from -30d --tz Europe/Berlin --out coverage.png",
        "ps2daemon coverage --from -1d --json",
    )
)
@world_option
@window_options(DEFAULT_START, "now")
@zone_option
@format_options(FORMATS)
@out_option
@click.pass_context
def coverage(
    ctx: click.Context, worlds: tuple[str, ...], start: str, end: str, zone: str, kind: str, out: Path | None
) -> None:
    """Say what was recorded of each world, and why the rest was not.

    Pictures (png, svg, pdf) need the `charts` extra.
    """
    drawing = wants_picture(kind, out)
    now = SystemClock().now()
    place = asking.parse_zone(zone)
    first, behind = closed_window(start, end, now, place)
    spans = trio.run(_spans, settings_of(ctx), asking.parse_worlds(worlds))
    if drawing:
        write_picture(coverage_chart(spans, first, behind, place, now), kind, out)
        return
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(coverage_answer(spans, first, behind)) + b"\n")
        elif kind == "csv":
            write_csv(file, coverage_sheet(coverage_answer(spans, first, behind)))
        else:
            if now <= first:
                raise UsageError("the window has not begun: let --from be earlier than now")
            with console_on(file) as console:
                for world_id, of_world in spans.items():
                    # What is to come is not missing.
                    _print(console, world_id, of_world, first, min(behind, now), place)


async def _spans(settings: Settings, worlds: tuple[int, ...]) -> Spans:
    """All of each world: whether there is a gap at an end of a window depends on what is beyond."""
    async with reading(settings.store) as reader:
        found = await worlds_of(reader, worlds)
        return spans_by_world(await reader.spans(found), found)


def _print(console: Console, world_id: int, spans: Sequence[Span], start: Ms, end: Ms, zone: tzinfo) -> None:
    covered = WorldCoverage(spans)
    edges = [start + (end - start) * place // BARS for place in range(BARS + 1)]
    shares = [covered_share(covered, *pair) for pair in pairwise(edges)]
    console.print(
        f"[bold]{tables.world_name(world_id)} ({world_id})[/bold]: "
        f"{100 * covered_share(covered, start, end):.2f} % of this window is recorded"
    )
    line = sparkline([share or None for share in shares], 0.0, 1.0)
    console.print(f"  {clock_text(start, zone)} {line} {clock_text(end, zone)}")
    gaps = unrecorded(spans, start, end)
    if gaps:
        table = Table(box=None)
        for name in ("not recorded from", "to"):
            table.add_column(name, no_wrap=True)
        table.add_column("for", justify="right", no_wrap=True)
        table.add_column("")
        for gap in gaps[-MOST:]:
            table.add_row(
                clock_text(gap.start, zone),
                clock_text(gap.end, zone),
                length_text(gap.end - gap.start),
                gap.reason,
            )
        console.print(table)
        if len(gaps) > MOST:
            console.print(f"  and {len(gaps) - MOST:,} before that; --json or --format csv has all of it")
    console.print()
