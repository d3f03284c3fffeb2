"""The tables of `ps2daemon trend`: of the weeks, the days, and the week hour by hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from rich.console import Console
from rich.table import Table

from ps2daemon.analysis.rhythm import Hour, Rhythm
from ps2daemon.analysis.trend import Trend, by_world, recorded_share
from ps2daemon.analysis.view import faction_label
from ps2daemon.cli.tables import COLOURS, sparkline
from ps2daemon.model import tables
from ps2daemon.model.times import from_ms
from ps2daemon.web.cell_charts import WEEKDAYS


def print_weeks(console: Console, found: Sequence[Trend], zone: tzinfo) -> None:
    """A table a world, a row a series."""
    for of_world in by_world(found):
        _print_weeks(console, of_world, zone)


def _print_weeks(console: Console, of_world: Sequence[Trend], zone: tzinfo) -> None:
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
            *(people_text(week.mean) for week in (each.weeks[0], each.weeks[-1])),
            f"{max((week.peak for week in each.weeks if week.peak is not None), default=0):,}",
            sparkline([week.mean for week in each.weeks]),
            "" if each.per_week is None else f"{each.per_week:+.1f}",
            "" if each.low is None or each.high is None else f"{each.low:+.1f} to {each.high:+.1f}",
            each.verdict,
            style=COLOURS.get(each.faction_id, "bold"),
        )
    console.print(table)
    console.print()


def print_days(console: Console, found: Sequence[Rhythm], zone: tzinfo) -> None:
    """A table a world, a row a day."""
    for rhythm in found:
        _print_days(console, rhythm, zone)


def _print_days(console: Console, found: Rhythm, zone: tzinfo) -> None:
    console.print(f"[bold]{tables.world_name(found.world_id)} ({found.world_id})[/bold], day by day, {zone}")
    table = Table(box=None)
    table.add_column("")
    for name in ("mean", "peak", "recorded"):
        table.add_column(name, justify="right", no_wrap=True)
    for day in found.days:
        table.add_row(
            f"{WEEKDAYS[day.date.weekday()]} {day.date}",
            people_text(day.mean),
            "—" if day.peak is None else f"{day.peak:,}",
            f"{100 * day.share:.1f} %",
        )
    console.print(table)
    console.print()


def print_hours(console: Console, found: Sequence[Rhythm], zone: tzinfo) -> None:
    """A table a world, a row an hour: people on average, and how many more or fewer than in the weeks before."""
    for rhythm in found:
        _print_hours(console, rhythm, zone)


def _print_hours(console: Console, found: Rhythm, zone: tzinfo) -> None:
    weeks = f"{found.weeks} week{'' if found.weeks == 1 else 's'}"
    console.print(
        f"[bold]{tables.world_name(found.world_id)} ({found.world_id})[/bold], the mean of {weeks}, and against as many before, {zone}"
    )
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in WEEKDAYS:
        table.add_column(name, justify="right", no_wrap=True)
    for hour in range(24):
        of_hour = [each for each in found.hours if each.hour == hour]
        table.add_row(f"{hour:02}:00", *map(_hour, of_hour))
    console.print(table)
    console.print()


def _hour(hour: Hour) -> str:
    difference = "" if hour.difference is None else f" {round(hour.difference):+d}"
    return "—" if hour.mean is None else f"{hour.mean:,.0f}{difference}"


def people_text(people: float | None) -> str:
    """On average, as a table has it."""
    return "—" if people is None else f"{people:,.1f}"
