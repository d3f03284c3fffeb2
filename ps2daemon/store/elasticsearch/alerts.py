"""Alerts and continent locks."""

from __future__ import annotations

from collections.abc import Collection

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.records import Ms
from ps2daemon.store.elasticsearch import documents, searching
from ps2daemon.store.elasticsearch.documents import AlertSource
from ps2daemon.store.elasticsearch.schema import Names
from ps2daemon.store.elasticsearch.searching import Query, between, both, but, either, exists, of_worlds, term
from ps2daemon.store.elasticsearch.server import Server

_ENDLESS = but(exists("end"))


async def alerts(
    server: Server, names: Names, start: Ms, end: Ms, worlds: Collection[int] | None
) -> list[Alert]:
    """See `StoreReader.alerts`."""
    ran = between("first_change", lt=end), either(between("end", gt=start), _ENDLESS)
    return await _alerts(server, names, both(*ran, *of_worlds(worlds)))


async def locks(
    server: Server, names: Names, start: Ms, end: Ms, worlds: Collection[int] | None
) -> list[Lock]:
    """See `StoreReader.locks`."""
    query = both(between("at", gte=start, lt=end), *of_worlds(worlds))
    found = await searching.search(server, names.locks, Lock, query=query, sort=("at", "lock_id"))
    return [hit.source for hit in found]


async def ended(server: Server, names: Names, start: Ms, end: Ms, world_id: int) -> list[Alert]:
    """Alerts that ended in `(start, end]`."""
    return await _alerts(server, names, both(between("end", gt=start, lte=end), term("world_id", world_id)))


async def endless(
    server: Server, names: Names, before: Ms | None, worlds: Collection[int] | None
) -> list[Alert]:
    """See `DaySource.endless`; None stands for all."""
    return await _alerts(
        server, names, both(between("first_change", lt=before), _ENDLESS, *of_worlds(worlds))
    )


async def _alerts(server: Server, names: Names, query: Query) -> list[Alert]:
    found = await searching.search(
        server, names.alerts, AlertSource, query=query, sort=("first_change", "alert_id")
    )
    return [documents.alert_of(hit.source) for hit in found]
