"""The few documents that say something of the store as a whole, in an index of their own; read by id, so that each write is seen at once."""

from __future__ import annotations

from typing import Final

import msgspec

from ps2daemon.model.records import Ms
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.schema import Names
from ps2daemon.store.elasticsearch.server import Server

PENDING: Final = "pending"
RECORDS: Final = "records"
PRUNED: Final = "pruned"
COPYING: Final = "copying"


class Mark(msgspec.Struct, omit_defaults=True):
    """One of them; each uses what it needs.

    Attributes:
        number, characters, sessions: of the last commit, and what it was to change (`PENDING`).
        older: those of the sessions that are too old for their character to hold them, once it was written (`PENDING`).
        at: how far the records reach (`RECORDS`), or up to where they were pruned (`PRUNED`).
        place: of the store that is being copied into this one (`COPYING`).
    """

    number: int = 0
    characters: list[str] = []
    sessions: list[str] = []
    older: list[str] = []
    at: Ms | None = None
    place: str | None = None


async def read_mark(server: Server, names: Names, key: str) -> Mark:
    """A mark as it is now; one that says nothing if there is none."""
    (got,) = await searching.get(server, f"/{names.meta}", {"ids": [key]}, Mark)
    return got.source or Mark()
