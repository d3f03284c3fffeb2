"""Populations as tables for people and as CSV."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from typing import IO, Final

from rich.console import Console
from rich.table import Table

from ps2daemon.analysis.documents import rounded
from ps2daemon.analysis.overlay import Overlay
from ps2daemon.analysis.population import Population, total
from ps2daemon.analysis.sheets import Sheet, write_sheet
from ps2daemon.analysis.view import ARREARS, Unrecorded, faction_label, unrecorded
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import Ms
from ps2daemon.model.times import clock_text

LINE: Final = 60
"""Instants that a line of bars has room for."""
LABEL: Final = 15
PLAIN_WIDTH: Final = 160
"""Columns where stdout is no terminal."""
_BARS: Final = "▁▂▃▄▅▆▇█"
NOTHING: Final = "·"
"""In a line of bars, where there is no number."""
COLOURS: Final = {1: "magenta", 2: "bright_blue", 3: "red", 4: "bright_black", 0: "yellow"}


@contextmanager
def text_on(file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """Text as it is written to any of the files; the file stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.flush()
        text.detach()


def write_csv(file: IO[bytes], sheet: Sheet) -> None:
    """CSV with a line of names."""
    with text_on(file) as text:
        write_sheet(text, sheet)


@contextmanager
def console_on(file: IO[bytes]) -> Iterator[Console]:
    """A console that writes there; with colours if that is a terminal."""
    terminal = file is sys.stdout.buffer and sys.stdout.isatty()
    with text_on(file) as text:
        yield Console(
            file=text, force_terminal=terminal, width=None if terminal else PLAIN_WIDTH, highlight=False
        )


def sparkline(values: Sequence[float | None], low: float | None = None, high: float | None = None) -> str:
    """One character a value, the higher the fuller; a dot where there is none.

    Args:
        low, high: what is empty and what is full; otherwise the lowest and the highest value.
    """
    known = [value for value in values if value is not None]
    bottom = min(known, default=0.0) if low is None else low
    top = max(known, default=0.0) if high is None else high
    steps = len(_BARS) - 1
    scale = steps / (top - bottom) if top > bottom else 0.0
    return "".join(
        NOTHING if value is None else _BARS[round(min(max(value - bottom, 0.0) * scale, steps))]
        for value in values
    )


def print_population(
    file: IO[bytes],
    answer: Population | Overlay,
    spans: Mapping[int, Sequence[Span]],
    zone: tzinfo,
    now: Ms,
) -> None:
    """A table for each world, in local times of `zone`; on a terminal with colours.

    Instants in a row that were not recorded are one line that says why.

    Args:
        spans: all that are stored of each world.
    """
    current = answer if isinstance(answer, Population) else answer.current
    with console_on(file) as console:
        for world_id in dict.fromkeys(series.world_id for series in current.series):
            if not spans[world_id]:
                console.print(
                    f"{tables.world_name(world_id)} has never been recorded: the store has nothing of it\n"
                )
                continue
            console.print(_world_table(current, world_id, spans[world_id], zone, now))
            for label, line in _lines(answer, world_id):
                console.print(f"  {label:<{LABEL}}  {line}")
            if isinstance(answer, Overlay):
                console.print()
                console.print(_comparison_table(answer, world_id))
            console.print()


def _lines(answer: Population | Overlay, world_id: int) -> Iterator[tuple[str, str]]:
    """The window as one line of bars, and each period before it as one of the same height; where they fit on a terminal."""
    current = answer if isinstance(answer, Population) else answer.current
    if len(current.times) > LINE:
        return
    windows = [("together", total([each for each in current.series if each.world_id == world_id]))]
    if isinstance(answer, Overlay):
        for earlier in answer.earlier:
            name = f"{earlier.back} {answer.by}{'s' if earlier.back > 1 else ''} earlier"
            windows.append((name, total([each for each in earlier.series if each.world_id == world_id])))
    top = max((people for _, window in windows for people in window if people is not None), default=0)
    for name, window in windows:
        yield (
            name,
            f"{sparkline(window, 0, top)}  at most {max((p for p in window if p is not None), default=0):,}",
        )


def _world_table(answer: Population, world_id: int, spans: Sequence[Span], zone: tzinfo, now: Ms) -> Table:
    series = [each for each in answer.series if each.world_id == world_id]
    table = Table(
        title=f"{tables.world_name(world_id)} ({world_id}), people online", title_justify="left", box=None
    )
    table.add_column(str(zone), no_wrap=True)
    for each in series:
        table.add_column(
            faction_label(each.faction_id), justify="right", style=COLOURS.get(each.faction_id, "")
        )
    table.add_column("together", justify="right", style="bold")
    table.add_column("", style="yellow")
    together = total(series)
    gaps = unrecorded(spans, answer.times[0], answer.times[-1] + answer.step)
    silent_until: Ms | None = None
    for index, at in enumerate(answer.times):
        if together[index] is None:
            gap = next((gap for gap in gaps if gap.start <= at < gap.end), None)
            if silent_until is not None and at < silent_until:
                continue
            silent_until = None if gap is None else gap.end
            why = "" if gap is None else _why(gap, at, zone, now)
            table.add_row(clock_text(at, zone), *("—" for _ in series), "—", why)
        else:
            silent_until = None
            table.add_row(
                clock_text(at, zone),
                *(f"{each.online[index]:,}" for each in series),
                f"{together[index]:,}",
                "",
            )
    return table


def _why(gap: Unrecorded, at: Ms, zone: tzinfo, now: Ms) -> str:
    if at >= now - ARREARS:
        return "not in the store yet"
    return gap.reason if gap.pending else f"not recorded until {clock_text(gap.end, zone)}: {gap.reason}"


def _comparison_table(answer: Overlay, world_id: int) -> Table:
    table = Table(title="On average, against earlier", title_justify="left", box=None)
    table.add_column("")
    for name in ("against", "now", "then", "difference", "ratio", "instants"):
        table.add_column(name, justify="right")
    for row in rounded([each for each in answer.comparisons if each.world_id == world_id]):
        numbers = [
            "—" if row[name] is None else f"{row[name]:{shape}}"
            for name, shape in (
                ("mean", ".1f"),
                ("earlier_mean", ".1f"),
                ("difference", "+.1f"),
                ("ratio", ".2f"),
            )
        ]
        against = f"{row['back']} {answer.by}{'s' if row['back'] > 1 else ''} earlier"
        table.add_row(faction_label(row["faction_id"]), against, *numbers, f"{row['buckets']:,}")
    for trend in answer.trends:
        if trend.world_id == world_id and trend.per_period is not None:
            table.add_row(
                faction_label(trend.faction_id),
                "trend",
                "",
                "",
                f"{trend.per_period:+.1f}",
                "",
                f"a {answer.by}",
            )
    return table
