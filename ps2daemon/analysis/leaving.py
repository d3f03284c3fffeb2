"""The question whether people log off, from the store to the answer: `gather` reads what it takes, `effect` answers (see `effect` for what is meant).

Reading waits for the store and answering takes the processor, a fifth of a second for a month of four worlds; they are two so that a server can do
the second in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np

from ps2daemon.analysis.counting import count
from ps2daemon.analysis.effect import Found, measure
from ps2daemon.analysis.matching import (
    AFTER,
    BEFORE,
    REACH,
    Event,
    Matches,
    disturbances_of,
    events_of,
    match,
)
from ps2daemon.analysis.population import spans_by_world, unseen
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.sittings import Part, Sittings
from ps2daemon.model.times import iso
from ps2daemon.store.base import Endings, PartReader, StoreReader

By: TypeAlias = Literal["world", "alert", "length", "ended"]
"""What events may be told apart by: `length` is how long their alert was to last, `ended` whether it ended before that."""
BYS: Final[tuple[By, ...]] = ("world", "alert", "length", "ended")
EFFECT_START: Final = "-28d"
"""Where a window begins of which that is not said."""
WEEK: Final = 7 * DAY
MOST_PARTS: Final = 300
"""Weeks of worlds whose estimated logins are kept, a year of four and what it is compared with; with what was counted of them up to 280 KB each."""
MAX_DAYS: Final = 400
"""The longest window that is answered at once."""


class EffectQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: the events in `[start, end)` on these worlds.

    Attributes:
        zone: whose clock decides what the same time of another week is.
        by: what to tell the events apart by as well, if by anything.
        part_curves: whether these parts get curves too, which take longer than their differences.
    """

    start: Ms
    end: Ms
    worlds: tuple[int, ...]
    zone: tzinfo
    by: By | None = None
    part_curves: bool = False

    def check(self) -> None:
        """Refuses what can't be answered.

        Raises:
            UsageError: the window is empty, reversed or too long.
        """
        if self.end <= self.start:
            what = "empty" if self.end == self.start else "reversed"
            raise UsageError(
                f"the window is {what}: it begins at {iso(self.start)} and ends at {iso(self.end)}"
            )
        if self.end - self.start > MAX_DAYS * DAY:
            raise UsageError(
                f"the window is too long: at most {MAX_DAYS} days of events are looked at at once"
            )


class Answer(msgspec.Struct, frozen=True):
    """The answer.

    Attributes:
        whole: of all events.
        parts: of those that have in common what they are told apart by, by its name.
    """

    whole: Found
    parts: dict[str, Found]


class Facts(msgspec.Struct, frozen=True):
    """What the store says around the events of a query."""

    alerts: Sequence[Alert]
    locks: Sequence[Lock]
    parts: dict[int, list[Part]]
    coverage: dict[int, WorldCoverage]


async def gather(reader: StoreReader, query: EffectQuery) -> Facts:
    """Reads what `effect` takes.

    Raises:
        UsageError: see `EffectQuery.check`.
        StoreError: the store refuses.
    """
    query.check()
    worlds = sorted(set(query.worlds))
    start, end = query.start - REACH - BEFORE, query.end + REACH + AFTER
    # Coverage first: what it vouches for was in the store before it.
    spans = spans_by_world(await reader.spans(worlds, start), worlds)
    coverage = {world: WorldCoverage(found) for world, found in spans.items()}
    endings, parts = await _surroundings(reader, start, end, worlds)
    for world_id, columns in unseen(endings.unknown_starts, coverage).items():
        parts[world_id] += _by_week(columns)
    return Facts(endings.alerts, endings.locks, parts, coverage)


async def _surroundings(
    reader: StoreReader, start: Ms, end: Ms, worlds: list[int]
) -> tuple[Endings, dict[int, list[Part]]]:
    if isinstance(reader, PartReader):
        return await reader.surroundings(start, end, worlds)
    sittings = await reader.sittings(start, end, worlds)
    endings = Endings(
        tuple(await reader.alerts(start, end, worlds)),
        tuple(await reader.locks(start, end, worlds)),
        tuple(await reader.unknown_starts(start, end + DAY, worlds)),
    )
    return endings, {world_id: [Part(columns)] for world_id, columns in sittings.items()}


def _by_week(sittings: Sittings) -> list[Part]:
    """One part for each week in which some ended; the same sittings are the same part again, with what was counted of it."""
    sittings = sittings.at(np.lexsort((sittings.faction_ids, sittings.logins, sittings.logouts)))
    _, first = np.unique(sittings.logouts // WEEK, return_index=True)
    return [
        _same_part(*(column.tobytes() for column in week))
        for week in zip(*(np.split(column, first[1:]) for column in sittings), strict=True)
    ]


@lru_cache(MOST_PARTS)
def _same_part(*columns: bytes) -> Part:
    return Part(Sittings(*(np.frombuffer(column, dtype=np.int64) for column in columns)))


def effect(query: EffectQuery, facts: Facts) -> Answer:
    """Answers `query`."""
    matched = matches(query, facts)
    counted = count(matched, facts.parts)
    parts: dict[str, list[int]] = {}
    if query.by is not None:
        for place, event in enumerate(matched.events):
            parts.setdefault(_part(query.by, event), []).append(place)
    return Answer(
        measure(matched, counted, query.zone),
        {
            name: measure(
                matched.of(places),
                counted.of(np.array(places)),
                query.zone,
                curves=query.part_curves,
            )
            for name, places in sorted(parts.items())
        },
    )


def matches(query: EffectQuery, facts: Facts) -> Matches:
    """The events with their controls."""
    events = events_of(facts.alerts, facts.locks, query.start, query.end)
    return match(events, disturbances_of(facts.alerts, facts.locks), facts.coverage, query.zone)


def _part(by: By, event: Event) -> str:
    """What an event is told apart by."""
    if by == "world":
        return tables.world_name(event.world_id)
    if event.alert_id is None:
        return "no alert"
    if by == "alert":
        return event.name or "unknown"
    if by == "length":
        return "unknown" if event.minutes is None else f"{event.minutes} minutes"
    return "unknown" if event.dominated is None else "domination" if event.dominated else "time"
