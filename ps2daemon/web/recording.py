"""What the view *Recording* shows, as its API answers it: the coverage of every world, and what the daemon says of itself.

The page may be public: no path, address or credential of the machine is in any answer, whatever a reason says.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

import trio

from ps2daemon.analysis.documents import Document
from ps2daemon.analysis.population import covered_share, spans_by_world
from ps2daemon.analysis.sheets import Row, Sheet
from ps2daemon.analysis.view import unrecorded
from ps2daemon.analysis.view_answers import DaemonRow, RecordedRow, RecordingAnswer
from ps2daemon.config import Settings
from ps2daemon.errors import QueueError, QueueMissing
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.times import iso, parse_iso
from ps2daemon.probe import STAGES, queue_of, stages_of
from ps2daemon.queue.deadletters import summarize_dead_letters
from ps2daemon.store.base import StoreReader
from ps2daemon.web.now import gap_rows
from ps2daemon.web.parameters import MAX_DAYS, Asked

MOST_GAPS: Final = 500
"""Of one world, the latest ones: more are no use to a reader, and a year of a bad connection has thousands."""
LATEST_LETTERS: Final = 5
LONGEST_REASON: Final = 200
FRESH_SECONDS: Final = 5.0
"""The daemon is asked no more often, however many look."""
_PRIVATE: Final = re.compile(r"\S*[/\\]\S*|\bs:\S+|\bservice[-_ ]?id\b\W*\S+", re.IGNORECASE)
"""Words that hold a path, an address or a service id (Census has it as `s:…` in its addresses)."""

Probe = Callable[[], Awaitable[Document]]


class Daemon:
    """What is to be told of the daemon with these settings; asked at most once in `FRESH_SECONDS`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = trio.Lock()
        self._facts: Document | None = None
        self._asked_at = 0.0

    async def facts(self) -> Document:
        """`stages`, `queue` and `dead_letters`, fit for the public."""
        async with self._lock:
            if self._facts is None or trio.current_time() - self._asked_at >= FRESH_SECONDS:
                self._facts = await trio.to_thread.run_sync(_facts, self._settings)
                self._asked_at = trio.current_time()
            return self._facts


def _facts(settings: Settings) -> Document:
    directory = settings.queue.directory
    hidden = (str(directory), str(settings.store.path))
    said = stages_of(settings.web)
    queue = queue_of(directory)
    if "error" in queue:
        queue = {"error": "it can't be read, or there is none yet"}
    return {
        "stages": _stages(said, hidden),
        "queue": queue,
        "dead_letters": _dead_letters(settings, hidden),
    }


def _stages(said: Mapping[str, dict[str, Any]], hidden: Sequence[str]) -> list[Document]:
    return [_stage(name, said.get(name), hidden) for name in STAGES]


def _stage(name: str, said: dict[str, Any] | None, hidden: Sequence[str]) -> Document:
    if said is None:
        return {
            "name": name,
            "state": "not running",
            "why": None,
            "restarts": None,
            "idle_s": None,
            "ready": False,
        }
    why = said.get("why")
    return {
        "name": name,
        "state": str(said.get("state")),
        "why": None if why is None else public(str(why), hidden),
        "restarts": said.get("restarts"),
        "idle_s": said.get("idle_seconds"),
        "ready": bool(said.get("ready")),
    }


def _dead_letters(settings: Settings, hidden: Sequence[str]) -> Document:
    try:
        count, latest = summarize_dead_letters(settings.queue.directory, LATEST_LETTERS)
    except QueueMissing:
        count, latest = 0, ()
    except QueueError:
        return {"error": "they can't be read"}
    return {
        "count": count,
        "latest": [{"at": iso(at), "reason": public(reason, hidden)} for at, reason in latest],
    }


def public(text: str, hidden: Sequence[str] = ()) -> str:
    """One line without what is nobody else's business.

    Args:
        hidden: what is left out wherever it stands.
    """
    for each in hidden:
        text = text.replace(each, "…")
    text = " ".join(_PRIVATE.sub("…", text).split())
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def recording_of(probe: Probe | None) -> Callable[[StoreReader, Asked], Awaitable[RecordingAnswer]]:
    """The answer of `/api/v1/recording`.

    Args:
        probe: what the daemon says (see `Daemon.facts`); None where nothing is known of one.
    """

    async def answer(store: StoreReader, asked: Asked) -> RecordingAnswer:
        """What is recorded of every world in the window, and how the recorder is."""
        now, window = asked.now, asked.window(MAX_DAYS)
        start, end = window.start, min(window.end, max(window.start + 1, now))
        # All of each world: whether there is a gap at an end of a window depends on what is beyond.
        spans = spans_by_world(await store.spans(asked.worlds), asked.worlds)
        daemon = None if probe is None else await probe()
        until = await store.records_until()
        return {
            "now": iso(now),
            "from": iso(start),
            "to": iso(end),
            "worlds": [_world(world, of_world, start, end) for world, of_world in spans.items()],
            "store": {
                "records_until": None if until is None else iso(until),
                "behind_s": _behind(daemon, now),
            },
            "daemon": cast("DaemonRow | None", daemon),
        }

    return answer


SHEET_FIELDS: Final = (
    "kind",
    "world_id",
    "name",
    "from",
    "to",
    "share",
    "state",
    "reason",
    "ready",
    "restarts",
    "idle_s",
    "count",
    "bytes",
    "max_bytes",
)


def recording_sheet(answer: RecordingAnswer) -> Sheet:
    """One row a fact, and `kind` says of what: a `world` in the window, a `gap` in its recording, the `store`; and of the recorder a `stage`, the `queue`, the
    `dead letters` and the latest `dead letter`s. `count` is of gaps, of records that wait, and of dead letters."""
    return Sheet(SHEET_FIELDS, [*_world_facts(answer), *_daemon_facts(answer)])


def _world_facts(answer: RecordingAnswer) -> list[Row]:
    rows: list[Row] = []
    for world in answer["worlds"]:
        of_world = {"world_id": world["world_id"], "name": world["name"]}
        window = {"from": answer["from"], "to": answer["to"]}
        rows.append({"kind": "world", **of_world, **window, "share": world["share"], "count": world["gaps"]})
        rows += [
            {"kind": "gap", **of_world, **gap, "state": "pending" if gap["pending"] else None}
            for gap in world["unrecorded"]
        ]
    return rows


def _daemon_facts(answer: RecordingAnswer) -> list[Row]:
    store, daemon = answer["store"], answer["daemon"]
    rows: list[Row] = [{"kind": "store", "to": store["records_until"], "idle_s": store["behind_s"]}]
    if daemon is None:
        return rows
    queue, letters = daemon["queue"], daemon["dead_letters"]
    rows += [{"kind": "stage", **stage, "reason": stage["why"]} for stage in daemon["stages"]]
    rows.append(
        {
            "kind": "queue",
            **queue,
            "from": queue.get("oldest_at"),
            "count": queue.get("records"),
            "reason": queue.get("error"),
        }
    )
    rows.append({"kind": "dead letters", "count": letters.get("count"), "reason": letters.get("error")})
    rows += [
        {"kind": "dead letter", "from": each["at"], "reason": each["reason"]}
        for each in letters.get("latest", ())
    ]
    return rows


def _behind(daemon: Document | None, now: Ms) -> float | None:
    """For how long the oldest record in the queue waits for the store; None where that is not known."""
    if daemon is None or "error" in daemon["queue"]:
        return None
    oldest = daemon["queue"]["oldest_at"]
    return 0.0 if oldest is None else max(0, now - parse_iso(oldest)) / SECOND


def _world(world_id: int, spans: Sequence[Span], start: Ms, end: Ms) -> RecordedRow:
    coverage = WorldCoverage(spans)
    gaps = unrecorded(spans, start, end)
    return {
        "world_id": world_id,
        "name": tables.world_name(world_id),
        "share": round(covered_share(coverage, start, end), 6),
        "recorded_until": None if coverage.end is None else iso(coverage.end),
        "covered": [
            {"from": iso(max(start, span.start)), "to": iso(min(end, span.end))}
            for span in coverage.spans
            if span.end > start and span.start < end
        ],
        "gaps": len(gaps),
        "unrecorded": gap_rows(gaps[-MOST_GAPS:]),
    }
