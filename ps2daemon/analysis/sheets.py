"""Answers as rows and columns: what CSV has, on the command line and over HTTP alike.

An object becomes a column for each of its parts (`territory_start.vs`), a list is JSON, a truth is `true` or `false`, and what is not known or absent is empty.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO, TypeAlias

import msgspec

from ps2daemon.analysis.documents import (
    ALERT_VIEW_FIELDS,
    COVERAGE_FIELDS,
    EFFECT_FIELDS,
    LOCK_FIELDS,
    NOTE_FIELDS,
    WEEK_FIELDS,
)
from ps2daemon.analysis.rhythm_documents import DAY_FIELDS, HOUR_FIELDS

if TYPE_CHECKING:
    from ps2daemon.analysis import answers, rhythm_answers

NESTED: Final = {
    "online": ("gte", "lte"),
    "territory_start": ("vs", "nc", "tr"),
    "territory_end": ("vs", "nc", "tr"),
}
"""Objects of the stored documents, and their parts."""
WORLD_FIELDS: Final = ("world_id", "name", "recorded_from", "recorded_until")
NOW_FIELDS: Final = ("world_id", "name", "at", "faction_id", "online")
POPULATION_FIELDS: Final = ("time", "world_id", "faction_id", "online")
OVERLAY_FIELDS: Final = (*POPULATION_FIELDS, "back", "earlier_time", "earlier_online", "difference", "ratio")
EFFECT_SHEET_FIELDS: Final = ("of", *EFFECT_FIELDS[:4], "people", *EFFECT_FIELDS[4:])
TERMS: Final = ("unit", "nso")
"""Columns of the two above, where the answer has them."""
CURVE_FIELDS: Final = ("of", "event", "n", "minute", "events", "low", "high", "controls")
TREND_FIELDS: Final = ("world_id", "faction_id", *WEEK_FIELDS)

Row: TypeAlias = Mapping[str, Any]


class Sheet(NamedTuple):
    """Names of columns, and the rows; what a row has beside these is left out. A column `a.b` is the part `b` of the object `a`."""

    columns: Sequence[str]
    rows: Iterable[Row]


def columns_of(fields: Iterable[str]) -> tuple[str, ...]:
    """The columns of a stored document's fields, its objects taken apart."""
    return tuple(
        name
        for field in fields
        for name in ([f"{field}.{part}" for part in NESTED[field]] if field in NESTED else [field])
    )


def row_writer(text: TextIO, columns: Sequence[str]) -> Callable[[Row], None]:
    """Writes the line of names, and returns what writes a row."""
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    places = [(field, part) for field, _, part in (name.partition(".") for name in columns)]

    def write(row: Row) -> None:
        writer.writerow([_cell(row.get(field), part) for field, part in places])

    return write


def _cell(value: Any, part: str) -> object:
    if value is None:
        return None
    if part:
        return _cell(value.get(part), "")
    if value is True or value is False:
        return "true" if value else "false"
    return msgspec.json.encode(value).decode() if isinstance(value, (list, tuple)) else value


def write_sheet(text: TextIO, sheet: Sheet) -> None:
    """All of it as CSV."""
    write = row_writer(text, sheet.columns)
    for row in sheet.rows:
        write(row)


def worlds_sheet(answer: answers.WorldsAnswer) -> Sheet:
    """One row a world."""
    return Sheet(WORLD_FIELDS, answer["worlds"])


def now_sheet(answer: answers.NowAnswer) -> Sheet:
    """One row a world and empire; a world that was never recorded has one with nothing in it."""
    nobody: tuple[Row, ...] = ({"online": None},)
    rows = ({**world, **people} for world in answer["worlds"] for people in world["online"] or nobody)
    return Sheet(NOW_FIELDS, rows)


def population_sheet(answer: answers.PopulationAnswer) -> Sheet:
    """One row an instant, world and empire; an instant that is not covered has an empty `online`. All empires together have no `faction_id`."""
    terms = _terms(answer)
    rows = (
        {
            "time": at,
            "world_id": series["world_id"],
            "faction_id": series["faction_id"],
            "online": series["online"][index],
            **terms,
        }
        for index, at in enumerate(answer["times"])
        for series in answer["series"]
    )
    return Sheet((*POPULATION_FIELDS, *terms), rows)


def _terms(answer: answers.PopulationAnswer) -> Row:
    return {name: answer[name] for name in TERMS if name in answer}


def overlay_sheet(answer: answers.OverlayAnswer) -> Sheet:
    """One row for each instant, world, empire and earlier period, with the people then, the difference and the ratio."""
    terms = _terms(answer)
    rows = (
        {
            "time": at,
            "world_id": now["world_id"],
            "faction_id": now["faction_id"],
            "online": now["online"][index],
            "back": earlier["back"],
            "earlier_time": earlier["times"][index],
            "earlier_online": then["online"][index],
            "difference": then["difference"][index],
            "ratio": then["ratio"][index],
            **terms,
        }
        for earlier in answer["earlier"]
        for now, then in zip(answer["series"], earlier["series"], strict=True)
        for index, at in enumerate(answer["times"])
    )
    return Sheet((*OVERLAY_FIELDS, *terms), rows)


def alerts_sheet(answer: answers.AlertsAnswer) -> Sheet:
    """One row an alert; the people before, in and after it are empty where they were not recorded, or not asked for."""
    return Sheet(columns_of(ALERT_VIEW_FIELDS), answer["alerts"])


def locks_sheet(answer: answers.LocksAnswer) -> Sheet:
    """One row a lock."""
    return Sheet(LOCK_FIELDS, answer["locks"])


def notes_sheet(answer: answers.NotesAnswer) -> Sheet:
    """One row a note."""
    return Sheet(NOTE_FIELDS, answer["notes"])


def coverage_sheet(answer: answers.CoverageAnswer) -> Sheet:
    """One row a span."""
    return Sheet(COVERAGE_FIELDS, answer["coverage"])


def effect_sheet(answer: answers.EffectAnswer) -> Sheet:
    """One row a kind of event, group and span; `of` is empty for all events together."""
    return Sheet(EFFECT_SHEET_FIELDS, answer["effects"])


def curves_sheet(answer: answers.CurvesAnswer) -> Sheet:
    """One row a kind of event and minute; `of` is empty for all events together."""
    rows = (
        {
            "of": curve["of"],
            "event": curve["event"],
            "n": curve["n"],
            "minute": minute,
            "events": curve["events"][place],
            "low": curve["low"][place],
            "high": curve["high"][place],
            "controls": curve["controls"][place],
        }
        for curve in answer["curves"]
        for place, minute in enumerate(curve["minutes"])
    )
    return Sheet(CURVE_FIELDS, rows)


def trends_sheet(answer: answers.TrendsAnswer) -> Sheet:
    """One row a week, world and empire; all empires together have none."""
    rows = (
        {"world_id": trend["world_id"], "faction_id": trend["faction_id"], **week}
        for trend in answer["trends"]
        for week in trend["weeks"]
    )
    return Sheet(TREND_FIELDS, rows)


def days_sheet(answer: rhythm_answers.DaysAnswer) -> Sheet:
    """One row a world and day."""
    return Sheet(DAY_FIELDS, answer["days"])


def hours_sheet(answer: rhythm_answers.HoursAnswer) -> Sheet:
    """One row a world and hour of the week."""
    return Sheet(HOUR_FIELDS, answer["hours"])
