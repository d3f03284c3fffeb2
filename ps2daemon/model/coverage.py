"""Coverage: the spans of time for which the record is vouched for, world by world, and the gaps between them.

Spans are half-open, `[start, end)`. Overlapping and touching spans are one; the order in which they are told is of no
consequence, and neither is telling one twice. Only what lies *between* two spans is a gap: before the first one nothing
was promised, and after the last one nothing is known yet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from ps2daemon.model.records import After, CoverageRecord, Ms

Reason: TypeAlias = After | Literal["pruned"]
"""Why there is no coverage before a span; `pruned`: what was recorded before was dropped."""


class Interval(NamedTuple):
    """`[start, end)`; never empty."""

    start: Ms
    end: Ms


class Gap(NamedTuple):
    """Time between two spans; `after` is the later span's reason."""

    start: Ms
    end: Ms
    after: Reason


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One unbroken span as stored: `start` and world identify it, `end` only ever grows.

    Attributes:
        unbroken_from: since when it was recorded without a break, where that is before `start` (see `after_pruning`).
    """

    world_id: int
    start: Ms
    end: Ms
    after: Reason
    unbroken_from: Ms | None = None


def merge_spans(spans: Iterable[Span | CoverageRecord]) -> dict[tuple[int, Ms], Span]:
    """Spans by world and start, each with its latest end.

    Two claims of one start may differ in `after` only by a defect; the alphabetically first is kept, so that order is of no consequence.
    """
    merged: dict[tuple[int, Ms], Span] = {}
    for span in spans:
        key = (span.world_id, span.start)
        known = merged.get(key)
        if known is None:
            merged[key] = Span(span.world_id, span.start, span.end, span.after)
        elif span.end > known.end or span.after < known.after:
            merged[key] = Span(*key, max(span.end, known.end), min(span.after, known.after))
    return merged


class WorldCoverage:
    """The coverage of one world: a union of spans.

    Args:
        spans: in any order; empty ones (start = end) vouch for nothing and are left out.
    """

    __slots__ = ("_afters", "_ends", "_starts", "_unbroken")

    def __init__(self, spans: Iterable[Span | CoverageRecord] = ()) -> None:
        self._starts: list[Ms] = []
        self._ends: list[Ms] = []
        self._afters: list[Reason] = []
        self._unbroken: dict[Ms, Ms] = {}  # by the start of a span that pruning cut
        for span in sorted(spans, key=lambda span: (span.start, span.end, span.after)):
            self.add(span)

    def add(self, span: Span | CoverageRecord) -> Interval | None:
        """Adds a span.

        Returns:
            the time in which gaps came, went or changed, or None if none did (as when the latest span grows).
        """
        if span.end <= span.start:
            return None
        if isinstance(span, Span) and span.unbroken_from is not None:
            self._unbroken[span.start] = span.unbroken_from
        first = bisect_left(self._ends, span.start)
        last = bisect_right(self._starts, span.end)
        before = self._ends[first - 1] if first > 0 else None
        behind = self._starts[last] if last < len(self._starts) else None
        start, end, after = span.start, span.end, span.after
        if first == last:
            changed = before is not None or behind is not None
        else:  # it touches the spans first..last-1
            was_start, was_end, was_after = self._starts[first], self._ends[last - 1], self._afters[first]
            if was_start <= start:  # two claims of one start may differ in `after` (see `merge_spans`)
                after = was_after if was_start < start else min(after, was_after)
            start, end = min(start, was_start), max(end, was_end)
            changed = (
                last - first > 1
                or (before is not None and (start, after) != (was_start, was_after))
                or (behind is not None and end != was_end)
            )
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self._afters[first:last] = [after]
        if not changed:
            return None
        return Interval(start if before is None else before, end if behind is None else behind)

    @property
    def spans(self) -> list[Interval]:
        """Disjoint, not touching, in order."""
        return [Interval(*ends) for ends in zip(self._starts, self._ends, strict=True)]

    @property
    def end(self) -> Ms | None:
        """Up to where there is any coverage."""
        return self._ends[-1] if self._ends else None

    def covers(self, at: Ms) -> bool:
        """Whether a span has `start <= at < end`."""
        index = bisect_right(self._starts, at) - 1
        return index >= 0 and at < self._ends[index]

    def covered_from(self, at: Ms) -> Ms | None:
        """The start of the span that has `start < at <= end`: how far back the time just before `at` is unbroken, pruned or not."""
        index = bisect_left(self._starts, at) - 1
        if index < 0 or at > self._ends[index]:
            return None
        start = self._starts[index]
        return self._unbroken.get(start, start)

    def gaps(self, start: Ms, end: Ms) -> list[Gap]:
        """The gaps that overlap `[start, end)`, whole (not clipped)."""
        if len(self._starts) < 2 or start >= self._starts[-1] or end <= self._ends[0]:
            return []
        index = max(0, bisect_right(self._ends, start) - 1)
        found = []
        while index + 1 < len(self._starts) and self._ends[index] < end:
            if self._starts[index + 1] > start:
                found.append(Gap(self._ends[index], self._starts[index + 1], self._afters[index + 1]))
            index += 1
        return found


def coverage_by_world(spans: Iterable[Span | CoverageRecord]) -> dict[int, WorldCoverage]:
    """The coverage of every world that has a span."""
    coverage: dict[int, WorldCoverage] = {}
    for span in spans:
        coverage.setdefault(span.world_id, WorldCoverage()).add(span)
    return coverage


def after_pruning(
    spans: Sequence[Span], pruned_until: Ms | None, start: Ms | None = None, end: Ms | None = None
) -> list[Span]:
    """What still vouches for something once everything before `pruned_until` counts as dropped.

    What reaches beyond begins there, `pruned` before it, and says since when it was unbroken: a start that was not seen is estimated by
    that. Where nothing does, an empty span says that it is not for want of recording that there is nothing before. Worlds that were not
    recorded before are as they were.

    Args:
        spans: by world and start; so is what is returned.
        start, end: the window that all of them overlap or touch; so does what is returned.
    """
    if pruned_until is None:
        return list(spans)
    found: list[Span] = []
    for world_id, group in groupby(spans, key=lambda span: span.world_id):
        of_world = list(group)
        if of_world[0].start < pruned_until:
            reached = max(span.end for span in of_world if span.start <= pruned_until)
            since = WorldCoverage(of_world).covered_from(pruned_until)
            of_world = [
                Span(world_id, pruned_until, max(pruned_until, reached), "pruned", since),
                *(span for span in of_world if span.start > pruned_until),
            ]
        found += of_world
    return [
        span for span in found if (start is None or span.end >= start) and (end is None or span.start <= end)
    ]
