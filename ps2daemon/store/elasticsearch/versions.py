"""Which days changed, so that what was read of the others may be kept (`kept.py`).

`_seq_no` grows with every document that is written into a shard, whether new or changed, and so does their sum; with one that is deleted their
number falls. A day of which number, sum and largest are the same is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import msgspec

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.records import DAY
from ps2daemon.store.days import Day, Versions
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.schema import Names
from ps2daemon.store.elasticsearch.searching import Query, between, both, exists, term, terms
from ps2daemon.store.elasticsearch.server import Server


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


class _UserData(msgspec.Struct):
    history_uuid: str = ""


class _Committed(msgspec.Struct):
    user_data: _UserData


class _Copy(msgspec.Struct):
    commit: _Committed


class _Index(msgspec.Struct):
    shards: dict[str, list[_Copy]]


class _Stats(msgspec.Struct):
    indices: dict[str, _Index] = {}


_HISTORIES: Final = {
    "level": "shards",
    "filter_path": "indices.*.shards.*.commit.user_data.history_uuid",
    **searching.SOME,
}


class _Times(NamedTuple):
    """Times of documents that lie on days.

    Attributes:
        such: what else has to hold of the documents.
    """

    indices: str
    field: str
    such: Query


async def day_versions(server: Server, names: Names, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.day_versions`."""
    ended = _Times(names.sessions, "logout_ts", term("ended_by", "logout"))
    return await _versions(server, days, worlds, ended)


async def change_versions(server: Server, names: Names, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.change_versions`."""
    begun, ended = (_Times(names.sessions, field, exists("login_ts")) for field in ("login_ts", "logout_ts"))
    return await _versions(server, days, worlds, begun, ended)


async def ending_versions(server: Server, names: Names, days: range, worlds: Collection[int]) -> Versions:
    """See `DaySource.ending_versions`."""
    alerts = _Times(names.alerts, "end", exists("end"))
    locks = _Times(names.locks, "at", exists("at"))
    unknown_starts = _Times(names.sessions, "logout_ts", searching.without_login())
    return await _versions(server, days, worlds, alerts, locks, unknown_starts)


async def lives(server: Server, names: Names) -> Mapping[str, str]:
    """See `LivesSource.lives`.

    `_seq_no` counts on within one history of a shard; it has another one, with another `history_uuid`, after it was restored from a snapshot or
    from a copy that had lagged behind.

    Raises:
        StoreUnavailable: nothing is told, as where no index can be reached, or none that this user may ask about.
    """
    indices = f"{names.sessions},{names.alerts},{names.locks}"
    stats = await server.ask("GET", f"/{indices}/_stats/docs", params=_HISTORIES, type=_Stats)
    if not stats.indices:
        raise StoreUnavailable(f"the server tells no history of {indices}")
    return {
        f"{index}/{shard}": copies[0].commit.user_data.history_uuid
        for index, found in stats.indices.items()
        for shard, copies in found.shards.items()
    }


async def _versions(server: Server, days: range, worlds: Collection[int], *times: _Times) -> Versions:
    """By day, what all that has one of these times on it was written with."""
    found = await _written(server, days, worlds, times)
    wanted = list(product(worlds, days))
    nothing = (None,) * len(times)
    written = zip(*(map(each.get, wanted) for each in found), strict=True)
    return {day: row for day, row in zip(wanted, written, strict=True) if row != nothing}


async def _written(
    server: Server, days: range, worlds: Collection[int], times: Sequence[_Times]
) -> list[dict[Day, tuple[int, float, float | None]]]:
    """For each of these times, by day, what the documents that have it there were written with."""
    wanted = sorted(set(worlds))
    searches = []
    for indices, field, such in times:
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
        searches.append((indices, searching.counting(by_world, both(terms("world_id", wanted), such, there))))
    return [
        {
            (int(world.key), day.key // DAY): (day.doc_count, day.written.sum, day.written.max)
            for world in answer.aggregations.worlds.buckets
            for day in world.days.buckets
        }
        for answer in await searching.many(server, searches, _Answer)
    ]
