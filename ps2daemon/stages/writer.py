"""The writer: puts batches into the store, and is the only place that acks.

A batch is applied, committed, and what could not be applied put among the dead letters; only then is it acked and removed from the handover.
A crash at any point repeats the batch, which changes nothing that was done already. While the store is away the stage says so and
waits; the queue holds the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from ps2daemon.clock import Clock
from ps2daemon.errors import QueueFull
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND, EventRecord, Ms
from ps2daemon.queue.base import Consumer, DeadLetters
from ps2daemon.queue.frames import encode_frame
from ps2daemon.stages.handover import Handed, Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.stages.patience import StoreEvents, patiently
from ps2daemon.store.ledger import Applied, Ledger
from ps2daemon.supervisor import StageControl

TOO_OLD: Final = (
    "it is from before the sessions that its character still holds, and none of the older ones has it"
)


class WriterEvents(StoreEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def batch_committed(self, records: int, seconds: float, delay_seconds: float | None) -> None: ...

    def commit_conflict(self) -> None: ...

    def dead_letter(self, reason: str) -> None: ...

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
        following = handover.second()
        applied = await patiently(
            partial(
                ledger.apply,
                handed.batch,
                handed.identities,
                following=None if following is None else (following.batch, following.identities),
            ),
            control=control,
            events=events,
        )
        await _bury(handed, applied, dead_letters, clock.now(), events)
        await consumer.ack(handed.position)
        naming.ask(applied.unnamed)
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


async def _bury(
    handed: Handed, applied: Applied, dead_letters: DeadLetters, at: Ms, events: WriterEvents
) -> None:
    """Puts what could not be applied among the dead letters."""
    letters = [(broken.frame, broken.reason) for broken in handed.broken]
    letters += [(encode_frame([refused.record]), refused.reason) for refused in handed.batch.refused]
    letters += [(encode_frame([_record(event)]), TOO_OLD) for event in applied.too_old]
    letters += [
        (encode_frame([_record(event)]), f"the store refuses its character: {reason}")
        for character_id, reason in applied.refused.items()
        for event in handed.batch.events[character_id]
    ]
    for frame, reason in letters:
        try:
            await dead_letters.put(frame, reason, 1, at)
        except QueueFull as error:
            # Garbage must not stop the recording: it is counted, and the operator is told.
            events.dead_letter_lost(reason, str(error))
        else:
            events.dead_letter(reason)


def _record(event: Login | Logout) -> EventRecord:
    """The record of a decoded event."""
    payload = {
        "character_id": event.character_id,
        "event_name": "PlayerLogin" if isinstance(event, Login) else "PlayerLogout",
        "timestamp": str(event.at // SECOND),
        "world_id": str(event.world_id),
    }
    return EventRecord(event.at, msgspec.json.encode(payload))
