"""What a connection can vouch for, world by world: asks, answers and endpoint states, without any I/O.

A world is covered from the arrival of a right answer for as long as answers stay right and its endpoint is not said to be
down. A world of which nothing was said counts as up: heartbeats don't list every world (CENSUS.md S4), and where they
say "false" while events flow, a gap is claimed rather than coverage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ps2daemon.model.messages import Subscription
from ps2daemon.model.records import Ms

EMPTY_SUBSCRIBE: Final = '{"service":"event","action":"subscribe"}'
"""Changes nothing and is answered with what is subscribed."""


def subscribe_command(worlds: Iterable[int], event_names: Iterable[str]) -> str:
    """Adds these events of these worlds, listed one by one: "all" is suspected to be less reliable (CENSUS.md S3)."""
    command = {
        "service": "event",
        "action": "subscribe",
        "worlds": [str(world) for world in worlds],
        "eventNames": list(event_names),
        "logicalAndCharactersWithWorlds": False,
    }
    return msgspec.json.encode(command).decode()


class _Ask(NamedTuple):
    at: Ms
    since: float
    subscribe: bool


class Answer(msgspec.Struct, frozen=True):
    """What one acknowledgement means.

    Attributes:
        right: it has everything that is wanted.
        partly: it has some of it.
        to_subscribe: it answers a full `subscribe`, not an empty one.
        asked_at: when the oldest unanswered ask was sent: the answer may be to that one, so no more is claimed. None if
            nothing was asked: then it can break spans but proves nothing.
        verified: worlds that are subscribed and whose endpoint is up.
        begun: those of `verified` that were not covered before.
        lost: worlds that were covered and are no longer subscribed.
    """

    right: bool
    partly: bool
    to_subscribe: bool
    asked_at: Ms | None
    verified: tuple[int, ...]
    begun: tuple[int, ...]
    lost: tuple[int, ...]


class Verification:
    """The state of one connection; a new connection starts with a new one."""

    def __init__(self, worlds: Iterable[int], event_names: Iterable[str]) -> None:
        self._worlds = tuple(worlds)
        self._event_names = frozenset(event_names)
        self._asks: deque[_Ask] = deque()
        self._down: set[int] = set()
        self._covered: set[int] = set()
        self.right = False  # the latest answer had everything

    @property
    def covered(self) -> tuple[int, ...]:
        """Worlds whose span is unbroken."""
        return tuple(world for world in self._worlds if world in self._covered)

    @property
    def asked_since(self) -> float | None:
        """Since when the oldest ask waits for its answer, or None if none does."""
        return self._asks[0].since if self._asks else None

    def asked(self, at: Ms, since: float, *, subscribe: bool) -> None:
        """A `subscribe` is about to be sent, in full or empty.

        Args:
            since: the same moment by the clock that `asked_since` is measured with.
        """
        self._asks.append(_Ask(at, since, subscribe))

    def answered(self, subscription: Subscription) -> Answer:
        """An acknowledgement arrived."""
        ask = self._asks.popleft() if self._asks else None
        subscribed = self._subscribed(subscription)
        self.right = len(subscribed) == len(self._worlds)
        lost = tuple(world for world in self.covered if world not in subscribed)
        self._covered.difference_update(lost)
        verified = () if ask is None else tuple(world for world in subscribed if world not in self._down)
        begun = tuple(world for world in verified if world not in self._covered)
        self._covered.update(begun)
        return Answer(
            right=self.right,
            partly=bool(subscribed),
            to_subscribe=ask is not None and ask.subscribe,
            asked_at=None if ask is None else ask.at,
            verified=verified,
            begun=begun,
            lost=lost,
        )

    def world(self, world_id: int, *, online: bool) -> bool:
        """An endpoint's state was told; True if that is a change for a world that is wanted."""
        if world_id not in self._worlds or online == (world_id not in self._down):
            return False
        if online:
            self._down.discard(world_id)
        else:
            self._down.add(world_id)
            self._covered.discard(world_id)
        return True

    def _subscribed(self, subscription: Subscription) -> tuple[int, ...]:
        """The wanted worlds of which every wanted event is delivered."""
        names = subscription.event_names
        if names != "all" and not self._event_names <= names:
            return ()
        if subscription.logical_and and subscription.characters != "all":
            return ()  # worlds would only count for the characters listed, and none are
        worlds = subscription.worlds
        return tuple(world for world in self._worlds if worlds == "all" or world in worlds)
