"""`ps2daemon effect`: whether people log off when alerts end and continents lock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from ps2daemon.analysis import asking
from ps2daemon.analysis.documents import effect_answer, effect_document
from ps2daemon.analysis.effect import Curve, Effect, Found
from ps2daemon.analysis.leaving import BYS, EFFECT_START, Answer, By, EffectQuery, gather
from ps2daemon.analysis.leaving import effect as answer_effect
from ps2daemon.analysis.matching import KINDS
from ps2daemon.analysis.sheets import effect_sheet
from ps2daemon.analysis.telling import GROUPS, KIND_TITLES, count_text
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
from ps2daemon.web.effect_charts import effect_picture

FORMATS: Final = ("table", "csv", "json", *PICTURES)
WIDE: Final = 110
"""From so many columns of a terminal on there is room for all of the table; it takes 106, more where there are millions of people."""
NARROW: Final = {"log off": "log\noff", "otherwise": "other-\nwise", "difference": "differ-\nence"}
"""What stands over columns where there is less; it takes 78."""


@click.command(
    epilog=epilog(
        "ps2daemon effect --world 10",
        "ps2daemon effect --from 2026-01-01 --to 2026-04-01 --by world --tz Europe/Berlin",
        "ps2daemon effect --world Wainwright --from -90d --out effect.png",
        "ps2daemon effect --from -90d --json",
    )
)
@world_option
@window_options(EFFECT_START, "now")
@zone_option
@click.option(
    "--by",
    type=click.Choice(BYS),
    help="Tell the events apart as well: by world, by the name or the length of the alert, or by how it ended.",
)
@format_options(FORMATS)
@out_option
@click.pass_context
def effect(
    ctx: click.Context,
    worlds: tuple[str, ...],
    start: str,
    end: str,
    zone: str,
    by: By | None,
    kind: str,
    out: Path | None,
) -> None:
    """Say whether people log off when alerts end and continents lock.

    Of those online at each event, the share who log off within 5, 15 and 30 minutes, against the share who do so at the same time of the
    same weekday in the four weeks before and after, when nothing ended. Events that can't be compared are left out, and counted.
    Pictures (png, svg, pdf) need the `charts` extra.
    """
    drawing = wants_picture(kind, out)
    now = SystemClock().now()
    place = asking.parse_zone(zone)
    first, behind = closed_window(start, end, now, place)
    query = EffectQuery(
        start=first,
        end=behind,
        worlds=asking.parse_worlds(worlds),
        zone=place,
        by=by,
        part_curves=kind not in ("json", "csv"),
    )
    query, answer = trio.run(_answer, settings_of(ctx), query)
    if drawing:
        if not answer.whole.curves:
            raise UsageError(
                "there is nothing to draw, since no event of this window can be compared: choose an earlier --from;"
                " without --out the command says what was left out and why"
            )
        write_picture(effect_picture(query, answer), kind, out)
        return
    with output(out) as file:
        if kind == "json":
            file.write(msgspec.json.encode(effect_answer(answer)) + b"\n")
        elif kind == "csv":
            write_csv(file, effect_sheet(effect_document(answer)))
        else:
            _print(file, answer)


async def _answer(settings: Settings, query: EffectQuery) -> tuple[EffectQuery, Answer]:
    """The query with its worlds, and the answer."""
    async with reading(settings.store) as reader:
        query = msgspec.structs.replace(query, worlds=await worlds_of(reader, query.worlds))
        return query, answer_effect(query, await gather(reader, query))


def _print(file: IO[bytes], answer: Answer) -> None:
    with console_on(file) as console:
        for name, found in (("", answer.whole), *answer.parts.items()):
            if name:
                console.rule(name, align="left")
            _print_found(console, found)


def _print_found(console: Console, found: Found) -> None:
    curves = {curve.event: curve for curve in found.curves}
    for kind in KINDS:
        rows = [row for row in found.effects if row.event == kind and row.n]
        console.print(f"[bold]{KIND_TITLES[kind]}[/bold]: {count_text(found.matched.left_out(kind))}")
        if rows:
            console.print(_table(rows, console.width))
        if kind in curves:
            _print_curve(console, curves[kind])
        console.print()


def _table(rows: Sequence[Effect], width: int) -> Table:
    """A row a group and span, for a terminal of so many columns; below `WIDE` without the people who were online."""
    wide = width >= WIDE
    table = Table(box=None, padding=(0, 1) if wide else (0, 1, 0, 0))
    for name in ("who", "within"):
        table.add_column(name, no_wrap=True)
    for name in ("events", "people", "log off", "otherwise", "difference", "95 % interval"):
        if wide or name != "people":
            table.add_column(name if wide else NARROW.get(name, name), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row, first in zip(rows, _firsts(rows), strict=True):
        interval = "" if row.low is None or row.high is None else f"{_points(row.low)} to {_points(row.high)}"
        table.add_row(
            GROUPS[row.group] if first else "",
            f"{row.minutes} min",
            f"{row.n:,}",
            *([f"{row.people:,}"] if wide else []),
            _percent(row.share),
            _percent(row.control_share),
            "" if row.difference is None else _points(row.difference),
            interval,
            row.verdict if wide else row.verdict.removesuffix(" found"),
            style="bold" if row.verdict in ("more", "fewer") else "",
        )
    return table


def _firsts(rows: Sequence[Effect]) -> Iterator[bool]:
    before = None
    for row in rows:
        yield row.group != before
        before = row.group


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    """Percentage points."""
    return f"{100 * difference:+.1f}"


def _print_curve(console: Console, curve: Curve) -> None:
    low, high = min(*curve.events, *curve.controls), max(*curve.events, *curve.controls)
    console.print("people from 30 minutes before to 60 after, as a share of those at the event:")
    for name, values in (("events", curve.events), ("otherwise", curve.controls)):
        line = sparkline(values[:: 2 if console.width >= WIDE else 3], low, high)
        console.print(f"  {name:<9}  {line}  {100 * values[0]:.0f} % → 100 % → {100 * values[-1]:.0f} %")
