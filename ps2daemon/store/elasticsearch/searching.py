"""Searches: what is asked, and page after page of what is found.

A search must be complete or fail: a shard that does not answer is an outage, never a smaller number. Months in which nothing was recorded have no index,
and that is no error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from os import getpid
from typing import Any, Final, Generic, TypeVar

import msgspec

from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import CAP
from ps2daemon.store.elasticsearch.documents import OPEN
from ps2daemon.store.elasticsearch.server import Cause, Server, cause_of, outage

T = TypeVar("T")
Query = dict[str, Any]

PAGE: Final = 5000
"""Documents of one answer: at 300 bytes a session, 1.5 MB."""
ROWS: Final = 60_000
"""Rows of one answer, which at 70 bytes are 4 MB; the server refuses more than 65,536 buckets."""
CHARACTERS_PAGE: Final = 500
"""The same of characters, which hold up to 50 sessions: at 5 KB, 2.5 MB."""
OK: Final = 200
KEEP_ALIVE: Final = "2m"
"""How long the server keeps a moment for whoever reads page by page."""
COMPLETE: Final = {"allow_partial_search_results": "false"}
SOME: Final = {"ignore_unavailable": "true", "allow_no_indices": "true"}
ONE_COPY: Final = {**SOME, "preference": f"ps2daemon-{getpid()}"}
"""Where one answer is measured by another: each shard's copies show what was written at moments of their own."""
_HITS: Final = {"filter_path": "hits.hits._id,hits.hits._source,hits.hits.sort,hits.hits.fields"}
_NO_TEXTS: Final = {"filter_path": "responses.*,-responses.aggregations.**.key_as_string"}
_GOT: Final = {"filter_path": "docs._id,docs.found,docs._seq_no,docs._primary_term,docs._source,docs.error"}
_NO_INDEX: Final = "index_not_found_exception"
_UNAVAILABLE: Final = 503
_FEW: Final = ("next_login", "offline_check", "cap", OPEN)
"""How sessions ended, or did not, that no logout ended."""


class Hit(msgspec.Struct, Generic[T]):
    """A document that was found."""

    source: T = msgspec.field(name="_source")
    id: str = msgspec.field(name="_id", default="")
    sort: list[Any] = []


class Got(msgspec.Struct, Generic[T], gc=False):
    """A document that was asked for by its id: as it is now, whether searches see it or not.

    Attributes:
        sequence, term: the two numbers by which the server knows its state.
    """

    id: str = msgspec.field(name="_id")
    found: bool = False
    sequence: int = msgspec.field(name="_seq_no", default=0)
    term: int = msgspec.field(name="_primary_term", default=0)
    source: T | None = msgspec.field(name="_source", default=None)
    error: Cause | None = None


class _GotAll(msgspec.Struct, Generic[T]):
    docs: list[Got[T]]


class _Hits(msgspec.Struct, Generic[T]):
    hits: list[T] = []


class _Found(msgspec.Struct, Generic[T]):
    hits: _Hits[T] = msgspec.field(default_factory=_Hits)


class _Collapsed(msgspec.Struct):
    fields: dict[str, list[str]]


class _Moment(msgspec.Struct):
    id: str


class Row(msgspec.Struct, Generic[T], gc=False):
    """The values of some fields, and how many documents have these."""

    values: T = msgspec.field(name="key")
    number: int = msgspec.field(name="doc_count")


class _Table(msgspec.Struct, Generic[T]):
    buckets: list[Row[T]] = []
    after_key: dict[str, Any] | None = None


class _Tables(msgspec.Struct, Generic[T]):
    rows: _Table[T]


class _Tabled(msgspec.Struct, Generic[T]):
    aggregations: _Tables[T] | None = None


class _Total(msgspec.Struct):
    value: int


class _TotalHits(msgspec.Struct):
    total: _Total


class Answer(msgspec.Struct, kw_only=True):
    """One of the answers to several searches at once."""

    status: int
    error: Cause = msgspec.field(default_factory=Cause)


class _Counted(Answer, kw_only=True):
    hits: _TotalHits = msgspec.field(default_factory=lambda: _TotalHits(_Total(0)))


class _Answers(msgspec.Struct, Generic[T]):
    responses: list[T]


async def get(server: Server, path: str, wanted: object, kind: type[T]) -> list[Got[T]]:
    """Documents by their ids, in the order in which they were asked for. What has no index yet is not there.

    Args:
        wanted: the body of a request for several documents.

    Raises:
        StoreUnavailable: an outage, also of some of them, which the server says in the middle of an answer that is none otherwise.
    """
    answer = await server.ask("POST", f"{path}/_mget", wanted, params=_GOT, type=_GotAll[kind])  # type: ignore[valid-type]
    for each in answer.docs:
        if each.error is not None and each.error.type != _NO_INDEX:
            name, reason = cause_of(each.error)
            raise StoreUnavailable(f"Elasticsearch at {server.name}: {outage(_UNAVAILABLE, name, reason)}")
    return list(answer.docs)


async def search(
    server: Server, index: str, kind: type[T], *, query: Query, sort: Sequence[str], size: int = PAGE
) -> list[Hit[T]]:
    """Everything that a query finds, in the order of `sort`, which must be unique."""
    found: list[Hit[T]] = []
    while True:
        after = found[-1].sort if found else None
        hits = await search_page(server, index, kind, query=query, sort=sort, size=size, after=after)
        found += hits
        if len(hits) < size:
            return found


async def search_page(
    server: Server,
    index: str,
    kind: type[T],
    *,
    query: Query,
    sort: Sequence[str],
    size: int,
    after: list[Any] | None = None,
) -> list[Hit[T]]:
    """The first documents that a query finds, or those beyond the place `after`."""
    body: dict[str, Any] = {"query": query, "sort": list(sort), "size": size, "track_total_hits": False}
    if after is not None:
        body["search_after"] = after
    params = {**ONE_COPY, **COMPLETE, **_HITS}
    answer = await server.ask(
        "POST",
        f"/{index}/_search",
        body,
        params=params,
        type=_Found[Hit[kind]],  # type: ignore[valid-type]
    )
    return list(answer.hits.hits)


async def pages(
    server: Server, index: str, kind: type[T], *, query: Query, sort: Sequence[str], size: int = PAGE
) -> AsyncGenerator[list[Hit[T]], None]:
    """The same page by page, all of one moment; `sort` need not be unique. A reader that stops early leaves the moment to expire."""
    moment = await _moment(server, index)
    body: dict[str, Any] = {
        "query": query,
        "sort": [*sort, "_shard_doc"],
        "size": size,
        "track_total_hits": False,
        "pit": {"id": moment.id, "keep_alive": KEEP_ALIVE},
    }
    while True:
        answer = await server.ask(
            "POST",
            "/_search",
            body,
            params={**COMPLETE, **_HITS},
            type=_Found[Hit[kind]],  # type: ignore[valid-type]
        )
        hits = answer.hits.hits
        if hits:
            yield hits
        if len(hits) < size:
            break
        body["search_after"] = hits[-1].sort
    await _forget(server, moment)


async def few(
    server: Server, index: str, kind: type[T], *, query: Query, sort: Sequence[str]
) -> list[Hit[T]]:
    """All that the same finds, where that is mostly one page, which is of one moment anyhow: that is two requests less."""
    found = await search_page(server, index, kind, query=query, sort=sort, size=PAGE)
    if len(found) < PAGE:
        return found
    every = pages(server, index, kind, query=query, sort=sort, size=PAGE)
    return [hit async for hits in every for hit in hits]


async def rows(
    server: Server, index: str, kind: type[T], *, query: Query, fields: Sequence[str], optional: str = ""
) -> AsyncGenerator[list[Row[T]], None]:
    """The values of these fields in what a query finds, in their order, all of one moment; five times as fast as reading documents.

    Args:
        kind: has the fields as attributes.
        optional: one of them that a document need not have.
    """
    sources = [{field: {"terms": {"field": field, "missing_bucket": field == optional}}} for field in fields]
    composite: dict[str, Any] = {"size": ROWS, "sources": sources}
    body = counting({"rows": {"composite": composite}}, query)

    async def ask(path: str, params: dict[str, str]) -> _Table[T]:
        params = {**params, **COMPLETE, "filter_path": "aggregations"}
        answer = await server.ask("POST", path, body, params=params, type=_Tabled[kind])  # type: ignore[valid-type]
        return _Table() if answer.aggregations is None else answer.aggregations.rows

    table = await ask(f"/{index}/_search", ONE_COPY)
    if len(table.buckets) < ROWS:
        yield table.buckets
        return
    moment = await _moment(server, index)
    body["pit"] = {"id": moment.id, "keep_alive": KEEP_ALIVE}
    while True:
        table = await ask("/_search", {})
        yield table.buckets
        if len(table.buckets) < ROWS:
            break
        composite["after"] = table.after_key
    await _forget(server, moment)


async def _moment(server: Server, index: str) -> _Moment:
    params = {**ONE_COPY, "keep_alive": KEEP_ALIVE, **COMPLETE}
    return await server.ask("POST", f"/{index}/_pit", params=params, type=_Moment)


async def _forget(server: Server, moment: _Moment) -> None:
    await server.ask("DELETE", "/_pit", {"id": moment.id}, type=msgspec.Raw)


async def characters_with(server: Server, index: str, query: Query, limit: int) -> list[str]:
    """Characters of the documents that a query finds, each once, by id."""
    body = {
        "query": query,
        "collapse": {"field": "character_id"},
        "sort": ["character_id"],
        "size": limit,
        "_source": False,
        "track_total_hits": False,
    }
    answer = await server.ask(
        "POST", f"/{index}/_search", body, params={**SOME, **COMPLETE, **_HITS}, type=_Found[_Collapsed]
    )
    return [hit.fields["character_id"][0] for hit in answer.hits.hits]


async def count(server: Server, questions: Sequence[tuple[str, Query]]) -> list[int]:
    """How many documents each of the (index, query) finds."""
    searches = [(index, {"query": query, "size": 0, "track_total_hits": True}) for index, query in questions]
    return [each.hits.total.value for each in await many(server, searches, _Counted)]


def counting(aggs: dict[str, Any], query: Query | None = None) -> dict[str, Any]:
    """The body of a search that wants aggregations alone: of everything, or of what a query finds."""
    body = {"size": 0, "track_total_hits": False, "aggs": aggs}
    return body if query is None else {"query": query, **body}


A = TypeVar("A", bound=Answer)


async def many(server: Server, searches: Sequence[tuple[str, Query]], kind: type[A]) -> list[A]:
    """Several searches, of (index, body), at once. Dates come as numbers alone, without their texts, which are half of a long answer."""
    head = {
        "ignore_unavailable": True,
        "allow_no_indices": True,
        "allow_partial_search_results": False,
        "preference": ONE_COPY["preference"],
    }
    lines = [
        msgspec.json.encode(line) + b"\n"
        for index, body in searches
        for line in ({"index": index, **head}, body)
    ]
    answers: list[A] = (
        await server.ask("POST", "/_msearch", b"".join(lines), params=_NO_TEXTS, type=_Answers[kind])  # type: ignore[valid-type]
    ).responses
    for each in answers:
        if each.status != OK:
            raise StoreUnavailable(
                f"Elasticsearch at {server.name}: {outage(each.status, *cause_of(each.error))}"
            )
    return answers


# Queries


def both(*filters: Query) -> Query:
    """What all of them find."""
    return {"bool": {"filter": list(filters)}}


def either(*queries: Query) -> Query:
    """What any of them finds."""
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def but(query: Query) -> Query:
    """What it does not find."""
    return {"bool": {"must_not": [query]}}


def term(field: str, value: object) -> Query:
    """Documents whose field has the value."""
    return {"term": {field: {"value": value}}}


def terms(field: str, values: Collection[object]) -> Query:
    """Documents whose field has one of the values."""
    return {"terms": {field: list(values)}}


def exists(field: str) -> Query:
    """Documents that have the field."""
    return {"exists": {"field": field}}


def between(field: str, **bounds: object) -> Query:
    """Documents whose field lies within `gt`, `gte`, `lt`, `lte`; bounds that are None don't count."""
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {"range": {field: given}} if given else {"match_all": {}}


def of_worlds(worlds: Collection[int] | None) -> list[Query]:
    """Documents of one of the worlds, or of any if it is None; as what to combine with others."""
    return [] if worlds is None else [terms("world_id", worlds)]


def online(at: Ms) -> Query:
    """Sessions that count at `at`."""
    return {"range": {"online": {"gte": at, "lte": at, "relation": "contains"}}}


def without_login() -> Query:
    """Sessions whose login was not seen, found by a term first."""
    return both(term("started_by", "unknown"), but(exists("login_ts")))


def is_open() -> Query:
    """Sessions that did not end yet, found by a term: to look for what has no end would take a look at everything."""
    return term("ended_by", OPEN)


def estimated(world_id: int, start: Ms, end: Ms, after: str) -> Query:
    """See `Store.estimated`. A session's end is at most `CAP` after the last evidence of being online, no later than `ended_after`."""
    return both(
        terms("ended_by", _FEW),
        term("world_id", world_id),
        between("login_ts", lt=end),
        between("character_id", gt=after),
        either(is_open(), between("ended_before", gte=start), between("ended_after", gte=start - CAP)),
    )
