"""Whether a world has been silent for longer than chance allows, while the server says that all is well (CENSUS.md S2).

Logins and logouts come as a Poisson process whose rate follows the hour. Of one that brings `r` events a second, a silence of `t` seconds has the
probability exp(-r t). What is usual is learnt while events come: until it is known, no silence says anything, and a quiet night is none.

- A world is **silent** once chance would have had to leave out `SILENT` events.
- Where that shows within `SOON` seconds, time is vouched for up to the latest event only: what comes later proves what lies before it.
- Of a slower world it is vouched for up to the ask, unless `DOUBTFUL` events are left out already. So much may be vouched for falsely.
- Worlds that are heard on one connection are judged **together** as well, by the sum of their rates: where nothing at all arrives any longer, a slow world
  can't be told from a deaf connection, and what others are known for vouches for it.

Times are seconds of a clock that does not jump.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

SILENT: Final = 20.0
"""exp(-20) is 2e-9; were the rate half of what it is taken for, as after an alert in the last hour of the evening, 5e-5."""
DOUBTFUL: Final = 5.0
SOON: Final = 600.0
KNOWN: Final = 600.0
"""Events of so many seconds tell what is usual."""
SPANS: Final = (1_800.0, 10_800.0)
"""The rate is the lower one of two moving averages, each less its standard deviation or a little more: the short one follows the evening down, the long
one is not moved by a crowd that comes at once, and of a few events neither tells much."""


class Quiet(NamedTuple):
    """How quiet it is: how many events a second are usual, and how many chance has left out."""

    rate: float
    left_out: float

    @property
    def silent(self) -> bool:
        """Whether it is longer than chance allows."""
        return self.left_out > SILENT

    @property
    def vouches(self) -> bool:
        """Whether that no event came until now may be taken for chance; otherwise only the latest event vouches."""
        return self.rate * SOON < SILENT and self.left_out <= DOUBTFUL


def together(quiets: Iterable[Quiet]) -> Quiet:
    """How quiet it is in several worlds, if none of them has been heard since; their events come independently."""
    rate = left_out = 0.0
    for quiet in quiets:
        rate += quiet.rate
        left_out += quiet.left_out
    return Quiet(rate, left_out)


class Silence:
    """The events of one world, as they arrive."""

    def __init__(self) -> None:
        self._first = self._last = -math.inf
        self._sums = [0.0] * len(SPANS)
        self._since = -math.inf

    def event(self, at: float) -> None:
        """One arrived."""
        if self._last == -math.inf:
            self._first = at
        else:
            passed = at - self._last
            self._sums = [
                each * math.exp(-passed / span) for each, span in zip(self._sums, SPANS, strict=True)
            ]
        self._sums = [each + 1 for each in self._sums]
        self._last = self._since = at

    def listen(self, at: float) -> None:
        """From now on events would arrive; silence before says nothing."""
        self._since = max(self._since, at)

    def quiet(self, at: float, heard: float = -math.inf) -> Quiet:
        """How quiet it has been since the latest event, or since `heard` if that is later."""
        rate = self._rate()
        return Quiet(rate, rate * (at - max(self._since, heard)) if rate else 0.0)

    def _rate(self) -> float:
        """Events a second at the time of the latest; 0 while that is not known."""
        age = self._last - self._first
        if not age >= KNOWN:  # nor if none has come, which is no number
            return 0.0
        return min(
            (each - math.sqrt(each)) / (span * -math.expm1(-age / span))
            for each, span in zip(self._sums, SPANS, strict=True)
        )
