"""What happens in a simulation: a population at its real pace, a busy crowd, a burst, or a recorded capture."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Final

import trio

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.messages import Connected, MessageError, WorldState, decode_message
from ps2daemon.model.records import DAY, HOUR, SECOND, Ms
from ps2daemon.simulator.connection import text_frame
from ps2daemon.simulator.names import character_id, character_name
from ps2daemon.simulator.payloads import payload_of
from ps2daemon.simulator.protocol import service_message
from ps2daemon.simulator.server import Client, Simulator
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.timeline import Timeline, origin_before, tell
from ps2daemon.simulator.truth import TrueCharacter, Truth

MAX_RATE: Final = 20_000.0
"""Events a second; one core makes more, but then it is the simulator that is measured."""
_LATENCY: Final = (200, 1_000)
_LONGEST_SLEEP: Final = 10.0  # seconds, so that a clock that is set is noticed
_TICK: Final = 0.02
_BUSY_SECONDS: Final = (5.0, 40.0)
_REUSED_SHARE: Final = 0.7
_KNOWN_SHARE: Final = 0.5
_REST_SECONDS: Final = 2
_BURST_CHUNK: Final = 500


class QuietSource:
    """Nothing happens; what others have in common."""

    greets = False

    async def run(self, simulator: Simulator) -> None:
        await trio.sleep_forever()

    async def connected(self, client: Client) -> None:
        return

    def subscribed(self, client: Client) -> None:
        return


class LiveSource(QuietSource):
    """Plays a timeline, each event a moment after it happened.

    Args:
        truth: what happened before `now` is told to it at once: it begins with those who are online at `now`.
        history_from: where a recording began that this goes on with; it must have had the same settings.
    """

    def __init__(
        self, settings: PopulationSettings, truth: Truth, now: Ms, history_from: Ms | None = None
    ) -> None:
        start = now if history_from is None else history_from
        if start > now:
            raise UsageError("a history that is to be continued can't begin in the future")
        if start < 2 * DAY:
            raise UsageError("a history must begin after 1970-01-02")
        self._timeline = Timeline(settings, origin_before(start))
        self._random = Random(f"{settings.seed}/live")
        self._made = now
        for moment in self._timeline.advance(now):
            tell(truth, moment)
        truth.forget(now)

    async def run(self, simulator: Simulator) -> None:
        due = 0
        while True:
            self._made += HOUR
            for moment in self._timeline.advance(self._made):
                due = max(due, moment.at + self._random.randrange(*_LATENCY))
                await _until(simulator, due)
                await simulator.running()
                tell(simulator.truth, moment, simulator.tell(moment.event))
            await _until(simulator, self._made - HOUR)


class BusySource(QuietSource):
    """Many short sessions, at the true time.

    Args:
        rate: logins and logouts a second, together; reached when the first sessions end, after half a minute.
    """

    def __init__(self, rate: float, worlds: Sequence[int], seed: int = 1) -> None:
        if not 0.0 < rate <= MAX_RATE:
            raise UsageError(f"the rate is {rate:g}, not above 0 and at most {MAX_RATE:g} events a second")
        self._logins_per_second = rate / 2
        self._worlds = tuple(worlds)
        self._random = Random(f"{seed}/busy")
        self._numbers = dict.fromkeys(self._worlds, 0)
        self._idle: deque[tuple[Ms, TrueCharacter]] = deque()
        self._leaving: list[tuple[Ms, str, TrueCharacter]] = []
        self._now: Ms = 0

    async def run(self, simulator: Simulator) -> None:
        owed = 0.0
        last = trio.current_time()
        while True:
            await trio.sleep(_TICK)
            await simulator.running()
            now = trio.current_time()
            owed += min(now - last, 1.0) * self._logins_per_second  # what a pause left out is not made up for
            last = now
            self._now = max(self._now, simulator.clock.now())
            self._logouts(simulator)
            while owed >= 1.0:
                owed -= 1.0
                self._login(simulator)

    def _logouts(self, simulator: Simulator) -> None:
        at = self._now // SECOND * SECOND
        while self._leaving and self._leaving[0][0] <= self._now:
            _, who, character = heappop(self._leaving)
            sent = simulator.tell(Logout(who, character.world_id, at))
            simulator.truth.logout(who, at, sent)
            self._idle.append((at, character))

    def _login(self, simulator: Simulator) -> None:
        at = self._now // SECOND * SECOND
        character = self._next_character(at)
        who = character.character_id
        sent = simulator.tell(Login(who, character.world_id, at))
        simulator.truth.login(character, at, sent)
        heappush(
            self._leaving, (self._now + int(self._random.uniform(*_BUSY_SECONDS) * SECOND), who, character)
        )

    def _next_character(self, at: Ms) -> TrueCharacter:
        random = self._random
        if self._idle and self._idle[0][0] <= at - _REST_SECONDS * SECOND and random.random() < _REUSED_SHARE:
            return self._idle.popleft()[1]
        world_id = random.choice(self._worlds)
        number = self._numbers[world_id]
        self._numbers[world_id] = number + 1
        known = random.random() < _KNOWN_SHARE
        return _crowd_character(world_id, number, at, first_end=0 if known else None)


class BurstSource(QuietSource):
    """Sends so many logins and logouts to the first connection that subscribes, as fast as it takes them.

    Args:
        events: how many; half of them logins, all before the first logout.
    """

    def __init__(self, events: int, worlds: Sequence[int]) -> None:
        if events < 2:
            raise UsageError("a burst has two events or more")
        self._sessions = events // 2
        self._worlds = tuple(worlds)
        self._client: Client | None = None
        self._begun = trio.Event()
        self.done = trio.Event()

    def subscribed(self, client: Client) -> None:
        if self._client is None and client.subscription.event_names:
            self._client = client
            self._begun.set()

    async def run(self, simulator: Simulator) -> None:
        await self._begun.wait()
        client = self._client
        assert client is not None
        chunks = self._frames(simulator)
        for chunk in chunks:
            await client.websocket.room()
            client.websocket.send_frames(chunk)
        await client.websocket.flushed()
        self.done.set()
        await trio.sleep_forever()

    def _frames(self, simulator: Simulator) -> list[bytes]:
        """All frames, made beforehand, in chunks; the truth is told as if they were on their way already."""
        now = simulator.clock.now()
        at = now // SECOND * SECOND
        numbers = divmod(self._sessions, len(self._worlds))
        characters = [
            _crowd_character(world_id, number, at, first_end=0)
            for place, world_id in enumerate(self._worlds)
            for number in range(numbers[0] + (place < numbers[1]))
        ]
        frames = []
        for character in characters:
            simulator.truth.login(character, at - SECOND, now)
            frames.append(payload_of(Login(character.character_id, character.world_id, at - SECOND)))
        for character in characters:
            simulator.truth.logout(character.character_id, at, now)
            frames.append(payload_of(Logout(character.character_id, character.world_id, at)))
        ready = [text_frame(service_message(payload)) for payload in frames]
        return [b"".join(ready[i : i + _BURST_CHUNK]) for i in range(0, len(ready), _BURST_CHUNK)]


class CaptureSource(QuietSource):
    """Sends the frames of a file, as they are, to every connection.

    A greeting in the file takes the place of the simulator's own.

    Args:
        frames: one JSON object each.
        rate: frames a second; None for as fast as they are taken.
    """

    def __init__(self, frames: Sequence[bytes], rate: float | None = None) -> None:
        self._frames = [text_frame(frame) for frame in frames]
        self._rate = rate
        messages = []
        for number, frame in enumerate(frames, 1):
            try:
                messages.append(decode_message(frame))
            except MessageError as error:
                raise UsageError(f"frame {number} of the capture: {error}") from None
        self.greets = any(isinstance(message, Connected) for message in messages)
        self.worlds = {
            world_id: message.online
            for message in messages
            if isinstance(message, WorldState)
            for world_id in message.world_ids
            if world_id in tables.worlds()
        }
        """The states of the worlds that the file tells."""

    @classmethod
    def read(cls, path: Path, rate: float | None = None) -> CaptureSource:
        """The frames of a file, one a line.

        Raises:
            UsageError: it can't be read, has no frame, or one that is none.
        """
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UsageError(f"can't read {path}: {error.strerror}") from None
        frames = [line.strip() for line in lines if line.strip()]
        if not frames:
            raise UsageError(f"{path} has no frames")
        return cls(frames, rate)

    async def connected(self, client: Client) -> None:
        for frame in self._frames:
            if self._rate is not None:
                await trio.sleep(1.0 / self._rate)
            await client.websocket.room()
            client.websocket.send_frames(frame)


def _crowd_character(world_id: int, number: int, at: Ms, *, first_end: Ms | None) -> TrueCharacter:
    return TrueCharacter(
        character_id=character_id(world_id, number),
        name=character_name(number),
        faction_id=1 + number % 4 if number % 16 == 3 else 1 + number % 3,
        world_id=world_id,
        created=at,
        first_end=first_end,
    )


async def _until(simulator: Simulator, due: Ms) -> None:
    """Waits for a time of the wall clock, which may be set meanwhile."""
    while True:
        left = (due - simulator.clock.now()) / SECOND
        if left <= 0:
            return
        await trio.sleep(min(left, _LONGEST_SLEEP))
