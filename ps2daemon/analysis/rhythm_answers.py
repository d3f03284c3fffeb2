"""The types of the API's answers by day and by hour of the week (see `answers`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from msgspec import Meta

from ps2daemon.analysis.answers import People, Share, World


class DayRow(TypedDict):
    """One day by the clock of the time zone, all empires together (or those that `empire` names); mean and peak are null where nothing was recorded."""

    world_id: World
    date: Annotated[str, Meta(examples=["2026-03-01"], pattern=r"^\d{4}-\d\d-\d\d$")]
    mean: float | None
    peak: People | None
    share: Annotated[Share, Meta(description="Of the day that was recorded.")]


class DaysAnswer(TypedDict):
    """The population day by day."""

    days: Sequence[DayRow]


class HourRow(TypedDict):
    """One hour of the week, people on average over the weeks and over as many before them; null where nothing was recorded."""

    world_id: World
    weekday: Annotated[int, Meta(description="1 is Monday, 7 Sunday.", ge=1, le=7)]
    hour: Annotated[int, Meta(ge=0, le=23)]
    mean: float | None
    before: float | None
    difference: Annotated[float | None, Meta(description="Null where less than half of either was recorded.")]


class HoursAnswer(TypedDict):
    """The week hour by hour."""

    hours: Sequence[HourRow]
