"""Who characters are, asked as seldom as possible: a cache, and one requester behind it for everybody.

Promises:
- `known` answers from memory and never waits. `lookup` waits for Census: through an outage too, until it is answered or cancelled.
  So it belongs into a background task, never into the flow of records.
- Concurrent lookups share requests: all that is asked for within `LINGER_SECONDS` goes into batches, and one character is asked about
  once, however many wait. A lookup that is cancelled takes nothing from the others.
- A character that Census doesn't know is not asked about again before its time, which doubles with each miss; neither is
  one that came without a name, and what is known of a character is never replaced by less.
- Memory is bounded: the cache by its capacity, what waits by who waits.
- `run` may be cancelled and started again; lookups wait meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NoReturn, Protocol, TypeVar

import trio
from cachetools import LRUCache
from msgspec.structs import replace

from ps2daemon.census.limits import Backoff
from ps2daemon.census.rest import BATCH, Identity, IdRefused
from ps2daemon.errors import CensusError, CensusRefused

LINGER_SECONDS: Final = 0.05
NEGATIVE_SECONDS: Final = 60.0
HIGHEST_NEGATIVE_SECONDS: Final = 6 * 3600.0
"""A deleted character never appears, a new one does after its first session."""
FIRST_WAIT_SECONDS: Final = 2.0
HIGHEST_WAIT_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 60.0
"""The least wait after a refusal: somebody has to register a service id, or an upstream trouble to pass (CENSUS.md C4)."""
LEVELS: Final = ("memory", "absent", "census")
"""Every level that `CharacterObserver.looked_up` can be given."""

T = TypeVar("T")


class CharacterClient(Protocol):
    """What is needed of `CensusClient`."""

    async def characters(self, ids: Sequence[str]) -> dict[str, Identity]:
        """See `CensusClient.characters`."""


async def ask_in_parts(
    ask: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]],
    batch: Sequence[str],
    take: Callable[[Sequence[str], Mapping[str, T]], None],
) -> None:
    """Asks about a batch; where Census takes offence at an id, about halves of it, so that it spoils nothing for the others.

    Args:
        take: given each part with its answer, which is empty for an id that is refused.
    """
    answer: Mapping[str, T] = {}
    try:
        answer = await ask(batch)
    except IdRefused:
        if len(batch) > 1:
            middle = len(batch) // 2
            await ask_in_parts(ask, batch[:middle], take)
            await ask_in_parts(ask, batch[middle:], take)
            return
    take(batch, answer)


class CharacterObserver:
    """What happens, one method each, for logs and metrics; these do nothing."""

    def looked_up(self, level: str, characters: int) -> None:
        """So many characters of a lookup were in memory, are known to be absent, or have to be asked about; of `LEVELS`."""

    def answered(self, found: int, absent: int) -> None:
        """Census answered about so many characters. It works, again or still."""

    def failed(self, error: CensusError, seconds: float) -> None:
        """Census is out or refuses; the next try is after so many seconds."""

    def waiting(self, characters: int) -> None:
        """So many characters have to be asked about."""


@dataclass(slots=True)
class _Entry:
    """What is known of a character, and when to ask again (never, if it is complete)."""

    identity: Identity | None = None
    misses: int = 0
    ask_at: float = float("inf")


@dataclass(slots=True, eq=False)
class _Ask:
    """A character that somebody waits for."""

    waiters: int = 0
    answered: trio.Event = field(default_factory=trio.Event)
    identity: Identity | None = None


class CharacterSource:
    """The cache and its requester.

    Args:
        client: asked by `run` alone, one request at a time.
        capacity: how many characters are kept in memory, absent ones included.
        negative_seconds, highest_negative_seconds: until a character that was absent is asked about again, the first time and at most.
        chance: draws the jitter, in [0, 1).
    """

    def __init__(
        self,
        client: CharacterClient,
        *,
        capacity: int = 10_000,
        negative_seconds: float = NEGATIVE_SECONDS,
        highest_negative_seconds: float = HIGHEST_NEGATIVE_SECONDS,
        observer: CharacterObserver | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._cache: LRUCache[str, _Entry] = LRUCache(capacity)
        self._negative = Backoff(first=negative_seconds, highest=highest_negative_seconds)
        self._backoff = Backoff(first=FIRST_WAIT_SECONDS, highest=HIGHEST_WAIT_SECONDS)
        self._observer = observer or CharacterObserver()
        self._chance = chance
        self._asks: dict[str, _Ask] = {}  # oldest first
        self._asked = trio.Event()

    def known(self, character_id: str) -> Identity | None:
        """Who a character is, if that is in memory. Its name may be None."""
        entry = self._cache.get(character_id)
        return None if entry is None else entry.identity

    def remember(self, identities: Iterable[Identity]) -> None:
        """Puts into memory what is known from elsewhere; one without a name is asked about when it is looked up."""
        now = trio.current_time()
        for identity in identities:
            self._cache[identity.character_id] = _Entry(
                identity, ask_at=now if identity.name is None else float("inf")
            )

    def ask_in(self, character_id: str) -> float:
        """Seconds until a lookup would ask Census about this character: 0 for at once, infinite if it is in memory with its name."""
        entry = self._cache.get(character_id)
        return 0.0 if entry is None else max(0.0, entry.ask_at - trio.current_time())

    async def lookup(self, ids: Collection[str]) -> dict[str, Identity]:
        """Who these characters are, by id; those that Census doesn't know are absent.

        Waits while Census is out or refuses, and for `run`. Any number of ids is fine.
        """
        await trio.lowlevel.checkpoint()
        found: dict[str, Identity] = {}
        waiting: dict[str, _Ask] = {}
        absent = 0
        for character_id in dict.fromkeys(ids):
            identity = self.known(character_id)
            if self.ask_in(character_id) <= 0:
                waiting[character_id] = self._ask(character_id)
            elif identity is not None:
                found[character_id] = identity
            else:
                absent += 1
        for level, count in zip(LEVELS, (len(found), absent, len(waiting)), strict=True):
            if count:
                self._observer.looked_up(level, count)
        try:
            self._observer.waiting(len(self._asks))
            for ask in waiting.values():
                await ask.answered.wait()
        finally:
            for character_id, ask in waiting.items():
                self._leave(character_id, ask)
            self._observer.waiting(len(self._asks))
        for character_id, ask in waiting.items():
            if ask.identity is not None:
                found[character_id] = ask.identity
        return found

    async def run(self) -> NoReturn:
        """Asks Census about what lookups wait for, until it is cancelled. One at a time may run."""
        failures = 0
        while True:
            if not self._asks:
                await self._asked.wait()
            if len(self._asks) < BATCH:
                await trio.sleep(LINGER_SECONDS)
            batch = list(islice(self._asks, BATCH))
            if not batch:
                continue  # whoever asked was cancelled
            try:
                await self._request(batch)
            except CensusError as error:
                wait = self._backoff.seconds(failures, self._chance())
                if isinstance(error, CensusRefused):
                    wait = max(wait, REFUSED_SECONDS)
                failures += 1
                self._observer.failed(error, wait)
                await trio.sleep(wait)
            else:
                failures = 0

    async def _request(self, batch: Sequence[str]) -> None:
        def take(part: Sequence[str], answer: Mapping[str, Identity]) -> None:
            for character_id in part:
                self._settle(character_id, answer.get(character_id))
            self._observer.answered(len(answer), len(part) - len(answer))

        await ask_in_parts(self._client.characters, batch, take)

    def _settle(self, character_id: str, identity: Identity | None) -> None:
        """Census said who this is, or that it doesn't know."""
        old = self._cache.get(character_id)
        if old is not None and old.identity is not None:
            if identity is None:
                identity = old.identity
            elif identity.name is None:
                identity = replace(identity, name=old.identity.name)
        entry = _Entry(identity)
        if identity is None or identity.name is None:
            entry.misses = 1 if old is None else old.misses + 1
            wait = self._negative.seconds(entry.misses - 1, self._chance())
            entry.ask_at = trio.current_time() + wait
        self._cache[character_id] = entry
        ask = self._asks.pop(character_id, None)
        if ask is not None:
            ask.identity = identity
            ask.answered.set()

    def _ask(self, character_id: str) -> _Ask:
        ask = self._asks.get(character_id)
        if ask is None:
            ask = self._asks[character_id] = _Ask()
            self._asked.set()
            self._asked = trio.Event()
        ask.waiters += 1
        return ask

    def _leave(self, character_id: str, ask: _Ask) -> None:
        """A lookup ends; what nobody waits for any longer is not asked about."""
        ask.waiters -= 1
        if ask.waiters == 0 and not ask.answered.is_set():
            del self._asks[character_id]
