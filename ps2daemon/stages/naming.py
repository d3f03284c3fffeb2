"""Who the characters of the store are: asked of Census in the background, told to the ledger when the answer comes.

The flow of records never waits for it. A character that nobody could name stays in the store as unnamed and is found there again
(`SWEEP_SECONDS`), so that what is waiting here may be forgotten in a crash; Census not knowing a character, or being out,
needs no hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, Protocol

import trio

from ps2daemon.census.characters import CharacterSource
from ps2daemon.clock import Clock
from ps2daemon.stages.patience import OutageEvents, patiently
from ps2daemon.store.base import Store
from ps2daemon.store.ledger import Ledger
from ps2daemon.supervisor import StageControl

SWEEP_SECONDS: Final = 60.0
LOOKED_UP: Final = 500
"""Characters of one lookup and one commit."""
WAITING: Final = 20_000
"""At most so many wait here, about 2 MB; the rest is found in the store."""


class NamingEvents(OutageEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def characters_named(self, number: int) -> None: ...

    def characters_unnamed(self, number: int) -> None: ...


class Naming:
    """The characters to ask about."""

    def __init__(
        self, *, source: CharacterSource, ledger: Ledger, store: Store, clock: Clock, events: NamingEvents
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._events = events
        self._waiting: dict[str, None] = {}  # oldest first
        self._some = trio.Event()
        self._busy = False
        self._idle = trio.Event()
        self._idle.set()

    def ask(self, character_ids: Iterable[str]) -> None:
        """Asks about characters some time soon."""
        for character_id in character_ids:
            if len(self._waiting) >= WAITING:
                break
            self._waiting[character_id] = None
        if self._waiting:
            self._some.set()
            self._idle = trio.Event() if self._idle.is_set() else self._idle

    @property
    def left(self) -> int:
        """How many characters are left to ask about."""
        return len(self._waiting)

    async def idle(self) -> None:
        """Waits until nothing is left to ask about."""
        while self._waiting or self._busy:
            await self._idle.wait()

    async def run(self, control: StageControl) -> None:
        """Asks and tells, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._source.run)
            nursery.start_soon(self._sweep, control)
            if self._waiting:  # from before a crash
                self._some.set()
            while True:
                await self._some.wait()
                self._some = trio.Event()
                while self._waiting:
                    await self._name(control)
                self._idle.set()

    async def _name(self, control: StageControl) -> None:
        taken = list(self._waiting)[:LOOKED_UP]
        self._busy = True
        try:
            found = await self._source.lookup(taken)
            if found:
                named = await patiently(
                    lambda: self._ledger.identify(found.values(), self._clock.now()),
                    control=control,
                    events=self._events,
                )
                self._events.characters_named(named)
        finally:
            self._busy = False
        for character_id in taken:
            self._waiting.pop(character_id, None)

    async def _sweep(self, control: StageControl) -> None:
        """Finds those in the store, page by page while more can wait, and goes on later where it was; tells how many they are."""
        after = ""
        unnamed = 0
        while True:
            while (room := WAITING - self.left) > 0:
                page = await patiently(
                    partial(self._store.unnamed, after, min(room, LOOKED_UP)),
                    control=control,
                    events=self._events,
                )
                unnamed += len(page)
                if not page:
                    self._events.characters_unnamed(unnamed)
                    after, unnamed = "", 0
                    break
                self.ask(character for character in page if self._source.ask_in(character) <= 0)
                after = page[-1]
            await trio.sleep(SWEEP_SECONDS)
