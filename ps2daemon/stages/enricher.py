"""The enricher: takes frames out of the queue, decodes them, and says who the characters are as far as that is known.

It does not block the flow: a character that is not in memory passes through as unknown, the store may know it, and otherwise `Naming`
asks Census in the background. A frame that can't be decoded goes on to the dead letters in its turn, at the end of its batch; what
stands behind it is read again when that is done (`Consumer.ack_lost`).
Started again after a crash, it goes on behind the last frame that it handed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import trio

from ps2daemon.census.characters import CharacterSource
from ps2daemon.errors import FrameError
from ps2daemon.model.batch import make_batch
from ps2daemon.model.records import Record
from ps2daemon.queue.base import Consumer, Item
from ps2daemon.queue.frames import decode_frame
from ps2daemon.stages.handover import Broken, Handed, Handover
from ps2daemon.stages.naming import Naming
from ps2daemon.stages.patience import OutageEvents, patiently
from ps2daemon.supervisor import StageControl

FRAMES: Final = 24
"""Read at once: live frames hold a few records each, full ones are 1.5 MB together."""
RECORDS: Final = 3_000
"""A batch has no more than this and one frame: a commit serves all of them, and a larger one saves little but takes memory (5 MB with 1,000 more)."""
POLL_SECONDS: Final = 0.05
LINGER_SECONDS: Final = 0.1
NAMING_SECONDS: Final = 5.0
"""How long the end of a draining waits for Census to name any further character; the rest is named later otherwise."""


async def run_enricher(
    control: StageControl,
    *,
    consumer: Consumer,
    handover: Handover,
    source: CharacterSource,
    naming: Naming,
    events: OutageEvents,
    until_empty: bool = False,
) -> None:
    """Runs until it is asked to stop.

    Args:
        until_empty: or until the queue is empty and everything is in the store.
    """
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await control.stopping.wait()
            nursery.cancel_scope.cancel()  # what was not handed over is still in the queue

        nursery.start_soon(stop)
        nursery.start_soon(naming.run, control)
        await _enrich(control, consumer, handover, source, naming if until_empty else None, events)
        nursery.cancel_scope.cancel()


async def _enrich(
    control: StageControl,
    consumer: Consumer,
    handover: Handover,
    source: CharacterSource,
    until_named: Naming | None,
    events: OutageEvents,
) -> None:
    control.waiting("for the writer")
    await handover.empty()  # what was handed over before a crash may change what stands behind it
    await patiently(consumer.rewind, control=control, events=events)
    control.waiting("for records")
    while True:
        read = await patiently(partial(consumer.read, FRAMES), control=control, events=events)
        items = [item for item in read if item.position > handover.position]
        if items:
            control.working()
            for handed in _batches(items, source):
                control.waiting("for the writer")  # whose outage may last
                await handover.put(handed)
                if handed.broken:
                    await handover.empty()  # what stands behind is different then
                control.working()
                control.progress()
                if handed.broken:
                    break
            if len(items) < FRAMES:  # the end of the queue: what comes within a moment shares a commit
                await trio.sleep(LINGER_SECONDS)
            continue
        control.waiting("for records")
        if until_named is not None:
            await handover.empty()
            statistics = await patiently(consumer.statistics, control=control, events=events)
            if not statistics.frames:
                await _named(until_named)
                return
        await trio.sleep(POLL_SECONDS)


async def _named(naming: Naming) -> None:
    """Waits for the characters that are being asked about, as long as answers come."""
    left = naming.left + 1
    while naming.left < left:
        left = naming.left
        with trio.move_on_after(NAMING_SECONDS):
            await naming.idle()


def _batches(items: Sequence[Item], source: CharacterSource) -> Iterator[Handed]:
    """The frames as batches of about `RECORDS`, decoded one by one."""
    records: list[Record] = []
    frames: list[bytes] = []
    broken: list[Broken] = []
    for index, item in enumerate(items):
        try:
            records.extend(decode_frame(item.frame))
            frames.append(item.frame)
        except FrameError as error:
            broken.append(Broken(item.frame, str(error)))
        if broken or len(records) >= RECORDS or index == len(items) - 1:
            batch = make_batch(records)
            identities = {
                character_id: identity
                for character_id in batch.events
                if (identity := source.known(character_id)) is not None
            }
            yield Handed(item.position, batch, identities, tuple(frames), tuple(broken))
            records, frames, broken = [], [], []
