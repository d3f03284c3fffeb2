"""One commit, as requests in an order that any reader, and any crash in between, may come across.

1. `pending`: which characters are about to change. A commit that broke off is made whole by `repair` before anything else is done.
2. sessions, alerts, locks, and what is unsettled; only then documents of alerts and locks that others replace are deleted: they hold events.
3. characters, each if it still is what it was.
4. what was written so far becomes visible, if coverage follows.
5. coverage, how far the records reach, and what is settled.

The server has no transactions. After a commit that broke off, sessions may say more than their characters do; and what is decided next, from the characters and
perhaps from other records together, need not touch the same ones. So sessions of pending characters are made what the characters say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ps2daemon.errors import StoreConflict, StoreMismatch, StoreUnavailable
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Committed,
    SessionDocument,
    Stored,
    session_documents,
)
from ps2daemon.store.elasticsearch import documents, searching
from ps2daemon.store.elasticsearch.bulk import Refusal, Sent, send
from ps2daemon.store.elasticsearch.documents import CharacterSource, Line, SessionSource
from ps2daemon.store.elasticsearch.schema import KINDS, Names, Schema
from ps2daemon.store.elasticsearch.server import Server

PENDING: Final = "pending"
RECORDS: Final = "records"
LOADED: Final = 500
"""Characters loaded with one request: at 5 KB each, 2.5 MB."""


MOST_REFUSED: Final = 20
"""Characters of one commit that may be refused, each for something of its own; more have another cause, which is waited out."""


class _Pending(msgspec.Struct):
    characters: list[str] = []


class _PendingDocument(msgspec.Struct):
    source: _Pending = msgspec.field(name="_source", default_factory=_Pending)


class _PendingDocuments(msgspec.Struct):
    docs: list[_PendingDocument]


class _Got(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False
    sequence: int = msgspec.field(name="_seq_no", default=0)
    term: int = msgspec.field(name="_primary_term", default=0)
    source: CharacterSource | None = msgspec.field(name="_source", default=None)


class _GotAll(msgspec.Struct):
    docs: list[_Got]


class Writing:
    """Writes, and reads what writing needs in real time. One task at a time.

    Attributes:
        broken: a commit may have broken off; `repair` is due before anything else.
    """

    def __init__(self, server: Server, schema: Schema, names: Names) -> None:
        self._server = server
        self._schema = schema
        self._names = names
        self._dirty = {names.pattern(kind) for kind in KINDS}
        self._pending: set[str] = set()
        self.broken = True

    async def load(self, character_ids: Iterable[str]) -> dict[str, Stored]:
        """Those that exist, as they are now."""
        ids = list(character_ids)
        found: dict[str, Stored] = {}
        for first in range(0, len(ids), LOADED):
            answer = await self._server.ask(
                "POST",
                f"/{self._names.characters}/_mget",
                {"ids": ids[first : first + LOADED]},
                type=_GotAll,
            )
            for each in answer.docs:
                if each.found and each.source is not None:
                    version = documents.version_of(each.sequence, each.term)
                    found[each.id] = Stored(documents.character_of(each.source), version)
        return found

    async def refresh(self, *indices: str) -> None:
        """Makes what was written visible to searches: in these indices, or in all."""
        wanted = self._dirty.intersection(indices) if indices else set(self._dirty)
        if wanted:
            path = f"/{','.join(sorted(wanted))}/_refresh"
            await self._server.ask("POST", path, params=searching.SOME, type=msgspec.Raw)
            self._dirty -= wanted

    async def write(self, commit: Commit) -> Committed:
        """Writes a commit.

        Raises:
            StoreConflict: a character is no longer what it was.
            StoreUnavailable: an outage; any part may be written.
        """
        self.broken = True
        await self._announce([stored.document.character_id for stored in commit.characters])
        refused = await self._first(commit)
        versions = await self._characters(commit.characters, refused)
        await self._last(commit)
        self._pending.intersection_update(refused)
        self.broken = bool(refused)
        return Committed(versions, refused)

    async def _announce(self, character_ids: list[str]) -> None:
        if character_ids:
            self._pending.update(character_ids)
            await self._send(
                [documents.index_line(self._names.meta, PENDING, PENDING, _Pending(character_ids))]
            )

    async def _first(self, commit: Commit) -> dict[str, str]:
        """Sessions, alerts, locks and what is unsettled; returns characters that were refused, and why."""
        names = self._names
        lines = [*self._session_lines(commit.sessions)]
        lines += [
            documents.delete_line(names.month(documents.session_time(key)), key, key.partition("-")[0])
            for key in commit.gone_sessions
        ]
        lines += documents.alert_lines(names.alerts, commit.alerts)
        lines += documents.lock_lines(names.locks, commit.locks)
        lines += documents.unsettled_lines(names.unsettled, commit.unsettled)
        await self._schema.ensure({line.index for line in lines})
        sent = await self._send(lines)
        refused = await self._explained(sent.refused, {session.character_id for session in commit.sessions})
        # These hold events, which others must hold before they go.
        await self._send(
            [documents.delete_line(names.alerts, key, key) for key in commit.gone_alerts]
            + [documents.delete_line(names.locks, key, key) for key in commit.gone_locks]
        )
        return refused

    async def _characters(self, characters: Sequence[Stored], refused: dict[str, str]) -> dict[str, int]:
        """Writes those that are not refused; returns their versions, and adds to `refused`."""
        lines = [
            documents.character_line(self._names.characters, stored)
            for stored in characters
            if stored.document.character_id not in refused
        ]
        if not lines:
            return {}
        await self._schema.ensure([self._names.characters])
        sent = await self._send(lines)
        if sent.conflicts:
            raise StoreConflict(
                f"{len(sent.conflicts)} of {len(lines)} characters were changed by another writer"
            )
        refused |= await self._explained(sent.refused, {line.owner for line in lines})
        return {owner: documents.version_of(*numbers) for owner, numbers in sent.versions.items()}

    async def _last(self, commit: Commit) -> None:
        """Coverage, how far the records reach, and what is settled."""
        names = self._names
        lines = documents.span_lines(names.coverage, commit.spans)
        lines += [documents.delete_line(names.unsettled, key, key) for key in commit.settled]
        if commit.records_until is not None:
            lines.append(documents.reach_line(names.meta, RECORDS, commit.records_until))
        if commit.spans:
            await self.refresh()
        await self._schema.ensure({line.index for line in lines})
        await self._send(lines)

    async def repair(self) -> None:
        """Makes the sessions of characters whose commit may have broken off what the characters say."""
        await self._schema.ensure([self._names.meta, self._names.characters])
        stored = await self._server.ask(
            "POST", f"/{self._names.meta}/_mget", {"ids": [PENDING]}, type=_PendingDocuments
        )
        ids = sorted(self._pending.union(*(document.source.characters for document in stored.docs)))
        if ids:
            self._dirty.add(self._names.sessions)
            await self.refresh(self._names.sessions)
        for first in range(0, len(ids), LOADED):
            await self._repair(ids[first : first + LOADED])
        self._pending.clear()
        self.broken = False

    async def _repair(self, ids: list[str]) -> None:
        characters = {key: stored.document for key, stored in (await self.load(ids)).items()}
        wanted: dict[str, SessionDocument] = {}
        for document in characters.values():
            wanted |= session_documents(document)
        lines = []
        query = _own_sessions(ids, characters)
        async for hits in searching.pages(
            self._server, self._names.sessions, SessionSource, query=query, sort=["first_ts"]
        ):
            for hit in hits:
                found = documents.session_of(hit.id, hit.source)
                if hit.id not in wanted:
                    if _is_surplus(found, characters):
                        index = self._names.month(documents.first_known(found))
                        lines.append(documents.delete_line(index, hit.id, found.character_id))
                elif found == wanted[hit.id]:
                    del wanted[hit.id]
        lines += self._session_lines(wanted.values())
        await self._schema.ensure({line.index for line in lines})
        await self._explained((await self._send(lines)).refused, set(ids))

    def _session_lines(self, sessions: Iterable[SessionDocument]) -> list[Line]:
        return [
            documents.index_line(
                self._names.month(documents.first_known(session)),
                session.session_id,
                session.character_id,
                documents.session_source(session),
            )
            for session in sessions
        ]

    async def _send(self, lines: Sequence[Line]) -> Sent:
        self._dirty.update(line.index for line in lines)
        return await send(self._server, lines)

    async def _explained(self, refused: Mapping[str, Refusal], characters: Collection[str]) -> dict[str, str]:
        """Characters that the server won't take as they are.

        Raises:
            StoreUnavailable: the indices are at fault, and somebody has to mend them.
            StoreMismatch: it is not about a character.
        """
        if not refused:
            return {}
        self._schema.forget()
        await self._schema.ensure({refusal.index for refusal in refused.values()})
        some = next(iter(refused.values()))
        if len(refused) > MOST_REFUSED:
            raise StoreUnavailable(
                f"Elasticsearch at {self._server.name} refuses {len(refused)} documents for {some.index}: {some.reason}"
            )
        if not refused.keys() <= set(characters):
            raise StoreMismatch(
                f"Elasticsearch at {self._server.name} refuses a document for {some.index}: {some.reason}"
            )
        return {owner: refusal.reason for owner, refusal in refused.items()}


def _own_sessions(ids: Collection[str], characters: Mapping[str, CharacterDocument]) -> searching.Query:
    """Sessions of these characters, but for those that fell off long ago."""
    pruned = {
        key: document.state.pruned_before
        for key, document in characters.items()
        if document.state.pruned_before is not None
    }
    whole = searching.terms("character_id", [key for key in ids if key not in pruned])
    if not pruned:
        return whole
    latest = searching.both(
        searching.terms("character_id", list(pruned)), searching.between("first_ts", gte=min(pruned.values()))
    )
    return searching.either(whole, latest)


def _is_surplus(found: SessionDocument, characters: Mapping[str, CharacterDocument]) -> bool:
    """Whether a session that its character does not name is no older one that fell off."""
    character = characters.get(found.character_id)
    edge = None if character is None else character.state.pruned_before
    return edge is None or documents.first_known(found) > edge
