"""What moving and keeping asks of the server, and how months are dropped: an index at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any, Final

import msgspec

from ps2daemon.config import ElasticsearchSettings
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import MAX_SESSION
from ps2daemon.store.base import CharacterDocument, Month, SessionDocument, StoreDescription
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.documents import CharacterSource, SessionSource, character_of, session_of
from ps2daemon.store.elasticsearch.schema import VERSION, Names, Schema
from ps2daemon.store.elasticsearch.searching import between, both, is_open, of_worlds
from ps2daemon.store.elasticsearch.server import Server

_BLOCKS: Final = {
    "read_only_allow_delete": "the disk of a node is too full, so that the server lets nobody write",
    "read_only": "somebody set index.blocks.read_only",
    "write": "somebody set index.blocks.write",
    "metadata": "somebody set index.blocks.metadata",
}
"""By the setting's name: what it means."""


class _Size(msgspec.Struct):
    size_in_bytes: int = 0


class _Stored(msgspec.Struct):
    store: _Size = msgspec.field(default_factory=_Size)


class _Total(msgspec.Struct):
    total: _Stored = msgspec.field(default_factory=_Stored)


class _Stats(msgspec.Struct):
    all: _Total = msgspec.field(name="_all", default_factory=_Total)


class _IndexSettings(msgspec.Struct):
    blocks: dict[str, Any] = {}


class _Settings(msgspec.Struct):
    index: _IndexSettings = msgspec.field(default_factory=_IndexSettings)


class _Index(msgspec.Struct):
    settings: _Settings = msgspec.field(default_factory=_Settings)


class _Health(msgspec.Struct):
    status: str = ""


class _Bucket(msgspec.Struct):
    key: int
    doc_count: int


class _Buckets(msgspec.Struct):
    buckets: list[_Bucket] = []


class _Latest(msgspec.Struct):
    value: float | None = None


class _Aggregations(msgspec.Struct):
    months: _Buckets = msgspec.field(default_factory=_Buckets)
    latest: _Latest = msgspec.field(default_factory=_Latest)


class _Answer(searching.Answer, kw_only=True):
    aggregations: _Aggregations = msgspec.field(default_factory=_Aggregations)


async def describe(server: Server, names: Names) -> StoreDescription:
    """See `StoreSource.describe`."""
    version = await server.version()
    stats = await server.ask(
        "GET", f"/{names.all}/_stats/store", params={**searching.SOME, "filter_path": "_all"}, type=_Stats
    )
    return StoreDescription(
        kind="elasticsearch",
        place=f"{server.name}, prefix {names.prefix}",
        server=f"Elasticsearch {version}",
        schema_version=VERSION,
        size_bytes=stats.all.total.store.size_in_bytes,
        free_bytes=0,
        unwritable=await _unwritable(server, names),
    )


async def _unwritable(server: Server, names: Names) -> str | None:
    settings = await server.ask(
        "GET",
        f"/{names.all}/_settings",
        params={**searching.SOME, "filter_path": "*.settings.index.blocks"},
        type=dict[str, _Index],
    )
    for index, found in sorted(settings.items()):
        for block, value in found.settings.index.blocks.items():
            if block in _BLOCKS and str(value).lower() == "true":
                return f"{index} is blocked: {_BLOCKS[block]}"
    # The server waits for an index that is named whole and isn't there, and then answers with an error.
    indices = ",".join(f"{name.rstrip('*')}*" for name in names.all.split(","))
    health = await server.ask(
        "GET", f"/_cluster/health/{indices}", params={"timeout": "1s", **searching.SOME}, type=_Health
    )
    return "a part of the indices is missing (status red)" if health.status == "red" else None


async def months(server: Server, names: Names) -> list[Month]:
    """See `StoreSource.months`."""
    fields = ((names.sessions, "first_ts"), (names.alerts, "first_change"), (names.locks, "at"))
    searches = [(index, searching.counting(_by_month(field))) for index, field in fields]
    sessions, alerts, locks = (
        Counter({bucket.key: bucket.doc_count for bucket in answer.aggregations.months.buckets})
        for answer in await searching.many(server, searches, _Answer)
    )
    return [
        Month(start, sessions[start], alerts[start], locks[start])
        for start in sorted(sessions.keys() | alerts.keys() | locks.keys())
    ]


def _by_month(field: str) -> dict[str, Any]:
    return {"months": {"date_histogram": {"field": field, "calendar_interval": "month", "min_doc_count": 1}}}


async def latest_end(server: Server, names: Names, before: Ms) -> Ms | None:
    """See `StoreSource.latest_end`."""
    earlier = between("first_ts", lt=before)
    searches = [
        (names.sessions, searching.counting({"latest": {"max": {"field": field}}}, query))
        for query, field in ((earlier, "logout_ts"), (both(earlier, is_open()), "login_ts"))
    ]
    ended, begun = (
        answer.aggregations.latest.value for answer in await searching.many(server, searches, _Answer)
    )
    ends = []
    if ended is not None:
        ends.append(int(ended))
    if begun is not None:
        ends.append(int(begun) + MAX_SESSION)
    return max(ends, default=None)


async def all_sessions(
    server: Server, names: Names, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
) -> AsyncGenerator[SessionDocument, None]:
    """See `StoreReader.all_sessions`."""
    query = both(between("first_ts", gte=start, lt=end), *of_worlds(worlds))
    # "login" comes before "unknown".
    sort = ("first_ts", "character_id", "started_by")
    found = searching.pages(server, names.sessions, SessionSource, query=query, sort=sort)
    async with aclosing(found) as pages:
        async for hits in pages:
            for hit in hits:
                yield session_of(hit.id, hit.source)


async def all_characters(server: Server, names: Names) -> AsyncGenerator[CharacterDocument, None]:
    """See `StoreReader.all_characters`."""
    after = ""
    while True:
        page = await searching.search_page(
            server,
            names.characters,
            CharacterSource,
            query=between("character_id", gt=after),
            sort=["character_id"],
            size=searching.CHARACTERS_PAGE,
        )
        for hit in page:
            yield character_of(hit.source)
        if len(page) < searching.CHARACTERS_PAGE:
            return
        after = page[-1].source.character_id


async def remove_store(settings: ElasticsearchSettings) -> None:
    """Deletes everything under a prefix, for good.

    Raises:
        StoreUnavailable: the server does not answer.
        StoreMismatch: it is none that this program knows, or an index of the prefix is another program's; nothing was deleted.
    """
    server = Server(settings)
    try:
        await server.version()
        await Schema(server, Names(settings.index_prefix), settings.replicas).remove()
    finally:
        await server.aclose()


async def drop_month(server: Server, names: Names, before: Ms) -> int:
    """Deletes the earliest index of sessions before `before` that has any, and all empty ones before that; returns how many sessions it had."""
    found = await server.ask(
        "GET",
        f"/{names.sessions}/_settings",
        params={**searching.SOME, "filter_path": "*.settings.index.uuid"},
        type=dict[str, msgspec.Raw],
        absent={},
    )
    end = names.month(before)
    for index in sorted(index for index in found if index < end):
        (number,) = await searching.count(server, [(index, {"match_all": {}})])
        await server.ask("DELETE", f"/{index}", params=searching.SOME, type=msgspec.Raw)
        if number:
            return number
    return 0
