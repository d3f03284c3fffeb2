"""How often to ask, as values: neither the token bucket nor the back-off sleeps or reads a clock.

Times are seconds of any clock that never goes back (`trio.current_time()`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REFUSED_SECONDS: Final = 10.0
"""The least wait after a refusal (HTTP 403): it may be an upstream trouble, and hammering makes it worse (CENSUS.md C4)."""


class TokenBucket:
    """Holds up to `capacity` tokens and gains `per_second`; a request takes one, in advance if need be.

    Args:
        now: the time of construction; the bucket starts full.
    """

    def __init__(self, *, per_second: float, capacity: float, now: float) -> None:
        if per_second <= 0 or capacity < 1:
            raise ValueError("a bucket gains more than nothing and holds at least one token")
        self._per_second = per_second
        self._capacity = capacity
        self._tokens = capacity
        self._at = now

    @classmethod
    def per_minute(cls, requests: int, *, now: float) -> TokenBucket:
        """A bucket that lets at most `requests` (at least 2) through in any 60 s: a tenth at once, the rest evenly."""
        burst = max(1, requests // 10)
        return cls(per_second=max(1, requests - burst) / 60, capacity=burst, now=now)

    def tokens(self, now: float) -> float:
        """How many are there; negative while reservations are waiting."""
        return min(self._capacity, self._tokens + max(0.0, now - self._at) * self._per_second)

    def reserve(self, now: float) -> float:
        """Takes a token and returns the seconds to wait before using it; 0 if one is there."""
        self._tokens = self.tokens(now) - 1
        self._at = max(self._at, now)
        return max(0.0, -self._tokens / self._per_second)

    def wait(self, now: float) -> float:
        """What `reserve` would return, without taking anything."""
        return max(0.0, (1 - self.tokens(now)) / self._per_second)

    def give_back(self) -> None:
        """Returns a token that was reserved and not used."""
        self._tokens = min(self._capacity, self._tokens + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Waits that double from `first` to `highest` seconds, each shortened by chance so that clients don't march in step.

    Attributes:
        jitter: the largest part, 0 to 1, by which a wait is shortened.
    """

    first: float
    highest: float
    jitter: float = 0.3

    def seconds(self, failures: int, chance: float) -> float:
        """The wait after `failures` earlier failures in a row (0 for the first one); `chance` is in [0, 1)."""
        doubled = self.first * 2.0 ** min(failures, 64)
        return min(self.highest, doubled) * (1.0 - self.jitter * chance)
