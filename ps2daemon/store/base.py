"""The store's promises, whichever implementation keeps them, and the documents that it holds.

A store is dumb: it keeps documents, finds them again, and counts. What a document says is decided by the fold, in one place
(`ledger.py`), for all stores alike.

Promises:
- `commit` applies one `Commit` so that a reader never sees time vouched for whose events are not there: sessions, alerts and locks
  first, then characters, then coverage. A store without transactions does it in this order; repeating a commit that broke off
  in between, or one that went through, gives the same state.
- A character document is written only if its version is still the expected one; otherwise `StoreConflict`, and the caller loads it
  and decides again. A version is a number that only the store understands, other than 0, and changes with each write.
- What the store can't take of a character, whatever is tried, is left out with the character and named in the answer; the rest is written.
- What `commit` returned for is durable.
- `load_*` see every commit that returned; searches and counts may lag behind until `refresh`.
- Errors: `StoreUnavailable` (wait, try again), `StoreConflict`, `StoreMismatch`, and of `commit` `StoreRefused` (of a document that is no character's);
  nothing else on purpose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import msgspec

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.notes import Note
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Character, EndedBy, StartedBy

if TYPE_CHECKING:
    from ps2daemon.model.differences import Differences
    from ps2daemon.model.sittings import Part, Sittings


class SessionDocument(msgspec.Struct, frozen=True, gc=False):
    """One session, flat.

    Attributes:
        session_id: `<character_id>-<login_ts>`, or `<character_id>-<logout_ts>-out` where the login was not seen.
        faction_id: 0 until Census named the character.
        not_before: when the character's previous session ended: a start that was not seen is no earlier.
    """

    session_id: str
    character_id: str
    world_id: int
    faction_id: int
    login_ts: Ms | None
    logout_ts: Ms | None
    started_by: StartedBy
    ended_by: EndedBy | None
    ended_after: Ms | None
    ended_before: Ms | None
    not_before: Ms | None


class CharacterDocument(msgspec.Struct, frozen=True):
    """A character with its latest sessions.

    Attributes:
        character_name: None until Census named it.
        faction_id: 0 until then.
        enriched_at: when Census named it, or None.
    """

    character_id: str
    character_name: str | None
    faction_id: int
    enriched_at: Ms | None
    state: Character

    @property
    def world_id(self) -> int | None:
        """Where it was last seen."""
        return self.state.sessions[-1].world_id if self.state.sessions else None


class Edge(NamedTuple):
    """A login of a character, or a logout."""

    character_id: str
    at: Ms
    login: bool


class Stored(NamedTuple):
    """A character document and the version to expect when it is written again; a new one has version 0."""

    document: CharacterDocument
    version: int


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What changes, all or nothing where the store can; each part replaces the documents of its ids.

    Attributes:
        sessions, gone_sessions: to write, and ids to delete.
        characters: to write, each with the version that it was loaded with.
        spans: coverage to write; a stored span of the same world and start keeps the later end.
        unsettled: the worlds and times in which gaps came, went or changed (see `StoreSource.unsettled`).
        settled: ids of `unsettled` entries that are done with.
        records_until: how far the records reach; the stored one only grows.
        pruned_until: up to where nothing is vouched for any more (see `StoreSource.pruned_until`); the stored one only grows. A store
            without transactions writes it before anything else.
        gone_characters: to delete, by id, with the version that each was loaded with: another version, or none, is a `StoreConflict`.
        gone_spans: coverage to delete, by world and start. One that is not there is gone already.
    """

    sessions: Sequence[SessionDocument] = ()
    gone_sessions: Sequence[str] = ()
    alerts: Sequence[Alert] = ()
    gone_alerts: Sequence[str] = ()
    locks: Sequence[Lock] = ()
    gone_locks: Sequence[str] = ()
    characters: Sequence[Stored] = ()
    spans: Sequence[Span] = ()
    unsettled: Sequence[Unsettled] = ()
    settled: Sequence[str] = ()
    records_until: Ms | None = None
    pruned_until: Ms | None = None
    gone_characters: Mapping[str, int] = msgspec.field(default_factory=dict)
    gone_spans: Sequence[tuple[int, Ms]] = ()


class Committed(NamedTuple):
    """What came of a commit.

    Attributes:
        versions: of the characters that were written.
        refused: characters that the store can't take, and why; nothing of them counts as written.
    """

    versions: Mapping[str, int]
    refused: Mapping[str, str]


class Unsettled(msgspec.Struct, frozen=True):
    """The gaps of a world changed in `[start, end)`; ends estimated there have to be estimated anew.

    Attributes:
        id: `<world>-<start>-<end>`.
    """

    id: str
    world_id: int
    start: Ms
    end: Ms


class Count(NamedTuple):
    """People of one empire on one world."""

    world_id: int
    faction_id: int
    online: int


class UnknownStart(NamedTuple):
    """A session of which only the logout was seen."""

    world_id: int
    faction_id: int
    logout_ts: Ms
    not_before: Ms | None


class Month(NamedTuple):
    """What a store holds of one calendar month (UTC).

    Attributes:
        start: its first moment.
        sessions: by their first known time.
        alerts: by their first change.
        locks: by their time.
    """

    start: Ms
    sessions: int
    alerts: int
    locks: int


class StoreDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself.

    Attributes:
        kind: as in `store.kind`.
        place: where it is, for a person: a file's path, or a server's address and the prefix. The same store always has the same.
        server: the version of the server, or of the library where there is none.
        schema_version: of what is stored; a reader has checked that this program knows it.
        size_bytes: what it takes on its disks, copies on other nodes included; as of some seconds ago.
        free_bytes: how much of that is empty, and is used again before it grows.
        unwritable: why nothing can be written there now, in a few words; None if it can.
    """

    kind: str
    place: str
    server: str
    schema_version: int
    size_bytes: int
    free_bytes: int
    unwritable: str | None


class StoreReader(Protocol):
    """What readers ask; a reader never writes."""

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        """How many sessions have `login_ts <= at < logout_ts` (or no end); sessions without a login don't count here."""

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        """Logins minus logouts at the instants `start`, `start + step`, … before `end`, of each world and faction that had any.

        Each counts at the first instant that is not before it; those up to `start`, and those after the last instant, don't count. Sessions
        without a login don't count here.
        """

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, Sittings]:
        """Of each world the sessions whose login was seen, that were online at any time in `[start, end)`, and whose end is known, if they have one."""

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        """Sessions without a login whose logout lies in `(start, end]`."""

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        """Coverage that overlaps or touches the window, as stored but for what was pruned (see `coverage.after_pruning`), by world and start."""

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        """Alerts that began before `end` and ended (or had not) after `start`; by first change. None stands for all worlds."""

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        """Locks in `[start, end)`, by time. None stands for all worlds."""

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        """The operator's notes in `[start, end)`, either side of which may be open, about any of the worlds or about all; by time and id."""

    async def worlds(self) -> list[int]:
        """Worlds with any session or coverage."""

    async def records_until(self) -> Ms | None:
        """How far the records reach."""

    async def counts(self) -> dict[str, int]:
        """How many characters, unnamed characters (`unnamed`), sessions, open sessions (`open`), alerts, locks, spans, notes."""

    def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        """Sessions whose first known time lies in the window, by that time, and of the same time by character; memory stays flat."""

    def all_characters(self) -> AsyncIterator[CharacterDocument]:
        """Every character, by id; memory stays flat."""

    async def aclose(self) -> None:
        """Releases files and connections."""


class Endings(NamedTuple):
    """What ended: alerts, locks, and sessions without a login."""

    alerts: tuple[Alert, ...] = ()
    locks: tuple[Lock, ...] = ()
    unknown_starts: tuple[UnknownStart, ...] = ()

    @property
    def number(self) -> int:
        """How many of all."""
        return sum(map(len, self))


@runtime_checkable
class PartReader(StoreReader, Protocol):
    """A reader that keeps sittings in parts, and gives the same again of what did not change: whatever was counted of them is still so."""

    async def surroundings(
        self, start: Ms, end: Ms, worlds: Collection[int]
    ) -> tuple[Endings, dict[int, list[Part]]]:
        """What ended in the window, or of `unknown_starts` up to a day later, in no order; and by world what `sittings` says, maybe with more of
        what was before and after. Nobody is in two parts."""


class StoreSource(StoreReader, Protocol):
    """What copying (`copying.py`), pruning (`pruning.py`) and the commands about the store ask beside that, without writing either."""

    async def describe(self) -> StoreDescription:
        """What it is, where, how large, and whether it could be written. Takes at most seconds, and changes nothing."""

    async def months(self) -> list[Month]:
        """Each month that has any session, alert or lock, in order."""

    async def stored_spans(self) -> list[Span]:
        """All coverage exactly as stored, pruned or not, by world and start: to decide by and to copy, never to vouch by."""

    async def unsettled(self) -> list[Unsettled]:
        """What still has to be settled."""

    async def pruned_until(self) -> Ms | None:
        """Up to where nothing is vouched for, since documents from before were dropped; None if none ever were."""

    async def latest_end(self, before: Ms) -> Ms | None:
        """The latest moment that sessions whose first known time is before `before` reach; None if there are none.

        That is `logout_ts`, and for one that is open `login_ts + MAX_SESSION`, since no logout later than that is its own. It may
        leave out those that ended before `before`. Sees every commit before the last `refresh`.
        """

    async def copying(self) -> str | None:
        """The place of the store that is being copied into this one; None while nothing is, or once it is complete."""


class Store(StoreSource, Protocol):
    """What writes: the ledger, copying, pruning."""

    @property
    def remote(self) -> bool:
        """Whether a commit mostly waits for another program, which leaves time to decide the next one."""

    async def load_characters(self, character_ids: Collection[str]) -> dict[str, Stored]:
        """Those that exist."""

    async def known_edges(self, edges: Collection[Edge]) -> set[Edge]:
        """Those that a session document has as its login, or ended with as its logout."""

    async def unnamed_sessions(self, character_ids: Collection[str]) -> list[SessionDocument]:
        """The sessions of these characters that have no empire yet (`faction_id` 0)."""

    async def commit(self, commit: Commit) -> Committed:
        """See the module's promises.

        Raises:
            StoreConflict: a character is no longer what it was; nothing of it counts as written.
        """

    async def refresh(self) -> None:
        """From here on, searches see every commit that returned."""

    async def estimated(self, world_id: int, start: Ms, end: Ms, after: str, limit: int) -> list[str]:
        """Characters, beyond `after` by id, with a session on the world that no logout ended and that may overlap `[start, end)`."""

    async def open_since(self, login_before: Ms, after: str, limit: int) -> list[str]:
        """Characters, beyond `after` by id, with an open session that began at `login_before` or earlier."""

    async def running_alerts(self) -> list[tuple[int, Ms]]:
        """World and first change of alerts without an end."""

    async def unnamed(self, after: str, limit: int) -> list[str]:
        """Characters that Census has not named, beyond `after` by id."""

    # Pruning (`pruning.py`) first raises `pruned_until`, so that no reader takes the time for covered whose documents go, then deletes
    # characters, alerts, locks and spans by `commit`, and the sessions last.

    async def drop_sessions(self, before: Ms, limit: int) -> int:
        """Deletes session documents whose first known time is before `before`, the first moment of a month.

        About `limit` of them, so that nobody else waits long, or whole months where that takes no longer. Durable when it returns; what was
        broken off is completed by calling it again.

        Returns:
            how many were deleted; 0 once there are none.
        """

    async def write_note(self, note: Note) -> None:
        """Durable, and seen by `notes`, when it returns. Another process may record meanwhile: no commit has to do with it."""

    async def remove_note(self, note_id: str) -> bool:
        """The same; whether it was there."""

    async def mark_copying(self, place: str | None) -> None:
        """Remembers, durably, what `copying` returns."""


def first_known(document: SessionDocument) -> Ms:
    """The first known time of a session: its login, or else its logout."""
    at = document.login_ts if document.login_ts is not None else document.logout_ts
    assert at is not None
    return at
