"""How people write worlds, empires, times, steps and time zones; the command line and the JSON API read them alike.

Whatever is wrong is a `UsageError` of one line that says what was given and what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.times import to_ms

EMPIRES: Final = {
    "vs": tables.VS,
    "nc": tables.NC,
    "tr": tables.TR,
    "nso": tables.NSO,
    "unknown": tables.UNKNOWN_FACTION,
}
STEPS: Final = tuple(step * MINUTE for step in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440))
"""What `auto` chooses from; each divides a day."""
GOOD_BUCKETS: Final = 1_000
"""About one for each pixel of a chart; `auto` takes the shortest step that stays below."""
DEFAULT_START: Final = "-24h"
LATEST: Final = 7_258_118_400_000
"""The year 2200; every time zone and calendar still computes there."""

NEAR: Final = 0.8
"""How alike a name must be to be the one that was meant, by `difflib`: one letter in five may be wrong."""

_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}")
"""The longest name of the IANA's list has 32 characters and three parts; `zoneinfo` looks for each part of a longer one too, until Python's stack ends."""
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhdw])")


class Window(NamedTuple):
    """`[start, end)` and the step between its instants."""

    start: Ms
    end: Ms
    step: Ms


def parse_world(text: str) -> int:
    """A world's id from its number or its name, of today or before; a name that several had means one that still runs."""
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        world_id = int(text)
        if world_id in tables.worlds():
            return world_id
    name = text.casefold()
    found = [
        world
        for world in tables.worlds().values()
        if name in (each.casefold() for each in (world.name or "", *world.former_names) if each)
    ]
    if found:
        return min(found, key=lambda world: (not world.live, world.world_id)).world_id
    running = ", ".join(
        f"{world.world_id} ({world.name})" for world in tables.worlds().values() if world.live
    )
    near = _near(name)
    nearest = f" the nearest by name is {near};" if near else ""
    raise UsageError(f"{text[:60]!r} is no world;{nearest} those that run are {running}")


def _near(name: str) -> str:
    """The worlds whose names are nearest to this one, as they are called today."""
    names = {
        each.casefold(): f"{world.name} ({world.world_id})"
        for world in tables.worlds().values()
        for each in (*world.former_names, world.name)
        if each
    }
    return " or ".join(dict.fromkeys(names[each] for each in get_close_matches(name, names, cutoff=NEAR)))


def parse_worlds(texts: Iterable[str]) -> tuple[int, ...]:
    """Each of `texts` is one world, or several with commas between."""
    return tuple(dict.fromkeys(parse_world(part.strip()) for text in texts for part in text.split(",")))


def parse_empires(texts: Iterable[str]) -> tuple[int, ...]:
    """Each of `texts` is `vs`, `nc`, `tr`, `nso` or `unknown`, its number, or several of these with commas between."""
    found = []
    for part in (part.strip().lower() for text in texts for part in text.split(",")):
        if part in EMPIRES:
            found.append(EMPIRES[part])
        elif part in ("0", "1", "2", "3", "4"):
            found.append(int(part))
        else:
            raise UsageError(f"{part[:60]!r} is no empire; choose from {', '.join(EMPIRES)}")
    return tuple(dict.fromkeys(found))


def parse_zone(text: str) -> tzinfo:
    """A time zone of the IANA's list, such as `Europe/Berlin`."""
    if text.upper() in ("UTC", "Z"):
        return ZoneInfo("UTC")
    try:
        if _ZONE.fullmatch(text) is None:
            raise ValueError
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        # ZoneInfo names neither folders nor escapes from its own folder in one way: any of these means "no such zone".
        raise UsageError(
            f"{text[:60]!r} is no time zone; it takes a name such as Europe/Berlin, America/New_York or UTC"
        ) from None


def parse_time(text: str, *, now: Ms, zone: tzinfo) -> Ms:
    """The instant that `text` says.

    `now`; a span back from it, such as `-7d` or `-90m`; or an ISO 8601 date or time, which is local to `zone` unless it has an offset.
    """
    if text == "now":
        return now
    if text.startswith("-") and (span := _SPAN.fullmatch(text[1:])) is not None:
        at = now - int(span[1]) * _UNITS[span[2]]
        if at < 0:
            raise UsageError(f"{text!r} lies before the year 1970")
        return at
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text[:60]!r} is no time; it takes 2026-03-01, 2026-03-01T12:00, 2026-03-01T12:00:00Z, now or -7d"
        ) from None
    try:
        at = to_ms(local if local.tzinfo is not None else local.replace(tzinfo=zone).astimezone(UTC))
    except OverflowError:
        at = -1
    if not 0 <= at <= LATEST:
        raise UsageError(f"{text[:60]!r} is not between the years 1970 and 2200")
    return at


def parse_step(text: str) -> Ms:
    """A span such as `30s`, `5m`, `1h` or `1d`."""
    span = _SPAN.fullmatch(text)
    step = 0 if span is None else int(span[1]) * _UNITS[span[2]]
    if not SECOND <= step <= 366 * DAY:
        raise UsageError(f"{text[:60]!r} is no step; it takes a whole number with s, m, h or d, such as 5m")
    return step


def good_step(length: Ms, buckets: int = GOOD_BUCKETS) -> Ms:
    """The shortest of `STEPS` that makes a window of this length no more than `buckets`; the longest if none does."""
    for step in STEPS:
        if length <= buckets * step:
            return step
    return STEPS[-1]


def parse_window(
    start: str, end: str, step: str, *, now: Ms, zone: tzinfo, buckets: int = GOOD_BUCKETS
) -> Window:
    """The window; times relative to now are rounded up to whole steps, so that the latest bucket is among them; others are taken to the letter.

    Args:
        step: see `parse_step`, or `auto` for a good one.
        buckets: how many are good.
    """
    if step == "auto":
        length = parse_time(end, now=now, zone=zone) - parse_time(start, now=now, zone=zone)
        spacing = good_step(length, buckets)
    else:
        spacing = parse_step(step)
    now += -now % spacing
    return Window(parse_time(start, now=now, zone=zone), parse_time(end, now=now, zone=zone), spacing)
