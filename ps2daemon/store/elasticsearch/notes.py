"""The operator's notes, in an index of their own; each write is seen by searches when it returns."""

from __future__ import annotations

from typing import Final

import msgspec

from ps2daemon.model.notes import Note
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.schema import Names, Schema
from ps2daemon.store.elasticsearch.server import Server

_SHOWN: Final = {"refresh": "true"}
"""A few a month, so that this costs nobody anything."""


async def write_note(server: Server, schema: Schema, names: Names, note: Note) -> None:
    """See `Store.write_note`."""
    await schema.ensure([names.notes])
    await server.ask("PUT", f"/{names.notes}/_doc/{note.note_id}", note, params=_SHOWN, type=msgspec.Raw)


async def remove_note(server: Server, names: Names, note_id: str) -> bool:
    """See `Store.remove_note`."""
    # Whatever a person gives as an id is only ever in a body; what is in an address is the id of a note that is there.
    (got,) = await searching.get(server, f"/{names.notes}", {"ids": [note_id]}, Note)
    if got.found:
        path = f"/{names.notes}/_doc/{got.id}"
        await server.ask("DELETE", path, params=_SHOWN, type=msgspec.Raw, absent=msgspec.Raw(b"{}"))
    return got.found
