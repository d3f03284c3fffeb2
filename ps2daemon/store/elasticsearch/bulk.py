"""Sending lines of bulk requests, and what became of each of them.

A request is bounded in bytes, so that neither side holds much. What the server says of a line is one of: done; a conflict (somebody else changed the
document); refused (it will never take it); anything else is an outage, and the whole is to be sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from ps2daemon.errors import StoreUnavailable
from ps2daemon.store.elasticsearch.documents import Line
from ps2daemon.store.elasticsearch.server import Cause, Server, cause_of, outage

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one request: more is no faster, and the server refuses 100 MB."""
FILTER: Final = (
    "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by,items.*._index,"
    "items.*._seq_no,items.*._primary_term"
)
_MISSING: Final = 404
_CONFLICT: Final = 409
_REFUSED: Final = 400


class _Item(msgspec.Struct, gc=False):
    status: int
    index: str = msgspec.field(name="_index", default="")
    sequence: int = msgspec.field(name="_seq_no", default=0)
    term: int = msgspec.field(name="_primary_term", default=0)
    error: Cause | None = None


class _Answer(msgspec.Struct):
    errors: bool = False
    items: list[dict[Literal["index", "create", "delete", "update"], _Item]] = []


class Refusal(msgspec.Struct, frozen=True):
    """Why the server will never take a line, and in which index."""

    index: str
    reason: str


class Sent(msgspec.Struct):
    """What became of lines that were all dealt with.

    Attributes:
        versions: sequence number and term of each owner's document that was written.
        conflicts: owners whose document somebody else had changed.
        refused: by owner.
    """

    versions: dict[str, tuple[int, int]]
    conflicts: list[str]
    refused: dict[str, Refusal]


async def send(server: Server, lines: Sequence[Line]) -> Sent:
    """Sends lines, as many at once as a request may hold; what was done is durable when this returns.

    Raises:
        StoreUnavailable: an outage, or a block, of all or some; any part may have been done.
    """
    sent = Sent({}, [], {})
    for part in _requests(lines):
        answer = await server.ask(
            "POST",
            "/_bulk",
            b"".join(line.body for line in part),
            params={"filter_path": FILTER},
            type=_Answer,
        )
        if len(answer.items) != len(part):
            raise StoreUnavailable(
                f"Elasticsearch at {server.name} answered for {len(answer.items)} of {len(part)} documents"
            )
        for line, item in zip(part, answer.items, strict=True):
            (result,) = item.values()
            _sort(server, sent, line.owner, result, deleted="delete" in item)
    return sent


def _requests(lines: Sequence[Line]) -> Iterable[Sequence[Line]]:
    first = size = 0
    for number, line in enumerate(lines):
        if size and size + len(line.body) > MAX_BYTES:
            yield lines[first:number]
            first, size = number, 0
        size += len(line.body)
    if size:
        yield lines[first:]


def _sort(server: Server, sent: Sent, owner: str, item: _Item, *, deleted: bool) -> None:
    if item.error is None or (deleted and item.status == _MISSING):
        sent.versions[owner] = (item.sequence, item.term)
        return
    kind, reason = cause_of(item.error)
    if item.status == _CONFLICT:
        sent.conflicts.append(owner)
    elif item.status == _REFUSED:
        sent.refused[owner] = Refusal(item.index, reason)
    else:
        raise StoreUnavailable(f"Elasticsearch at {server.name}: {outage(item.status, kind, reason)}")
