"""The ledger: the one place that decides what the store holds.

It loads what a batch touches, applies the fold, and commits what changed. Promises:
- What the store holds is a function of the set of records that were applied, of what Census said about who a character is, and of the
  checks: once `settle` has nothing more to do, neither order nor repetition nor a crash at any moment makes a difference.
- One operation at a time; all of them can be cancelled or fail at any point and be repeated.
- `StoreUnavailable` leaves it, with nothing half done that a repetition does not complete. A `StoreConflict` is resolved inside,
  up to `CONFLICTS` times in a row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio
from cachetools import LRUCache

from ps2daemon.census.rest import Identity
from ps2daemon.errors import StoreConflict, StoreError, StoreMismatch
from ps2daemon.model.batch import Batch
from ps2daemon.model.coverage import Gap, Span, WorldCoverage, coverage_by_world
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import CAP, Character, Check, Evidence, Folded, Session, settle
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    Committed,
    Edge,
    Store,
    Stored,
    Unsettled,
)
from ps2daemon.store.changes import Changes, named
from ps2daemon.store.deciding import Deciding, Told
from ps2daemon.store.world_events import WorldEvents, events_of_worlds, world_events

CACHED_SESSIONS: Final = 12_000
"""How many sessions the cache of characters holds: about 6 MB."""
CONFLICTS: Final = 5
PAGE: Final = 500
"""How many characters are settled with one commit."""

T = TypeVar("T")


class Applied(msgspec.Struct, frozen=True):
    """What came of a batch.

    Attributes:
        characters: how many were touched.
        unnamed: those of them that nobody has named yet.
        too_old: events from before what their character still holds, and that are no repetition.
        refused: characters whose events the store can't take, and why.
    """

    characters: int
    unnamed: tuple[str, ...]
    too_old: tuple[Login | Logout, ...]
    refused: Mapping[str, str]


class Settled(msgspec.Struct, frozen=True):
    """How many sessions got another end, because coverage changed (`estimated`) or their time was up (`capped`)."""

    estimated: int
    capped: int


class Ledger:
    """See the module's promises.

    Args:
        store: nobody else may write to it.
        latest: bounds how far the records may claim to reach, against a clock that was far ahead for a moment; returns the present time.
    """

    def __init__(self, store: Store, latest: Callable[[], Ms]) -> None:
        self._store = store
        self._latest = latest
        self._lock = trio.Lock()
        self._cache: LRUCache[str, Stored] = LRUCache(CACHED_SESSIONS, getsizeof=_sessions_of)
        self._coverage: dict[int, WorldCoverage] | None = None
        self._until: Ms = 0
        self._seen: dict[str, Ms] = {}
        """When checks last found characters online, of those whose session is open."""
        self._gap_changes = 0
        self._ahead: Deciding | None = None
        """The batch to come, as far as it could be decided while the one before was written."""
        self.conflicts = 0
        """How often something had to be decided again."""

    async def apply(
        self,
        batch: Batch,
        identities: Mapping[str, Identity] | None = None,
        *,
        following: Told | None = None,
    ) -> Applied:
        """Applies a batch, durably.

        Args:
            identities: who some of the characters are, as far as that is known already.
            following: what is probably applied next, so that it is loaded and decided, as far as that can be, while a store that is `remote`
                writes this one.
        """
        look_ahead_to = following if self._store.remote else None
        return await self._alone(lambda: self._apply((batch, identities or {}), look_ahead_to))

    async def identify(self, identities: Collection[Identity], at: Ms) -> int:
        """Tells who characters are, and their sessions with them; returns how many that was news for."""
        return await self._alone(lambda: self._identify(identities, at))

    async def online_on(self, worlds: Collection[int]) -> dict[str, int]:
        """The characters with an open session on any of `worlds`, with its world; of those without one, what checks said is forgotten."""
        await self._alone(self._open)
        await self._store.refresh()
        found: dict[str, int] = {}
        seen: dict[str, Ms] = {}
        after = ""
        while page := await self._store.open_since(self._as_of(), after, PAGE):
            for character_id, stored in (await self._alone(partial(self._load, page))).items():
                session = _open_session(stored)
                if session is not None and session.world_id in worlds:
                    found[character_id] = session.world_id
                if session is not None and character_id in self._seen:
                    seen[character_id] = self._seen[character_id]
            after = page[-1]
        self._seen = seen
        return found

    async def check(self, online: Mapping[str, Ms], offline: Mapping[str, Ms]) -> int:
        """Tells when Census was asked about characters that it said were online, or offline; returns how many sessions ended by it."""
        self._seen.update(online)
        checks = {who: Check(at, self._seen.get(who)) for who, at in offline.items()}
        return await self._alone(partial(self._settle_characters, tuple(checks), checks))

    async def settle(self) -> Settled:
        """Estimates anew what needs it by now: ends around gaps that changed, open sessions and alerts whose time is up."""
        await self._alone(self._open)
        await self._store.refresh()
        estimated = capped = 0
        for unsettled in await self._store.unsettled():
            seen = self._gap_changes
            estimated += await self._settle_pages(
                partial(self._store.estimated, unsettled.world_id, unsettled.start, unsettled.end)
            )
            await self._alone(partial(self._forget, unsettled, seen))
        due = self._as_of() - CAP
        if due > 0:
            capped = await self._settle_pages(partial(self._store.open_since, due))
        await self._alone(self._settle_alerts)
        return Settled(estimated, capped)

    async def coverage(self) -> Mapping[int, WorldCoverage]:
        """The coverage by world, as committed."""
        async with self._lock:
            await self._open()
            assert self._coverage is not None
            return dict(self._coverage)

    @property
    def records_until(self) -> Ms:
        """How far the records reach; 0 before the first."""
        return self._as_of()

    def _as_of(self, until: Ms | None = None) -> Ms:
        """How far the records reach, those up to `until` among them."""
        return min(max(self._until, until or 0), self._latest())

    async def _alone(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """One operation at a time, decided again if somebody else wrote in between."""
        async with self._lock:
            for _ in range(CONFLICTS):
                try:
                    return await attempt()
                except StoreConflict:
                    self.conflicts += 1
            return await attempt()

    async def _open(self) -> dict[int, WorldCoverage]:
        """What the ledger keeps in memory of the store, read again after anything that failed."""
        if self._coverage is None:
            unfinished = await self._store.copying()
            if unfinished is not None:
                raise StoreMismatch(
                    f"the store holds a part of a copy of {unfinished}, and what is recorded into it would be lost with the next part: "
                    "complete the copy with `ps2daemon store copy` first"
                )
            coverage = coverage_by_world(await self._store.stored_spans())
            self._until = await self._store.records_until() or 0
            self._coverage = coverage
        return self._coverage

    def _evidence(self) -> Evidence:
        coverage = self._coverage
        assert coverage is not None

        def gaps(world_id: int, start: Ms, end: Ms) -> Sequence[Gap]:
            world = coverage.get(world_id)
            return () if world is None else world.gaps(start, end)

        return Evidence(self._as_of(), gaps)

    async def _load(self, character_ids: Iterable[str]) -> dict[str, Stored]:
        """Characters as stored, a new one with version 0."""
        found: dict[str, Stored] = {}
        missing = []
        for character_id in character_ids:
            stored = self._cache.get(character_id)
            if stored is None:
                missing.append(character_id)
            else:
                found[character_id] = stored
        if missing:
            found.update(await self._load_all(missing))
        return found

    async def _load_all(self, character_ids: Sequence[str]) -> dict[str, Stored]:
        found = await self._store.load_characters(character_ids)
        for character_id in character_ids:
            if character_id not in found:
                found[character_id] = Stored(CharacterDocument(character_id, None, 0, None, Character()), 0)
        return found

    async def _commit(self, commit: Commit, following: Told | None = None) -> Mapping[str, str]:
        """Commits, and makes what is kept in memory follow; after any failure nothing is kept. Returns who was refused."""
        written = {stored.document.character_id for stored in commit.characters}
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not ahead.stored.keys().isdisjoint(written):
            ahead = None
        try:
            if following is None:
                versions, refused = await self._store.commit(commit)
            else:
                (versions, refused), ahead = await self._commit_and_look_ahead(commit, following, written)
        except BaseException:
            self._cache.clear()
            self._coverage = None
            raise
        for document, _ in commit.characters:
            self._cache.pop(document.character_id, None)
            if document.character_id in versions:
                stored = Stored(document, versions[document.character_id])
                if _sessions_of(stored) <= self._cache.maxsize:
                    self._cache[document.character_id] = stored
        self._ahead = ahead
        return refused

    async def _commit_and_look_ahead(
        self, commit: Commit, following: Told, written: Collection[str]
    ) -> tuple[Committed, Deciding]:
        """Writes, which is mostly waiting for the store, and meanwhile decides what comes next and is not written just now."""
        ahead = Deciding(following, self._latest(), self._seen)
        failed: StoreError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_ahead, ahead, written)
            try:
                committed = await self._store.commit(commit)
            except StoreError as error:
                failed = error
                nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return committed, ahead

    async def _look_ahead(self, ahead: Deciding, written: Collection[str]) -> None:
        wanted = [character_id for character_id in ahead.batch.events if character_id not in written]
        with suppress(StoreError):  # who needs them will load them, and hear it then
            ahead.stored.update(await self._load(wanted))
        for _ in ahead.decide_ahead(self._as_of(ahead.batch.until)):
            await trio.lowlevel.checkpoint()

    async def _apply(self, told: Told, following: Told | None) -> Applied:
        batch, _ = told
        coverage = await self._open()
        deciding, self._ahead = self._ahead, None
        if deciding is None or deciding.batch is not batch:
            deciding = Deciding(told, self._latest(), self._seen)
        # From here to the commit, memory is ahead of the store: a failure in between must drop it.
        try:
            unsettled = self._extend(coverage, batch.spans)
            self._until = max(self._until, batch.until or 0)
            deciding.stored.update(await self._load(deciding.unloaded))
            deciding.decide(self._evidence())
            changes = deciding.changes
            events = await events_of_worlds(self._store, batch.changes, batch.locks, self._as_of())
            await self._name_outgrown(changes)
            too_old = await self._no_repetitions(deciding.too_old)
        except BaseException:
            self._coverage = None
            raise
        refused = await self._commit(
            Commit(
                sessions=changes.sessions,
                gone_sessions=changes.gone,
                alerts=events.alerts,
                gone_alerts=events.gone_alerts,
                locks=events.locks,
                gone_locks=events.gone_locks,
                characters=changes.characters,
                spans=batch.spans,
                unsettled=unsettled,
                records_until=batch.until,
            ),
            following,
        )
        return Applied(len(batch.events), deciding.unnamed, too_old, refused)

    async def _no_repetitions(self, too_old: Sequence[Login | Logout]) -> tuple[Login | Logout, ...]:
        if not too_old:
            return ()
        known = await self._store.known_edges([_edge(event) for event in too_old])
        return tuple(event for event in too_old if _edge(event) not in known)

    def _extend(self, coverage: dict[int, WorldCoverage], spans: Iterable[Span]) -> list[Unsettled]:
        unsettled = []
        for span in sorted(spans, key=lambda span: (span.world_id, span.start)):
            changed = coverage.setdefault(span.world_id, WorldCoverage()).add(span)
            if changed is not None:
                start, end = changed
                self._gap_changes += 1
                unsettled.append(Unsettled(f"{span.world_id}-{start}-{end}", span.world_id, start, end))
        return unsettled

    async def _identify(self, identities: Collection[Identity], at: Ms) -> int:
        stored = await self._load(identity.character_id for identity in identities)
        changes = Changes()
        for identity in identities:
            before = stored[identity.character_id]
            if before.version == 0:
                continue  # nothing was recorded of it
            after = named(before.document, identity, at)
            changes.take(before, after, Folded(after.state))
        if changes.characters:
            await self._name_outgrown(changes)
            await self._commit(Commit(sessions=changes.sessions, characters=changes.characters))
        return len(changes.characters)

    async def _name_outgrown(self, changes: Changes) -> None:
        """A character may have had more sessions than it holds before Census named it."""
        if changes.outgrown:
            await self._store.refresh()
            changes.name_sessions(await self._store.unnamed_sessions(changes.outgrown))

    async def _settle_pages(self, page: Callable[[str, int], Awaitable[list[str]]]) -> int:
        changed = 0
        after = ""
        while character_ids := await page(after, PAGE):
            changed += await self._alone(partial(self._settle_characters, character_ids))
            after = character_ids[-1]
        return changed

    async def _forget(self, unsettled: Unsettled, seen: int) -> None:
        if (
            self._gap_changes == seen
        ):  # otherwise it may have changed again meanwhile, and is settled once more
            await self._store.commit(Commit(settled=(unsettled.id,)))

    async def _settle_characters(
        self, character_ids: Sequence[str], checks: Mapping[str, Check] | None = None
    ) -> int:
        await self._open()
        evidence = self._evidence()
        changes = Changes()
        for character_id, before in (await self._load(character_ids)).items():
            check, session = (checks or {}).get(character_id), _open_session(before)
            # Of what ended otherwise meanwhile, or began since, it proves nothing.
            proof = (check,) if check and session and session.start <= check.at else ()
            state = settle(before.document.state, evidence, proof, self._seen.get(character_id))
            changes.take(before, msgspec.structs.replace(before.document, state=state), Folded(state))
        if changes.characters:
            await self._commit(
                Commit(sessions=changes.sessions, gone_sessions=changes.gone, characters=changes.characters)
            )
        return len(changes.sessions)

    async def _settle_alerts(self) -> None:
        await self._open()
        for world_id, first in await self._store.running_alerts():
            found = await world_events(self._store, world_id, first, first, self._as_of())
            if found != WorldEvents():
                await self._commit(found.commit)


def _edge(event: Login | Logout) -> Edge:
    return Edge(event.character_id, event.at, isinstance(event, Login))


def _open_session(stored: Stored) -> Session | None:
    sessions = stored.document.state.sessions
    return sessions[-1] if sessions and sessions[-1].logout_ts is None else None


def _sessions_of(stored: Stored) -> int:
    return 2 + len(stored.document.state.sessions)
