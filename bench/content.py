"""All that a store holds."""

from __future__ import annotations

import msgspec

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.notes import Note
from ps2daemon.model.records import LAST_MS, Ms
from ps2daemon.store.base import CharacterDocument, SessionDocument, StoreReader


class Content(msgspec.Struct, frozen=True):
    """All documents of a store, each kind by id."""

    characters: dict[str, CharacterDocument]
    sessions: dict[str, SessionDocument]
    alerts: dict[str, Alert]
    locks: dict[str, Lock]
    spans: list[Span]
    records_until: Ms | None
    counts: dict[str, int]
    notes: list[Note]


async def content(store: StoreReader) -> Content:
    """What the store holds."""
    return Content(
        {found.character_id: found async for found in store.all_characters()},
        {found.session_id: found async for found in store.all_sessions(None, None, None)},
        {found.alert_id: found for found in await store.alerts(0, LAST_MS, None)},
        {found.lock_id: found for found in await store.locks(0, LAST_MS, None)},
        await store.spans(),
        await store.records_until(),
        await store.counts(),
        await store.notes(None, None, None),
    )
