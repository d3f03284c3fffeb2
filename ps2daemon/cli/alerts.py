"""`ps2daemon alerts`: the alerts of a window, with the people before, in and after each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import IO, Final

import click
import msgspec
import trio
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.alerts import AlertView, alert_views
from ps2daemon.analysis.documents import ALERT_VIEW_FIELDS, alert_view_document
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
from ps2daemon.cli.tables import clock_text, console_on, sparkline, write_rows
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.model import tables
from ps2daemon.model.records import Ms
from ps2daemon.model.times import length_text

DEFAULT_START: Final = "-24h"


@click.command(
    epilog=epilog(
        "ps2daemon alerts --world 10",
        "ps2daemon alerts --from 2026-03-01 --to 2026-03-08 --tz Europe/Berlin",
        "ps2daemon alerts --from -7d --json",
    )
)
@world_option
@window_options(DEFAULT_START, "now")
@zone_option
@format_options(("table", "csv", "json"))
@out_option
@click.pass_context
def alerts(
    ctx: click.Context, worlds: tuple[str, ...], start: str, end: str, zone: str, kind: str, out: Path | None
) -> None:
    """List the alerts that ran in a window, with the people online before, in and after each."""
    now = SystemClock().now()
    place = asking.parse_zone(zone)
    first, behind = closed_window(start, end, now, place)
    views = trio.run(_views, settings_of(ctx), asking.parse_worlds(worlds), first, behind, now)
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode({"alerts": [alert_view_document(view) for view in views]}) + b"\n")
        elif kind == "csv":
            write_rows(file, ALERT_VIEW_FIELDS, map(alert_view_document, views))
        else:
            _print(file, views, place)


async def _views(
    settings: Settings, worlds: tuple[int, ...], start: Ms, end: Ms, now: Ms
) -> Sequence[AlertView]:
    async with reading(settings.store) as reader:
        return await alert_views(reader, start, end, await worlds_of(reader, worlds), now)


def _print(file: IO[bytes], views: Sequence[AlertView], zone: tzinfo) -> None:
    with console_on(file) as console:
        if not views:
            console.print("no alert ran in this window")
            return
        table = Table(box=None)
        for name in (str(zone), "world", "alert"):
            table.add_column(name, no_wrap=True)
        table.add_column("ran for", justify="right", no_wrap=True)
        table.add_column("won by", no_wrap=True)
        for name in ("at start", "at end", "30 min later"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("people, 30 min before to 60 after", no_wrap=True)
        for view in views:
            alert = view.alert
            table.add_row(
                clock_text(view.start, zone),
                tables.world_name(alert.world_id),
                alert.name,
                "runs" if alert.end is None else length_text(alert.end - view.start),
                _winner(view),
                *(
                    "" if people is None else f"{people:,}"
                    for people in (view.at_start, view.at_end, view.later)
                ),
                sparkline(view.around),
            )
        console.print(table)


def _winner(view: AlertView) -> str:
    alert = view.alert
    if alert.end is None:
        return ""
    if alert.canceled:
        return "called off"
    faction = tables.factions().get(alert.winner or 0)
    name = "nobody" if not alert.winner or faction is None else faction.tag
    return f"{name}, with lock" if alert.lock_id is not None else name
