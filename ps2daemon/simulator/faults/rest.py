"""Faults of REST: each changes an answer. The truth is not touched by any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

import msgspec

from ps2daemon.simulator.connection import Answer, Ending
from ps2daemon.simulator.faults.definition import Fault, Value
from ps2daemon.simulator.rest import MISSING, UNREGISTERED

Rows = list[dict[str, Any]]

_HTML: Final = (
    b"<!DOCTYPE html><html><head><title>PlanetSide 2</title></head><body><h1>Maintenance</h1></body></html>"
)
_TEXT_HTML: Final = "text/html;charset=utf-8"
_HOME: Final = "https://www.daybreakgames.com/home"
ERROR_BODIES: Final = {
    "service_unavailable": {"error": "service_unavailable"},
    "no_data": {"error": "No data found."},
    "bad_syntax": {"error": "Bad request syntax."},
    "missing_id": {"error": MISSING},
    "unregistered_id": {"error": UNREGISTERED},
    "server_error": {"errorCode": "SERVER_ERROR"},
    "search_term": {
        "errorCode": "SERVER_ERROR",
        "errorMessage": "INVALID_SEARCH_TERM: Invalid search term. Valid search terms: [...]",
    },
}
"""By what they are called here; the bodies are recorded ones (CENSUS.md 2.4)."""


def _of_rows(change: Callable[[Rows, Any], Rows]) -> Callable[[Answer, Any], Answer]:
    """A change to an answer's rows; what has none stays as it is."""

    def answer(answer: Answer, value: Any) -> Answer:
        try:
            content = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            return answer
        if not isinstance(content, dict) or "returned" not in content:
            return answer
        key = next(key for key in content if key.endswith("_list"))
        rows = change(content[key], value)
        return answer._replace(body=msgspec.json.encode({**content, key: rows, "returned": len(rows)}))

    return answer


def _draw(row: dict[str, Any]) -> int:
    return crc32(msgspec.json.encode(row))


def _partial(rows: Rows, percent: float) -> Rows:
    """The share is exact, and of one row nothing is left where it is not whole."""
    kept = sorted(rows, key=_draw)[: int(len(rows) * (100.0 - percent) / 100.0)]
    return [row for row in rows if row in kept]


def _reordered(rows: Rows, _: None) -> Rows:
    shuffled = sorted(rows, key=_draw)
    return shuffled if shuffled != rows else rows[::-1]


def _nameless(rows: Rows, _: None) -> Rows:
    return [{key: value for key, value in row.items() if key != "name"} for row in rows]


def _null_names(rows: Rows, _: None) -> Rows:
    return [{**row, "name": dict.fromkeys(row["name"], "null")} if "name" in row else row for row in rows]


def _empty(rows: Rows, _: None) -> Rows:
    return []


def _error_body(answer: Answer, which: str) -> Answer:
    return answer._replace(body=msgspec.json.encode(ERROR_BODIES[which]))


def _redirect(answer: Answer, _: None) -> Answer:
    return Answer(_HTML, status=302, content_type=_TEXT_HTML, location=_HOME)


def _html(answer: Answer, _: None) -> Answer:
    return answer._replace(body=_HTML, content_type=_TEXT_HTML)


def _text_html(answer: Answer, _: None) -> Answer:
    return answer._replace(content_type=_TEXT_HTML)


def _status(answer: Answer, status: int) -> Answer:
    return answer._replace(status=status)


def _trickle(answer: Answer, seconds: float) -> Answer:
    return answer._replace(seconds=seconds)


def _reset(answer: Answer, _: None) -> Answer:
    return answer._replace(ending=Ending.RESET)


def _down(answer: Answer, _: None) -> Answer:
    return answer._replace(ending=Ending.NOTHING)


def _fault(
    name: str, quirk: str, effect: str, answer: Callable[[Answer, Any], Answer], value: Value | None = None
) -> Fault:
    return Fault(
        name=name, quirk=quirk, place="rest", effect=effect, truth="is not touched", value=value, answer=answer
    )  # fmt: skip


FAULTS: Final = (
    Fault(
        name="rest_missing_first_session",
        quirk="R1",
        place="rest",
        effect="the new are unknown (always on)",
        truth="is not touched",
        from_start=True,  # REST itself asks whether it is on
    ),
    _fault("rest_nameless", "R10", "rows without name", _of_rows(_nameless)),
    _fault("rest_null_names", "R10", 'names are the text "null"', _of_rows(_null_names)),
    _fault(
        "rest_partial",
        "R11",
        "that share of the rows is missing",
        _of_rows(_partial),
        Value(unit="PERCENT", default=50, low=0, high=100),
    ),
    _fault("rest_reordered", "R11", "rows in another order", _of_rows(_reordered)),
    _fault("rest_empty", "R9", "no rows", _of_rows(_empty)),
    _fault(
        "rest_error_body",
        "R5 R8",
        "an error, status 200",
        _error_body,
        Value(unit="WHICH", default="service_unavailable", choices=tuple(ERROR_BODIES)),
    ),
    _fault("rest_html", "R4", "a web page with status 200", _html),
    _fault("rest_text_html", "R4", "JSON that is called text/html", _text_html),
    _fault(
        "rest_status",
        "2.4",
        "the right body, this HTTP status",
        _status,
        Value(unit="STATUS", default=503, low=400, high=599, whole=True),
    ),
    _fault("rest_redirect", "R3", "302 to a web page", _redirect),
    _fault(
        "rest_trickle",
        "R7",
        "the body takes so long",
        _trickle,
        Value(unit="SECONDS", default=30, low=0, high=3_600),
    ),
    _fault("rest_reset", "R6", "reset in the middle of the body", _reset),
    _fault("rest_down", "R5", "no answer, while the stream is fine", _down),
)
