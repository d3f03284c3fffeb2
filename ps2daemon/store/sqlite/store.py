"""The SQLite file as a `Store`."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import trio

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span, after_pruning
from ps2daemon.model.notes import Note
from ps2daemon.model.records import DAY, LAST_MS, Ms
from ps2daemon.model.times import iso, month_of, next_month, parse_iso
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Committed,
    Count,
    Edge,
    Endings,
    Month,
    SessionDocument,
    Stored,
    StoreDescription,
    UnknownStart,
    Unsettled,
)
from ps2daemon.store.days import Edges, Pace, Versions
from ps2daemon.store.sqlite import keeping, notes, reading, rows, schema, writing
from ps2daemon.store.sqlite.connection import Caller, Readers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ps2daemon.model.differences import Differences
    from ps2daemon.model.sittings import Sittings

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

READERS: Final = 2
"""So many reads run at once, beside the writer; a page that asks for more waits."""
PAGE: Final = 500
"""Documents read with one call of an export: at 5 KB a character, 2.5 MB."""
LOADED: Final = 1000
"""Characters loaded with one call."""


class SqliteStore:
    """See `Store` for the promises. One process at a time writes; made by `open`.

    Reading has connections of its own, so that neither waits for the other. A read sees the file as of one moment, but for
    `all_sessions` and `all_characters`, which see each page as of its moment.
    """

    remote = False  # this process does all the work itself: looking ahead costs 5 MB and gains no time
    pace = Pace(counts=0, reads=sys.maxsize)

    def __init__(self, path: Path, writer: Caller | None, readers: Readers) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> SqliteStore:
        """Opens the store at `path`; a new one is made unless `read_only`.

        A reader may be of another process than the writer, and come and go at any time.

        Raises:
            ConfigError: the path can't be written.
            StoreMismatch: no store of this program, one of a newer version, or, for a reader, none at all.
            StoreUnavailable: it is locked, or the disk does not do what it should.
        """
        if read_only:
            await trio.to_thread.run_sync(schema.check_reader, path)
            return cls(path, None, Readers(path, READERS))
        writer = await trio.to_thread.run_sync(schema.open_writer, path)
        return cls(path, Caller(path, writer), Readers(path, READERS))

    async def aclose(self) -> None:
        """Releases the files; nothing may be asked any more."""
        with trio.CancelScope(shield=True):  # the last one to close moves the log into the file
            await self._readers.aclose()
            if self._writer is not None:
                await self._writer.call(sqlite3.Connection.close)

    # What the ledger asks

    async def commit(self, commit: Commit) -> Committed:
        """In one transaction.

        Raises:
            StoreConflict: a character is no longer what it was; nothing was written.
        """
        await self._write(writing.write, commit)
        return Committed(
            {stored.document.character_id: stored.version + 1 for stored in commit.characters}, {}
        )

    async def load_characters(self, character_ids: Collection[str]) -> dict[str, Stored]:
        ids = list(character_ids)
        found: dict[str, Stored] = {}
        for first in range(0, len(ids), LOADED):
            part = rows.id_list(ids[first : first + LOADED])
            for stored in await self._own(reading.load_characters, part):
                found[stored.document.character_id] = stored
        return found

    async def known_edges(self, edges: Collection[Edge]) -> set[Edge]:
        return await self._own(reading.known_edges, edges)

    async def unnamed_sessions(self, character_ids: Collection[str]) -> list[SessionDocument]:
        return await self._own(reading.unnamed_sessions, rows.id_list(character_ids))

    async def refresh(self) -> None:
        await trio.lowlevel.checkpoint()

    async def unsettled(self) -> list[Unsettled]:
        return await self._own(reading.unsettled)

    async def estimated(self, world_id: int, start: Ms, end: Ms, after: str, limit: int) -> list[str]:
        return await self._own(reading.estimated, world_id, start, end, after, limit)

    async def open_since(self, login_before: Ms, after: str, limit: int) -> list[str]:
        return await self._own(reading.open_since, login_before, after, limit)

    async def running_alerts(self) -> list[tuple[int, Ms]]:
        return await self._own(reading.running_alerts)

    async def unnamed(self, after: str, limit: int) -> list[str]:
        return await self._own(reading.unnamed, after, limit)

    # What moving and keeping asks

    async def describe(self) -> StoreDescription:
        return await self._read(keeping.describe, self._path)

    async def months(self) -> list[Month]:
        sessions: dict[str, int] = {}
        at = 0
        while (found := await self._read(keeping.first_session, at)) is not None:
            at = next_month(found)
            sessions[iso(found)[:7]] = await self._read(keeping.sessions_between, month_of(found), at)
        alerts = await self._read(keeping.by_month, keeping.ALERTS_BY_MONTH)
        locks = await self._read(keeping.by_month, keeping.LOCKS_BY_MONTH)
        return [
            Month(parse_iso(f"{month}-01"), sessions.get(month, 0), alerts.get(month, 0), locks.get(month, 0))
            for month in sorted(sessions.keys() | alerts.keys() | locks.keys())
        ]

    async def stored_spans(self) -> list[Span]:
        return await self._read(reading.spans, None, None, None)

    async def pruned_until(self) -> Ms | None:
        return await self._read(reading.meta, "pruned_until")

    async def copying(self) -> str | None:
        return await self._read(keeping.copying)

    async def latest_end(self, before: Ms) -> Ms | None:
        worlds = await self.worlds()
        return max(
            await self._each(worlds, lambda c, world_id: keeping.latest_end(c, before, world_id)),
            default=None,
        )

    async def drop_sessions(self, before: Ms, limit: int) -> int:
        return await self._write(keeping.drop_sessions, before, limit)

    async def mark_copying(self, place: str | None) -> None:
        await self._write(keeping.mark_copying, place)

    async def write_note(self, note: Note) -> None:
        await self._write(notes.write_note, note)

    async def remove_note(self, note_id: str) -> bool:
        return await self._write(notes.remove_note, note_id)

    # What readers ask

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        return await self._each(
            worlds, lambda connection, world_id: reading.online_at(connection, at, world_id)
        )

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        if end <= start:
            return {}

        def of_world(
            connection: sqlite3.Connection, world_id: int
        ) -> Iterable[tuple[tuple[int, int], NDArray[np.int64]]]:
            return reading.changes(connection, start, end, step, world_id).items()

        return dict(await self._each(worlds, of_world))

    async def edges(self, start: Ms, end: Ms, world_id: int) -> Edges:
        return await self._read(reading.edges, start, end, world_id)

    async def ended(self, start: Ms, end: Ms, world_id: int) -> Sittings:
        return await self._read(reading.ended, start, end, world_id)

    async def lasting(self, days: range, before: Ms, world_id: int) -> Sittings:
        return await self._read(reading.lasting, days.stop * DAY, before, world_id)

    async def day_versions(self, days: range, worlds: Collection[int]) -> Versions:
        return await self._versions(reading.DAY_VERSIONS, days, worlds)

    async def change_versions(self, days: range, worlds: Collection[int]) -> Versions:
        return await self.day_versions(days, worlds)  # one number for both

    async def endings(self, start: Ms, end: Ms, world_id: int) -> Endings:
        return await self._read(reading.endings, start, end, world_id)

    async def endless(self, before: Ms, worlds: Collection[int]) -> list[Alert]:
        return await self._each(worlds, lambda c, world_id: reading.endless(c, before, world_id))

    async def ending_versions(self, days: range, worlds: Collection[int]) -> Versions:
        return await self._versions(reading.ENDING_VERSIONS, days, worlds)

    async def _versions(self, statement: str, days: range, worlds: Collection[int]) -> Versions:
        found = await self._each(worlds, lambda c, world_id: reading.versions(c, statement, days, world_id))
        return dict(found)

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, Sittings]:
        from ps2daemon.model.sittings import joined  # numpy, without which most commands do

        def of_world(connection: sqlite3.Connection, world_id: int) -> list[tuple[int, Sittings]]:
            over = reading.ended(connection, start, end + DAY, world_id)
            others = reading.lasting(connection, end + DAY, end, world_id)
            return [(world_id, joined([over, others]).within(start, end))]

        return dict(await self._each(worlds, of_world))

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        return await self._each(worlds, lambda c, world_id: reading.unknown_starts(c, start, end, world_id))

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        every = (None,) if worlds is None else sorted(set(worlds))
        async with self._readers.lend() as caller, caller.snapshot():
            pruned = await caller.call(reading.meta, "pruned_until")
            found = [
                span for world_id in every for span in await caller.call(reading.spans, world_id, start, end)
            ]
        return after_pruning(found, pruned, start, end)

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        if worlds is None:
            worlds = await self._read(reading.worlds_with, reading.ALERT_WORLDS)
        found = await self._each(worlds, lambda c, world_id: reading.alerts(c, start, end, world_id))
        return sorted(found, key=lambda alert: (alert.changes[0].at, alert.alert_id))

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        if worlds is None:
            worlds = await self._read(reading.worlds_with, reading.LOCK_WORLDS)
        found = await self._each(worlds, lambda c, world_id: reading.locks(c, start, end, world_id))
        return sorted(found, key=lambda lock: (lock.at, lock.lock_id))

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        found = await self._read(notes.notes, start, end)
        return [note for note in found if worlds is None or note.concerns(worlds)]

    async def worlds(self) -> list[int]:
        return await self._read(reading.worlds)

    async def records_until(self) -> Ms | None:
        return await self._read(reading.records_until)

    async def counts(self) -> dict[str, int]:
        return await self._read(reading.counts)

    async def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        place: rows.Row = (0 if start is None else start, "", False)
        while True:
            page = await self._read(reading.sessions_page, place, LAST_MS if end is None else end, PAGE)
            for document in page:
                if worlds is None or document.world_id in worlds:
                    yield document
            if len(page) < PAGE:
                return
            place = rows.session_key(page[-1].session_id)

    async def all_characters(self) -> AsyncIterator[CharacterDocument]:
        after = ""
        while True:
            page = await self._read(reading.characters_page, after, PAGE)
            for document in page:
                yield document
            if len(page) < PAGE:
                return
            after = page[-1].character_id

    # How it is asked

    async def _own(self, function: Callable[[sqlite3.Connection, *Ts], T], *args: *Ts) -> T:
        """What the writer asks; it waits for no other reader."""
        if self._writer is None:
            return await self._read(function, *args)
        return await self._writer.call(function, *args)

    async def _write(self, function: Callable[[sqlite3.Connection, *Ts], T], *args: *Ts) -> T:
        if self._writer is None:
            raise ValueError("the store was opened for reading")
        return await self._writer.call(function, *args)

    async def _read(self, function: Callable[[sqlite3.Connection, *Ts], T], *args: *Ts) -> T:
        async with self._readers.lend() as caller:
            return await caller.call(function, *args)

    async def _each(
        self, worlds: Iterable[int], function: Callable[[sqlite3.Connection, int], Iterable[T]]
    ) -> list[T]:
        """What `function` finds of each world, one after the other, all as of one moment."""
        found: list[T] = []
        async with self._readers.lend() as caller, caller.snapshot():
            for world_id in sorted(set(worlds)):
                found.extend(await caller.call(function, world_id))
        return found
