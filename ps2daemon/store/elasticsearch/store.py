"""The indices of one prefix as a `Store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from ps2daemon.config import ElasticsearchSettings
from ps2daemon.errors import StoreError, StoreMissing, StoreUnavailable
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span, after_pruning
from ps2daemon.model.notes import Note
from ps2daemon.model.records import Ms
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
from ps2daemon.store.days import Pace, Versions
from ps2daemon.store.elasticsearch import (
    alerts,
    documents,
    keeping,
    notes,
    searching,
    series,
    sittings,
    versions,
)
from ps2daemon.store.elasticsearch.documents import SessionSource, SpanSource
from ps2daemon.store.elasticsearch.edges import known_edges
from ps2daemon.store.elasticsearch.marks import COPYING, PRUNED, RECORDS, Mark, read_mark
from ps2daemon.store.elasticsearch.schema import Names, Schema
from ps2daemon.store.elasticsearch.searching import between, both, of_worlds, term, terms
from ps2daemon.store.elasticsearch.server import Server
from ps2daemon.store.elasticsearch.writing import Writing

if TYPE_CHECKING:
    from ps2daemon.model.differences import Differences
    from ps2daemon.model.sittings import Sittings

FINISH_SECONDS: Final = 1.0

T = TypeVar("T")


class ElasticsearchStore:
    """See `Store` for the promises; made by `open`. One process at a time writes.

    The server need not be there when the store is opened: until it is, every call raises `StoreUnavailable`, and the daemon records meanwhile.
    """

    remote = True
    pace = Pace(counts=28, reads=4)

    def __init__(self, settings: ElasticsearchSettings, *, read_only: bool) -> None:
        self._names = Names(settings.index_prefix)
        self._server = Server(settings)
        self._schema = Schema(self._server, self._names, settings.replicas)
        self._writing = None if read_only else Writing(self._server, self._schema, self._names)
        self._connecting = trio.Lock()
        self._connected = False

    @classmethod
    async def open(cls, settings: ElasticsearchSettings, *, read_only: bool = False) -> ElasticsearchStore:
        """Opens the store; indices and templates are made, or brought up to date, unless `read_only`.

        Raises:
            ConfigError: a setting can't be used.
            StoreMismatch: no Elasticsearch of a version that is known, indices that are not this program's or of a newer version, or, for
                a reader, none at all.
        """
        store = cls(settings, read_only=read_only)
        try:
            await store._connect()
        except StoreUnavailable:
            pass  # the first call tries again, and says so
        except BaseException:
            await store.aclose()
            raise
        return store

    async def aclose(self) -> None:
        """Closes the connections; nothing may be asked any more."""
        with trio.CancelScope(shield=True):
            if self._writing is not None and self._connected:
                with trio.move_on_after(FINISH_SECONDS), suppress(StoreError):
                    await self._writing.finish()
            await self._server.aclose()

    async def _connect(self) -> None:
        async with self._connecting:
            if self._connected:
                return
            await self._server.version()
            if self._writing is not None:
                await self._schema.install()
            elif not await self._schema.check():
                raise StoreMissing(
                    f"there is no store at {self._server.name} with store.index_prefix {self._names.prefix!r} yet: "
                    "start `ps2daemon run` first, or make it with `ps2daemon store init`, or set another one"
                )
            self._connected = True

    async def _whole(self) -> Writing | None:
        """Makes sure that the server is there, and that no commit is half done."""
        if not self._connected:
            await self._connect()
        writing = self._writing
        if writing is not None and writing.broken:
            async with self._connecting:
                if writing.broken:
                    await writing.repair()
        return writing

    # What the ledger asks

    async def commit(self, commit: Commit) -> Committed:
        """See `writing` for the order.

        Raises:
            StoreConflict: a character is no longer what it was; the next call makes whole what was written.
        """
        writing = await self._own()
        try:
            return await writing.write(commit)
        except StoreUnavailable:
            self._schema.forget()  # it may not be the same server any more
            raise

    async def load_characters(self, character_ids: Collection[str]) -> dict[str, Stored]:
        return await (await self._writer()).load(character_ids)

    async def known_edges(self, edges: Collection[Edge]) -> set[Edge]:
        writing = await self._writer()
        if any(not edge.login for edge in edges):
            await writing.refresh()
        return await known_edges(self._server, self._names, list(edges))

    async def unnamed_sessions(self, character_ids: Collection[str]) -> list[SessionDocument]:
        await self._whole()
        if not character_ids:
            return []
        query = both(term("faction_id", 0), terms("character_id", character_ids))
        return [
            documents.session_of(hit.id, hit.source)
            async for hits in searching.pages(
                self._server, self._names.sessions, SessionSource, query=query, sort=("first_ts",)
            )
            for hit in hits
        ]

    async def refresh(self) -> None:
        writing = await self._whole()
        if writing is not None:
            await writing.refresh()

    async def unsettled(self) -> list[Unsettled]:
        await self._visible()
        return await self._search(
            self._names.unsettled, Unsettled, {"match_all": {}}, "world_id", "start", "end", "id"
        )

    async def estimated(self, world_id: int, start: Ms, end: Ms, after: str, limit: int) -> list[str]:
        await self._whole()
        query = searching.estimated(world_id, start, end, after)
        return await searching.characters_with(self._server, self._names.sessions, query, limit)

    async def open_since(self, login_before: Ms, after: str, limit: int) -> list[str]:
        await self._whole()
        query = both(
            searching.is_open(), between("login_ts", lte=login_before), between("character_id", gt=after)
        )
        return await searching.characters_with(self._server, self._names.sessions, query, limit)

    async def running_alerts(self) -> list[tuple[int, Ms]]:
        await self._visible()
        found = await alerts.endless(self._server, self._names, None, None)
        return sorted((alert.world_id, alert.changes[0].at) for alert in found)

    async def unnamed(self, after: str, limit: int) -> list[str]:
        writing = await self._whole()
        if writing is not None and not after:  # once a round; what comes later is the next round's
            await writing.refresh(self._names.characters)
        query = both(term("named", False), between("character_id", gt=after))
        return await searching.characters_with(self._server, self._names.characters, query, limit)

    # What moving and keeping asks

    async def describe(self) -> StoreDescription:
        await self._whole()
        return await keeping.describe(self._server, self._names)

    async def months(self) -> list[Month]:
        await self._whole()
        return await keeping.months(self._server, self._names)

    async def stored_spans(self) -> list[Span]:
        return await self._spans()

    async def pruned_until(self) -> Ms | None:
        return (await self._mark(PRUNED)).at

    async def latest_end(self, before: Ms) -> Ms | None:
        await self._whole()
        return await keeping.latest_end(self._server, self._names, before)

    async def copying(self) -> str | None:
        return (await self._mark(COPYING)).place

    async def drop_sessions(self, before: Ms, limit: int) -> int:
        writing = await self._own()
        await writing.refresh()
        try:
            return await keeping.drop_month(self._server, self._names, before)
        finally:
            self._schema.forget()

    async def mark_copying(self, place: str | None) -> None:
        await (await self._own()).mark_copying(place)

    async def write_note(self, note: Note) -> None:
        await self._connect_to_write()
        await notes.write_note(self._server, self._schema, self._names, note)

    async def remove_note(self, note_id: str) -> bool:
        await self._connect_to_write()
        return await notes.remove_note(self._server, self._names, note_id)

    # What readers ask

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        await self._whole()
        return await series.online_at(self._server, self._names.sessions, at, worlds)

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        await self._whole()
        return await series.changes(self._server, self._names.sessions, start, end, step, worlds)

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, Sittings]:
        await self._whole()
        return await sittings.sittings(self._server, self._names.sessions, start, end, worlds)

    async def ended(self, start: Ms, end: Ms, world_id: int) -> Sittings:
        await self._whole()
        return await sittings.ended(self._server, self._names.sessions, start, end, world_id)

    async def lasting(self, days: range, before: Ms, world_id: int) -> Sittings:
        await self._whole()
        return await sittings.lasting(self._server, self._names.sessions, days, before, world_id)

    async def day_versions(self, days: range, worlds: Collection[int]) -> Versions:
        await self._whole()
        return await versions.day_versions(self._server, self._names, days, worlds)

    async def change_versions(self, days: range, worlds: Collection[int]) -> Versions:
        await self._whole()
        return await versions.change_versions(self._server, self._names, days, worlds)

    async def ending_versions(self, days: range, worlds: Collection[int]) -> Versions:
        await self._whole()
        return await versions.ending_versions(self._server, self._names, days, worlds)

    async def lives(self) -> Mapping[str, str]:
        await self._whole()
        return await versions.lives(self._server, self._names)

    async def endings(self, start: Ms, end: Ms, world_id: int) -> Endings:
        await self._visible()
        ended = await alerts.ended(self._server, self._names, start, end, world_id)
        locked = await alerts.locks(self._server, self._names, start + 1, end + 1, (world_id,))
        unknown = await self.unknown_starts(start, end, (world_id,))
        return Endings(tuple(ended), tuple(locked), tuple(unknown))

    async def endless(self, before: Ms, worlds: Collection[int]) -> list[Alert]:
        await self._visible()
        return await alerts.endless(self._server, self._names, before, worlds)

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        await self._whole()
        return await sittings.unknown_starts(self._server, self._names.sessions, start, end, worlds)

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        found = await self._spans(worlds, start, end)
        return after_pruning(found, await self.pruned_until(), start, end)

    async def _spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        await self.refresh()
        query = both(between("to", gte=start), between("from", lte=end), *of_worlds(worlds))
        found = await self._search(self._names.coverage, SpanSource, query, "from", "world_id")
        return sorted(
            (documents.span_of(source) for source in found), key=lambda span: (span.world_id, span.start)
        )

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        await self._visible()
        return await alerts.alerts(self._server, self._names, start, end, worlds)

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        await self._visible()
        return await alerts.locks(self._server, self._names, start, end, worlds)

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        await self._whole()
        window = between("at", gte=start, lt=end)
        found = await self._search(self._names.notes, Note, window, "at", "note_id")
        return [note for note in found if worlds is None or note.concerns(worlds)]

    async def worlds(self) -> list[int]:
        await self._whole()
        found = await series.worlds_with(self._server, self._names.sessions)
        return sorted(found | await series.worlds_with(self._server, self._names.coverage))

    async def records_until(self) -> Ms | None:
        return (await self._mark(RECORDS)).at

    async def counts(self) -> dict[str, int]:
        await self._whole()
        names = self._names
        everything: searching.Query = {"match_all": {}}
        questions = {
            "characters": (names.characters, everything),
            "unnamed": (names.characters, term("named", False)),
            "sessions": (names.sessions, everything),
            "open": (names.sessions, searching.is_open()),
            "alerts": (names.alerts, everything),
            "locks": (names.locks, everything),
            "spans": (names.coverage, everything),
            "notes": (names.notes, everything),
        }
        counted = await searching.count(self._server, list(questions.values()))
        return dict(zip(questions, counted, strict=True))

    async def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        await self._whole()
        every = keeping.all_sessions(self._server, self._names, start, end, worlds)
        async with aclosing(every) as found:
            async for document in found:
                yield document

    async def all_characters(self) -> AsyncIterator[CharacterDocument]:
        await self._whole()
        async with aclosing(keeping.all_characters(self._server, self._names)) as found:
            async for document in found:
                yield document

    # How it is asked

    async def _connect_to_write(self) -> None:
        """For what no commit has to do with: another process's, in the middle of one, is left alone."""
        if self._writing is None:
            raise ValueError("the store was opened for reading")
        await self._connect()

    async def _own(self) -> Writing:
        writing = await self._whole()
        if writing is None:
            raise ValueError("the store was opened for reading")
        return writing

    async def _mark(self, key: str) -> Mark:
        await self._whole()
        return await read_mark(self._server, self._names, key)

    async def _writer(self) -> Writing:
        writing = await self._whole()
        return writing if writing is not None else Writing(self._server, self._schema, self._names)

    async def _visible(self) -> None:
        """What this program wrote itself of what is little must be seen: from it is decided what to write next."""
        writing = await self._whole()
        if writing is not None:
            await writing.refresh(self._names.alerts, self._names.locks, self._names.unsettled)

    async def _search(self, index: str, kind: type[T], query: searching.Query, *sort: str) -> list[T]:
        found = await searching.search(self._server, index, kind, query=query, sort=sort)
        return [hit.source for hit in found]
