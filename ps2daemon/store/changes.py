"""What differs between characters before and after: the documents that a commit has to write and to delete."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ps2daemon.census.rest import Identity
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Character, Folded, Session
from ps2daemon.store.base import CharacterDocument, SessionDocument, Stored


class Changes:
    """Collects them, character by character."""

    def __init__(self) -> None:
        self.sessions: list[SessionDocument] = []
        self.gone: list[str] = []
        self.characters: list[Stored] = []
        self.outgrown: list[str] = []
        """Characters that were just named and whose oldest sessions are in their documents alone (see `name_sessions`)."""

    def take(self, before: Stored, after: CharacterDocument, folded: Folded) -> None:
        old = before.document
        if old == after:
            return
        self.characters.append(Stored(after, before.version))
        whole = after.state
        if folded.dropped:
            whole = Character(
                folded.dropped + whole.sessions, old.state.pruned_before, old.state.pruned_logout
            )
        if old.faction_id == 0 != after.faction_id and old.state.pruned_before is not None:
            self.outgrown.append(old.character_id)
        skip = 0
        if old.faction_id == after.faction_id:
            for known, session in zip(old.state.sessions, whole.sessions, strict=False):
                if known is not session and known != session:
                    break
                skip += 1
        was = session_documents(_from(old, old.state, skip))
        now = session_documents(_from(after, whole, skip))
        self.sessions.extend(document for key, document in now.items() if was.get(key) != document)
        self.gone.extend(key for key in was if key not in now)

    def name_sessions(self, unnamed: Iterable[SessionDocument]) -> None:
        """Takes the sessions of the `outgrown` that have no empire yet."""
        factions = {stored.document.character_id: stored.document.faction_id for stored in self.characters}
        decided = {document.session_id for document in self.sessions}.union(self.gone)
        self.sessions.extend(
            msgspec.structs.replace(document, faction_id=factions[document.character_id])
            for document in unnamed
            if document.session_id not in decided
        )


def _from(document: CharacterDocument, state: Character, skip: int) -> CharacterDocument:
    """`document` with the sessions of `state` but for the first `skip`."""
    if skip:
        state = Character(state.sessions[skip:], pruned_logout=state.sessions[skip - 1].logout_ts)
    if state is document.state:
        return document
    return msgspec.structs.replace(document, state=state)


def named(document: CharacterDocument, identity: Identity | None, at: Ms) -> CharacterDocument:
    """`document` with what Census says; what it leaves out stays as it was (it loses fields for days)."""
    if identity is None or identity.faction_id == 0:
        return document
    name = identity.name if identity.name is not None else document.character_name
    if document.faction_id == identity.faction_id and document.character_name == name:
        return document
    # Without a name it stays among those that Census is asked about again.
    enriched_at = document.enriched_at if name is None else at
    return msgspec.structs.replace(
        document, character_name=name, faction_id=identity.faction_id, enriched_at=enriched_at
    )


def session_documents(document: CharacterDocument) -> dict[str, SessionDocument]:
    """The session documents that a character's state says, by id."""
    documents = {}
    not_before = document.state.pruned_logout
    for session in document.state.sessions:
        key = _session_id(document.character_id, session)
        documents[key] = SessionDocument(
            session_id=key,
            character_id=document.character_id,
            world_id=session.world_id,
            faction_id=document.faction_id,
            login_ts=session.login_ts,
            logout_ts=session.logout_ts,
            started_by=session.started_by,
            ended_by=session.ended_by,
            ended_after=session.ended_after,
            ended_before=session.ended_before,
            not_before=not_before,
        )
        not_before = session.logout_ts
    return documents


def _session_id(character_id: str, session: Session) -> str:
    """The id of a session's document."""
    if session.login_ts is not None:
        return f"{character_id}-{session.login_ts}"
    return f"{character_id}-{session.logout_ts}-out"
