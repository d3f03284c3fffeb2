"""Who was online from when to when: a million sessions for four weeks of four worlds, of which a server tells 200,000 in a second.

So that those of a day are kept (`kept.py`), this tells what they were written with: `_seq_no` grows with every document that is written into a
shard, whether new or changed, and so does their sum; with one that is deleted their number falls. A day of which number, sum and largest are
the same is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import UnknownStart
from ps2daemon.store.days import NOTHING, Day, Versions
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.documents import SessionSource
from ps2daemon.store.elasticsearch.searching import Query, between, both, but, either, exists, term, terms
from ps2daemon.store.elasticsearch.server import Server

if TYPE_CHECKING:
    from ps2daemon.model.sittings import Sittings


class _Sitting(msgspec.Struct, gc=False):
    faction_id: str
    login_ts: Ms
    logout_ts: Ms | None


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


class _Answer(searching.Answer, kw_only=True):
    aggregations: _Aggregations = msgspec.field(default_factory=_Aggregations)


async def sittings(
    server: Server, index: str, start: Ms, end: Ms, worlds: Collection[int]
) -> dict[int, Sittings]:
    """See `StoreReader.sittings`."""
    there = both(between("login_ts", lt=end), either(_ended(start), searching.is_open()))
    return {world_id: await _read(server, index, world_id, there) for world_id in set(worlds)}


async def ended(server: Server, index: str, start: Ms, end: Ms, world_id: int) -> Sittings:
    """See `DaySource.ended`."""
    from ps2daemon.model.sittings import joined  # numpy, without which most commands do

    days = range(start, end, DAY)
    return joined(
        [
            await _read(
                server, index, world_id, both(exists("login_ts"), _ended(first, min(first + DAY, end)))
            )
            for first in days
        ]
    )


async def lasting(server: Server, index: str, days: range, before: Ms, world_id: int) -> Sittings:
    """See `DaySource.lasting`."""
    return (await sittings(server, index, days.stop * DAY, before, (world_id,)))[world_id]


async def day_versions(server: Server, index: str, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.day_versions`."""
    (ended,) = await _written(server, index, days, worlds, {"logout_ts": term("ended_by", "logout")})
    return _nothing(days, worlds) | ended


async def change_versions(server: Server, index: str, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.change_versions`."""
    begun, ended = await _written(
        server, index, days, worlds, {"login_ts": exists("login_ts"), "logout_ts": exists("login_ts")}
    )
    both_of = {day: (begun.get(day), ended.get(day)) for day in begun.keys() | ended.keys()}
    return _nothing(days, worlds) | both_of


def _nothing(days: range, worlds: Collection[int]) -> Versions:
    return {(world_id, day): NOTHING for world_id in worlds for day in days}


async def _written(
    server: Server, index: str, days: range, worlds: Collection[int], fields: Mapping[str, Query]
) -> list[dict[Day, tuple[int, float, float | None]]]:
    """For each of these times of a session: what the sessions that it lies on a day of were written with, if they are such.

    Args:
        fields: each with what else has to hold.
    """
    wanted = sorted(set(worlds))
    searches = []
    for field, such in fields.items():
        by_day: dict[str, Any] = {
            "date_histogram": {
                "field": field,
                "fixed_interval": f"{DAY}ms",
                "offset": "1ms",  # the server's days are open at their end
                "min_doc_count": 1,
            },
            "aggs": {"written": {"stats": {"field": "_seq_no"}}},
        }
        by_world = {
            "worlds": {
                "terms": {"field": "world_id", "size": max(1, len(wanted))},
                "aggs": {"days": by_day},
            }
        }
        there = between(field, gt=days.start * DAY, lte=days.stop * DAY)
        searches.append((index, searching.counting(by_world, both(terms("world_id", wanted), such, there))))
    return [
        {
            (int(world.key), day.key // DAY): (day.doc_count, day.written.sum, day.written.max)
            for world in answer.aggregations.worlds.buckets
            for day in world.days.buckets
        }
        for answer in await searching.many(server, searches, _Answer)
    ]


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
        for hit in await searching.few(server, index, SessionSource, query=query, sort=("first_ts",))
    ]


def _ended(after: Ms, until: Ms | None = None) -> Query:
    """By a logout that was seen, in `(after, until]`."""
    return both(term("ended_by", "logout"), between("logout_ts", gt=after, lte=until))


async def _read(server: Server, index: str, world_id: int, query: Query) -> Sittings:
    """Those of one world that a query finds, by logout; first those without."""
    from ps2daemon.model.sittings import joined, sittings_of  # numpy, without which most commands do

    found = searching.rows(
        server,
        index,
        _Sitting,
        query=both(term("world_id", world_id), query),
        fields=("logout_ts", "login_ts", "faction_id"),
        optional="logout_ts",
    )
    return joined(
        [
            sittings_of(
                (int(row.values.faction_id), row.values.login_ts, row.values.logout_ts)
                for row in rows
                for _ in range(row.number)
            )
            async for rows in found
        ]
    )
