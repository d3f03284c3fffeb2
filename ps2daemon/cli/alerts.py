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
BESIDE: Final = 150
"""From so many columns of a terminal on, a line of people of all instants has room in a column of its own."""
BENEATH: Final = 80
"""From so many on, one of every second instant has room beneath the alert's name; below that, there are the numbers alone."""


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
        console.print(_table(views, zone, console.width))


def _table(views: Sequence[AlertView], zone: tzinfo, width: int) -> Table:
    """One alert a row, for a terminal of so many columns; with the people beneath its name, its day and length have two lines as well."""
    beside, beneath = width >= BESIDE, BENEATH <= width < BESIDE
    table = Table(box=None, padding=(0, 1, 0, 0) if beneath else (0, 1))
    # Names take a second line rather than cut the numbers short.
    table.add_column(str(zone), no_wrap=True, min_width=len("2026-03-01" if beneath else "2026-03-01 12:00"))
    table.add_column("world", overflow="fold", min_width=len("Wainwright") if beneath else None)
    table.add_column(
        "alert", overflow="fold", min_width=max(len(_line(view, 2)) for view in views) if beneath else None
    )
    long = "1 h 30" if beneath else "1 h 30 min"
    table.add_column(
        "ran for",
        justify="right",
        no_wrap=not beneath,
        min_width=len(long),
        max_width=len(long) if beneath else None,
    )
    table.add_column("won by", max_width=len("NC, with") if beneath else None)
    for name in ("at start", "at end", "30 min later"):
        head = "\n".join(name.rsplit(" ", 1)) if beneath else name
        table.add_column(head, justify="right", min_width=len("later"))
    if beside:
        table.add_column("people around it", no_wrap=True)
    for view in views:
        at, name = clock_text(view.start, zone), view.alert.name
        table.add_row(
            at.replace(" ", "\n") if beneath else at,
            tables.world_name(view.alert.world_id),
            f"{name}\n{_line(view, 2)}" if beneath else name,
            ran_text(view),
            winner_text(view.alert),
            *("" if people is None else f"{people:,}" for people in (view.at_start, view.at_end, view.later)),
            *([_line(view)] if beside else []),
        )
    return table


def _line(view: AlertView, every: int = 1) -> str:
    """The people around it, one character for every so many instants."""
    return sparkline(view.around[::every])
