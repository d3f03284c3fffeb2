"""Who was online from when to when: a million sessions for four weeks of four worlds, of which a server tells 200,000 in a second."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import UnknownStart
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.documents import SessionSource
from ps2daemon.store.elasticsearch.searching import Query, between, both, either, exists, term, terms
from ps2daemon.store.elasticsearch.server import Server

if TYPE_CHECKING:
    from ps2daemon.model.sittings import Sittings


class _Sitting(msgspec.Struct, gc=False):
    faction_id: str
    login_ts: Ms
    logout_ts: Ms | None


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


async def unknown_starts(
    server: Server, index: str, start: Ms, end: Ms, worlds: Collection[int]
) -> list[UnknownStart]:
    """See `StoreReader.unknown_starts`."""
    query = both(
        searching.without_login(),
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
