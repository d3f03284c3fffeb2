"""The event stream's client: keeps one connection to one environment, for ever.

Promises:
- Every event goes to the sink once per connection, in the order of receipt, as soon as it is read.
- A world is vouched for (`StreamSink.verified`) only by an answer of the server that lists it with every event that is
  wanted, and only while its endpoint isn't said to be down (`verification.py`). What breaks a span is told in the same
  order (`StreamSink.lost`).
- A connection that is dead, silent, deaf or not answering ends within a bounded time, and another is tried: one at a time,
  after a wait that doubles with jitter and starts again only after a connection proved itself.
- `CensusError` never leaves: outages and refusals are told to the observer, and the next attempt follows. What the sink raises
  is a defect and propagates.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NoReturn, Protocol
from urllib.parse import quote

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ps2daemon.census.limits import REFUSED_SECONDS, Backoff
from ps2daemon.census.verification import EMPTY_SUBSCRIBE, Verification, subscribe_command
from ps2daemon.census.websocket import Dial, dial_tcp, use_websocket
from ps2daemon.clock import Clock
from ps2daemon.errors import CensusError, CensusRefused, StreamLost
from ps2daemon.model.messages import (
    Connected,
    Heartbeat,
    Message,
    MessageError,
    ServiceMessage,
    Subscription,
    WorldState,
    decode_message,
)
from ps2daemon.model.records import After, Ms
from ps2daemon.secret import Secret, service_name

CAUSES: Final = (
    "closed", "connect", "handshake", "not_connected", "ping", "protocol", "refused", "silent", "subscription",
    "timeout", "tls", "unanswered",
)  # fmt: skip
"""Every cause that `StreamObserver.disconnected` can be given."""

EVENT_NAMES: Final = ("PlayerLogin", "PlayerLogout", "MetagameEvent", "ContinentLock")
HIGHEST_RECONNECT_SECONDS: Final = 60.0
UNANSWERED_PERIODS: Final = 3
WRONG_SUBSCRIPTIONS: Final = 3
"""So many wrong answers in a row to a full `subscribe`, and another connection is tried: nodes differ (CENSUS.md C7)."""
MOST_WRONG_SUBSCRIPTIONS: Final = WRONG_SUBSCRIPTIONS * 2**9
"""Where a part is subscribed and another connection did not help either, the rest is not worth the gaps: about a day at 60 s."""
STEADY_SECONDS: Final = 10.0
"""A connection that lasts so long after its first right answer has proved itself: waits start from the first again."""
ASK_GAP_SECONDS: Final = 0.5
"""The least time between two asks, however often there is a reason for one (CENSUS.md C5)."""


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. Times are seconds.

    Attributes:
        url: `ws:` or `wss:`, without environment and service id.
        service_id: with or without its prefix `s:`.
        verify_seconds: how often the subscription is verified.
        reconnect_seconds: the first wait; doubles up to 60 s.
        ping_seconds, ping_deadline: how often the peer is pinged, and how long its pong may take.
        connect_deadline: until the websocket is open, and again until the service says that it is connected.
        silence_deadline: the longest time without any frame; heartbeats come every 30 s.
    """

    url: str
    environment: str
    service_id: Secret
    worlds: tuple[int, ...]
    event_names: tuple[str, ...] = EVENT_NAMES
    verify_seconds: float = 60.0
    reconnect_seconds: float = 1.0
    ping_seconds: float = 20.0
    ping_deadline: float = 15.0
    connect_deadline: float = 20.0
    silence_deadline: float = 65.0


class StreamSink(Protocol):
    """Takes what the stream says. Called in the order of receipt; must be cheap and must not raise."""

    def event(self, payload: bytes, received_at: Ms) -> None:
        """An event's JSON exactly as received."""

    def verified(self, world_id: int, asked_at: Ms, answered_at: Ms) -> None:
        """The subscription was right and this world's endpoint is up.

        The first call after the start, or after `lost`, begins a span at `answered_at`; each one vouches for the
        time up to `asked_at`, which may lie before the span's beginning (and then vouches for nothing yet).
        """

    def heartbeat(self, told_at: Ms | None, received_at: Ms) -> None:
        """Comes every 30 s, with what the service's clock says, if it tells."""

    def lost(self, world_ids: Iterable[int], after: After) -> None:
        """These worlds' spans are broken. `world_down` is also told of worlds that had no span."""


class StreamObserver:
    """What happens, one method each, for logs and metrics; these do nothing."""

    def connecting(self) -> None:
        """An attempt begins."""

    def connected(self) -> None:
        """The service said that it is connected."""

    def closed(self) -> None:
        """An attempt or a connection ended, on purpose or not."""

    def disconnected(self, cause: str, message: str) -> None:
        """It did not end on purpose; `cause` is one of `CAUSES`. Another attempt follows."""

    def refused(self, message: str) -> None:
        """The service id or the environment is at fault; told before `disconnected`."""

    def verified(self, ok: bool) -> None:
        """The subscription was compared with what is wanted."""

    def message(self, kind: str) -> None:
        """A frame was decoded; `kind` is its class's name."""

    def malformed(self, reason: str) -> None:
        """A frame was left out; the connection goes on."""

    def world_state(self, world_id: int, online: bool) -> None:
        """The endpoint of a wanted world changed its state."""


Backpressure = Callable[[], Awaitable[None] | None]
"""Asked after each event: None to go on, or an awaitable that ends when there is room again."""


async def run_stream(
    settings: StreamSettings,
    sink: StreamSink,
    clock: Clock,
    observer: StreamObserver,
    *,
    backpressure: Backpressure | None = None,
    dial: Dial = dial_tcp,
    chance: Callable[[], float] = random.random,
) -> NoReturn:
    """Connects, and connects again, until it is cancelled.

    Args:
        dial: opens the stream of bytes.
        chance: draws the jitter, in [0, 1).
    """
    tls = ssl.create_default_context() if settings.url.startswith("wss:") else None
    backoff = Backoff(first=settings.reconnect_seconds, highest=HIGHEST_RECONNECT_SECONDS)
    failures = 0
    patience = WRONG_SUBSCRIPTIONS
    while True:
        connection = _Connection(settings, sink, clock, observer, backpressure, patience)
        observer.connecting()
        try:
            end = await use_websocket(
                settings.url,
                _resource(settings),
                connection.use,
                dial=dial,
                tls=tls,
                deadline=settings.connect_deadline,
            )
        finally:
            connection.end()
            observer.closed()
        least = 0.0
        if isinstance(end, CensusRefused):
            observer.refused(str(end))
            least = REFUSED_SECONDS
        observer.disconnected(end.cause if isinstance(end, StreamLost) else "refused", str(end))
        if connection.steady():
            failures = 0
        if connection.was_right:
            patience = WRONG_SUBSCRIPTIONS
        elif isinstance(end, StreamLost) and end.cause == "subscription":
            patience = min(2 * patience, MOST_WRONG_SUBSCRIPTIONS)
        await trio.sleep(max(least, backoff.seconds(failures, chance())))
        failures += 1


def _resource(settings: StreamSettings) -> str:
    """The path and query to ask for. It contains the service id: not to be shown."""
    _, _, rest = settings.url.partition("://")
    _, slash, path = rest.partition("/")
    joint = "&" if "?" in path else "?"
    environment = quote(settings.environment, safe="")
    return (
        f"{slash or '/'}{path}{joint}environment={environment}&service-id={service_name(settings.service_id)}"
    )


class _Connection:
    """One connection: a reader, and beside it what asks, pings and watches the time."""

    def __init__(
        self,
        settings: StreamSettings,
        sink: StreamSink,
        clock: Clock,
        observer: StreamObserver,
        backpressure: Backpressure | None,
        patience: int,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._observer = observer
        self._backpressure = backpressure
        self._verification = Verification(settings.worlds, settings.event_names)
        self._connected = trio.Event()
        self._ask_now = trio.Event()
        self.was_right = False
        self._patience = patience  # with answers that have a part of what is wanted
        self._wrong = 0  # answers to a full subscribe, in a row
        self._end: CensusError | None = None
        self._proved_at: float | None = None
        self._read_at = trio.current_time()
        # A reader that is held back sees neither frames nor pongs: that is no fault of the peer.
        self._held_back = False
        self._resumed_at = -1.0

    async def use(self, socket: WebSocketConnection) -> CensusError:
        """Runs until the connection ends, and says why it did."""
        self._read_at = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def guarded(part: Callable[[WebSocketConnection], Awaitable[None]]) -> None:
                try:
                    await part(socket)
                except StreamLost as error:
                    self._end = self._end or error
                except ConnectionClosed as error:
                    if part != self._read:
                        return  # the reader hears of it as well, behind what is still to be read
                    self._end = self._end or _closed(error)
                nursery.cancel_scope.cancel()

            for part in (self._read, self._verify, self._ping, self._watch):
                nursery.start_soon(guarded, part)
        assert self._end is not None
        return self._end

    def end(self) -> None:
        """The socket is gone, for whatever reason: nothing is vouched for any longer."""
        if covered := self._verification.covered:
            self._sink.lost(covered, "connection")

    def steady(self) -> bool:
        """Whether it held for a while after its first right answer."""
        return self._proved_at is not None and trio.current_time() - self._proved_at >= STEADY_SECONDS

    async def _read(self, socket: WebSocketConnection) -> None:
        get_message, now, event = socket.get_message, self._clock.now, self._sink.event
        observed, backpressure = self._observer.message, self._backpressure
        while True:
            text = await get_message()
            received_at = now()
            self._read_at = trio.current_time()
            try:
                message = decode_message(text)
            except MessageError as error:
                self._observer.malformed(str(error))
                continue
            observed(type(message).__name__)
            if type(message) is not ServiceMessage:
                self._take(message, received_at)
                continue
            event(message.payload, received_at)
            if backpressure is not None and (room := backpressure()) is not None:
                await self._hold_back(room)

    async def _hold_back(self, room: Awaitable[None]) -> None:
        self._held_back = True
        try:
            await room
        finally:
            self._held_back = False
            self._resumed_at = self._read_at = trio.current_time()

    def _take(self, message: Message, received_at: Ms) -> None:
        """Everything but events, which are the reader's own."""
        match message:
            case Subscription():
                self._answered(message, received_at)
            case Heartbeat(online=online, at=told_at):
                self._sink.heartbeat(told_at, received_at)
                for world_id, up in online.items():
                    self._world(world_id, up)
            case WorldState(world_ids=world_ids, online=up):
                for world_id in world_ids:
                    self._world(world_id, up)
            case Connected(connected=True):
                self._connected.set()
            case Connected(connected=False):
                raise StreamLost("closed", "the service said that it is no longer connected")

    def _world(self, world_id: int, online: bool) -> None:
        if not self._verification.world(world_id, online=online):
            return
        self._observer.world_state(world_id, online)
        if online:
            self._ask_now.set()  # the next right answer begins its span
        else:
            self._sink.lost((world_id,), "world_down")

    def _answered(self, subscription: Subscription, received_at: Ms) -> None:
        answer = self._verification.answered(subscription)
        self._observer.verified(answer.right)
        if answer.lost:
            self._sink.lost(answer.lost, "subscription")
        if answer.asked_at is not None:
            for world_id in answer.verified:
                self._sink.verified(world_id, answer.asked_at, received_at)
        if answer.verified and self._proved_at is None:
            self._proved_at = trio.current_time()
        if answer.right:
            self._wrong = 0
            self.was_right = True
        elif answer.to_subscribe:
            self._wrong += 1
            if self._wrong >= (self._patience if answer.partly else WRONG_SUBSCRIPTIONS):
                raise StreamLost(
                    "subscription", f"{self._wrong} subscriptions in a row were not taken as wanted"
                )
        # A span that begins is asked about again, since it vouches for nothing yet; a subscription found lost is
        # renewed at once. One that the server did not take as wanted waits for the next period.
        if answer.begun or not (answer.right or answer.to_subscribe):
            self._ask_now.set()

    async def _verify(self, socket: WebSocketConnection) -> None:
        settings = self._settings
        with trio.move_on_after(settings.connect_deadline):
            await self._connected.wait()
        if not self._connected.is_set():
            raise StreamLost(
                "not_connected",
                f"the service did not say within {settings.connect_deadline:g} s that it is connected",
            )
        self._observer.connected()
        verification = self._verification
        subscribe = subscribe_command(settings.worlds, settings.event_names)
        while True:
            full = not verification.right
            verification.asked(self._clock.now(), trio.current_time(), subscribe=full)
            await socket.send_message(subscribe if full else EMPTY_SUBSCRIBE)
            await self._next_ask()
            since = verification.asked_since
            if since is None or self._held_back:
                continue
            # Half a period short of three, so that rounding does not add one.
            unanswered = trio.current_time() - max(since, self._resumed_at)
            if unanswered > (UNANSWERED_PERIODS - 0.5) * settings.verify_seconds:
                raise StreamLost("unanswered", f"no answer to a subscription for {unanswered:.0f} s")

    async def _next_ask(self) -> None:
        """Waits for the next period, or for a reason to ask earlier."""
        period = self._settings.verify_seconds
        earliest = trio.current_time() + min(ASK_GAP_SECONDS, period)
        with trio.move_on_after(period):
            await self._ask_now.wait()
            await trio.sleep_until(earliest)
        self._ask_now = trio.Event()

    async def _ping(self, socket: WebSocketConnection) -> None:
        settings = self._settings
        while True:
            await trio.sleep(settings.ping_seconds)
            asked_at = trio.current_time()
            with trio.move_on_after(settings.ping_deadline) as waiting:
                await socket.ping()
            if waiting.cancelled_caught and not self._held_back and self._resumed_at < asked_at:
                raise StreamLost("ping", f"no answer to a ping within {settings.ping_deadline:g} s")

    async def _watch(self, socket: WebSocketConnection) -> None:
        deadline = self._settings.silence_deadline
        while True:
            left = deadline if self._held_back else self._read_at + deadline - trio.current_time()
            if left <= 0:
                raise StreamLost("silent", f"no frame for {deadline:g} s, heartbeats neither")
            await trio.sleep(left)


def _closed(error: ConnectionClosed) -> StreamLost:
    reason = error.reason
    if reason is None:
        return StreamLost("closed", "the connection was closed")
    return StreamLost("closed", f"the connection was closed ({reason.code}, {reason.name})")
