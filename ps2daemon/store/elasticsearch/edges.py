"""Looking up which logins and logouts the sessions have already."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ps2daemon.store.base import Edge
from ps2daemon.store.elasticsearch import searching
from ps2daemon.store.elasticsearch.documents import SessionSource
from ps2daemon.store.elasticsearch.schema import Names
from ps2daemon.store.elasticsearch.searching import Query, both, exists, term, terms
from ps2daemon.store.elasticsearch.server import Server

MOST: Final = 500
"""Looked up with one request."""


async def known_edges(server: Server, names: Names, edges: list[Edge]) -> set[Edge]:
    """See `Store.known_edges`; logouts are found among what is visible to searches."""
    found: set[Edge] = set()
    for first in range(0, len(edges), MOST):
        found |= await _known(server, names, edges[first : first + MOST])
    return found


async def _known(server: Server, names: Names, edges: list[Edge]) -> set[Edge]:
    """Sessions that begin with an edge by their id, and those that end with one by a search."""
    by_id = {f"{edge.character_id}-{edge.at}{'' if edge.login else '-out'}": edge for edge in edges}
    wanted = [{"_index": names.month(edge.at), "_id": key, "_source": False} for key, edge in by_id.items()]
    found = {
        by_id[each.id]
        for each in await searching.get(server, "", {"docs": wanted}, SessionSource)
        if each.found
    }
    logouts = {edge for edge in edges if not edge.login} - found
    if logouts:
        async for hits in searching.pages(
            server, names.sessions, SessionSource, query=_ended(logouts), sort=["first_ts"]
        ):
            for hit in hits:
                if hit.source.logout_ts is not None:
                    found.add(Edge(hit.source.character_id, hit.source.logout_ts, False))
    return found & set(edges)


def _ended(edges: Collection[Edge]) -> Query:
    """Sessions with a login that may have ended with one of these logouts."""
    return both(
        terms("character_id", sorted({edge.character_id for edge in edges})),
        terms("logout_ts", sorted({edge.at for edge in edges})),
        term("ended_by", "logout"),
        exists("login_ts"),
    )
