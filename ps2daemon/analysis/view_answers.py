"""The types of what the views Now and Recording are told, see `answers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from ps2daemon.analysis.answers import Counted, Faction, People, Share, Time, World
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


# recording

Number = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]

CoveredSpan = TypedDict("CoveredSpan", {"from": Time, "to": Time})
CoveredSpan.__doc__ = "A time in the window that was recorded without a gap."


class RecordedRow(TypedDict):
    """How much of the window up to now is recorded of a world; `gaps` is how many there are, and `unrecorded` has the latest of them."""

    world_id: World
    name: str
    share: Share
    recorded_until: Time | None
    covered: Sequence[CoveredSpan]
    gaps: Number
    unrecorded: Sequence[GapRow]


class StoreRow(TypedDict):
    """How far the records in the store reach, and for how long the oldest that it has not got yet has waited; null where that is not known."""

    records_until: Time | None
    behind_s: Seconds | None


class StageRow(TypedDict):
    """A part of the recorder. `idle_s` is how long ago it made progress; all is null of one that does not run."""

    name: Annotated[str, Meta(examples=["subscriber"])]
    state: Annotated[str, Meta(examples=["working", "degraded", "not running"])]
    why: str | None
    restarts: Number | None
    idle_s: Seconds | None
    ready: bool


class QueueRow(TypedDict):
    """What waits on disk for the store; or `error` alone, where that can't be read."""

    error: NotRequired[str]
    frames: NotRequired[Number]
    records: NotRequired[Number]
    bytes: NotRequired[Number]
    max_bytes: NotRequired[Number]
    retained: NotRequired[Annotated[int, Meta(description="Frames that are stored and still kept.", ge=0)]]
    oldest_at: NotRequired[Time | None]


class LetterRow(TypedDict):
    """A record that could not be used."""

    at: Time
    reason: str


class LettersRow(TypedDict):
    """How many records could not be used, and the latest of them; or `error` alone."""

    error: NotRequired[str]
    count: NotRequired[Number]
    latest: NotRequired[Sequence[LetterRow]]


class DaemonRow(TypedDict):
    """What the recorder says of itself, without paths, addresses and credentials."""

    stages: Sequence[StageRow]
    queue: QueueRow
    dead_letters: LettersRow


RecordingAnswer = TypedDict(
    "RecordingAnswer",
    {
        "now": Time,
        "from": Time,
        "to": Time,
        "worlds": Sequence[RecordedRow],
        "store": StoreRow,
        "daemon": DaemonRow | None,
    },
)
RecordingAnswer.__doc__ = "What is recorded in the window, up to now, and how the recorder is; `daemon` is null where nothing is known of one."
