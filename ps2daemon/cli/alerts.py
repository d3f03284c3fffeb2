"""`ps2daemon alerts`: the alerts of a window, with the people before, in and after each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import IO, Final

import click
import msgspec
import trio
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.alerts import AlertView, alert_views, ran_text, winner_text
from ps2daemon.analysis.listing import alerts_answer
from ps2daemon.analysis.population import spans_by_world
from ps2daemon.analysis.sheets import alerts_sheet
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
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import Ms
from ps2daemon.model.times import clock_text
from ps2daemon.web.alert_charts import alerts_chart

FORMATS: Final = ("table", "csv", "json", *PICTURES)
DEFAULT_START: Final = "-24h"
LINES: Final = ((150, 1), (110, 2))
"""From so many columns of a terminal on there is room for a line of people as well: of all instants, or of every second."""


@click.command(
    epilog=epilog(
        "ps2daemon alerts --world 10",
        "ps2daemon alerts --from 2026-03-01 --to 2026-03-08 --tz Europe/Berlin",
        "ps2daemon alerts --world 10 --from -12h --out alerts.png",
        "ps2daemon alerts --from -7d --json",
    )
)
@world_option
@window_options(DEFAULT_START, "now")
@zone_option
@format_options(FORMATS)
@out_option
@click.pass_context
def alerts(
    ctx: click.Context, worlds: tuple[str, ...], start: str, end: str, zone: str, kind: str, out: Path | None
) -> None:
    """List the alerts that ran in a window, with the people online before, in and after each.

    Pictures (png, svg, pdf) show the latest of them, and need the `charts` extra.
    """
    drawing = wants_picture(kind, out)
    now = SystemClock().now()
    place = asking.parse_zone(zone)
    first, behind = closed_window(start, end, now, place)
    views, spans = trio.run(_views, settings_of(ctx), asking.parse_worlds(worlds), first, behind, now)
    if drawing:
        if not views:
            raise UsageError(
                "no alert ran in this window, so there is nothing to draw: choose another, with --from and --to"
            )
        write_picture(alerts_chart(views, spans, first, behind, place, now), kind, out)
        return
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(alerts_answer(views)) + b"\n")
        elif kind == "csv":
            write_csv(file, alerts_sheet(alerts_answer(views)))
        else:
            _print(file, views, place)


async def _views(
    settings: Settings, worlds: tuple[int, ...], start: Ms, end: Ms, now: Ms
) -> tuple[Sequence[AlertView], Mapping[int, Sequence[Span]]]:
    """The alerts, and all spans of each world."""
    async with reading(settings.store) as reader:
        found = await worlds_of(reader, worlds)
        views = await alert_views(reader, start, end, found, now)
        return views, spans_by_world(await reader.spans(found), found)


def _print(file: IO[bytes], views: Sequence[AlertView], zone: tzinfo) -> None:
    with console_on(file) as console:
        if not views:
            console.print("no alert ran in this window")
            return
        every = next((step for width, step in LINES if console.width >= width), None)
        table = Table(box=None)
        # Names take a second line rather than cut the numbers short.
        table.add_column(str(zone), no_wrap=True, min_width=len("2026-03-01 12:00"))
        for name in ("world", "alert"):
            table.add_column(name, overflow="fold")
        table.add_column("ran for", justify="right", no_wrap=True, min_width=len("1 h 30 min"))
        table.add_column("won by")
        for name in ("at start", "at end", "30 min later"):
            table.add_column(name, justify="right", min_width=len("later"))
        if every is not None:
            table.add_column("people around it", no_wrap=True)
        for view in views:
            alert = view.alert
            table.add_row(
                clock_text(view.start, zone),
                tables.world_name(alert.world_id),
                alert.name,
                ran_text(view),
                winner_text(alert),
                *(
                    "" if people is None else f"{people:,}"
                    for people in (view.at_start, view.at_end, view.later)
                ),
                *([] if every is None else [sparkline(view.around[::every])]),
            )
        console.print(table)
