"""One commit, as requests in an order that any reader, and any crash in between, may come across.

1. up to where everything is pruned; then what is about to change: ids of characters and sessions, and the number of the commit, one more than that of the last.
2. sessions, alerts, locks, and what is unsettled; only then documents of alerts and locks that others replace are deleted: they hold events.
3. characters, written or deleted, each if it still is what it was.
4. coverage, how far the records reach, and what is settled.
5. about once a second, what was written becomes visible: coverage, which the server shows to nobody by itself, after everything else.

The server has no transactions, and may do what it was asked long after this program gave up waiting for it. After a commit that broke off, sessions
may say more than their characters do; and what is decided next, from the characters and perhaps from other records together, need not touch the same
ones. So `repair` comes before anything else: it writes the characters once more, whereupon no late request can change them, and then makes
their sessions what they say, with a higher number than that of the commit, below which no late request is heeded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from math import inf
from typing import Final

import msgspec
import trio

from ps2daemon.errors import StoreConflict, StoreMismatch, StoreRefused, StoreUnavailable
from ps2daemon.model.sessions import Character
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Committed,
    SessionDocument,
    Stored,
    first_known,
)
from ps2daemon.store.changes import session_documents
from ps2daemon.store.elasticsearch import documents, searching
from ps2daemon.store.elasticsearch.bulk import Refusal, Sent, send
from ps2daemon.store.elasticsearch.documents import (
    CharacterSource,
    Line,
    alert_source,
    delete_line,
    index_line,
    span_key,
)
from ps2daemon.store.elasticsearch.marks import COPYING, PENDING, PRUNED, RECORDS, Mark, read_mark
from ps2daemon.store.elasticsearch.schema import KINDS, Names, Schema
from ps2daemon.store.elasticsearch.server import Server, together

LOADED: Final = 500
"""Characters loaded with one request: at 5 KB each, 2.5 MB."""
SHOWN_SECONDS: Final = 1.0
"""Between two times that coverage becomes visible: each costs as much as writing some hundred documents."""
ENCODED: Final = 100
"""Documents encoded before anything else has its turn: some half a millisecond."""
REPAIRS: Final = 20
"""Tries, each in vain if another writer began a commit meanwhile."""
MOST_REFUSED: Final = 20
"""Characters of one commit that may be refused, each for something of its own; more, or all of several, have another cause, which is waited out."""


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
        self._showing = trio.Lock()
        self._shown = -inf
        self._number = 0
        self._late = True
        """Whether the server may still have something to do that it was asked."""
        self.broken = True

    async def load(self, character_ids: Iterable[str]) -> dict[str, Stored]:
        """Those that exist, as they are now."""
        ids = list(character_ids)
        found: dict[str, Stored] = {}
        for first in range(0, len(ids), LOADED):
            part = {"ids": ids[first : first + LOADED]}
            for each in await searching.get(
                self._server, f"/{self._names.characters}", part, CharacterSource
            ):
                if each.source is not None:
                    version = documents.version_of(each.sequence, each.term)
                    found[each.id] = Stored(documents.character_of(each.source), version)
        return found

    async def refresh(self, *indices: str) -> None:
        """Makes what was written visible to searches: in these indices, or in all, the coverage last."""
        await self._show(self._dirty.intersection(indices) if indices else set(self._dirty))

    async def _show(self, wanted: set[str]) -> None:
        coverage = self._names.coverage
        async with self._showing:
            for part in (wanted - {coverage}, wanted & {coverage}):
                if part:
                    self._dirty -= part
                    try:
                        path = f"/{','.join(sorted(part))}/_refresh"
                        await self._server.ask("POST", path, params=searching.SOME, type=msgspec.Raw)
                    except BaseException:
                        self._dirty |= part
                        raise
            if coverage in wanted:
                self._shown = trio.current_time()

    async def write(self, commit: Commit) -> Committed:
        """Writes a commit.

        Raises:
            StoreConflict: a character is no longer what it was.
            StoreUnavailable: an outage; any part may be written.
        """
        expected = [*(stored.version for stored in commit.characters), *commit.gone_characters.values()]
        if not all(map(documents.is_version, expected)) or not all(commit.gone_characters.values()):
            raise StoreConflict("a character is expected to be what this store never said")
        self._late = True
        try:
            if commit.pruned_until is not None:
                await self._insist([documents.reach_line(self._names.meta, PRUNED, commit.pruned_until)])
            sessions: list[Line] = []
            characters: list[Line] = []
            refused: dict[str, str] = {}
            # Each is encoded while the server has to do with what comes before it.
            if commit.characters or commit.sessions or commit.gone_sessions:
                self._number += 1
                await together(
                    [partial(self._announce, commit), partial(self._encode_sessions, commit, sessions)]
                )
            await together(
                [
                    partial(self._first, commit, sessions, refused),
                    partial(self._encode_characters, commit, characters),
                ]
            )
            versions = await self._characters(commit, characters, refused)
            await self._last(commit)
        except BaseException:
            self.broken = True
            raise
        self._late, self.broken = False, bool(refused)
        return Committed(versions, refused)

    async def mark_copying(self, place: str | None) -> None:
        """See `Store.mark_copying`."""
        await self._insist([index_line(self._names.meta, COPYING, COPYING, Mark(place=place))])

    async def _announce(self, commit: Commit) -> None:
        characters = {stored.document.character_id: stored.document for stored in commit.characters}
        written = [session.session_id for session in commit.sessions if session.character_id in characters]
        await self._pending(
            Mark(
                self._number,
                list(characters),
                [*written, *commit.gone_sessions],
                [key for key in written if _fell_off(key, characters)],
            )
        )

    async def _pending(self, pending: Mark) -> None:
        # The number must be greater than the last: of two writers that both know that one, one must see that it is not alone.
        line = index_line(self._names.meta, PENDING, PENDING, pending, pending.number, "external")
        await self._insist([line])

    async def _encode_sessions(self, commit: Commit, lines: list[Line]) -> None:
        """Adds those to be written and those to be deleted."""
        for first in range(0, len(commit.sessions), ENCODED):
            await trio.lowlevel.checkpoint()
            lines += self._session_lines(commit.sessions[first : first + ENCODED])
        lines += self._gone_lines(commit.gone_sessions)

    async def _first(self, commit: Commit, lines: list[Line], refused: dict[str, str]) -> None:
        """Sessions, alerts, locks and what is unsettled; adds to `refused`."""
        names, number = self._names, self._number
        lines += [
            index_line(names.alerts, alert.alert_id, alert.alert_id, alert_source(alert), number)
            for alert in commit.alerts
        ]
        lines += [index_line(names.locks, lock.lock_id, lock.lock_id, lock, number) for lock in commit.locks]
        lines += [index_line(names.unsettled, entry.id, entry.id, entry) for entry in commit.unsettled]
        await self._schema.ensure({line.index for line in lines})
        sent = await self._send(lines)
        if sent.conflicts:
            raise StoreConflict(f"{len(sent.conflicts)} sessions were changed by another writer")
        if sent.refused:
            owners = {session.character_id for session in commit.sessions}
            refused |= await self._explained(sent.refused, owners)
        # These hold events, which others must hold before they go.
        await self._send(
            [delete_line(names.alerts, key, key, number) for key in commit.gone_alerts]
            + [delete_line(names.locks, key, key, number) for key in commit.gone_locks]
        )

    async def _encode_characters(self, commit: Commit, lines: list[Line]) -> None:
        """Adds those to be written and those to be deleted."""
        index = self._names.characters
        for first in range(0, len(commit.characters), ENCODED):
            await trio.lowlevel.checkpoint()
            lines += (
                documents.character_line(index, stored)
                for stored in commit.characters[first : first + ENCODED]
            )
        lines += (
            documents.gone_character_line(index, key, version)
            for key, version in commit.gone_characters.items()
        )

    async def _characters(self, commit: Commit, lines: list[Line], refused: dict[str, str]) -> dict[str, int]:
        """Writes those that are not refused; returns their versions, and adds to `refused`."""
        if refused:
            lines = [line for line in lines if line.owner not in refused]
        if not lines:
            return {}
        await self._schema.ensure([self._names.characters])
        sent = await self._send(lines)
        if sent.conflicts:
            # Every request was answered, and whoever was faster had begun before this commit was announced.
            self._late = False
            raise StoreConflict(
                f"{len(sent.conflicts)} of {len(lines)} characters were changed by another writer"
            )
        if sent.refused:
            refused |= await self._explained(sent.refused, {line.owner for line in lines})
        return {
            owner: documents.version_of(*numbers)
            for owner, numbers in sent.versions.items()
            if owner not in commit.gone_characters
        }

    async def _last(self, commit: Commit) -> None:
        """Coverage, how far the records reach, and what is settled."""
        names = self._names
        lines = documents.span_lines(names.coverage, commit.spans)
        lines += [delete_line(names.coverage, span_key(*key), span_key(*key)) for key in commit.gone_spans]
        # Nobody makes coverage visible between what it vouches for and itself.
        alone = self._showing if lines else nullcontext()
        lines += [delete_line(names.unsettled, key, key) for key in commit.settled]
        if commit.records_until is not None:
            lines.append(documents.reach_line(names.meta, RECORDS, commit.records_until))
        await self._schema.ensure({line.index for line in lines})
        async with alone:
            await self._insist(lines)
        if names.coverage in self._dirty and trio.current_time() - self._shown >= SHOWN_SECONDS:
            await self._show(self._dirty - {names.characters})  # nobody is counted by them

    async def repair(self) -> None:
        """Makes whole what may have broken off; nothing where the last commit went through and `finish` said so.

        Raises:
            StoreUnavailable: an outage, or another writer that leaves no moment for it.
        """
        for _ in range(REPAIRS):
            try:
                return await self._repair()
            except StoreConflict:
                continue
        raise StoreUnavailable(
            f"another program writes to {self._names.prefix}-* at {self._server.name}: stop one of them"
        )

    async def _repair(self) -> None:
        await self._schema.ensure([self._names.meta, self._names.characters])
        pending = await read_mark(self._server, self._names, PENDING)
        self._number = max(self._number, pending.number) + 1
        if self._late:
            stored = await self._fence(pending.characters)
        else:
            stored = {key: found.document for key, found in (await self.load(pending.characters)).items()}
        wanted: dict[str, SessionDocument] = {}
        for document in stored.values():
            wanted |= session_documents(document)
        # A session of another time that its character could not hold is none of this commit's: months may have been pruned since.
        older = {key for key in pending.older if _fell_off(key, stored)}
        gone = [key for key in pending.sessions if key not in wanted and key not in older]
        lines = self._session_lines([wanted[key] for key in pending.sessions if key in wanted])
        lines += self._gone_lines(gone)
        await self._schema.ensure({line.index for line in lines})
        await self._insist(lines, pending.characters)
        self.broken = False

    async def finish(self) -> None:
        """Says that nothing is half done, so that whoever comes next need not look, and shows everything; nothing where nothing was written."""
        if not self._number:
            return
        if not self.broken:
            self._number += 1
            await self._pending(Mark(self._number))
        await self.refresh()

    async def _fence(self, ids: list[str]) -> dict[str, CharacterDocument]:
        """Characters as they are, each written once more; an empty one where there is none yet."""
        fenced: dict[str, CharacterDocument] = {}
        while missing := [key for key in ids if key not in fenced]:
            stored = await self.load(missing)
            for key in missing:
                if key not in stored:
                    stored[key] = Stored(CharacterDocument(key, None, 0, None, Character()), 0)
            lines = [documents.character_line(self._names.characters, each) for each in stored.values()]
            sent = await self._send(lines)
            await self._explained(sent.refused, missing)
            fenced |= {key: stored[key].document for key in sent.versions.keys() | sent.refused.keys()}
        return fenced

    def _session_lines(self, sessions: Iterable[SessionDocument]) -> list[Line]:
        return [
            index_line(
                self._names.month(first_known(session)),
                session.session_id,
                session.character_id,
                documents.session_source(session),
                self._number,
            )
            for session in sessions
        ]

    def _gone_lines(self, keys: Iterable[str]) -> list[Line]:
        return [
            delete_line(
                self._names.month(documents.session_time(key)), key, documents.character_in(key), self._number
            )
            for key in keys
        ]

    async def _send(self, lines: Sequence[Line]) -> Sent:
        indices = {line.index for line in lines}
        self._dirty |= indices
        try:
            return await send(self._server, lines)
        finally:
            self._dirty |= indices  # what was refreshed meanwhile need not have had all of it

    async def _insist(self, lines: Sequence[Line], characters: Collection[str] = ()) -> None:
        """Sends what the server has no reason to refuse, but for what it won't take of these characters.

        Raises:
            StoreConflict: another writer was faster.
        """
        sent = await self._send(lines)
        if sent.conflicts:
            raise StoreConflict("another writer was faster")
        await self._explained(sent.refused, characters)

    async def _explained(self, refused: Mapping[str, Refusal], characters: Collection[str]) -> dict[str, str]:
        """Characters that the server won't take as they are.

        Raises:
            StoreUnavailable: the indices are at fault, and somebody has to mend them.
            StoreRefused: it is not about a character.
            StoreMismatch: it is not about any record either.
        """
        if not refused:
            return {}
        self._schema.forget()
        await self._schema.ensure({refusal.index for refusal in refused.values()})
        some = next(iter(refused.values()))
        if len(refused) > MOST_REFUSED or len(refused) == len(characters) > 1:
            raise StoreUnavailable(
                f"Elasticsearch at {self._server.name} refuses {len(refused)} documents for {some.index}: {some.reason}"
            )
        if not refused.keys() <= set(characters):
            about_records = all(refusal.index != self._names.meta for refusal in refused.values())
            raise (StoreRefused if about_records else StoreMismatch)(
                f"Elasticsearch at {self._server.name} refuses a document for {some.index}: {some.reason}"
            )
        return {owner: refusal.reason for owner, refusal in refused.items()}


def _fell_off(session_id: str, characters: Mapping[str, CharacterDocument]) -> bool:
    """Whether a session that its character does not name is one of the older ones."""
    character = characters.get(documents.character_in(session_id))
    edge = None if character is None else character.state.pruned_before
    return edge is not None and documents.session_time(session_id) <= edge
