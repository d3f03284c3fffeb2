"""The types of what the views Now and Recording are told, see `answers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from msgspec import Meta

from ps2daemon.analysis.answers import Counted, Faction, People, Time, World
from ps2daemon.analysis.overview import State

# overview


class EmpireRow(TypedDict):
    """The people of one empire."""

    faction_id: Faction
    label: Annotated[str, Meta(examples=["VS"])]
    people: People


class AgoRow(TypedDict):
    """The same time by the clock of `tz`, so many days ago. `people` is null where that was not recorded, and `at` where the clock skipped it."""

    days: Annotated[int, Meta(ge=1)]
    at: Time | None
    people: People | None
    online: Sequence[EmpireRow]


class RunningRow(TypedDict):
    """An alert that runs."""

    name: str
    zone: Annotated[str | None, Meta(description="Its continent's name.")]
    start: Time


# `from` is no name of a class's attribute.
GapRow = TypedDict("GapRow", {"from": Time, "to": Time, "reason": str, "pending": bool})
GapRow.__doc__ = "A time that was not recorded, also where it lies between two instants, and why. `pending`: it may be recorded, and not in the store yet."


class OverviewRow(TypedDict):
    """One world. `at` is the instant of its people, null where nothing was ever recorded; `line` is all empires together at `times`.

    A world whose `state` is `gap` is not recorded while others are; `behind`: nothing later of any world is in the store.
    """

    world_id: World
    name: str
    state: State
    recorded_until: Time | None
    at: Time | None
    people: People | None
    online: Sequence[EmpireRow]
    ago: Sequence[AgoRow]
    alerts: Sequence[RunningRow]
    line: Counted
    unrecorded: Sequence[GapRow]


class TogetherRow(TypedDict):
    """The worlds that are recorded up to now, together; null where one of them was not recorded."""

    worlds: Sequence[World]
    at: Time
    people: People
    online: Sequence[EmpireRow]
    ago: Sequence[AgoRow]
    line: Counted
    unrecorded: Sequence[GapRow]


class OverviewAnswer(TypedDict):
    """Who is online now, against a day and a week ago, and over the last day. `together` is null where no world is recorded up to now."""

    now: Time
    times: Sequence[Time]
    step_s: Annotated[int, Meta(description="Seconds from instant to instant.", ge=1)]
    worlds: Sequence[OverviewRow]
    together: TogetherRow | None
