"""`ps2daemon export`: what is stored, as NDJSON or CSV, a document a line; memory stays flat."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import click
import msgspec
import trio

from ps2daemon.analysis import asking, documents
from ps2daemon.analysis.sheets import Row, columns_of, row_writer
from ps2daemon.cli import epilog, settings_of
from ps2daemon.cli.options import (
    open_window,
    out_option,
    output,
    reading,
    window_options,
    world_option,
    zone_option,
)
from ps2daemon.cli.tables import text_on
from ps2daemon.clock import SystemClock
from ps2daemon.config import Settings
from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import StoreReader

FIELDS: Final = {
    "sessions": documents.SESSION_FIELDS,
    "characters": documents.CHARACTER_FIELDS,
    "alerts": documents.ALERT_FIELDS,
    "locks": documents.LOCK_FIELDS,
    "coverage": documents.COVERAGE_FIELDS,
    "notes": documents.NOTE_FIELDS,
}

SLICE: Final = 7 * DAY
"""Alerts and locks are read so much at a time: some hundreds of each world."""

Write: TypeAlias = Callable[[Row], None]


class Selection(msgspec.Struct, frozen=True):
    """What to export: `[start, end)`, either side may be open; no worlds for all."""

    what: str
    start: Ms | None
    end: Ms | None
    worlds: tuple[int, ...]


@click.command(
    epilog=epilog(
        "ps2daemon export sessions --world 10 --from -7d > sessions.ndjson",
        "ps2daemon export alerts --format csv --out alerts.csv",
        "ps2daemon export characters | jq .character_name",
    )
)
@click.argument("what", type=click.Choice(list(FIELDS)))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="One JSON object a line, or CSV with a header; in CSV an object's parts are columns such as online.gte.",
)
@window_options(None, None)
@world_option
@zone_option
@out_option
@click.pass_context
def export(
    ctx: click.Context,
    what: str,
    kind: str,
    start: str | None,
    end: str | None,
    worlds: tuple[str, ...],
    zone: str,
    out: Path | None,
) -> None:
    """Write sessions, characters, alerts, locks, coverage or notes, in the order of time (characters by id).

    Times are ISO 8601 in UTC. A window takes sessions that began in it (or ended, where the beginning was not seen), alerts that ran in it, locks and notes in it,
    coverage that overlaps it, and characters with a kept session that overlaps it.
    """
    first, behind = open_window(start, end, SystemClock().now(), asking.parse_zone(zone))
    selection = Selection(what, first, behind, asking.parse_worlds(worlds))
    settings = settings_of(ctx)
    with output(out) as file:
        trio.run(_export, settings, selection, file, kind)


async def _export(settings: Settings, selection: Selection, file: IO[bytes], kind: str) -> None:
    async with reading(settings.store) as reader:
        await export_documents(reader, selection, file, kind)


async def export_documents(reader: StoreReader, selection: Selection, file: IO[bytes], kind: str) -> None:
    """Writes what is selected to `file`.

    Args:
        kind: `ndjson` or `csv`.
    """
    if kind == "csv":
        with text_on(file) as text:
            await _each(reader, selection, row_writer(text, columns_of(FIELDS[selection.what])))
        return
    encoder = msgspec.json.Encoder()

    def write(document: Row) -> None:
        file.write(encoder.encode(document) + b"\n")

    await _each(reader, selection, write)


async def _each(reader: StoreReader, selection: Selection, write: Write) -> None:
    async with aclosing(_documents(reader, selection)) as found:
        async for document in found:
            write(document)


async def _documents(reader: StoreReader, selection: Selection) -> AsyncGenerator[Row, None]:
    what, start, end = selection.what, selection.start, selection.end
    if what == "sessions":
        async for session in reader.all_sessions(start, end, selection.worlds or None):
            yield documents.session_document(session)
    elif what == "characters":
        async for character in reader.all_characters():
            if _was_there(character.state.sessions, selection):
                yield documents.character_document(character)
    elif what == "notes":
        for note in await reader.notes(start, end, selection.worlds or None):
            yield documents.note_document(note)
    else:
        worlds = selection.worlds or tuple(await reader.worlds())
        since, until = 0 if start is None else start, asking.LATEST if end is None else end
        if what in ("alerts", "locks"):
            for first, behind in await _slices(reader, worlds, since, until):
                if what == "locks":
                    for lock in await reader.locks(first, behind, worlds):
                        yield documents.lock_document(lock)
                    continue
                for alert in await reader.alerts(first, behind, worlds):
                    # One that runs across slices belongs to the one it began in.
                    if alert.changes[0].at >= first or first == since:
                        yield documents.alert_document(alert)
        else:
            for span in await reader.spans(worlds, since, until):
                if span.start < until and span.end > since:
                    yield documents.coverage_document(span)


async def _slices(reader: StoreReader, worlds: Sequence[int], since: Ms, until: Ms) -> list[tuple[Ms, Ms]]:
    """`[since, until)` in slices that hold no more than `SLICE` of recorded time each, so that memory stays flat."""
    spans = await reader.spans(worlds, since, until)
    if not spans:
        return [(since, until)]
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    inner = [at for at in range(first, last + SLICE, SLICE) if since < at < until]
    edges = [since, *inner, until]
    return list(pairwise(edges))


def _was_there(sessions: Sequence[Any], selection: Selection) -> bool:
    if selection.start is None and selection.end is None and not selection.worlds:
        return True
    return any(
        (not selection.worlds or session.world_id in selection.worlds)
        and (selection.end is None or session.start < selection.end)
        and (selection.start is None or session.logout_ts is None or session.logout_ts > selection.start)
        for session in sessions
    )
