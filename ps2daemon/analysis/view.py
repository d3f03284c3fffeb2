"""All that a chart of one world shows: the lines, what is laid under them, what was not recorded, alerts, locks and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from itertools import groupby
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from ps2daemon.analysis.mixing import Nso, Unit, mixed
from ps2daemon.analysis.overlay import Comparison, Curve, Overlay, Period, Trend, compare, overlay, trends
from ps2daemon.analysis.population import (
    FACTIONS,
    PopulationQuery,
    Series,
    covered_share,
    population,
    total,
)
from ps2daemon.errors import UsageError
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
    "clock": "the recorder's clock was wrong, or set",
    "disk_full": "the disk was full or at fault",
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
        online: people, or percent of all (see `View.unit`).
    """

    faction_id: int
    back: int
    online: tuple[float | None, ...]


class View(msgspec.Struct, frozen=True):
    """One world over one window.

    Attributes:
        by: what is laid over the window, or None.
        lines: those of the window first.
        unit, nso: what the lines are of (see `mixing`), and with them comparisons and trends.
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
    unit: Unit
    nso: Nso
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


class Terms(NamedTuple):
    """How people become the lines of a chart, or the series of an answer.

    Attributes:
        unit, nso: of lines by empire; a line of all together is of people.
        shown: the empires that were asked for; empty for all.
    """

    lines: Lines
    unit: Unit = "people"
    nso: Nso = "apart"
    shown: tuple[int, ...] = ()

    @property
    def mixing(self) -> tuple[Unit, Nso]:
        """What `mixed` is to make of lines by empire, and of one of all: nothing."""
        return ("people", "apart") if self.lines == "total" else (self.unit, self.nso)

    @property
    def plain(self) -> bool:
        """The series are taken as they are."""
        return self.lines == "empires" and self.mixing == ("people", "apart")

    @property
    def needed(self) -> tuple[int, ...]:
        """The empires to ask the store for: those of which a share is one, and those that are folded, are needed too."""
        if self.lines == "total":
            return self.shown or FACTIONS
        return self.shown if self.plain or not self.shown else FACTIONS

    def curves(self, series: Sequence[Series]) -> tuple[Curve, ...]:
        """The lines of the series of one world or several, world by world.

        Raises:
            UsageError: no line is left.
        """
        if self.plain:
            return tuple(series)
        worlds = [tuple(of_world) for _, of_world in groupby(series, lambda each: each.world_id)]
        if self.lines == "total":
            return tuple(Series(each[0].world_id, ALL, total(each)) for each in worlds)
        found = tuple(line for each in worlds for line in mixed(each, *self.mixing, self.shown or FACTIONS))
        if series and not found:
            raise UsageError(
                "NSO are folded into the other empires, and no other is asked for: choose one of those"
            )
        return found

    def laid(self, answer: Overlay) -> Laid:
        """The lines of a window and of those before it, and how they compare."""
        now = self.curves(answer.current.series)
        if self.plain:
            earlier = {each.back: tuple[Curve, ...](each.series) for each in answer.earlier}
            return Laid(now, earlier, answer.comparisons, answer.trends)
        earlier = {each.back: self.curves(each.series) for each in answer.earlier}
        compared = tuple(one for back, then in earlier.items() for one in compare(now, back, then))
        return Laid(now, earlier, compared, trends(now, tuple(earlier.values())))


PLAIN: Final = Terms("empires")


class Laid(NamedTuple):
    """An overlay in some terms; `earlier` is by how far back it is."""

    now: tuple[Curve, ...]
    earlier: dict[int, tuple[Curve, ...]]
    comparisons: tuple[Comparison, ...]
    trends: tuple[Trend, ...]


async def world_view(
    reader: StoreReader,
    query: PopulationQuery,
    *,
    lines: Lines,
    unit: Unit = "people",
    nso: Nso = "apart",
    by: Period | None,
    back: int,
    zone: tzinfo,
    now: Ms,
) -> View:
    """Reads the view of the one world that `query` names, in these `Terms`.

    Raises:
        UsageError: see `population` and `overlay`; or no line is left.
        StoreError: the store refuses.
    """
    (world_id,) = query.worlds
    terms = Terms(lines, unit, nso, query.factions)
    query = msgspec.structs.replace(query, factions=terms.needed)
    stored = await reader.spans([world_id])  # coverage first, see `population`
    if by is None:
        current = await population(reader, query, stored)
        now_shown = terms.curves(current.series)
        laid = Laid(now_shown, {}, (), trends(now_shown, ()))
    else:
        answer = await overlay(reader, query, by, back, zone, stored)
        current, laid = answer.current, terms.laid(answer)
    seen_until = min(query.end, max(query.start + 1, now))
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
        lines=tuple(
            Line(one.faction_id, number, tuple(one.online))
            for number, group in {0: laid.now, **laid.earlier}.items()
            for one in group
        ),
        unit=terms.mixing[0],
        nso=terms.mixing[1],
        unrecorded=unrecorded(stored, query.start, min(query.end, now)),
        alerts=tuple(await reader.alerts(query.start, query.end, [world_id])),
        locks=tuple(await reader.locks(query.start, query.end, [world_id])),
        notes=tuple(await reader.notes(query.start, query.end, [world_id])),
        comparisons=laid.comparisons,
        trends=laid.trends,
        recorded_until=until,
        share=covered_share(current.coverage[world_id], query.start, seen_until),
    )


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
    stored = await reader.spans([world_id])
    at = max((span.end for span in stored if span.end > span.start), default=None)
    if at is None:
        return Now(world_id, None, {})
    instant = at - 1
    query = PopulationQuery(start=instant, end=at, step=MINUTE, worlds=(world_id,))
    answer = await population(reader, query, stored)
    return Now(
        world_id,
        instant,
        {each.faction_id: each.online[0] or 0 for each in answer.series},
    )
