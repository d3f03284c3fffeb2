"""`ps2daemon trend`: whether the population rises or falls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import click
import msgspec
import trio
from rich.console import Console

from ps2daemon.analysis import asking
from ps2daemon.analysis.documents import trend_answer
from ps2daemon.analysis.rhythm import MAX_COMPARED, Glance, Shown, glances
from ps2daemon.analysis.rhythm_documents import days_answer, hours_answer
from ps2daemon.analysis.sheets import Sheet, days_sheet, hours_sheet, trends_sheet
from ps2daemon.analysis.trend import MAX_WEEKS, WEEKS, TrendQuery, notes_of, trends
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
from ps2daemon.cli.tables import console_on, write_csv
from ps2daemon.cli.trend_tables import print_days, print_hours, print_weeks
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.model.notes import Note
from ps2daemon.web.trend_charts import trend_picture

By: TypeAlias = Literal["week", "day", "hour"]
FORMATS: Final = ("table", "csv", "json", *PICTURES)


@click.command(
    epilog=epilog(
        "ps2daemon trend --world 10",
        "ps2daemon trend --weeks 26 --to 2026-04-01 --tz Europe/Berlin",
        "ps2daemon trend --world Wainwright --weeks 26 --out weeks.png",
        "ps2daemon trend --by day --weeks 52 --out days.csv",
        "ps2daemon trend --by hour --json",
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
    help=f"How many weeks, 1 to {MAX_WEEKS}; by hour, 1 to {MAX_COMPARED}.",
)
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="week",
    show_default=True,
    help="What tables, CSV and JSON have a row or a number of.",
)
@click.option(
    "--days",
    type=click.Choice(get_args(Shown)),
    default="mean",
    show_default=True,
    help="What the calendar of a picture shows of each day.",
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
    by: By,
    days: Shown,
    end: str,
    zone: str,
    kind: str,
    out: Path | None,
) -> None:
    """Say whether the people of each empire become more or fewer, week by week.

    The slope is robust, which one odd week does not move, and comes with an interval; weeks of which less than half was recorded do not count.

    With `--by day`, the mean and the peak of each day; with `--by hour`, the week hour by hour, against as many weeks before: of all empires
    together, or of those that are named.

    Pictures (png, svg, pdf) show all of it, and need the `charts` extra.
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
    settings = settings_of(ctx)
    if drawing:
        shown, notes = trio.run(_shown, settings, query)
        require_recorded(any(week.share for each in shown for one in each.trends for week in one.weeks))
        write_picture(trend_picture(shown, place, notes=notes, days=days), kind, out)
        return
    told = trio.run(_told, settings, query, by)
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(told.document) + b"\n")
        elif kind == "csv":
            write_csv(file, told.sheet)
        else:
            with console_on(file) as console:
                told.print(console)


class Told(NamedTuple):
    """The numbers in each of their forms."""

    document: object
    sheet: Sheet
    print: Callable[[Console], None]


async def _told(settings: Settings, query: TrendQuery, by: By) -> Told:
    async with reading(settings.store) as reader:
        query = msgspec.structs.replace(query, worlds=await worlds_of(reader, query.worlds))
        if by == "week":
            found = await trends(reader, query)
            weeks = trend_answer(found)
            return Told(weeks, trends_sheet(weeks), lambda console: print_weeks(console, found, query.zone))
        rhythms = [each.rhythm for each in await glances(reader, query, before=by == "hour")]
        if by == "day":
            days = days_answer(rhythms)
            return Told(days, days_sheet(days), lambda console: print_days(console, rhythms, query.zone))
        hours = hours_answer(rhythms)
        return Told(hours, hours_sheet(hours), lambda console: print_hours(console, rhythms, query.zone))


async def _shown(settings: Settings, query: TrendQuery) -> tuple[list[Glance], list[Note]]:
    async with reading(settings.store) as reader:
        query = msgspec.structs.replace(query, worlds=await worlds_of(reader, query.worlds))
        return await glances(reader, query, before=query.weeks <= MAX_COMPARED), await notes_of(reader, query)
