"""The subscriber: keeps the streams, and puts what they say into the queue.

It owns the websockets and the queue's entrance. It waits for nothing downstream but the queue:
- Frames are appended as they fill, or after `LINGER_SECONDS`; a record leaves the intake only when its frame is on disk.
- If the queue or the disk is full, or can't be written, it closes the sockets, says so, claims no coverage, and goes on by itself when
  it can be written again.
- While another program has the queue's file locked, it keeps what it receives in memory, as much as the intake takes, and says so.
- Asked to stop, it closes the sockets first and puts what it has into the queue, then returns.

- If something of the queue was lost, what it vouches for begins anew.

`QueueDamaged` leaves it, if the queue can't be mended; outages of Census do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
import trio

from ps2daemon.census.stream import StreamObserver, StreamSettings, run_stream
from ps2daemon.clock import Clock
from ps2daemon.errors import QueueBusy, QueueFull, QueueReplaced, QueueUnavailable
from ps2daemon.queue.base import Producer
from ps2daemon.queue.frames import encode_frame
from ps2daemon.queue.mending import LOST
from ps2daemon.stages.intake import Intake, Source
from ps2daemon.stages.patience import QueueEvents
from ps2daemon.supervisor import StageControl

LINGER_SECONDS: Final = 0.003
"""How long a frame waits for company: one fsync serves all that arrive meanwhile."""
RETRY_SECONDS: Final = 5.0


class SubscriberEvents(QueueEvents, Protocol):
    """What it tells: see `telemetry.Telemetry`."""

    def frame_appended(self, records: int, bytes_: int, seconds: float) -> None: ...

    def queue_full(self, message: str) -> None: ...

    def queue_room(self) -> None: ...

    def coverage_disowned(self, message: str) -> None: ...


class Connection(msgspec.Struct, frozen=True):
    """One websocket to keep: what to connect to, where its events go, and who is told."""

    settings: StreamSettings
    sink: Source
    observer: StreamObserver


async def run_subscriber(
    control: StageControl,
    *,
    connections: Sequence[Connection],
    intake: Intake,
    producer: Producer,
    clock: Clock,
    events: SubscriberEvents,
) -> None:
    """Runs until it is asked to stop."""
    while not control.stopping.is_set():
        outage = await _receive(control, connections, intake, producer, clock, events)
        if outage is not None:
            await _wait(control, outage, intake, producer, events)
    try:
        await _flush(control, intake, producer, events)
    except QueueUnavailable as error:  # what is left was never vouched for
        _tell(error, events)


async def _receive(
    control: StageControl,
    connections: Sequence[Connection],
    intake: Intake,
    producer: Producer,
    clock: Clock,
    events: SubscriberEvents,
) -> QueueUnavailable | None:
    """Receives until a stop is asked for (None) or the queue can't be written."""
    outage: QueueUnavailable | None = None
    watch = _Watch(len(connections))
    async with trio.open_nursery() as nursery:

        async def append() -> None:
            nonlocal outage
            try:
                while True:
                    await intake.wait()
                    await trio.sleep(LINGER_SECONDS)
                    try:
                        await _flush(control, intake, producer, events)
                    except QueueBusy as error:
                        events.queue_unavailable(str(error))
                        watch.queue_trouble = str(error)
                    else:
                        events.queue_available()
                        watch.queue_trouble = None
                    watch.tell(control)
            except QueueUnavailable as error:
                outage = error
                nursery.cancel_scope.cancel()

        async def stop() -> None:
            await control.stopping.wait()
            nursery.cancel_scope.cancel()

        watch.tell(control)
        nursery.start_soon(append)
        nursery.start_soon(stop)
        for connection in connections:
            nursery.start_soon(
                partial(
                    run_stream,
                    connection.settings,
                    connection.sink,
                    clock,
                    watch.observer(connection, control),
                    backpressure=intake.backpressure,
                )
            )
    return outage


async def _flush(control: StageControl, intake: Intake, producer: Producer, events: SubscriberEvents) -> None:
    """Appends everything that is there."""
    while records := intake.next_frame():
        frame = encode_frame(records)
        began = trio.current_time()
        try:
            await producer.append(frame)
        except QueueReplaced as error:
            intake.disown(LOST)
            events.coverage_disowned(str(error))
            continue
        intake.remove(len(records))
        events.frame_appended(len(records), len(frame), trio.current_time() - began)
        control.progress()


async def _wait(
    control: StageControl,
    outage: QueueUnavailable,
    intake: Intake,
    producer: Producer,
    events: SubscriberEvents,
) -> None:
    """Until what was received is on disk, or a stop is asked for."""
    intake.lost(LOST)
    while not control.stopping.is_set():
        control.degraded(str(outage))
        _tell(outage, events)
        with trio.move_on_after(RETRY_SECONDS):
            await control.stopping.wait()
        try:
            await _flush(control, intake, producer, events)
        except QueueUnavailable as error:
            outage = error
        else:
            events.queue_room()
            events.queue_available()
            return


def _tell(outage: QueueUnavailable, events: SubscriberEvents) -> None:
    if isinstance(outage, QueueFull):
        events.queue_full(str(outage))
    else:
        events.queue_unavailable(str(outage))


class _Watch:
    """Which connections work, so that the stage can say what it does: it waits for events only where the server confirmed
    that it will send them."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._verified: set[int] = set()
        self._trouble: str | None = None
        self.queue_trouble: str | None = None
        """Why nothing can be put into the queue at the moment."""

    def observer(self, connection: Connection, control: StageControl) -> StreamObserver:
        """Passes everything on to the connection's own observer, and listens."""
        return _Watched(self, control, connection.observer)

    def changed(self, control: StageControl, key: int, *, verified: bool, trouble: str = "") -> None:
        """A connection was verified, or is no longer."""
        if verified:
            self._verified.add(key)
        else:
            self._verified.discard(key)
            self._trouble = trouble
        self.tell(control)

    def tell(self, control: StageControl) -> None:
        """Sets the stage's state."""
        if self.queue_trouble is not None:
            control.degraded(self.queue_trouble)
        elif len(self._verified) >= self._connections:
            control.waiting("for events")
        elif self._trouble is not None:  # before the first answer it is still starting
            missing = self._connections - len(self._verified)
            control.degraded(f"{missing} of {self._connections} connections not verified: {self._trouble}")


class _Watched(StreamObserver):
    def __init__(self, watch: _Watch, control: StageControl, inner: StreamObserver) -> None:
        self._watch = watch
        self._control = control
        self._inner = inner
        # Told of each frame: passed on without a step in between.
        self.message = inner.message  # type: ignore[method-assign]
        self.malformed = inner.malformed  # type: ignore[method-assign]

    def connecting(self) -> None:
        self._inner.connecting()

    def connected(self) -> None:
        self._inner.connected()

    def closed(self) -> None:
        self._inner.closed()

    def disconnected(self, cause: str, message: str) -> None:
        self._inner.disconnected(cause, message)
        self._watch.changed(self._control, id(self), verified=False, trouble=message)

    def refused(self, message: str) -> None:
        self._inner.refused(message)

    def verified(self, ok: bool) -> None:
        self._inner.verified(ok)
        trouble = "the server did not take the subscription as wanted"
        self._watch.changed(self._control, id(self), verified=ok, trouble=trouble)

    def world_state(self, world_id: int, online: bool) -> None:
        self._inner.world_state(world_id, online)
