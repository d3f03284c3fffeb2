"""`ps2daemon population` and `overlay`: who was online, as a table, a file or a picture; by itself, or against earlier."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import click
import msgspec
import trio

from ps2daemon.analysis import asking
from ps2daemon.analysis.overlay import Overlay, Period
from ps2daemon.analysis.overlay import overlay as ask_overlay
from ps2daemon.analysis.population import Population, PopulationQuery, spans_by_world
from ps2daemon.analysis.population import population as ask_population
from ps2daemon.analysis.series_documents import overlay_answer, population_answer
from ps2daemon.analysis.sheets import overlay_sheet, population_sheet
from ps2daemon.analysis.view import View, world_view
from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import (
    Command,
    check_order,
    empire_option,
    format_options,
    out_option,
    output,
    reading,
    window_options,
    world_option,
    worlds_of,
    zone_option,
)
from ps2daemon.cli.pictures import PICTURES, require_recorded, wants_picture, write_picture
from ps2daemon.cli.tables import print_population, write_csv
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import Ms
from ps2daemon.store.base import StoreReader
from ps2daemon.web.charts import charts

FORMATS: Final = ("table", "csv", "json", *PICTURES)
TABLE_ROWS: Final = 50
"""What `auto` makes of a step for a table; a picture or file gets up to `asking.GOOD_BUCKETS` instants."""


class Request(msgspec.Struct, frozen=True):
    """What was asked, read."""

    worlds: tuple[int, ...]
    factions: tuple[int, ...]
    window: asking.Window
    zone: tzinfo
    by: Period | None
    back: int
    now: Ms

    async def query(self, reader: StoreReader) -> PopulationQuery:
        worlds = await worlds_of(reader, self.worlds)
        return PopulationQuery(
            start=self.window.start,
            end=self.window.end,
            step=self.window.step,
            worlds=worlds,
            factions=self.factions,
        )


class Asked(NamedTuple):
    """What was asked, as a person wrote it."""

    worlds: tuple[str, ...]
    empires: tuple[str, ...]
    start: str
    end: str
    step: str
    zone: str
    by: Period | None
    back: int

    def read(self, now: Ms, buckets: int) -> Request:
        """The same, read.

        Raises:
            UsageError: it can't be.
        """
        zone = asking.parse_zone(self.zone)
        window = asking.parse_window(self.start, self.end, self.step, now=now, zone=zone, buckets=buckets)
        check_order(window.start, window.end)
        worlds, empires = asking.parse_worlds(self.worlds), asking.parse_empires(self.empires)
        return Request(worlds, empires, window, zone, self.by, self.back, now)


def population_options(by: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """The options of both commands, as the arguments `asked`, `kind` and `out`; `by` is the one in which they differ."""
    step = click.option(
        "--step",
        default="auto",
        show_default=True,
        metavar="SPAN",
        help="From instant to instant, such as 5m or 1h.",
    )
    back = click.option(
        "--back", type=int, default=1, show_default=True, metavar="N", help="How many days or weeks back."
    )
    window = window_options(asking.DEFAULT_START, "now")
    options = (
        world_option,
        empire_option,
        window,
        step,
        zone_option,
        by,
        back,
        format_options(FORMATS),
        out_option,
    )

    def add(command: Command) -> Command:
        def gathered(*, kind: str, out: Path | None, **asked: Any) -> Any:
            return command(Asked(**asked), kind, out)

        wrapped = cast(Command, wraps(command)(gathered))
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return add


@click.command(
    epilog=epilog(
        "ps2daemon population --world 10",
        "ps2daemon population --world 10 --world 1 --from 2026-03-01 --to 2026-03-08 --step 5m --json",
        "ps2daemon population --world Wainwright --from -7d --overlay week --back 2 --tz Europe/Berlin --out weeks.png",
    )
)
@population_options(
    click.option(
        "--overlay",
        "by",
        type=click.Choice(["day", "week"]),
        help="Lay the days or weeks before over the window, by the clock on the wall of --tz.",
    )
)
@click.pass_context
def population(ctx: click.Context, asked: Asked, kind: str, out: Path | None) -> None:
    """Say how many people of each empire were on each world, at each instant of a window.

    An instant that was not recorded has no number; it is never zero. Pictures (png, svg, pdf) need the `charts` extra.
    """
    _respond(ctx, asked, kind, out)


@click.command(
    epilog=epilog(
        "ps2daemon overlay --world 10",
        "ps2daemon overlay --world 10 --from -7d --by week --back 4 --tz Europe/Berlin --out weeks.png",
        "ps2daemon overlay --world 10 --from 2026-03-01 --to 2026-03-08 --by week --json",
    )
)
@population_options(
    click.option(
        "--by",
        type=click.Choice(["day", "week"]),
        default="day",
        show_default=True,
        help="What to lay over the window, by the clock on the wall of --tz.",
    )
)
@click.pass_context
def overlay(ctx: click.Context, asked: Asked, kind: str, out: Path | None) -> None:
    """Lay the days or weeks before over a window: what changed, and by how much.

    The same as `population --overlay`. Only instants that were recorded in both are compared. Pictures (png, svg, pdf) need the
    `charts` extra.
    """
    _respond(ctx, asked, kind, out)


def _respond(ctx: click.Context, asked: Asked, kind: str, out: Path | None) -> None:
    drawing = wants_picture(kind, out)
    now = SystemClock().now()
    request = asked.read(now, TABLE_ROWS if kind == "table" else asking.GOOD_BUCKETS)
    settings = settings_of(ctx)
    if drawing:
        views = trio.run(_views, settings, request)
        require_recorded(any(view.share for view in views))
        write_picture(charts(views), kind, out)
        return
    answer, spans = trio.run(_answer, settings, request)
    with output(out) as file:
        if kind == "json":
            document = population_answer(answer) if isinstance(answer, Population) else overlay_answer(answer)
            file.write(msgspec.json.encode(document) + b"\n")
        elif kind == "csv":
            sheet = (
                population_sheet(population_answer(answer))
                if isinstance(answer, Population)
                else overlay_sheet(overlay_answer(answer))
            )
            write_csv(file, sheet)
        else:
            print_population(file, answer, spans, request.zone, now)


async def _answer(
    settings: Settings, request: Request
) -> tuple[Population | Overlay, dict[int, tuple[Span, ...]]]:
    """The answer, and all spans of each of its worlds."""
    async with reading(settings.store) as reader:
        query = await request.query(reader)
        answer: Population | Overlay
        if request.by is None:
            answer = await ask_population(reader, query)
        else:
            answer = await ask_overlay(reader, query, request.by, request.back, request.zone)
        return answer, spans_by_world(await reader.spans(query.worlds), query.worlds)


async def _views(settings: Settings, request: Request) -> list[View]:
    async with reading(settings.store) as reader:
        query = await request.query(reader)
        query.check()
        return [
            await world_view(
                reader,
                msgspec.structs.replace(query, worlds=(world,)),
                lines="empires",
                by=request.by,
                back=request.back,
                zone=request.zone,
                now=request.now,
            )
            for world in query.worlds
        ]
