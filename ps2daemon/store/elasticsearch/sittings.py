"""Who was online from when to when: a million documents for four weeks of four worlds, 50,000 of which a server gives in a second.

So that those of a day are kept (`kept.py`), this tells what they were written with: `_seq_no` grows with every document that is written into a
shard, whether new or changed, and so does their sum; with one that is deleted their number falls. A day of which number, sum and largest are
the same is the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgspec

from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import UnknownStart
from ps2daemon.store.days import Versions
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.documents import SessionSource, SittingSource
from ps2daemon.store.elasticsearch.searching import Query, between, both, but, either, exists, term, terms
from ps2daemon.store.elasticsearch.server import Server

if TYPE_CHECKING:
    from ps2daemon.model.sittings import Sittings


class _Numbers(msgspec.Struct, gc=False):
    sum: float
    max: float | None


class _Day(msgspec.Struct, gc=False):
    key: int
    doc_count: int
    written: _Numbers


class _Days(msgspec.Struct):
    buckets: list[_Day] = []


class _World(msgspec.Struct):
    key: str
    days: _Days


class _Worlds(msgspec.Struct):
    buckets: list[_World] = []


class _Aggregations(msgspec.Struct):
    worlds: _Worlds = msgspec.field(default_factory=_Worlds)


class _Answer(msgspec.Struct):
    aggregations: _Aggregations = msgspec.field(default_factory=_Aggregations)


async def sittings(
    server: Server, index: str, start: Ms, end: Ms, worlds: Collection[int]
) -> dict[int, Sittings]:
    """See `StoreReader.sittings`."""
    began = both(terms("world_id", sorted(set(worlds))), between("login_ts", lt=end))
    return await _read(server, index, worlds, both(began, either(_ended(start), searching.is_open())))


async def ended(server: Server, index: str, start: Ms, end: Ms, world_id: int) -> Sittings:
    """See `DaySource.ended`."""
    query = both(term("world_id", world_id), exists("login_ts"), _ended(start, end))
    found = (await _read(server, index, (world_id,), query))[world_id]
    return found.at(found.logouts.argsort(kind="stable"))


async def lasting(server: Server, index: str, days: range, before: Ms, world_id: int) -> Sittings:
    """See `DaySource.lasting`."""
    return (await sittings(server, index, days.stop * DAY, before, (world_id,)))[world_id]


async def day_versions(server: Server, index: str, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.day_versions`."""
    by_day: dict[str, Any] = {
        "date_histogram": {
            "field": "logout_ts",
            "fixed_interval": f"{DAY}ms",
            "offset": "1ms",  # the server's days are open at their end
            "min_doc_count": 1,
        },
        "aggs": {"written": {"stats": {"field": "_seq_no"}}},
    }
    by_world = {
        "worlds": {
            "terms": {"field": "world_id", "size": max(1, len(worlds))},
            "aggs": {"days": by_day},
        }
    }
    query = both(terms("world_id", sorted(set(worlds))), _ended(days.start * DAY, days.stop * DAY))
    answer = await server.ask(
        "POST",
        f"/{index}/_search",
        searching.counting(by_world, query),
        params={**searching.SOME, **searching.COMPLETE},
        type=_Answer,
    )
    return {
        (int(world.key), day.key // DAY): (day.doc_count, day.written.sum, day.written.max)
        for world in answer.aggregations.worlds.buckets
        for day in world.days.buckets
    }


async def unknown_starts(
    server: Server, index: str, start: Ms, end: Ms, worlds: Collection[int]
) -> list[UnknownStart]:
    """See `StoreReader.unknown_starts`."""
    query = both(
        term("started_by", "unknown"),
        but(exists("login_ts")),
        terms("world_id", worlds),
        between("logout_ts", gt=start, lte=end),
    )
    return [
        UnknownStart(hit.source.world_id, hit.source.faction_id, hit.source.first_ts, hit.source.not_before)
        async for hits in searching.pages(server, index, SessionSource, query=query, sort=("first_ts",))
        for hit in hits
    ]


def _ended(after: Ms, until: Ms | None = None) -> Query:
    """By a logout that was seen, in `(after, until]`."""
    return both(term("ended_by", "logout"), between("logout_ts", gt=after, lte=until))


async def _read(server: Server, index: str, worlds: Collection[int], query: Query) -> dict[int, Sittings]:
    from ps2daemon.model.sittings import sittings_of  # numpy, without which most commands do

    found: dict[int, list[tuple[int, Ms, Ms | None]]] = {world_id: [] for world_id in worlds}
    async for hits in searching.pages(server, index, SittingSource, query=query, sort=()):
        for hit in hits:
            source = hit.source
            found[source.world_id].append((source.faction_id, source.login_ts, source.logout_ts))
    return {world_id: sittings_of(rows) for world_id, rows in found.items()}
