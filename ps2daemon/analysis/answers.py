"""The types of the API's answers: which fields an answer has, and what they mean.

The documents are plain dicts (`documents`, `listing`); mypy holds them to these types, and the API's schema is made of them.
Only what is `NotRequired` may be absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

from ps2daemon.analysis.effect import Group, Verdict
from ps2daemon.analysis.matching import Kind
from ps2daemon.analysis.matching import Reason as LeftOut
from ps2daemon.analysis.mixing import Nso, Unit
from ps2daemon.analysis.overlay import Period
from ps2daemon.analysis.trend import Verdict as TrendVerdict
from ps2daemon.model.alerts import AlertEnd
from ps2daemon.model.coverage import Reason

Time: TypeAlias = Annotated[
    str,
    Meta(
        description="ISO 8601 in UTC, to the millisecond where it is no whole second.",
        examples=["2026-03-01T12:00:00Z"],
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$",
        extra_json_schema={"format": "date-time"},
    ),
]
World: TypeAlias = Annotated[int, Meta(description="A world's id.", examples=[10], ge=1)]
Faction: TypeAlias = Annotated[
    int, Meta(description="1 is VS, 2 NC, 3 TR, 4 NSO, and 0 not known yet.", examples=[1], ge=0, le=4)
]
Winner: TypeAlias = Annotated[
    int, Meta(description="The empire that won; 0 where none did.", examples=[3], ge=0)
]
Zone: TypeAlias = Annotated[int, Meta(description="A continent's id, or another zone's.", examples=[2])]
People: TypeAlias = Annotated[int, Meta(description="People online.", ge=0)]
Counted: TypeAlias = Annotated[
    Sequence[People | None],
    Meta(description="People online at each of the instants; null where that was not recorded."),
]
Measured: TypeAlias = Annotated[
    Sequence[Annotated[float, Meta(ge=0)] | None],
    Meta(
        description="People online at each of the instants, or percent of them all with `unit=share`; null where that was not recorded. "
        "Whole numbers, unless they are percent or NSO are folded."
    ),
]
Share: TypeAlias = Annotated[float, Meta(description="0 to 1.", ge=0, le=1)]
Percent: TypeAlias = Annotated[float, Meta(description="0 to 100.", ge=0, le=100)]


class ErrorAnswer(TypedDict):
    """What every error answers, whatever was asked for."""

    error: Annotated[str, Meta(description="One line for a person: what is wrong, and what to do.")]


# worlds, now


class WorldRow(TypedDict):
    """A world and how far it is recorded; null where nothing is yet."""

    world_id: World
    name: str
    recorded_from: Time | None
    recorded_until: Time | None


class WorldsAnswer(TypedDict):
    """The worlds that the store knows."""

    worlds: Sequence[WorldRow]


class OnlineRow(TypedDict):
    """The people of one empire."""

    faction_id: Faction
    online: People


class NowRow(TypedDict):
    """The latest that is known of a world; `at` and `total` are null where nothing was ever recorded."""

    world_id: World
    name: str
    at: Time | None
    online: Sequence[OnlineRow]
    total: People | None


class NowAnswer(TypedDict):
    """Who was online at the latest instant that is recorded, world by world."""

    worlds: Sequence[NowRow]


# population, overlay


class SeriesRow(TypedDict):
    """The people of one empire on one world, a value for each of `times`. `faction_id` is null for all empires together, with `lines=total`."""

    world_id: World
    faction_id: Faction | None
    online: Measured


class PopulationAnswer(TypedDict):
    """People online, one series for each world and empire. `unit` and `nso` are there where they are not `people` and `apart`."""

    step_s: Annotated[int, Meta(description="Seconds from instant to instant.", ge=1)]
    unit: NotRequired[Unit]
    nso: NotRequired[Nso]
    times: Sequence[Time]
    series: Sequence[SeriesRow]


class EarlierSeries(SeriesRow):
    """The people then; difference and ratio are of the window to them, null where either was not recorded."""

    difference: Sequence[float | None]
    ratio: Sequence[float | None]


class EarlierRow(TypedDict):
    """The window so many days or weeks earlier; a time that the clock skipped then is null."""

    back: Annotated[int, Meta(ge=1)]
    times: Sequence[Time | None]
    series: Sequence[EarlierSeries]


class ComparisonRow(TypedDict):
    """A series against itself earlier, over the instants (`buckets`) that were recorded in both."""

    back: Annotated[int, Meta(ge=1)]
    world_id: World
    faction_id: Faction | None
    buckets: Annotated[int, Meta(ge=0)]
    mean: float | None
    earlier_mean: float | None
    difference: float | None
    ratio: float | None


class SlopeRow(TypedDict):
    """How a series moves from period to period, over the instants (`buckets`) that were recorded in all."""

    world_id: World
    faction_id: Faction | None
    buckets: Annotated[int, Meta(ge=0)]
    per_period: float | None


class OverlayAnswer(PopulationAnswer):
    """People online, and earlier days or weeks laid over that; the latest is first."""

    by: Period
    time_zone: str
    earlier: Sequence[EarlierRow]
    comparisons: Sequence[ComparisonRow]
    trends: Sequence[SlopeRow]


# alerts, locks, coverage


class TerritoryRow(TypedDict):
    """Shares of the continent; null where the game did not say."""

    vs: Percent | None
    nc: Percent | None
    tr: Percent | None


class AlertRow(TypedDict):
    """An alert. Without `start` it was not seen to start, and without `end` not to end."""

    alert_id: Annotated[str, Meta(examples=["10-5-2026-03-01"])]
    world_id: World
    instance_id: int
    metagame_event_id: int
    name: str
    type: int | None
    zone_id: Zone | None
    start: NotRequired[Time]
    end: NotRequired[Time]
    ended_by: AlertEnd | None
    canceled: bool
    territory_start: TerritoryRow | None
    territory_end: TerritoryRow | None
    winner: Winner | None
    lock_id: Annotated[str, Meta(description="The lock that it ended with.")] | None
    running: NotRequired[
        Annotated[
            bool, Meta(description="Whether it still runs; without `end` nobody may have seen its end.")
        ]
    ]
    people_at_start: NotRequired[People | None]
    people_at_end: NotRequired[People | None]
    people_later: NotRequired[Annotated[People | None, Meta(description="Half an hour after the end.")]]
    people_from: NotRequired[Annotated[Time, Meta(description="The first instant of `people`.")]]
    people: NotRequired[Annotated[Counted, Meta(description="Every five minutes around it.")]]


class AlertsAnswer(TypedDict):
    """The alerts that ran in the window; `running` and what begins with `people` is there if it was asked for."""

    alerts: Sequence[AlertRow]


class LockRow(TypedDict):
    """A continent lock; `alert_id` is the alert that ended with it."""

    lock_id: Annotated[str, Meta(examples=["10-2-1772366400000"])]
    world_id: World
    zone_id: Zone
    at: Time
    winner: Winner
    previous_winner: Winner
    metagame_event_id: int
    population_vs: Percent | None
    population_nc: Percent | None
    population_tr: Percent | None
    alert_id: str | None


class LocksAnswer(TypedDict):
    """The continent locks in the window."""

    locks: Sequence[LockRow]


class NoteRow(TypedDict):
    """What the operator wrote about a moment; `world_ids` is empty for a note about all worlds."""

    note_id: Annotated[str, Meta(examples=["3f2a90c1d4e7"])]
    at: Time
    world_ids: Sequence[World]
    text: str


class NotesAnswer(TypedDict):
    """The operator's notes in the window."""

    notes: Sequence[NoteRow]


# `from` is no name of a class's attribute.
CoverageRow = TypedDict(
    "CoverageRow",
    {
        "world_id": World,
        "from": Time,
        "to": Time,
        "after": Annotated[Reason, Meta(description="Why nothing was recorded before it.")],
    },
)
CoverageRow.__doc__ = "One unbroken span of recorded time."


class CoveredRow(TypedDict):
    """How much of the window was recorded."""

    world_id: World
    share: Share


class CoverageAnswer(TypedDict):
    """The spans that overlap or touch the window, and the share of it that each world's cover."""

    coverage: Sequence[CoverageRow]
    covered: Sequence[CoveredRow]


# effect


class EffectRow(TypedDict):
    """What was found for one kind of event, group of people and span of minutes. `of` is null for all events together."""

    of: str | None
    event: Kind
    group: Group
    minutes: int
    n: Annotated[int, Meta(description="Events.", ge=0)]
    people: Annotated[int, Meta(description="Online at them, together.", ge=0)]
    left_out: Annotated[int, Meta(description="Events that could not be compared.", ge=0)]
    share: Annotated[Share | None, Meta(description="Who logged off.")]
    control_share: Annotated[Share | None, Meta(description="Who did so when nothing ended.")]
    difference: float | None
    low: Annotated[float | None, Meta(description="The difference's interval, 95 %.")]
    high: float | None
    verdict: Verdict


class CurveRow(TypedDict):
    """People minute by minute from 30 before to 60 after, as multiples of those at the event."""

    event: Kind
    n: Annotated[int, Meta(description="Events.", ge=0)]
    events: Sequence[float]
    low: Annotated[Sequence[float], Meta(description="The interval of `events`, 95 %.")]
    high: Sequence[float]
    controls: Sequence[float]


class EventRow(TypedDict):
    """An event with the instants that it is compared with, or why it is left out."""

    event: Kind
    world_id: World
    at: Time
    winner: Winner
    name: str | None
    zone_id: Zone | None
    minutes: Annotated[int | None, Meta(description="How long its alert was to last.")]
    dominated: Annotated[bool | None, Meta(description="Whether its alert ended before that.")]
    alert_id: str | None
    lock_id: str | None
    controls: Sequence[Time]
    left_out: LeftOut | None


class EffectAnswer(TypedDict):
    """Whether people log off when alerts end and continents lock."""

    effects: Sequence[EffectRow]
    curves: Sequence[CurveRow]
    events: Sequence[EventRow]


class PartCurveRow(CurveRow):
    """The same of all events, or of those that have in common what they are told apart by."""

    of: Annotated[str | None, Meta(description="What these events have in common; null for all of them.")]
    minutes: Annotated[Sequence[int], Meta(description="After the event; of each value of the others.")]


class CurvesAnswer(TypedDict):
    """People on the world around the events."""

    curves: Sequence[PartCurveRow]


# trends

WeekRow = TypedDict(
    "WeekRow",
    {
        "from": Time,
        "to": Time,
        "mean": float | None,
        "peak": People | None,
        "share": Annotated[Share, Meta(description="Of the week that was recorded.")],
    },
)
WeekRow.__doc__ = "One week by the clock of the time zone; mean and peak are null where nothing was recorded."


class TrendRow(TypedDict):
    """One series over the weeks, with the slope through them. `faction_id` is null for all empires together."""

    world_id: World
    faction_id: Faction | None
    weeks: Sequence[WeekRow]
    n: Annotated[int, Meta(description="Weeks that the slope is of.", ge=0)]
    per_week: Annotated[float | None, Meta(description="People more, or fewer, from week to week.")]
    low: Annotated[float | None, Meta(description="The slope's interval, 95 %.")]
    high: float | None
    verdict: TrendVerdict


class TrendsAnswer(TypedDict):
    """Whether the population rises or falls."""

    trends: Sequence[TrendRow]
