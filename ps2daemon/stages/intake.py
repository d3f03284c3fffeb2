"""Between the socket and the queue: records in the order in which they have to go to disk, and the spans that they prove.

Promises:
- A coverage record stands behind the events of the span that it vouches for.
- Coverage is claimed in arrears: a span begins when the first right answer arrived, and ends when the latest right one was asked.
- A jump of the machine's clock ends every span, and until a heartbeat came none begins: no time is vouched for that did not pass, or that comes again. Nor is any while the
  clock is far from the service's, which heartbeats tell: what it calls now is another time. Before the first heartbeat it is believed, where asks come
  sooner than that.
- A world that is silent for longer than chance allows is not vouched for, whatever the server says, and no world is where all of a connection
  are together (see `model.silence`).
- It outlives a crash of the stage that empties it: what is here is handed over by reference, and removed only when it is on disk.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Final

import trio

from ps2daemon.clock import Clock
from ps2daemon.model.events import MAX_PAYLOAD_BYTES
from ps2daemon.model.records import MINUTE, SECOND, After, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.silence import Quiet, Silence, together
from ps2daemon.queue.frames import MAX_FRAME_BYTES, MAX_RECORDS

HIGH_RECORDS: Final = 10_000
"""From so many on, the socket is not read: about 10 MB."""
LOW_RECORDS: Final = 5_000
HIGH_BYTES: Final = 8 * 1024 * 1024
"""The same of their payloads, were they ever so large."""
LOW_BYTES: Final = 4 * 1024 * 1024
CLOCK_JUMP: Final = 2 * SECOND
"""Wall and monotonic time may part by so much between two verifications before it counts as a jump; NTP slews 0.5 ms/s at most."""
MOST_OFF: Final = 30 * MINUTE
"""So far may the machine's clock be from the service's. A world's own was off by five minutes once (CENSUS.md E8); a wrong zone or a wrong year are more."""
UNTOLD: Final = SECOND
"""A span that is shorter is not told before the first heartbeat: it is what the ask right behind the first answer vouches for, by a clock of which nothing
is known. The next ask comes a minute later, and a heartbeat every 30 s."""
RECORD_BYTES: Final = 64
"""What a record takes in a frame beside its payload, rounded up."""


class Intake:
    """The records that are not on disk yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: deque[Record] = deque()
        self._bytes = 0  # of their payloads
        self._some = trio.Event()
        self._room: trio.Event | None = None
        self._sources: list[Source] = []

    def __len__(self) -> int:
        return len(self._records)

    def source(
        self,
        *,
        on_event: Callable[[bytes, Ms], int | None],
        on_oversized: Callable[[str], None],
        on_silent: Callable[[int, bool], None] = lambda world_id, silent: None,
        on_clock: Callable[[Ms, bool], None] = lambda ahead, wrong: None,
    ) -> Source:
        """The sink of one connection.

        Args:
            on_event: told of each event that is taken; says of which world it is, if that can be understood.
            on_oversized: told why an event is left out.
            on_silent: told of each world that falls silent, and when it is not silent any longer.
            on_clock: told by how much the machine's clock is ahead of the service's, and whether that is too much.
        """
        source = Source(self, self._clock, on_event, on_oversized, on_silent, on_clock)
        self._sources.append(source)
        return source

    def put(self, record: Record) -> None:
        """Puts a record at the end."""
        self._records.append(record)
        self._bytes += _payload_bytes(record)
        if not self._some.is_set():
            self._some.set()

    def backpressure(self) -> Awaitable[None] | None:
        """None while there is room, otherwise what to wait for."""
        if len(self._records) < HIGH_RECORDS and self._bytes < HIGH_BYTES:
            return None
        if self._room is None:
            self._room = trio.Event()
        return self._room.wait()

    async def wait(self) -> None:
        """Until there is a record."""
        if not self._records:
            self._some = trio.Event()
            await self._some.wait()

    def next_frame(self) -> list[Record]:
        """The first records, as many as fit into a frame."""
        taken: list[Record] = []
        size = 0
        for record in islice(self._records, MAX_RECORDS):
            size += RECORD_BYTES + _payload_bytes(record)
            if taken and size > MAX_FRAME_BYTES:
                break
            taken.append(record)
        return taken

    def remove(self, number: int) -> None:
        """The first `number` records are on disk."""
        for _ in range(number):
            self._bytes -= _payload_bytes(self._records.popleft())
        if self._room is not None and len(self._records) <= LOW_RECORDS and self._bytes <= LOW_BYTES:
            self._room.set()
            self._room = None

    def disown(self, after: After) -> None:
        """What is on disk is not all that was put there: nothing is vouched for any longer, and neither by what is still here."""
        self._records = deque(record for record in self._records if not isinstance(record, CoverageRecord))
        self.lost(after)

    def lost(self, after: After) -> None:
        """Nothing is vouched for any longer, on any connection."""
        for source in self._sources:
            source.lost_all(after)


def _payload_bytes(record: Record) -> int:
    return len(record.payload) if type(record) is EventRecord else 0


class Source:
    """One connection's events and spans (see `census.stream.StreamSink`)."""

    def __init__(
        self,
        intake: Intake,
        clock: Clock,
        on_event: Callable[[bytes, Ms], int | None],
        on_oversized: Callable[[str], None],
        on_silent: Callable[[int, bool], None],
        on_clock: Callable[[Ms, bool], None],
    ) -> None:
        self._intake = intake
        self._clock = clock
        self._on_event = on_event
        self._on_oversized = on_oversized
        self._on_silent = on_silent
        self._on_clock = on_clock
        self._silences: dict[int, Silence] = {}  # of worlds that were verified
        self._latest: dict[int, Ms] = {}  # events of these worlds
        self._silent: dict[int, float] = {}  # by when that was found
        self._deaf: set[int] = set()  # those of them of which only the others' silence tells
        self._heard = -math.inf  # when any of these events arrived, and by the wall clock
        self._heard_at: Ms = 0
        self._starts: dict[int, Ms] = {}
        self._after: dict[int, After] = {}
        self._otherwise: After = "start"
        self._reached: Ms = 0  # by what was vouched for
        self._offset: float | None = None  # of the wall clock to the monotonic one, in ms
        self._beaten = False  # by a heartbeat
        self._jumped = False  # since the last one
        self._wrong = False  # by the last heartbeat that told a time

    def event(self, payload: bytes, received_at: Ms) -> None:
        if len(payload) > MAX_PAYLOAD_BYTES:
            self._on_oversized(f"an event of {len(payload)} bytes; {MAX_PAYLOAD_BYTES} are accepted")
            return
        self._intake.put(EventRecord(received_at, payload))
        world_id = self._on_event(payload, received_at)
        if world_id is None or (silence := self._silences.get(world_id)) is None:
            return
        self._heard, self._heard_at = trio.current_time(), received_at
        silence.event(self._heard)
        self._latest[world_id] = received_at
        if self._silent:
            for each in (world_id, *self._deaf):
                if self._silent.pop(each, None) is not None:
                    self._on_silent(each, False)
            self._deaf.clear()

    def verified(self, world_id: int, asked_at: Ms, answered_at: Ms) -> None:
        self._watch_clock()
        now = trio.current_time()
        silence = self._silences.setdefault(world_id, Silence())
        start = self._starts.get(world_id)
        quiet, all_quiet = silence.quiet(now), self._all_quiet(now)
        if start is not None and (quiet.silent or all_quiet.silent):
            self._silent[world_id] = now
            if not quiet.silent:
                self._deaf.add(world_id)
            self._on_silent(world_id, True)
            self.lost((world_id,), "world_silent")
        if world_id in self._silent or self._jumped or self._wrong:
            return  # until an event, or a heartbeat, comes
        if start is None:
            if answered_at < self._reached:
                return  # a time that was lived through once, maybe in a gap, and comes again
            self._starts[world_id] = answered_at
            silence.listen(now)
            return
        if asked_at > answered_at:
            return  # before the clock was set back
        vouched = asked_at if quiet.vouches else min(asked_at, self._latest.get(world_id, start))
        if not all_quiet.vouches:
            vouched = min(vouched, self._heard_at)
        # Events carry whole seconds: one that comes after the ask, and may be lost, can name the second that the ask was in.
        end = vouched - vouched % SECOND
        if end > start if self._beaten else end - start >= UNTOLD:
            after = self._after.get(world_id, self._otherwise)
            self._intake.put(CoverageRecord(world_id, start, end, after))
            self._reached = max(self._reached, end)

    def heartbeat(self, told_at: Ms | None, received_at: Ms) -> None:
        self._watch_clock()
        self._beaten, self._jumped = True, False
        if told_at is None:
            return
        self._wrong = abs(received_at - told_at) > MOST_OFF
        self._on_clock(received_at - told_at, self._wrong)
        if self._wrong:
            self.lost_all("clock")
            self._reached = 0  # by that clock

    def lost(self, world_ids: Iterable[int], after: After) -> None:
        for world_id in world_ids:
            self._starts.pop(world_id, None)
            self._after[world_id] = after

    def lost_all(self, after: After) -> None:
        """Every span ends, whatever its world."""
        self._starts.clear()
        self._after.clear()
        self._otherwise = after

    def _all_quiet(self, now: float) -> Quiet:
        """Of all worlds that were to be heard when the latest event came."""
        return together(
            silence.quiet(now, self._heard)
            for world_id, silence in self._silences.items()
            if world_id in self._starts or self._silent.get(world_id, -math.inf) >= self._heard
        )

    def _watch_clock(self) -> None:
        offset = self._clock.now() - trio.current_time() * SECOND
        if self._offset is not None and abs(offset - self._offset) > CLOCK_JUMP:
            self.lost_all("clock")
            self._jumped = True
        self._offset = offset
