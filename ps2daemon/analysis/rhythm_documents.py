"""Days and hours of the week as programs read them (see `documents`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from ps2daemon.analysis.documents import DIGITS, rounded_number

if TYPE_CHECKING:
    from ps2daemon.analysis import rhythm_answers
    from ps2daemon.analysis.rhythm import Rhythm

DAY_FIELDS: Final = ("world_id", "date", "mean", "peak", "share")
HOUR_FIELDS: Final = ("world_id", "weekday", "hour", "mean", "before", "difference")


def days_answer(found: Sequence[Rhythm]) -> rhythm_answers.DaysAnswer:
    """`{"days": [{"world_id": 10, "date": "2026-03-14", "mean": 212.4, "peak": 431, "share": 1.0}]}`."""
    rows = [
        {
            "world_id": rhythm.world_id,
            **msgspec.structs.asdict(day),
            "date": day.date.isoformat(),
            "mean": rounded_number(day.mean),
            "share": round(day.share, DIGITS),
        }
        for rhythm in found
        for day in rhythm.days
    ]
    return {"days": cast("list[rhythm_answers.DayRow]", rows)}


def hours_answer(found: Sequence[Rhythm]) -> rhythm_answers.HoursAnswer:
    """`{"hours": [{"world_id": 10, "weekday": 1, "hour": 20, "mean": 431.5, "before": 402.1, "difference": 29.4}]}`; 1 is Monday."""
    rows: list[dict[str, Any]] = [
        {
            "world_id": rhythm.world_id,
            "weekday": hour.weekday + 1,
            "hour": hour.hour,
            "mean": rounded_number(hour.mean),
            "before": rounded_number(hour.before),
            "difference": rounded_number(hour.difference),
        }
        for rhythm in found
        for hour in rhythm.hours
    ]
    return {"hours": cast("list[rhythm_answers.HourRow]", rows)}
