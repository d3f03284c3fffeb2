"""What lies in a queue or a recording: frames with everything that is in them, through the worker to the store and the page."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from bench.content import content
from ps2daemon.census.rest import Identity
from ps2daemon.errors import FrameError, RecordingError
from ps2daemon.model.recording import format_line, parse_line
from ps2daemon.model.records import DAY, HOUR, CoverageRecord, EventRecord, Record
from ps2daemon.queue.frames import HEADER_BYTES, MAX_RECORDS, decode_frame, encode_frame
from ps2daemon.web.app import page_app
from tests.fuzz.asgi import get
from tests.fuzz.running import Surface, Take, one_line
from tests.pages import FixedClock
from tests.records import T0, change, covered, event, lock, login, logout
from tests.worker import Scene, scene

NAMES: Final = (Identity("5", "Ann", 1), Identity("6", None, 2), Identity("7", "<b>\u202e\0", 3))
SESSION: Final = (login("5", T0), login("6", T0 + HOUR), logout("5", T0 + HOUR), logout("7", T0 + HOUR))
ALERT: Final = (change(T0, 135), change(T0 + HOUR, 138), lock(T0 + HOUR))
READ: Final = (
    "/api/v1/worlds", "/api/v1/overview", "/api/v1/recording", "/api/v1/alerts?from=2026-02-01&people=yes", "/api/v1/locks?from=2026-02-01",
    "/api/v1/effect?from=2026-02-01", "/api/v1/population?world=10&from=2026-03-01&to=2026-03-02&step=1h", "/api/v1/trends?world=10&weeks=2",
    "/api/v1/coverage?from=2026-02-01", "/api/v1/alerts?from=2026-02-01&format=csv", "/api/v1/population?from=2199-12-01&to=2200-01-01&step=1d&world=10",
)  # fmt: skip
READ_EACH: Final = 50
"""Inputs between two looks of the page at the store."""


def sealed(data: bytes) -> bytes:
    """The same body behind a header that fits it, so that it is looked into."""
    body = data[HEADER_BYTES:]
    count = body[0] - 0x90 if body[:1] and 0x90 < body[0] < 0xA0 else int.from_bytes(body[1:3])
    header = struct.pack("<4sHHqI", b"PS2F", 1, min(max(1, count), MAX_RECORDS), T0, len(body))
    return header + struct.pack("<I", zlib.crc32(body, zlib.crc32(header))) + body


async def _settle(worker: Scene) -> None:
    """Waits until everything is in the store or among the dead letters, with no stage crashed."""
    while (await worker.consumer.statistics()).frames:
        await trio.sleep(0.05)
        for stage in ("enricher", "writer"):
            assert not worker.value("stage_restarts_total", stage=stage), f"the {stage} crashed"


async def _read(worker: Scene) -> None:
    """Everything that is in the store can be read."""
    await worker.reconcile()
    await content(worker.store)
    app = page_app(worker.store, FixedClock(T0 + 2 * DAY))
    for address in READ:
        path, _, query = address.partition("?")
        answer = await get(app, path, query.encode())
        assert answer.status in (200, 400), (address, answer)


@asynccontextmanager
async def _frames() -> AsyncIterator[Take]:
    async with scene(names=NAMES) as worker, worker.running():
        taken = 0

        async def take(data: bytes) -> str:
            nonlocal taken
            words = []
            for candidate in (data, sealed(data)):
                try:
                    records = decode_frame(candidate)
                except FrameError as error:
                    words.append(one_line(error, "refused"))
                    continue
                words.append("taken")
                for record in records:
                    round_trip(record)
                await worker.queue_up(candidate)
                await _settle(worker)
            taken += 1
            if taken % READ_EACH == 0:
                await _read(worker)
            return " and ".join(words)

        yield take
        await _read(worker)


def round_trip(record: Record) -> None:
    """What can be decoded can be exported and imported again, unless its payload is none."""
    line = format_line(record)
    try:
        parsed = parse_line(line, 1)
    except RecordingError:
        assert isinstance(record, EventRecord)
    else:
        assert isinstance(record, CoverageRecord) == isinstance(parsed, CoverageRecord)


@asynccontextmanager
async def _lines() -> AsyncIterator[Take]:
    async with scene(names=NAMES) as worker, worker.running():
        waiting: list[Record] = []
        taken = 0

        async def take(data: bytes) -> str:
            nonlocal taken
            try:
                record = parse_line(data, 3)
            except RecordingError as error:
                return one_line(error, "refused")
            assert parse_line(format_line(record), 1) == record or b"\n" in data or b"\r" in data
            waiting.append(record)
            taken += 1
            if taken % 10 == 0:
                await worker.queue_up(waiting)
                waiting.clear()
                await _settle(worker)
            if taken % (10 * READ_EACH) == 0:
                await _read(worker)
            return "taken"

        yield take
        await _read(worker)


RECORDS: Final = (
    *SESSION,
    *ALERT,
    event("GainExperience", T0, world_id=10),
    covered(T0 - HOUR, T0 + 2 * HOUR),
)
FRAMES_SURFACE: Final = Surface(
    "queue frames",
    _frames,
    (
        encode_frame(SESSION),
        encode_frame(ALERT),
        encode_frame(RECORDS),
        encode_frame([covered(T0 - HOUR, T0 + 2 * HOUR), covered(T0 + 3 * HOUR, T0 + 4 * HOUR)]),
        *(encode_frame([record]) for record in RECORDS),
    ),
)
LINES_SURFACE: Final = Surface("recordings", _lines, tuple(format_line(record) for record in RECORDS))
