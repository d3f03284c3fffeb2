"""The stores that the contract is tested with, and what their documents are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias

from ps2daemon.model.alerts import Lock, lock_of
from ps2daemon.model.events import ContinentLock, Metagame
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Character, Session
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    SessionDocument,
    Store,
    Stored,
    StoreReader,
    session_documents,
)
from ps2daemon.store.sqlite import SqliteStore

T0: Ms = 1_772_366_400_000  # 2026-03-01T12:00:00Z


class Opened(NamedTuple):
    """A store, and how another process would open it for reading."""

    store: Store
    reader: Callable[[], AbstractAsyncContextManager[StoreReader]]


Backend: TypeAlias = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def sqlite() -> AsyncIterator[Opened]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ps2.db"

        @asynccontextmanager
        async def reader() -> AsyncIterator[StoreReader]:
            store = await SqliteStore.open(path, read_only=True)
            try:
                yield store
            finally:
                await store.aclose()

        store = await SqliteStore.open(path)
        try:
            yield Opened(store, reader)
        finally:
            await store.aclose()


BACKENDS: dict[str, Backend] = {"sqlite": sqlite}


# What the documents are made of


def character(
    character_id: str,
    *sessions: Session,
    name: str | None = None,
    faction_id: int = 0,
    enriched_at: Ms | None = None,
) -> CharacterDocument:
    return CharacterDocument(character_id, name, faction_id, enriched_at, Character(sessions))


def session(login: Ms, logout: Ms | None = None, world_id: int = 10) -> Session:
    return Session(
        world_id=world_id, login_ts=login, logout_ts=logout, ended_by=None if logout is None else "logout"
    )


def all_of(*documents: CharacterDocument, version: int = 0) -> Commit:
    """A commit of characters with all their sessions."""
    return Commit(
        sessions=[found for document in documents for found in session_documents(document).values()],
        characters=[Stored(document, version) for document in documents],
    )


def sessions_of(*documents: CharacterDocument) -> list[SessionDocument]:
    found = [found for document in documents for found in session_documents(document).values()]
    return sorted(found, key=lambda found: (first_known(found), found.session_id))


def first_known(document: SessionDocument) -> Ms:
    at = document.login_ts if document.login_ts is not None else document.logout_ts
    assert at is not None
    return at


def change(at: Ms, state: int, instance_id: int = 1, world_id: int = 10) -> Metagame:
    return Metagame(world_id, instance_id, 147, state, at, 2, 33.25, 33.0, None)


def continent_lock(at: Ms, world_id: int = 10) -> Lock:
    lock = lock_of(ContinentLock(world_id, 2, at, 1, 3, 147, 30.5, 33.0, None))
    assert lock is not None
    return lock


async def exported(reader: StoreReader) -> tuple[list[CharacterDocument], list[SessionDocument]]:
    """Everything about characters, in the order of the store but for sessions of one moment."""
    characters = [found async for found in reader.all_characters()]
    sessions = [found async for found in reader.all_sessions(None, None, None)]
    assert characters == sorted(characters, key=lambda found: found.character_id)
    assert [first_known(found) for found in sessions] == sorted(first_known(found) for found in sessions)
    return characters, sorted(sessions, key=lambda found: (first_known(found), found.session_id))
