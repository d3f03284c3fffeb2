"""The operator's notes in the file: few, so that whoever asks reads all of a window and leaves out other worlds'."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from ps2daemon.model.notes import Note
from ps2daemon.model.records import LAST_MS, Ms
from ps2daemon.store.sqlite.connection import transaction

_NOTES: Final = """
SELECT note_id, at, world_ids, text FROM notes WHERE at >= ? AND at < ? ORDER BY at, note_id
"""
_worlds: Final = msgspec.json.Decoder(tuple[int, ...])


def notes(connection: sqlite3.Connection, start: Ms | None, end: Ms | None) -> list[Note]:
    """The notes of `[start, end)`, whatever worlds they are about."""
    window = (0 if start is None else start, LAST_MS if end is None else end)
    return [
        Note(note_id, at, _worlds.decode(world_ids), text)
        for note_id, at, world_ids, text in connection.execute(_NOTES, window)
    ]


def write_note(connection: sqlite3.Connection, note: Note) -> None:
    """See `Store.write_note`."""
    row = (note.note_id, note.at, msgspec.json.encode(note.world_ids).decode(), note.text)
    with transaction(connection):
        connection.execute(
            "INSERT OR REPLACE INTO notes (note_id, at, world_ids, text) VALUES (?, ?, ?, ?)", row
        )


def remove_note(connection: sqlite3.Connection, note_id: str) -> bool:
    """See `Store.remove_note`."""
    with transaction(connection):
        return connection.execute("DELETE FROM notes WHERE note_id = ?", (note_id,)).rowcount > 0
