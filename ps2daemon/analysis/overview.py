"""What is going on now: the people of every world, against the same time a day and a week ago, and over the last day.

- The worlds that are recorded up to now are told at one instant, the latest that the coverage of all of them vouches for, so that they add up. A world whose
  coverage ends more than `ARREARS` before now is told at its own latest instant, and counts in no total.
- The earlier instants are those at which the wall clock showed the same (see `overlay.partner`); one that is not covered is None, never zero.
- A handful of instants and one coarse day are read, whatever the length of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.analysis.overlay import partner
from ps2daemon.analysis.population import PopulationQuery, Series, population, spans_by_world, total
from ps2daemon.analysis.view import ARREARS, Unrecorded, unrecorded
from ps2daemon.model.alerts import LONGEST_ALERT, Alert, runs
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import DAY, MINUTE, SECOND, Ms
from ps2daemon.store.base import StoreReader

AGO: Final = (1, 7)
"""Days back that are compared with."""
STEP: Final = 10 * MINUTE
"""Between the points of the last day: about one for every two pixels of a small line."""

State: TypeAlias = Literal["recorded", "gap", "behind", "never"]
"""`gap`: others are recorded later than it; `behind`: the store has nothing later of anybody."""


class Ago(msgspec.Struct, frozen=True):
    """The same time `days` earlier.

    Attributes:
        at: None where the clock skipped it.
        people: all empires together; None where that instant is not covered.
        online: people by faction; empty where that instant is not covered.
    """

    days: int
    at: Ms | None
    people: int | None
    online: Mapping[int, int] = {}


class WorldNow(msgspec.Struct, frozen=True):
    """One world.

    Attributes:
        at: the instant that the people are of, or None where nothing was ever recorded.
        online: people by faction.
        until: where its coverage ends.
        alerts: those that ran at that instant and have no end, the latest first.
        line: all empires together at `Overview.times`.
        gaps: what lies in the time of the line and was not recorded, also where it is shorter than a step.
    """

    world_id: int
    state: State
    at: Ms | None
    until: Ms | None
    online: Mapping[int, int]
    ago: tuple[Ago, ...]
    alerts: tuple[Alert, ...]
    line: tuple[int | None, ...]
    gaps: tuple[Unrecorded, ...]

    @property
    def people(self) -> int | None:
        """All empires together."""
        return None if self.at is None else sum(self.online.values())


class Overview(msgspec.Struct, frozen=True):
    """All worlds, and those that are recorded up to now together.

    Attributes:
        times: those of the lines, `STEP` apart.
        at: the instant of the totals; None where no world is recorded up to now.
        online: people by faction.
        ago: None as people where one of these worlds was not recorded then.
    """

    times: tuple[Ms, ...]
    worlds: tuple[WorldNow, ...]
    at: Ms | None
    online: Mapping[int, int]
    ago: tuple[Ago, ...]
    line: tuple[int | None, ...]
    gaps: tuple[Unrecorded, ...]


async def overview(reader: StoreReader, worlds: Sequence[int], zone: tzinfo, now: Ms) -> Overview:
    """The overview of `worlds`, in that order.

    Raises:
        StoreError: the store refuses.
    """
    start = (now - DAY) // STEP * STEP + STEP
    times = tuple(range(start, now + 1, STEP))
    if not worlds:
        return Overview(times, (), None, {}, (), (), ())
    stored = await reader.spans(worlds)
    spans = spans_by_world(stored, worlds)
    coverage = {world: WorldCoverage(found) for world, found in spans.items()}
    records = await reader.records_until()
    states = {world: state_of(coverage[world].end, records, now) for world in worlds}
    instants = instants_of(coverage, states)
    alerts = await reader.alerts(now - LONGEST_ALERT, now + 1, worlds)
    query = PopulationQuery(start=start, end=now + 1, step=STEP, worlds=tuple(worlds))
    day = await population(reader, query, stored)
    lines = {world: total([each for each in day.series if each.world_id == world]) for world in worlds}
    online: dict[int, dict[int, int]] = {}
    ago: dict[int, tuple[Ago, ...]] = {}
    for at in sorted(set(instants.values())):
        group = tuple(world for world in worlds if instants.get(world) == at)
        people, earlier = await _moment(reader, group, at, zone, stored)
        online |= people
        ago |= earlier
    told = tuple(
        WorldNow(
            world,
            states[world],
            instants.get(world),
            coverage[world].end,
            online.get(world, {}),
            ago.get(world, ()),
            running(alerts, world, instants.get(world)),
            lines[world],
            unrecorded(spans[world], start, now),
        )
        for world in worlds
    )
    return _together(times, told)


def state_of(until: Ms | None, records: Ms | None, now: Ms) -> State:
    """Whether a world is recorded up to now.

    Args:
        until: where its coverage ends.
        records: how far the records of all worlds reach.
    """
    if until is None:
        return "never"
    if now - until <= ARREARS:
        return "recorded"
    return "gap" if records is not None and records - until > ARREARS else "behind"


def instants_of(coverage: Mapping[int, WorldCoverage], states: Mapping[int, State]) -> dict[int, Ms]:
    """The instant at which each world is told; nothing of one that was never recorded."""
    ends = {world: end for world, each in coverage.items() if (end := each.end) is not None}
    common = min((end - 1 for world, end in ends.items() if states[world] == "recorded"), default=None)
    return {
        world: common
        if common is not None and states[world] == "recorded" and coverage[world].covers(common)
        else end - 1
        for world, end in ends.items()
    }


def running(alerts: Iterable[Alert], world_id: int, at: Ms | None) -> tuple[Alert, ...]:
    """The world's alerts that run at that instant."""
    found = [alert for alert in alerts if alert.world_id == world_id and at is not None and runs(alert, at)]
    return tuple(sorted(found, key=lambda alert: alert.changes[0].at, reverse=True))


async def _moment(
    reader: StoreReader, worlds: tuple[int, ...], at: Ms, zone: tzinfo, spans: Sequence[Span]
) -> tuple[dict[int, dict[int, int]], dict[int, tuple[Ago, ...]]]:
    """The people of these worlds at one instant, and how many there were before."""
    series = await _at(reader, worlds, at, spans)
    online = {world: _people(each for each in series if each.world_id == world) for world in worlds}
    ago: dict[int, tuple[Ago, ...]] = dict.fromkeys(worlds, ())
    for days in AGO:
        then = partner(at, days, zone)
        earlier = () if then is None else await _at(reader, worlds, then, spans)
        for world in worlds:
            rows = [each for each in earlier if each.world_id == world]
            ago[world] += (Ago(days, then, total(rows)[0] if rows else None, _people(rows)),)
    return online, ago


def _people(series: Iterable[Series]) -> dict[int, int]:
    """By faction, at their one instant; nothing where it is not covered."""
    return {each.faction_id: people for each in series if (people := each.online[0]) is not None}


async def _at(
    reader: StoreReader, worlds: tuple[int, ...], at: Ms, spans: Sequence[Span]
) -> tuple[Series, ...]:
    query = PopulationQuery(start=at, end=at + 1, step=SECOND, worlds=worlds)
    return (await population(reader, query, spans)).series


def _together(times: tuple[Ms, ...], worlds: tuple[WorldNow, ...]) -> Overview:
    counted = [world for world in worlds if world.state == "recorded"]
    if not counted:
        return Overview(times, worlds, None, {}, (), (), ())
    online = _added([world.online for world in counted])
    ago = tuple(
        _ago_together([world.ago[place] for world in counted]) for place in range(len(counted[0].ago))
    )
    line = tuple(_sum(row) for row in zip(*(world.line for world in counted), strict=True))
    at = min(world.at for world in counted if world.at is not None)
    gaps = _union([gap for world in counted for gap in world.gaps])
    return Overview(times, worlds, at, online, ago, line, gaps)


def _ago_together(found: Sequence[Ago]) -> Ago:
    people = _sum([each.people for each in found])
    online = {} if people is None else _added([each.online for each in found])
    return Ago(found[0].days, found[0].at, people, online)


def _added(found: Sequence[Mapping[int, int]]) -> dict[int, int]:
    factions = dict.fromkeys(faction for each in found for faction in each)
    return {faction: sum(each.get(faction, 0) for each in found) for faction in factions}


def _union(gaps: Iterable[Unrecorded]) -> tuple[Unrecorded, ...]:
    """Those that touch as one, with every reason."""
    found: list[Unrecorded] = []
    for gap in sorted(gaps, key=lambda gap: gap.start):
        last = found[-1] if found else None
        if last is None or gap.start > last.end:
            found.append(gap)
            continue
        reasons = dict.fromkeys([*last.reason.split("; "), gap.reason])
        pending = last.pending or gap.pending
        found[-1] = Unrecorded(last.start, max(last.end, gap.end), "; ".join(reasons), pending)
    return tuple(found)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
