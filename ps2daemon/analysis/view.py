"""All that a chart of one world shows: the lines, what is laid under them, what was not recorded, alerts, locks and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.analysis.overlay import Comparison, Earlier, Period, Trend, compare, overlay, trends
from ps2daemon.analysis.population import (
    FACTIONS,
    PopulationQuery,
    Series,
    covered_share,
    population,
    total,
)
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Reason, Span
from ps2daemon.model.notes import Note
from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.store.base import StoreReader

Lines: TypeAlias = Literal["empires", "total"]

ALL: Final = -1
"""Stands for all empires together where a faction is asked for."""
ARREARS: Final = 3 * MINUTE
"""Coverage is claimed in arrears, a verification at a time; so much before now is no gap yet."""

REASONS: Final[dict[Reason, str]] = {
    "start": "the recorder was not running",
    "connection": "the connection was lost",
    "subscription": "the subscription was lost",
    "world_down": "the server was down",
    "world_silent": "the server sent nothing",
    "disk_full": "the disk was full",
    "pruned": "what was recorded before was pruned",
}
NOTHING_BEFORE: Final = "nothing was recorded before"
NOTHING_LATER: Final = "the store has nothing later yet, though it may wait in the queue"
"""What a worker that is stopped or behind has not applied looks the same as what was never recorded."""
NEVER: Final = "it has never been recorded"


class Unrecorded(msgspec.Struct, frozen=True):
    """`[start, end)` that nothing vouches for, and why, as a person says it.

    Attributes:
        pending: it lies after all that is stored, so it may be recorded all the same and only not in the store yet.
    """

    start: Ms
    end: Ms
    reason: str
    pending: bool = False


class Line(msgspec.Struct, frozen=True):
    """One line of a chart.

    Attributes:
        faction_id: or `ALL`.
        back: 0 for the window itself, n for the n-th period before it.
    """

    faction_id: int
    back: int
    online: tuple[int | None, ...]


class View(msgspec.Struct, frozen=True):
    """One world over one window.

    Attributes:
        by: what is laid over the window, or None.
        lines: those of the window first.
        recorded_until: where the coverage ends, or None without any.
        share: of the window up to now that is covered, 0 to 1.
    """

    world_id: int
    start: Ms
    end: Ms
    step: Ms
    zone: tzinfo
    now: Ms
    by: Period | None
    times: tuple[Ms, ...]
    lines: tuple[Line, ...]
    unrecorded: tuple[Unrecorded, ...]
    alerts: tuple[Alert, ...]
    locks: tuple[Lock, ...]
    notes: tuple[Note, ...]
    comparisons: tuple[Comparison, ...]
    trends: tuple[Trend, ...]
    recorded_until: Ms | None
    share: float


def faction_label(faction_id: int) -> str:
    """`VS`, …, `unknown`, or `all` for `ALL`."""
    if faction_id == ALL:
        return "all"
    if faction_id == tables.UNKNOWN_FACTION:
        return "unknown"
    return tables.factions()[faction_id].tag


async def world_view(
    reader: StoreReader,
    query: PopulationQuery,
    *,
    lines: Lines,
    by: Period | None,
    back: int,
    zone: tzinfo,
    now: Ms,
) -> View:
    """Reads the view of the one world that `query` names.

    Raises:
        UsageError: see `population` and `overlay`.
        StoreError: the store refuses.
    """
    (world_id,) = query.worlds
    if lines == "total" and not query.factions:
        query = msgspec.structs.replace(query, factions=FACTIONS)
    earlier: tuple[Earlier, ...] = ()
    if by is None:
        current = await population(reader, query)
    else:
        laid = await overlay(reader, query, by, back, zone)
        current, earlier = laid.current, laid.earlier
    series = current.series
    if lines == "total":
        series = _together(series)
        earlier = tuple(msgspec.structs.replace(each, series=_together(each.series)) for each in earlier)
    seen_until = min(query.end, max(query.start + 1, now))
    stored = await reader.spans([world_id])
    until = max((span.end for span in stored), default=None)
    return View(
        world_id=world_id,
        start=query.start,
        end=query.end,
        step=query.step,
        zone=zone,
        now=now,
        by=by,
        times=current.times,
        lines=_lines(series, earlier),
        unrecorded=unrecorded(stored, query.start, min(query.end, now)),
        alerts=tuple(await reader.alerts(query.start, query.end, [world_id])),
        locks=tuple(await reader.locks(query.start, query.end, [world_id])),
        notes=tuple(await reader.notes(query.start, query.end, [world_id])),
        comparisons=tuple(one for each in earlier for one in compare(series, each)),
        trends=trends(series, earlier),
        recorded_until=until,
        share=covered_share(current.coverage[world_id], query.start, seen_until),
    )


def _together(series: Sequence[Series]) -> tuple[Series, ...]:
    return (Series(series[0].world_id, ALL, total(series)),)


def _lines(series: Sequence[Series], earlier: Sequence[Earlier]) -> tuple[Line, ...]:
    groups = [(0, series), *((each.back, each.series) for each in earlier)]
    return tuple(Line(one.faction_id, back, one.online) for back, group in groups for one in group)


def unrecorded(spans: Iterable[Span], start: Ms, end: Ms) -> tuple[Unrecorded, ...]:
    """What lies in `[start, end)` and in none of the spans.

    Args:
        spans: all that are stored of one world, in any order; they may overlap.
    """
    found = []
    at = start
    telling = (span for span in spans if span.end > span.start or span.after == "pruned")
    ordered = sorted(telling, key=lambda span: span.start)
    for span in ordered:
        if at >= end:
            break
        if span.start > at:
            first = span is ordered[0] and span.after != "pruned"
            reason = NOTHING_BEFORE if first else REASONS[span.after]
            found.append(Unrecorded(at, min(span.start, end), reason))
        at = max(at, span.end)
    if not ordered and at < end:
        found.append(Unrecorded(at, end, NEVER))
    elif end - at > (ARREARS if at > start else 0):
        found.append(Unrecorded(at, end, NOTHING_LATER, pending=True))
    return tuple(found)


class Now(msgspec.Struct, frozen=True):
    """Who was online at the latest instant that is covered.

    Attributes:
        at: that instant, or None where nothing was ever recorded.
        online: people by faction.
    """

    world_id: int
    at: Ms | None
    online: dict[int, int]


async def latest(reader: StoreReader, world_id: int) -> Now:
    """The latest that is known of a world."""
    at = max((span.end for span in await reader.spans([world_id]) if span.end > span.start), default=None)
    if at is None:
        return Now(world_id, None, {})
    instant = at - 1
    query = PopulationQuery(start=instant, end=at, step=MINUTE, worlds=(world_id,))
    answer = await population(reader, query)
    return Now(
        world_id,
        instant,
        {each.faction_id: each.online[0] or 0 for each in answer.series},
    )
