"""What a store holds and what pruning would drop, as lines for people and as JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.coverage import WorldCoverage, coverage_by_world
from ps2daemon.model.records import Ms
from ps2daemon.model.times import iso, month_of, next_month
from ps2daemon.store.base import Month, StoreDescription, StoreSource
from ps2daemon.store.pruning import Plan

_UNITS: Final = ("kB", "MB", "GB", "TB")


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself and of what it holds."""

    description: StoreDescription
    counts: Mapping[str, int]
    months: Sequence[Month]
    coverage: Mapping[int, WorldCoverage]
    records_until: Ms | None
    pruned_until: Ms | None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a store is fit for use."""

    description: StoreDescription
    copying: str | None
    unsettled: int
    records_until: Ms | None
    pruned_until: Ms | None

    @property
    def usable(self) -> bool:
        """Whether a worker can write there, and readers find all that was recorded."""
        return self.description.unwritable is None and self.copying is None


async def contents_of(store: StoreSource) -> Contents:
    """Asks a store for all of it."""
    return Contents(
        description=await store.describe(),
        counts=await store.counts(),
        months=await store.months(),
        coverage=coverage_by_world(await store.spans()),
        records_until=await store.records_until(),
        pruned_until=await store.pruned_until(),
    )


async def state_of(store: StoreSource) -> State:
    """Asks a store for what `State` has."""
    return State(
        description=await store.describe(),
        copying=await store.copying(),
        unsettled=len(await store.unsettled()),
        records_until=await store.records_until(),
        pruned_until=await store.pruned_until(),
    )


def state_facts(state: State) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "usable": state.usable,
        **msgspec.to_builtins(state.description),
        "copying": state.copying,
        "unsettled": state.unsettled,
        **_reach(state),
    }


def state_lines(state: State) -> list[str]:
    """One line for each finding."""
    found = state.description
    rows = [
        *_place(found),
        ("schema", f"version {found.schema_version}, which is this program's"),
        ("writable", "yes" if found.unwritable is None else f"NO: {found.unwritable}"),
        _records(state.records_until),
    ]
    if state.pruned_until is not None:
        rows.append(("pruned", f"what was recorded before {iso(state.pruned_until)} was dropped"))
    if state.copying is not None:
        rows.append(
            (
                "copy",
                f"UNFINISHED: this is a part of a copy of {state.copying}; run the same `ps2daemon store copy` again, which goes on "
                "from here",
            )
        )
    if state.unsettled:
        rows.append(
            (
                "to settle",
                f"gaps changed in {state.unsettled:,} spans of time; the worker looks at them when it runs",
            )
        )
    return _labelled(rows)


def contents_facts(contents: Contents) -> dict[str, Any]:
    """As JSON has it."""
    facts = msgspec.to_builtins(contents.description)
    del facts["unwritable"]
    return {
        **facts,
        **_reach(contents),
        "counts": contents.counts,
        "worlds": [
            {"world_id": world, "from": iso(start), "to": iso(end), "recorded": round(share, 4)}
            for world, start, end, share in _worlds(contents.coverage)
        ],
        "months": [
            {
                "month": iso(month.start)[:7],
                "sessions": month.sessions,
                "alerts": month.alerts,
                "locks": month.locks,
                "recorded": None if share is None else round(share, 4),
            }
            for month, share in _months(contents)
        ],
    }


def contents_lines(contents: Contents) -> list[str]:
    """What is stored; by world how much of the time was recorded; and by month."""
    counts = contents.counts
    rows = [
        *_place(contents.description),
        ("characters", f"{counts['characters']:,}, {counts['unnamed']:,} of them without a name yet"),
        ("sessions", f"{counts['sessions']:,}, {counts['open']:,} of them open"),
        ("alerts", f"{counts['alerts']:,}"),
        ("locks", f"{counts['locks']:,}"),
        ("notes", f"{counts['notes']:,}"),
        ("coverage", f"{counts['spans']:,} spans"),
        _records(contents.records_until),
    ]
    if contents.pruned_until is not None:
        rows.append(("pruned", f"what was recorded before {iso(contents.pruned_until)} was dropped"))
    lines = _labelled(rows)
    worlds = [
        (f"{tables.world_name(world)} ({world})", iso(start), iso(end), f"{share:.1%}")
        for world, start, end, share in _worlds(contents.coverage)
    ]
    if worlds:
        lines += ["", *_columns(("world", "from", "until", "recorded"), worlds)]
    months = [
        (*_month_row(month), "-" if share is None else f"{share:.1%}") for month, share in _months(contents)
    ]
    if months:
        lines += ["", *_columns(("month (UTC)", "sessions", "alerts", "locks", "recorded"), months)]
    return lines


def plan_lines(plan: Plan, description: StoreDescription) -> list[str]:
    """What pruning would drop, and what it would leave."""
    day, until = iso(plan.before)[:10], iso(plan.until)
    together = ("together", *(f"{number:,}" for number in (plan.sessions, plan.alerts, plan.locks)))
    rows = [*(_month_row(month) for month in plan.months), *([together] if len(plan.months) > 1 else [])]
    lines = [
        f"From {name_of(description)}, this drops what began before {day} (UTC):",
        "",
        *_columns(("month (UTC)", "sessions", "alerts", "locks"), rows),
        "",
    ]
    if plan.characters:
        lines.append(f"Characters without a session since then go, with their names: {plan.characters:,}.")
    if plan.shortened:
        lines.append(f"Characters that stay and lose their older sessions: {plan.shortened:,}.")
    lines.append(f"No time before {until} will count as recorded any more.")
    if plan.kept:
        first, last = (iso(month.start)[:7] for month in (plan.kept[0], plan.kept[-1]))
        span = first if first == last else f"{first} to {last}"
        kept = sum(month.sessions for month in plan.kept)
        lines.append(
            f"{_many(len(plan.kept), 'month')} {'stays' if len(plan.kept) == 1 else 'stay'}: {span}, with {kept:,} sessions."
        )
    else:
        lines.append("No month stays: nothing was recorded since then.")
    return lines


def name_of(description: StoreDescription) -> str:
    """A store for a person."""
    return (
        f"the store {description.place}"
        if description.kind == "sqlite"
        else f"the store at {description.place}"
    )


def listed(counts: Mapping[str, int]) -> str:
    """What `StoreReader.counts` says, each document once."""
    parts = [f"{counts[name]:,} {name}" for name in ("characters", "sessions", "alerts", "locks")]
    parts.append(f"{counts['spans']:,} spans of coverage")
    if counts["notes"]:
        parts.append(f"{counts['notes']:,} note{'s' if counts['notes'] > 1 else ''}")
    return ", ".join(parts)


def documents_in(counts: Mapping[str, int]) -> int:
    """How many documents `StoreReader.counts` counts, each once."""
    return sum(counts[name] for name in ("characters", "sessions", "alerts", "locks", "notes", "spans"))


def size(number: int) -> str:
    """`3.4 GB`."""
    if number < 1000:
        return f"{number:,} bytes"
    value, units = number / 1000, iter(_UNITS)
    unit = next(units)
    while round(value, 1) >= 1000 and (larger := next(units, None)) is not None:
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def _reach(known: State | Contents) -> dict[str, str | None]:
    until, pruned = known.records_until, known.pruned_until
    return {
        "records_until": None if until is None else iso(until),
        "pruned_until": None if pruned is None else iso(pruned),
    }


def _place(found: StoreDescription) -> list[tuple[str, str]]:
    free = f", {size(found.free_bytes)} of it empty, which is used again" if found.free_bytes else ""
    return [("store", f"{found.place} ({found.server})"), ("size", f"{size(found.size_bytes)}{free}")]


def _records(until: Ms | None) -> tuple[str, str]:
    return "records", "none yet" if until is None else f"until {iso(until)}"


def _worlds(coverage: Mapping[int, WorldCoverage]) -> list[tuple[int, Ms, Ms, float]]:
    """World, its first and last covered moment, and the share in between that is covered."""
    found = []
    for world, of_world in sorted(coverage.items()):
        spans = of_world.spans
        if spans:
            start, end = spans[0].start, spans[-1].end
            covered = sum(span.end - span.start for span in spans)
            found.append((world, start, end, covered / (end - start)))
    return found


def _months(contents: Contents) -> list[tuple[Month, float | None]]:
    """Every month with any document or coverage, and the share of it that is covered: the mean of the worlds that it has any coverage of.

    The last one is as long as the records reach.
    """
    covered: dict[Ms, Counter[int]] = defaultdict(Counter)
    for world, of_world in contents.coverage.items():
        for start, end in of_world.spans:
            while start < end:
                edge = min(end, next_month(start))
                covered[month_of(start)][world] += edge - start
                start = edge
    known = {month.start: month for month in contents.months}
    found: list[tuple[Month, float | None]] = []
    for first in sorted(known.keys() | covered.keys()):
        end = next_month(first)
        if contents.records_until is not None and first < contents.records_until < end:
            end = contents.records_until
        worlds = covered.get(first)
        share = None if not worlds else min(1.0, worlds.total() / len(worlds) / (end - first))
        found.append((known.get(first, Month(first, 0, 0, 0)), share))
    return found


def _month_row(month: Month) -> tuple[str, ...]:
    return (iso(month.start)[:7], *(f"{number:,}" for number in (month.sessions, month.alerts, month.locks)))


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _labelled(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{label:<12}{text}" for label, text in rows]


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
