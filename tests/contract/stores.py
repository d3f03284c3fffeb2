"""The stores that the contract is tested with, and what their documents are made of."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TypeAlias

import httpx
import pytest
from _pytest.mark import ParameterSet

from ps2daemon.config import ElasticsearchSettings
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
    first_known,
)
from ps2daemon.store.changes import session_documents
from ps2daemon.store.days import DaySource, LivesSource
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.elasticsearch.marks import PENDING
from ps2daemon.store.kept import KeptReader
from ps2daemon.store.sqlite import SqliteStore

ADDRESS = "PS2DAEMON_TEST_ELASTICSEARCH_"
"""Before the major version: the variable that says where a server is that tests may use."""
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


def starting(
    store: Store, monkeypatch: pytest.MonkeyPatch, folder: Path, *, goes_on: bool
) -> Callable[[], KeptReader]:
    """Gives a reader that keeps days: always the same, or one that starts anew, with the file of the one before."""
    assert isinstance(store, DaySource)
    if not isinstance(store, LivesSource):
        monkeypatch.setattr(store, "lives", _one_life, raising=False)
    only = KeptReader(store)
    return lambda: only if goes_on else KeptReader(store, file=folder / "days")


async def _one_life() -> dict[str, str]:
    return {"all": "first"}


def settings_for(major: int) -> ElasticsearchSettings:
    """A prefix of this process's own on the server of one major version."""
    return ElasticsearchSettings(
        urls=(os.environ[f"{ADDRESS}{major}"],), index_prefix=f"test-contract-{os.getpid()}"
    )


def servers() -> list[ElasticsearchSettings]:
    """Ours on each server that is there."""
    return [settings_for(major) for major in (9, 8) if f"{ADDRESS}{major}" in os.environ]


HTTP: Final = httpx.Client(timeout=60, trust_env=False)
"""One for all, since a new one takes longer than what it is for."""


def wipe(settings: ElasticsearchSettings) -> None:
    """Empties the indices of a prefix: to make them anew would take ten times as long."""
    indices = f"{settings.urls[0]}/{settings.index_prefix}-*"
    HTTP.post(f"{indices}/_refresh").raise_for_status()
    # The number of the last commit stays: the server remembers for a while what it removed, and with which number.
    pending = f"{settings.urls[0]}/{settings.index_prefix}-meta/_doc/{PENDING}"
    found = HTTP.get(pending).json()
    if found.get("found"):
        number = found["_source"]["number"] + 1
        HTTP.put(
            f"{pending}?version={number}&version_type=external", json={"number": number}
        ).raise_for_status()
    everything: dict[str, object] = {"query": {"bool": {"must_not": {"ids": {"values": [PENDING]}}}}}
    HTTP.post(f"{indices}/_delete_by_query?refresh=true", json=everything).raise_for_status()


def elasticsearch(major: int) -> Backend:
    """The store on the server of one major version."""

    @asynccontextmanager
    async def backend() -> AsyncIterator[Opened]:
        settings = settings_for(major)
        wipe(settings)

        @asynccontextmanager
        async def reader() -> AsyncIterator[StoreReader]:
            store = await ElasticsearchStore.open(settings, read_only=True)
            try:
                yield store
            finally:
                await store.aclose()

        store = await ElasticsearchStore.open(settings)
        try:
            yield Opened(store, reader)
        finally:
            await store.aclose()

    return backend


def _on_a_server(major: int) -> ParameterSet:
    variable = f"{ADDRESS}{major}"
    return pytest.param(
        elasticsearch(major),
        id=f"elasticsearch-{major}",
        marks=pytest.mark.skipif(
            variable not in os.environ,
            reason=f"no Elasticsearch {major}: .ci/run starts one and sets {variable}",
        ),
    )


BACKENDS: list[ParameterSet] = [pytest.param(sqlite, id="sqlite"), _on_a_server(9), _on_a_server(8)]


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


def change(at: Ms, state: int, instance_id: int = 1, world_id: int = 10) -> Metagame:
    return Metagame(world_id, instance_id, 147, state, at, 2, 33.25, 33.0, None)


def continent_lock(at: Ms, world_id: int = 10) -> Lock:
    lock = lock_of(ContinentLock(world_id, 2, at, 1, 3, 147, 30.5, 33.0, None))
    assert lock is not None
    return lock


async def exported(reader: StoreReader) -> tuple[list[CharacterDocument], list[SessionDocument]]:
    """Everything about characters, in the order of the store."""
    characters = [found async for found in reader.all_characters()]
    sessions = [found async for found in reader.all_sessions(None, None, None)]
    assert characters == sorted(characters, key=lambda found: found.character_id)
    assert sessions == sorted(sessions, key=lambda found: (first_known(found), found.session_id))
    return characters, sessions
