"""The population as the server counts it: who is online at one moment, and how that changes bucket by bucket.

The server refuses an answer of more than `MAX_BUCKETS` buckets, so that a long window is asked for in parts. Its buckets are open at the end and
this program's at the start; a millisecond's offset makes one of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ps2daemon.model.records import Ms
from ps2daemon.store.base import Count
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.searching import Query, between, both, exists, terms
from ps2daemon.store.elasticsearch.server import Server

if TYPE_CHECKING:
    from ps2daemon.model.differences import Differences

MAX_BUCKETS: Final = 65_536
MAX_FACTIONS: Final = 8
"""Empires that an answer has room for: four, and 0 for those not known yet."""
MAX_WORLDS: Final = 1000


class _Bucket(msgspec.Struct, gc=False):
    key: int
    doc_count: int


class _Buckets(msgspec.Struct):
    buckets: list[_Bucket] = []


class _Faction(msgspec.Struct):
    key: str
    doc_count: int
    times: _Buckets = msgspec.field(default_factory=_Buckets)


class _Factions(msgspec.Struct):
    buckets: list[_Faction] = []


class _World(msgspec.Struct):
    key: str
    factions: _Factions = msgspec.field(default_factory=_Factions)


class _Worlds(msgspec.Struct):
    buckets: list[_World] = []


class _Aggregations(msgspec.Struct):
    worlds: _Worlds = msgspec.field(default_factory=_Worlds)


class _Answer(searching.Answer, kw_only=True):
    status: int = searching.OK  # said of several searches at once alone
    aggregations: _Aggregations = msgspec.field(default_factory=_Aggregations)


async def online_at(server: Server, index: str, at: Ms, worlds: Collection[int]) -> list[Count]:
    """See `Store.online_at`."""
    query = both(terms("world_id", sorted(set(worlds))), searching.online(at))
    body = searching.counting(_by_world_and_faction(len(worlds), None), query)
    answer = await server.ask(
        "POST", f"/{index}/_search", body, params={**searching.SOME, **searching.COMPLETE}, type=_Answer
    )
    return [
        Count(int(world.key), int(faction.key), faction.doc_count)
        for world in answer.aggregations.worlds.buckets
        for faction in world.factions.buckets
    ]


async def worlds_with(server: Server, index: str) -> set[int]:
    """Every world with a document in the index."""
    body = searching.counting({"worlds": {"terms": {"field": "world_id", "size": MAX_WORLDS}}})
    answer = await server.ask(
        "POST", f"/{index}/_search", body, params={**searching.SOME, **searching.COMPLETE}, type=_Answer
    )
    return {int(world.key) for world in answer.aggregations.worlds.buckets}


async def changes(
    server: Server, index: str, start: Ms, end: Ms, step: Ms, worlds: Collection[int]
) -> Differences:
    """See `Store.changes`."""
    import numpy as np  # without which most commands do

    found: Differences = {}
    size = -((start - end) // step)
    wanted = sorted(set(worlds))
    for first, last in parts(start, end, step, len(wanted)):
        searches = [
            (index, _histogram(field, first, last, step, wanted)) for field in ("login_ts", "logout_ts")
        ]
        answers = await searching.many(server, searches, _Answer)
        for sign, answer in zip((1, -1), answers, strict=True):
            for world in answer.aggregations.worlds.buckets:
                for faction in world.factions.buckets:
                    ids = int(world.key), int(faction.key)
                    if ids not in found:
                        found[ids] = np.zeros(size, dtype=np.int64)
                    buckets = faction.times.buckets
                    keys = np.array([bucket.key for bucket in buckets], dtype=np.int64)
                    counts = np.array([bucket.doc_count for bucket in buckets], dtype=np.int64)
                    found[ids][(keys - 1 - start) // step + 1] += sign * counts  # each instant once
    return found


def parts(start: Ms, end: Ms, step: Ms, worlds: int) -> Iterator[tuple[Ms, Ms]]:
    """The window `(start, last bucket before end]` in parts `(first, last]` that each fit into one answer."""
    if worlds == 0:
        return
    # Buckets of worlds and of empires count as well.
    room = max(1, (MAX_BUCKETS // worlds - 1) // MAX_FACTIONS - 1)
    buckets = (end - 1 - start) // step
    for first in range(0, max(0, buckets), room):
        yield start + first * step, start + min(first + room, buckets) * step


def _histogram(field: str, first: Ms, last: Ms, step: Ms, worlds: list[int]) -> dict[str, Any]:
    filters: list[Query] = [terms("world_id", worlds), between(field, gt=first, lte=last)]
    if field != "login_ts":
        filters.append(exists("login_ts"))
    times = {
        "date_histogram": {
            "field": field,
            "fixed_interval": f"{step}ms",
            "offset": f"{(first + 1) % step}ms",
            "min_doc_count": 1,
        }
    }
    return searching.counting(_by_world_and_faction(len(worlds), times), both(*filters))


def _by_world_and_faction(worlds: int, times: dict[str, Any] | None) -> dict[str, Any]:
    factions: dict[str, Any] = {"terms": {"field": "faction_id", "size": MAX_FACTIONS}}
    if times is not None:
        factions["aggs"] = {"times": times}
    return {
        "worlds": {
            "terms": {"field": "world_id", "size": max(1, worlds)},
            "aggs": {"factions": factions},
        }
    }
