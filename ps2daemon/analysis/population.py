"""How many people of each empire were on each world, bucket by bucket.

The value at bucket start t is the number of sessions with `login_ts <= t < logout_ts`, or without an end yet: the number
online at the first bucket, and from there the logins minus the logouts, cumulated. Of a session whose login was not seen
the reader estimates the start, since it takes coverage to do so:

- the start of the unbroken coverage before the logout, if that is at most `LONGEST_GUESS` back: the hours after a first
  start or a gap complete themselves as people log off;
- otherwise `MEAN_SESSION` before the logout; if that lies in a gap, no earlier than the gap, since the login would have been seen;
- never before the end of the character's previous session.

A bucket whose start is not covered is None, never zero: nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from ps2daemon.analysis.sittings import Times
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.differences import Differences, differences_of
from ps2daemon.model.records import HOUR, SECOND, Ms
from ps2daemon.model.sessions import MEAN_SESSION
from ps2daemon.model.sittings import Sittings
from ps2daemon.model.times import iso
from ps2daemon.store.base import Count, StoreReader, UnknownStart

LONGEST_GUESS: Final = 12 * HOUR
"""A start that was not seen is never estimated to be further back than this."""
MAX_BUCKETS: Final = 100_000
"""69 days by the minute; what one request may ask for."""
MAX_VALUES: Final = 2_000_000
"""Buckets times worlds times empires of one request; about 100 MB while it is answered."""
EMPIRES: Final = (tables.VS, tables.NC, tables.TR, tables.NSO)
FACTIONS: Final = (*EMPIRES, tables.UNKNOWN_FACTION)
"""All that an answer may have, in its order."""

Online = Mapping[tuple[int, int], Sequence[int]]
"""People by bucket, for each world and faction."""


class PopulationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: the instants `start`, `start + step`, … before `end`.

    Attributes:
        worlds: in the order of the answer.
        factions: in the order of the answer; empty stands for the four empires, and 0 on worlds where it has anyone.
    """

    start: Ms
    end: Ms
    step: Ms
    worlds: tuple[int, ...]
    factions: tuple[int, ...] = ()

    @property
    def buckets(self) -> int:
        """How many instants are asked for."""
        return -((self.start - self.end) // self.step)

    @property
    def values(self) -> int:
        """How many numbers that are, of all worlds and empires."""
        return self.buckets * len(self.worlds) * (len(self.factions) or len(FACTIONS))

    def check(self) -> None:
        """Refuses what can't be answered.

        Raises:
            UsageError: the window is empty, reversed or too long, the step is no whole second, or a faction is none.
        """
        if self.step < SECOND or self.step % SECOND:
            raise UsageError("the step must be a whole number of seconds, at least one")
        if self.end == self.start:
            raise UsageError(
                f"the window is empty: it begins and ends at {iso(self.start)}; let it end later than it begins"
            )
        if self.end < self.start:
            raise UsageError(
                f"the window is reversed: it ends at {iso(self.end)}, before it begins at {iso(self.start)}"
            )
        if self.buckets > MAX_BUCKETS:
            raise UsageError(
                f"the window is too long: {self.buckets:,} steps, and at most {MAX_BUCKETS:,} are answered at once; "
                "ask for a shorter window or a longer step"
            )
        if self.values > MAX_VALUES:
            raise UsageError(
                f"that is {self.values:,} values, and at most {MAX_VALUES:,} are answered at once; "
                "ask for fewer worlds, a shorter window or a longer step"
            )
        for faction in self.factions:
            if faction not in FACTIONS:
                raise UsageError(f"{faction} is no empire: 1 is VS, 2 NC, 3 TR, 4 NSO, and 0 not known yet")


class Series(msgspec.Struct, frozen=True):
    """People of one empire on one world, one value a bucket; None where it is not covered."""

    world_id: int
    faction_id: int
    online: tuple[int | None, ...]


class Population(msgspec.Struct, frozen=True):
    """The answer.

    Attributes:
        times: the buckets' starts.
        series: by world and faction, in the order asked for.
        coverage, spans: of each world asked for, as far as they bear on the window.
    """

    step: Ms
    times: tuple[Ms, ...]
    series: tuple[Series, ...]
    coverage: Mapping[int, WorldCoverage]
    spans: Mapping[int, tuple[Span, ...]]

    def part(self, query: PopulationQuery) -> Population:
        """What `population` answers to `query`, of which this is a longer window.

        Args:
            query: begins at one of these instants; a faction that it names is here.
        """
        first = (query.start - self.times[0]) // self.step
        there = slice(first, first + query.buckets)
        cut = [Series(each.world_id, each.faction_id, each.online[there]) for each in self.series]
        since = query.start - LONGEST_GUESS
        spans = {
            world: tuple(span for span in found if span.end >= since) for world, found in self.spans.items()
        }
        return Population(
            self.step,
            self.times[there],
            tuple(
                each
                for each in cut
                if query.factions or each.faction_id != tables.UNKNOWN_FACTION or any(each.online)
            ),
            {world: WorldCoverage(found) for world, found in spans.items()},
            spans,
        )


async def population(
    reader: StoreReader, query: PopulationQuery, spans: Sequence[Span] | None = None
) -> Population:
    """Answers `query`.

    Args:
        spans: those of its worlds that end `LONGEST_GUESS` before the window or later, if they were just read; others are not looked at.

    Raises:
        UsageError: see `PopulationQuery.check`.
        StoreError: the store refuses.
    """
    query.check()
    worlds = sorted(set(query.worlds))
    # Coverage first: what it vouches for was in the store before it, and what comes later does no harm.
    # No end, since a gap is one only if coverage follows, however late: an answer must not depend on where its window ends.
    since = query.start - LONGEST_GUESS
    if spans is None:
        spans = await reader.spans(worlds, since)
    counts = await reader.online_at(query.start, worlds)
    changes = await reader.changes(query.start, query.end, query.step, worlds)
    unknown = await reader.unknown_starts(query.start, query.end + LONGEST_GUESS, worlds)
    by_world = spans_by_world((span for span in spans if span.end >= since), worlds)
    coverage = {world: WorldCoverage(found) for world, found in by_world.items()}
    series = answer(query, cumulated(query, counts, changes, unknown, coverage), coverage)
    times = tuple(range(query.start, query.end, query.step))
    return Population(query.step, times, series, coverage, by_world)


def spans_by_world(spans: Iterable[Span], worlds: Iterable[int]) -> dict[int, tuple[Span, ...]]:
    """The spans of each of `worlds`, in order."""
    by_world: dict[int, list[Span]] = {world: [] for world in worlds}
    for span in spans:
        if span.world_id in by_world:
            by_world[span.world_id].append(span)
    return {world: tuple(found) for world, found in by_world.items()}


def unseen(sessions: Iterable[UnknownStart], coverage: Mapping[int, WorldCoverage]) -> dict[int, Sittings]:
    """Sessions of which only the logout was seen, by world, each with the login that is estimated (see the module's rules)."""
    rows = list(sessions)
    worlds, faction_ids, logouts = (
        np.fromiter(map(itemgetter(column), rows), dtype=np.int64, count=len(rows)) for column in range(3)
    )
    not_before = np.array([-1 if row.not_before is None else row.not_before for row in rows], dtype=np.int64)
    found = {}
    for world_id in np.unique(worlds).tolist():
        there = worlds == world_id
        logins = np.maximum(_estimated_logins(logouts[there], coverage[world_id]), not_before[there])
        found[world_id] = Sittings(faction_ids[there], logins, logouts[there])
    return found


def _estimated_logins(logouts: Times, coverage: WorldCoverage) -> Times:
    spans = coverage.spans
    logins = logouts - MEAN_SESSION
    if not spans:
        return logins
    starts, ends = np.array(spans, dtype=np.int64).T
    since = np.array([coverage.covered_from(span.end) for span in spans], dtype=np.int64)
    place = np.searchsorted(starts, logouts, side="left") - 1
    before = place < 0  # of all coverage
    place[before] = 0
    covered = ~before & (logouts <= ends[place])
    complete = covered & (logouts - since[place] <= LONGEST_GUESS)
    # It reaches back into no covered time: there it would have been seen.
    in_gap = ~before & ~covered & (place + 1 < len(spans))
    logins = np.where(complete, since[place], logins)
    return np.where(in_gap, np.maximum(logins, ends[place]), logins)


def cumulated(
    query: PopulationQuery,
    counts: Iterable[Count],
    changes: Differences,
    unknown: Iterable[UnknownStart],
    coverage: Mapping[int, WorldCoverage],
) -> dict[tuple[int, int], list[int]]:
    """People by bucket, whether covered or not, for each world and faction that has any."""
    size = query.buckets
    # One more, for what lies behind the window.
    people = differences_of(size + 1, ((each.world_id, each.faction_id, 0, each.online) for each in counts))
    nothing = np.zeros(size + 1, dtype=np.int64)
    for world_id, sittings in unseen(unknown, coverage).items():
        first, behind = (
            np.clip(-((query.start - at) // query.step), 0, size)
            for at in (sittings.logins, sittings.logouts)
        )
        for faction_id in np.unique(sittings.faction_ids).tolist():
            own = (sittings.faction_ids == faction_id) & (first < behind)
            changed = np.bincount(first[own], minlength=size + 1) - np.bincount(
                behind[own], minlength=size + 1
            )
            people[world_id, faction_id] = people.get((world_id, faction_id), nothing) + changed
    return {
        key: np.cumsum(people.get(key, nothing)[:size] + changes.get(key, nothing[:size])).tolist()
        for key in people.keys() | changes.keys()
    }


def bucket_of(query: PopulationQuery, at: Ms) -> int:
    """The first bucket that is not before `at`; 0 for anything before the window."""
    return max(0, -((query.start - at) // query.step))


def answer(
    query: PopulationQuery, online: Online, coverage: Mapping[int, WorldCoverage]
) -> tuple[Series, ...]:
    """The series from the people of every bucket, with None where the bucket is not covered."""
    size = query.buckets
    series = []
    for world in dict.fromkeys(query.worlds):
        covered = _covered(query, coverage[world])
        if query.factions:
            factions: Sequence[int] = tuple(dict.fromkeys(query.factions))
        else:
            unnamed = online.get((world, tables.UNKNOWN_FACTION), ())
            seen = any(any(unnamed[first:behind]) for first, behind in covered)
            factions = FACTIONS if seen else EMPIRES
        nobody = [0] * size
        for faction in factions:
            people = online.get((world, faction), nobody)
            values: list[int | None] = [None] * size
            for first, behind in covered:
                values[first:behind] = people[first:behind]
            series.append(Series(world, faction, tuple(values)))
    return tuple(series)


def _covered(query: PopulationQuery, coverage: WorldCoverage) -> list[tuple[int, int]]:
    """Runs of buckets that are covered, each as the first and the one behind the last."""
    return [
        (bucket_of(query, start), min(query.buckets, bucket_of(query, end)))
        for start, end in coverage.spans
        if end > query.start and start < query.end
    ]


def numbers_of(series: Series) -> NDArray[np.float64]:
    """Its people as numbers, NaN where it is not covered."""
    return np.array(series.online, dtype=np.float64)


def total(series: Sequence[Series]) -> tuple[int | None, ...]:
    """The sum of several series of the same buckets; None where one of them is None."""
    return tuple(
        None if None in row else sum(cast("tuple[int, ...]", row))
        for row in zip(*(each.online for each in series), strict=True)
    )


def covered_share(coverage: WorldCoverage, start: Ms, end: Ms) -> float:
    """The share of `[start, end)` that is covered, 0 to 1."""
    covered = sum(max(0, min(span.end, end) - max(span.start, start)) for span in coverage.spans)
    return covered / (end - start)
