"""How faults are asked for: `NAME[:VALUE][@WORLD]`, and a file that says when.

A plan is TOML, with one table for each fault:

    [[fault]]
    fault = "drop_logouts:30"
    start = 60        # seconds after the simulator's start; 0 if it is left out
    seconds = 120     # how long; to the end if it is left out
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import msgspec

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.definition import Fault, Setting, refused

MAX_SECONDS: Final = 366 * 86_400.0
"""Of a start and of a duration."""
_KEYS: Final = ("fault", "start", "seconds")


class Planned(msgspec.Struct, frozen=True):
    """A fault with its time, in seconds after the simulator's start; `seconds` is None for one that lasts."""

    setting: Setting
    start: float = 0.0
    seconds: float | None = None


def fault_named(name: str) -> Fault:
    """The fault of that name.

    Raises:
        UsageError: there is none.
    """
    fault = FAULTS.get(name)
    if fault is None:
        near = get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise refused(
            name, f"there is none of that name; {hint}`ps2daemon simulate live --list-faults` shows all"
        )
    return fault


def parse_fault(text: str) -> Setting:
    """What `NAME[:VALUE][@WORLD]` asks for.

    Raises:
        UsageError: no fault, or a value that it does not accept.
    """
    rest, at, world = text.strip().partition("@")
    name, colon, given = rest.partition(":")
    fault = fault_named(name)
    return Setting(
        fault, _value(fault, given if colon else None, text), _world(fault, world if at else None, text)
    )


def _value(fault: Fault, given: str | None, text: str) -> int | float | str | None:
    value = fault.value
    if value is None:
        if given is not None:
            raise refused(text, f"{fault.name} takes no value, but {given!r} was given")
        return None
    if given is None:
        if value.default is None:
            raise refused(text, f"{fault.name} needs a value: {fault.name}:{value.unit}, {value.accepted}")
        return value.default
    try:
        return value.parse(given)
    except (ValueError, OverflowError):
        raise refused(text, f"{given!r} is not accepted; accepted is {value.accepted}") from None


def _world(fault: Fault, given: str | None, text: str) -> int | None:
    if given is None:
        return None
    if not fault.of_events:
        raise refused(text, f"{fault.name} can't be limited to a world (@{given}); faults of events can")
    if not (given.isascii() and given.isdigit() and int(given) in tables.worlds()):
        known = ", ".join(map(str, tables.worlds()))
        raise refused(text, f"{given!r} is no world; known ones are {known}")
    return int(given)


def parse_seconds(given: object, what: str) -> float:
    """A time or a duration.

    Raises:
        UsageError: no number from 0 to `MAX_SECONDS`.
    """
    try:
        seconds = (
            float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else math.nan
        )
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0.0 <= seconds <= MAX_SECONDS:
        raise UsageError(f"{what} is {given!r}; accepted is a number of seconds from 0 to {MAX_SECONDS:.12g}")
    return seconds


def read_plan(path: Path) -> tuple[Planned, ...]:
    """The faults of a plan, in the order of the file.

    Raises:
        UsageError: the file can't be read, or says something that is no plan.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    entries = content.pop("fault", [])
    if content:
        raise UsageError(f"{path}: {next(iter(content))!r} is not accepted; accepted are tables [[fault]]")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: there is no table [[fault]]")
    return tuple(_planned(entry, f"{path}, fault {number}") for number, entry in enumerate(entries, 1))


def _planned(entry: object, where: str) -> Planned:
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: {entry!r} is not accepted; accepted are tables [[fault]]")
    for key in entry:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"{where}: {key!r} is not accepted; accepted are {', '.join(_KEYS)}{hint}")
    text = entry.get("fault")
    if not isinstance(text, str):
        raise UsageError(f'{where}: fault is {text!r}; accepted is a text such as "drop_logouts:30"')
    try:
        setting = parse_fault(text)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    start = parse_seconds(entry.get("start", 0), f"{where}: start")
    seconds = entry.get("seconds")
    return Planned(setting, start, None if seconds is None else parse_seconds(seconds, f"{where}: seconds"))
