"""The writer: puts batches into the store, and is the only place that acks.

A batch is applied, committed, and what could not be applied put among the dead letters; only then is it acked and removed from the handover.
A crash at any point repeats the batch, which changes nothing that was done already. What makes the fold or the store fail is found (`poison.py`) and put
among the dead letters, and all around it is applied. While the store is away the stage says so and
waits; the queue holds the rest. So it does while the queue's own files can't be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import msgspec
import trio

from ps2daemon.clock import Clock
from ps2daemon.errors import QueueFull
from ps2daemon.model.batch import Batch, make_batch
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND, EventRecord, Ms
from ps2daemon.queue.base import Consumer, DeadLetters
from ps2daemon.queue.frames import decode_frame, encode_frame
from ps2daemon.stages.handover import Handed, Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.stages.patience import OutageEvents, patiently
from ps2daemon.stages.poison import FAILED, Poison, apply_around, caused_by_records
from ps2daemon.store.deciding import Told
from ps2daemon.store.ledger import Applied, Ledger
from ps2daemon.supervisor import StageControl

TOO_OLD: Final = (
    "it is from before the sessions that its character still holds, and none of the older ones has it"
)


class WriterEvents(OutageEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def batch_committed(self, records: int, seconds: float, delay_seconds: float | None) -> None: ...

    def commit_conflict(self) -> None: ...

    def dead_letter(self, reason: str) -> None: ...

    def batch_failed(self, error: BaseException) -> None: ...

    def dead_letter_lost(self, reason: str, message: str) -> None: ...


async def run_writer(
    control: StageControl,
    *,
    handover: Handover,
    consumer: Consumer,
    ledger: Ledger,
    dead_letters: DeadLetters,
    naming: Naming,
    clock: Clock,
    events: WriterEvents,
) -> None:
    """Runs until it is asked to stop and everything that was handed over is done."""
    while True:
        if not handover:
            control.waiting("for batches")
        handed = await _first(control, handover)
        if handed is None:
            return
        control.working()
        began = trio.current_time()
        conflicts = ledger.conflicts
        parts, poison = await _apply(control, handed, handover.second(), ledger, events)
        bury = _Burial(dead_letters, clock.now(), events)
        for letter in _letters(handed, parts):
            await patiently(partial(bury, *letter), control=control, events=events)
        for each in poison:
            await patiently(partial(bury.poison, each), control=control, events=events)
        await patiently(partial(_ack, consumer, handed), control=control, events=events)
        for part in parts:
            naming.ask(part.applied.unnamed)
        handover.done()
        control.progress()
        for _ in range(ledger.conflicts - conflicts):
            events.commit_conflict()
        oldest = handed.batch.oldest
        delay = None if oldest is None else max(0.0, (clock.now() - oldest) / SECOND)
        events.batch_committed(handed.batch.records, trio.current_time() - began, delay)


async def _first(control: StageControl, handover: Handover) -> Handed | None:
    """The next batch, or None if a stop is asked for and there is none."""
    found: Handed | None = None
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await control.stopping.wait()
            if not handover:
                nursery.cancel_scope.cancel()

        nursery.start_soon(stop)
        found = await handover.first()
        nursery.cancel_scope.cancel()
    return found


async def _ack(consumer: Consumer, handed: Handed) -> None:
    if handed.broken:
        await consumer.ack_lost(handed.position, f"a frame can't be read: {handed.broken[-1].reason}")
    else:
        await consumer.ack(handed.position)


class _Part(NamedTuple):
    """Records that were applied together."""

    batch: Batch
    applied: Applied


async def _apply(
    control: StageControl, handed: Handed, following: Handed | None, ledger: Ledger, events: WriterEvents
) -> tuple[list[_Part], list[Poison]]:
    """Applies a batch, or, if that fails, all of it that can be applied."""

    async def apply(batch: Batch, told: Told | None = None) -> _Part:
        attempt = partial(ledger.apply, batch, handed.identities, following=told)
        applied = await patiently(attempt, control=control, events=events)
        control.progress()
        return _Part(batch, applied)

    try:
        ahead = None if following is None else (following.batch, following.identities)
        return [await apply(handed.batch, ahead)], []
    except FAILED as error:
        if not caused_by_records(error):
            raise
        events.batch_failed(error)
        await apply(make_batch([]))  # where even that fails, no record is the cause
        records = [record for frame in handed.frames for record in decode_frame(frame)]
        return await apply_around(records, lambda part: apply(make_batch(part)), error)


def _letters(handed: Handed, parts: Sequence[_Part]) -> Iterator[tuple[bytes, str]]:
    """What could not be applied, as frames, and why."""
    for broken in handed.broken:
        yield broken.frame, broken.reason
    for batch, applied in parts:
        for refused in batch.refused:
            yield encode_frame([refused.record]), refused.reason
        for event in applied.too_old:
            yield encode_frame([_record(event)]), TOO_OLD
        for character_id, reason in applied.refused.items():
            for event in batch.events[character_id]:
                yield encode_frame([_record(event)]), f"the store refuses its character: {reason}"


class _Burial:
    """Puts what could not be applied among the dead letters."""

    def __init__(self, dead_letters: DeadLetters, at: Ms, events: WriterEvents) -> None:
        self._dead_letters = dead_letters
        self._at = at
        self._events = events

    async def __call__(self, frame: bytes, reason: str) -> None:
        try:
            await self._dead_letters.put(frame, reason, 1, self._at)
        except QueueFull as error:
            # Garbage must not stop the recording: it is counted, and the operator is told.
            self._events.dead_letter_lost(reason, str(error))
        else:
            self._events.dead_letter(reason)

    async def poison(self, poison: Poison) -> None:
        """The same of a record that is no garbage: where there is no room for it, that is waited for.

        Raises:
            QueueFull: there is none.
        """
        frame = encode_frame([poison.record])
        await self._dead_letters.put(frame, poison.reason, poison.attempts, self._at)
        self._events.dead_letter(poison.reason)


def _record(event: Login | Logout) -> EventRecord:
    """The record of a decoded event."""
    payload = {
        "character_id": event.character_id,
        "event_name": "PlayerLogin" if isinstance(event, Login) else "PlayerLogout",
        "timestamp": str(event.at // SECOND),
        "world_id": str(event.world_id),
    }
    return EventRecord(event.at, msgspec.json.encode(payload))
