"""`ps2daemon trend`: whether the population rises or falls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.documents import trend_answer
from ps2daemon.analysis.sheets import trends_sheet
from ps2daemon.analysis.trend import (
    MAX_WEEKS,
    WEEKS,
    Trend,
    TrendQuery,
    Week,
    by_world,
    notes_of,
    recorded_share,
    trends,
)
from ps2daemon.analysis.view import faction_label
from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import (
    empire_option,
    format_options,
    out_option,
    output,
    reading,
    world_option,
    worlds_of,
    zone_option,
)
from ps2daemon.cli.pictures import PICTURES, require_recorded, wants_picture, write_picture
from ps2daemon.cli.tables import COLOURS, console_on, sparkline, write_csv
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.model import tables
from ps2daemon.model.notes import Note
from ps2daemon.model.times import from_ms
from ps2daemon.web.trend_charts import trend_picture

FORMATS: Final = ("table", "csv", "json", *PICTURES)


@click.command(
    epilog=epilog(
        "ps2daemon trend --world 10",
        "ps2daemon trend --weeks 26 --to 2026-04-01 --tz Europe/Berlin",
        "ps2daemon trend --world Wainwright --weeks 26 --out weeks.png",
        "ps2daemon trend --json",
    )
)
@world_option
@empire_option
@click.option(
    "--weeks",
    type=int,
    default=WEEKS,
    show_default=True,
    metavar="N",
    help=f"How many weeks, 1 to {MAX_WEEKS}.",
)
@click.option(
    "--to",
    "end",
    default="now",
    show_default=True,
    metavar="TIME",
    help="The weeks end at the midnight before: 2026-03-01, 2026-03-01T12:00Z, now or -7d.",
)
@zone_option
@format_options(FORMATS)
@out_option
@click.pass_context
def trend(
    ctx: click.Context,
    worlds: tuple[str, ...],
    empires: tuple[str, ...],
    weeks: int,
    end: str,
    zone: str,
    kind: str,
    out: Path | None,
) -> None:
    """Say whether the people of each empire become more or fewer, week by week.

    The slope is robust, which one odd week does not move, and comes with an interval; weeks of which less than half was recorded do not count.
    Pictures (png, svg, pdf) need the `charts` extra.
    """
    drawing = wants_picture(kind, out)
    place = asking.parse_zone(zone)
    query = TrendQuery(
        end=asking.parse_time(end, now=SystemClock().now(), zone=place),
        weeks=weeks,
        worlds=asking.parse_worlds(worlds),
        zone=place,
        factions=asking.parse_empires(empires),
    )
    answer, notes = trio.run(_answer, settings_of(ctx), query)
    if drawing:
        require_recorded(any(week.share for each in answer for week in each.weeks))
        write_picture(trend_picture(answer, place, notes=notes), kind, out)
        return
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(trend_answer(answer)) + b"\n")
        elif kind == "csv":
            write_csv(file, trends_sheet(trend_answer(answer)))
        else:
            with console_on(file) as console:
                for of_world in by_world(answer):
                    _print(console, of_world, place)


async def _answer(settings: Settings, query: TrendQuery) -> tuple[list[Trend], list[Note]]:
    async with reading(settings.store) as reader:
        query = msgspec.structs.replace(query, worlds=await worlds_of(reader, query.worlds))
        return await trends(reader, query), await notes_of(reader, query)


def _print(console: Console, of_world: Sequence[Trend], zone: tzinfo) -> None:
    world_id, weeks = of_world[0].world_id, of_world[0].weeks
    first, last = (from_ms(at).astimezone(zone).date() for at in (weeks[0].start, weeks[-1].end))
    console.print(
        f"[bold]{tables.world_name(world_id)} ({world_id})[/bold], {len(weeks)} weeks from {first} to {last}: "
        f"{100 * recorded_share(weeks):.1f} % recorded"
    )
    table = Table(box=None)
    table.add_column("")
    for name in ("first week", "last week", "peak"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("week by week", no_wrap=True)
    for name in ("a week", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for each in of_world:
        table.add_row(
            faction_label(each.faction_id),
            *(_mean(week) for week in (each.weeks[0], each.weeks[-1])),
            f"{max((week.peak for week in each.weeks if week.peak is not None), default=0):,}",
            sparkline([week.mean for week in each.weeks]),
            "" if each.per_week is None else f"{each.per_week:+.1f}",
            "" if each.low is None or each.high is None else f"{each.low:+.1f} to {each.high:+.1f}",
            each.verdict,
            style=COLOURS.get(each.faction_id, "bold"),
        )
    console.print(table)
    console.print()


def _mean(week: Week) -> str:
    return "—" if week.mean is None else f"{week.mean:,.1f}"
