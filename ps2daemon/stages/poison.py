"""Around records that make the fold or the store fail: all others are applied, and those are found.

A batch that failed is halved until what fails is one record. With `k` such records among `n` that takes at most `1 + 2 * k * ceil(log2(n))`
tries, and never more than `2 * n`. The order is kept, and applying a part twice changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from ps2daemon.errors import StoreRefused
from ps2daemon.model.records import Record

DEFECTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    sqlite3.Error,
)
"""What code raises that meets a value which nobody thought of."""
FAILED: Final = (BaseExceptionGroup, StoreRefused, *DEFECTS)
"""What to catch for `caused_by_records`."""
MAX_SHOWN: Final = 300

T = TypeVar("T")


class Poison(msgspec.Struct, frozen=True):
    """A record that can't be applied.

    Attributes:
        attempts: in how many tries it took part.
    """

    record: Record
    reason: str
    attempts: int


async def apply_around(
    records: Sequence[Record], apply: Callable[[Sequence[Record]], Awaitable[T]], error: BaseException
) -> tuple[list[T], list[Poison]]:
    """What came of each part that could be applied, and the records that could not.

    Args:
        records: that failed together, once.
        error: why.
    """
    results: list[T] = []
    poison: list[Poison] = []
    failed: list[tuple[Sequence[Record], BaseException, int]] = [(records, error, 1)]
    left: list[tuple[Sequence[Record], int]] = []
    while failed or left:
        if failed:
            part, error, attempts = failed.pop()
            if len(part) == 1:
                poison.append(Poison(part[0], reason_of(error), attempts))
            else:
                middle = len(part) // 2
                left += [(part[middle:], attempts + 1), (part[:middle], attempts + 1)]
            continue
        part, attempts = left.pop()
        try:
            results.append(await apply(part))
        except FAILED as caught:
            if not caused_by_records(caught):
                raise
            failed.append((part, caught, attempts))
    return results, poison


def reason_of(error: BaseException) -> str:
    """Why something could not be applied, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"it can't be applied: {type(error).__name__}: {' '.join(str(error).split())}"[:MAX_SHOWN]


def caused_by_records(error: BaseException) -> bool:
    """Whether records may be the cause, and others would do no such thing: neither an outage, nor a cancellation, nor what only a person can mend."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(caused_by_records, error.exceptions))
    return isinstance(error, (StoreRefused, *DEFECTS))
