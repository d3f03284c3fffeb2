"""The time axis of a chart: round times of a time zone, whatever zone the viewer is in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.model.times import from_ms, to_ms

MOST_TICKS: Final = 14
MOST_NUMBERS: Final = 7
_MINUTE_TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)
_DAY_TICKS: Final = (1, 2, 4, 7, 14, 28, 56, 182, 364)


def time_axis(start: Ms, end: Ms, zone: tzinfo) -> dict[str, Any]:
    """Ticks at round times of `zone`; days by their date."""
    ticks = time_ticks(start, end, zone)
    labels = json.dumps({str(at): label for at, label in ticks}, ensure_ascii=True)
    return {
        "values": [at for at, _ in ticks],
        "labelExpr": f"{labels}[datum.value]",
        "labelOverlap": "greedy",
        "labelSeparation": 8,
        "labelBound": True,
        "title": None,
        "grid": True,
    }


def time_ticks(start: Ms, end: Ms, zone: tzinfo) -> list[tuple[Ms, str]]:
    """At most about `MOST_TICKS` round wall-clock times in `[start, end)` with their labels; hours that were skipped have none."""
    length = end - start
    minutes = next((each for each in _MINUTE_TICKS if length <= MOST_TICKS * each * MINUTE), None)
    days = (
        1
        if minutes
        else next((each for each in _DAY_TICKS if length <= MOST_TICKS * each * DAY), _DAY_TICKS[-1])
    )
    found: list[tuple[Ms, str]] = []
    first = from_ms(start).astimezone(zone).date()
    last = from_ms(end).astimezone(zone).date()
    day = first - timedelta(days=first.toordinal() % days)
    while day <= last:
        midnight = datetime(day.year, day.month, day.day)
        offsets = range(0, 1440, minutes) if minutes else (0,)
        for offset in offsets:
            wall = midnight + timedelta(minutes=offset)
            moment = wall.replace(tzinfo=zone).astimezone(UTC)
            if start <= to_ms(moment) < end and moment.astimezone(zone).replace(tzinfo=None) == wall:
                label = f"{wall:%a} {wall.day} {wall:%b}" if offset == 0 else f"{wall:%H:%M}"
                found.append((to_ms(moment), label))
        day += timedelta(days=days)
    return found


def round_numbers(top: float) -> list[int]:
    """0 and the multiples of 1, 2 or 5 times a power of ten up to `top`; at most about seven."""
    step = 1
    while top / step > MOST_NUMBERS:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(0, int(top) + 1, step))
