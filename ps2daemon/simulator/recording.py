"""The recording that a daemon would have made of a past span, and the truth about that span.

Events come in the order of receipt, a short while after they happened. Coverage is claimed in arrears once a minute, world
by world: a claim up to B stands behind every event from before B. In a gap nothing is received at all; what arrived
between the last claim and the beginning of the gap is there but not vouched for, as in life.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Final

import msgspec

from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Interval, Span
from ps2daemon.model.records import DAY, HOUR, MINUTE, After, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.times import iso
from ps2daemon.simulator.payloads import payload_of
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.timeline import Moment, Timeline, origin_before, tell
from ps2daemon.simulator.truth import Truth

LATENCY: Final = (200, 1_500)
"""Milliseconds from an event to its receipt, least and most."""
VERIFY: Final = MINUTE
_CONNECT: Final = 500
"""A connection is up so many milliseconds before the first right answer."""
_DEFAULT_GAP: Final = 3 * HOUR
_LONG_ENOUGH: Final = 12 * HOUR
"""From here on a span has a gap of its own if none is asked for."""


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """A span to record, `start` to `end`.

    Attributes:
        gaps: times in which nothing is received, on all worlds; None for one of three hours if the span has room for it.
    """

    population: PopulationSettings
    start: Ms
    end: Ms
    gaps: tuple[Interval, ...] | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise UsageError(f"the span ends at {iso(self.end)}, not after its start {iso(self.start)}")
        if self.start < 2 * DAY:
            raise UsageError("a span must begin after 1970-01-02")
        before = self.start
        for gap in self.gaps or ():
            if not before < gap.start < gap.end < self.end:
                raise UsageError(
                    f"the gap {iso(gap.start)}/{iso(gap.end)} is empty, out of order or not inside the span"
                )
            before = gap.end

    def spans(self) -> list[Interval]:
        """When a connection is up, in order."""
        gaps = self.gaps
        if gaps is None:
            gaps = ()
            if self.end - self.start >= _LONG_ENOUGH:
                start = self.start + (self.end - self.start) * 5 // 8 // MINUTE * MINUTE
                gaps = (Interval(start, start + _DEFAULT_GAP),)
        edges = [self.start, *(edge for gap in gaps for edge in gap), self.end]
        return [Interval(*pair) for pair in zip(edges[::2], edges[1::2], strict=True)]


def history(settings: HistorySettings) -> tuple[Iterator[Record], Truth]:
    """The recording, record by record, and the truth.

    The truth is whole at once: the sessions that were running at the start or began in the span, with logins from before the start and
    without a logout where that lies beyond the end; the alerts and locks alike; and what the recording vouches for.
    """
    timeline = Timeline(settings.population, origin_before(settings.start))
    truth = Truth()
    for moment in timeline.advance(settings.start):
        tell(truth, moment)
    truth.forget(settings.start)
    moments: list[Moment] = []
    at = settings.start
    while at < settings.end:
        at = min(at + DAY, settings.end)
        moments += timeline.advance(at)
    for moment in moments:
        tell(truth, moment)
    spans = settings.spans()
    claims = [
        _claims(span, "start" if number == 0 else "connection", last=number == len(spans) - 1)
        for number, span in enumerate(spans)
    ]
    worlds = settings.population.worlds
    truth.coverage = [
        Span(world_id, span[-1].start, span[-1].end, span[-1].after)
        for span in claims
        if span
        for world_id in worlds
    ]
    return _records(settings.population, moments, spans, claims), truth


def _claims(span: Interval, after: After, *, last: bool) -> list[CoverageRecord]:
    """One for each verification of an unbroken span; the world is filled in later."""
    end = span.end if last else span.end - LATENCY[1]
    asked = list(range(span.start + VERIFY, end + 1, VERIFY))
    if last and (not asked or asked[-1] < end):
        asked.append(end)
    return [CoverageRecord(0, span.start, at, after) for at in asked]


def _records(
    settings: PopulationSettings,
    moments: list[Moment],
    spans: list[Interval],
    claims: Sequence[list[CoverageRecord]],
) -> Iterator[Record]:
    events = _received(settings, moments)
    event = next(events, None)
    for span, asked in zip(spans, claims, strict=True):
        while event is not None and event.received_at < span.start - _CONNECT:
            event = next(events, None)
        for claim in asked:
            while event is not None and event.received_at < claim.end + LATENCY[1]:
                yield event
                event = next(events, None)
            for world_id in settings.worlds:
                yield CoverageRecord(world_id, claim.start, claim.end, claim.after)
        while event is not None and (span is spans[-1] or event.received_at < span.end):
            yield event
            event = next(events, None)


def _received(settings: PopulationSettings, moments: list[Moment]) -> Iterator[EventRecord]:
    """The events in the order of receipt."""
    random = Random(f"{settings.seed}/latency").random
    least, spread = LATENCY[0], LATENCY[1] - LATENCY[0]
    under_way: list[tuple[Ms, int, Moment]] = []
    for number, moment in enumerate(moments):
        while under_way and under_way[0][0] < moment.at + least:  # nothing that follows can arrive sooner
            at, _, first = heappop(under_way)
            yield EventRecord(at, payload_of(first.event))
        heappush(under_way, (moment.at + least + int(random() * spread), number, moment))
    while under_way:
        at, _, first = heappop(under_way)
        yield EventRecord(at, payload_of(first.event))
