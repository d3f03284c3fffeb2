"""Whether those whose session is open are still online: asked of Census, told to the ledger.

Every `PERIOD` and at once after a gap, in which logouts may have been lost, everybody with an open session on a world is asked about: a
world that comes back begins with a gap. Only where the record reaches up to now, since otherwise what is open in the store says nothing
of the present. An answer is told once the record has come to the moment at which it was asked: only then is it known whether a logout was
recorded before, or whether a gap began that it fell into. Nobody is offline by an error, by an answer without a row, or by one that can't be
understood (CENSUS.md R13): what Census can't answer is left as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import trio

from ps2daemon.census.characters import (
    FIRST_WAIT_SECONDS,
    HIGHEST_WAIT_SECONDS,
    REFUSED_SECONDS,
    ask_in_parts,
)
from ps2daemon.census.limits import Backoff
from ps2daemon.census.rest import BATCH, Presence
from ps2daemon.clock import Clock
from ps2daemon.errors import CensusError, CensusRefused
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.stages.patience import OutageEvents, patiently
from ps2daemon.store.ledger import Ledger
from ps2daemon.supervisor import StageControl

PERIOD: Final = 10 * MINUTE
CURRENT: Final = 3 * MINUTE
"""A world whose coverage ended longer than this (ms) ago is not known of: coverage is claimed in arrears of a minute."""
INTERVAL_SECONDS: Final = 10.0
"""How often it is looked whether anything is due."""


class PresenceClient(Protocol):
    """What is needed of `CensusClient`."""

    async def online(self, ids: Sequence[str]) -> Mapping[str, Presence]:
        """See `CensusClient.online`."""


class ChecksEvents(OutageEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def sessions_checked(self, online: int, offline: int, unanswered: int) -> None: ...

    def sessions_ended(self, sessions: int) -> None: ...

    def checks_complete(self) -> None: ...

    def checks_failed(self, message: str) -> None: ...


class Answer(NamedTuple):
    """What Census said of somebody on a world, and when it was asked."""

    character_id: str
    world_id: int
    online: bool
    asked: Ms


def current_worlds(coverage: Mapping[int, WorldCoverage], now: Ms) -> list[int]:
    """The worlds whose record reaches up to now.

    Measured by the clock and not by the latest record: while no stream is up there is no record that would be later.
    """
    return [
        world_id
        for world_id, world in coverage.items()
        if world.end is not None and now - world.end <= CURRENT
    ]


class Checks:
    """What was asked, and when. `run` may be cancelled and started again; a round that broke off begins anew.

    Args:
        chance: draws the jitter of waits, in [0, 1).
    """

    def __init__(
        self,
        *,
        client: PresenceClient,
        ledger: Ledger,
        clock: Clock,
        events: ChecksEvents,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._events = events
        self._chance = chance
        self._backoff = Backoff(first=FIRST_WAIT_SECONDS, highest=HIGHEST_WAIT_SECONDS)
        self._checked: dict[int, tuple[Ms, Ms]] = {}
        """By world: the start of the span in which it was last checked, and when that was."""
        self._untold: list[Answer] = []
        """What the record has not come to yet. At most a round of each world: where it is further behind than `CURRENT`, nobody is asked about."""

    async def run(self, control: StageControl) -> None:
        """Asks and tells, for ever."""
        failures = 0
        while True:
            wait = INTERVAL_SECONDS
            try:
                await self.round(control)
            except CensusError as error:
                wait = self._backoff.seconds(failures, self._chance())
                if isinstance(error, CensusRefused):
                    wait = max(wait, REFUSED_SECONDS)
                failures += 1
                self._events.checks_failed(str(error))
            else:
                failures = 0
            await trio.sleep(wait)

    async def round(self, control: StageControl) -> None:
        """Tells what the record has come to, and asks about the worlds that are due.

        Raises:
            CensusError: no answer; they are still due.
        """
        coverage = await patiently(self._ledger.coverage, control=control, events=self._events)
        now = self._clock.now()
        await self._tell(control, coverage, now)
        due = {
            world_id: start
            for world_id in current_worlds(coverage, now)
            if self._due(world_id, start := coverage[world_id].spans[-1].start, now)
        }
        if not due:
            return
        characters = await patiently(
            partial(self._ledger.online_on, due), control=control, events=self._events
        )
        ids = list(characters)
        for first in range(0, len(ids), BATCH):
            await self._ask({who: characters[who] for who in ids[first : first + BATCH]})
        for world_id, start in due.items():
            self._checked[world_id] = (start, now)
        self._events.checks_complete()

    def _due(self, world_id: int, start: Ms, now: Ms) -> bool:
        """Whether there was a gap since it was checked, the time is up, or the clock was set back."""
        span, at = self._checked.get(world_id, (-1, 0))
        return span != start or not 0 <= now - at < PERIOD

    async def _ask(self, characters: Mapping[str, int]) -> None:
        found: dict[str, Presence] = {}
        await ask_in_parts(self._client.online, list(characters), lambda _, answer: found.update(answer))
        # When it was asked, by the clock as it is now.
        ahead = self._clock.now() - trio.current_time() * SECOND
        answers = [
            Answer(who, characters[who], each.online, int(ahead + each.asked * SECOND))
            for who, each in found.items()
        ]
        self._untold += answers
        online = sum(each.online for each in answers)
        self._events.sessions_checked(online, len(answers) - online, len(characters) - len(answers))

    async def _tell(self, control: StageControl, coverage: Mapping[int, WorldCoverage], now: Ms) -> None:
        """Tells the ledger of the answers that the record has come to; those from before the clock was set back are asked for again."""
        until = {world_id: world.end or 0 for world_id, world in coverage.items()}
        waiting = [each for each in self._untold if each.asked <= now]
        told = [each for each in waiting if each.asked <= until.get(each.world_id, 0)]
        for first in range(0, len(told), BATCH):
            batch = told[first : first + BATCH]
            online = {each.character_id: each.asked for each in batch if each.online}
            offline = {each.character_id: each.asked for each in batch if not each.online}
            ended = await patiently(
                partial(self._ledger.check, online, offline), control=control, events=self._events
            )
            self._events.sessions_ended(ended)
        self._untold = [each for each in waiting if each.asked > until.get(each.world_id, 0)]
