"""Answers that list what is stored, beside those of `documents`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ps2daemon.analysis.alerts import AlertView
from ps2daemon.analysis.documents import alert_document, alert_view_document, lock_document, note_document
from ps2daemon.analysis.view import Now
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.notes import Note
from ps2daemon.model.times import iso

if TYPE_CHECKING:
    # It brings numpy, which most commands do without.
    from ps2daemon.analysis import answers


def worlds_answer(spans: Mapping[int, Sequence[Span]]) -> answers.WorldsAnswer:
    """The worlds, with how far each is recorded.

    Args:
        spans: all that are stored, by world.
    """
    return {"worlds": [_world(world, WorldCoverage(of_world)) for world, of_world in spans.items()]}


def _world(world_id: int, coverage: WorldCoverage) -> answers.WorldRow:
    return {
        "world_id": world_id,
        "name": tables.world_name(world_id),
        "recorded_from": iso(coverage.spans[0].start) if coverage.spans else None,
        "recorded_until": None if coverage.end is None else iso(coverage.end),
    }


def now_answer(found: Iterable[Now]) -> answers.NowAnswer:
    """Who was online at the latest instant that each world's coverage vouches for."""
    return {
        "worlds": [
            {
                "world_id": each.world_id,
                "name": tables.world_name(each.world_id),
                "at": None if each.at is None else iso(each.at),
                "online": [
                    {"faction_id": faction, "online": people} for faction, people in each.online.items()
                ],
                "total": None if each.at is None else sum(each.online.values()),
            }
            for each in found
        ]
    }


def alerts_answer(found: Iterable[Alert | AlertView]) -> answers.AlertsAnswer:
    """Alerts, by themselves or with the people around them."""
    return {
        "alerts": [
            alert_document(each) if isinstance(each, Alert) else alert_view_document(each) for each in found
        ]
    }


def locks_answer(found: Iterable[Lock]) -> answers.LocksAnswer:
    """Continent locks."""
    return {"locks": [lock_document(each) for each in found]}


def notes_answer(found: Iterable[Note]) -> answers.NotesAnswer:
    """The operator's notes."""
    return {"notes": [note_document(each) for each in found]}
