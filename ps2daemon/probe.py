"""What other processes can learn of a daemon, and disturb nothing: what its stages say over loopback, and its queue's files, read only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ps2daemon.config import WebSettings
from ps2daemon.errors import QueueError
from ps2daemon.model.times import iso
from ps2daemon.queue.base import QueueStatistics
from ps2daemon.queue.rescue import Damage

ANSWER_SECONDS: Final = 3.0
STAGES: Final = ("subscriber", "enricher", "writer", "reconciler")
"""What has to run somewhere for a recording to come into the store."""


def ports_of(web: WebSettings) -> tuple[int, int]:
    """Where the stages may answer: those of one process, or of the subscriber's; and those of a worker of its own."""
    return web.metrics_port, web.metrics_port + 1


def stages_of(web: WebSettings) -> dict[str, dict[str, Any]]:
    """What the stages say of themselves, by name; those for which nothing answers are missing. Blocks for up to `ANSWER_SECONDS` a port."""
    found: dict[str, dict[str, Any]] = {}
    for port in ports_of(web):
        found |= _stages_at(web.host, port)
    return found


def _stages_at(host: str, port: int) -> dict[str, dict[str, Any]]:
    import httpx

    host = host if host not in ("0.0.0.0", "::") else "127.0.0.1"
    try:
        answer = httpx.get(f"http://{host}:{port}/readyz", timeout=ANSWER_SECONDS, trust_env=False)
        stages = answer.json()["stages"]
        if isinstance(stages, Mapping):
            return dict(stages)
        return {stage["name"]: stage for stage in stages}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return {}  # nothing there, or something else


def queue_of(directory: Path) -> dict[str, Any]:
    """The queue's state as JSON has it, or `error`, one line. Blocks for a moment."""
    from ps2daemon.queue.sqlite import read_statistics

    try:
        return queue_facts(read_statistics(directory))
    except QueueError as error:
        return {"error": str(error)}


def damage_facts(damaged: Iterable[Damage]) -> list[dict[str, Any]]:
    """Damaged queues as JSON has them."""
    return [msgspec.structs.asdict(damage) | {"at": iso(damage.at)} for damage in damaged]


def queue_facts(statistics: QueueStatistics) -> dict[str, Any]:
    """A queue's state as JSON has it."""
    facts = msgspec.structs.asdict(statistics)
    oldest = facts.pop("oldest_at")
    return facts | {"oldest_at": None if oldest is None else iso(oldest)}
