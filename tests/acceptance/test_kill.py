"""SIGKILL at random moments of a busy live recording: what the daemon vouched for is there, once, as it was. `make torture` has ten times as many."""

from __future__ import annotations

import os
import time

from bench.kills import BEFORE, BEHIND, RATE, SPLIT, killed
from tests.elasticsearch import EACH_MAJOR, address

SPACING = 2.0
EACH = (SPLIT[:1], SPLIT[1:], SPLIT)
"""One of the two, or both at once."""


def seed() -> int:
    """By the clock, and printed; `PS2DAEMON_TEST_SEED` gives it again."""
    found = int(os.environ.get("PS2DAEMON_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"PS2DAEMON_TEST_SEED={found}")
    return found


def check(parts: tuple[str, ...], victims: tuple[tuple[str, ...], ...], url: str | None, kills: int) -> None:
    outcome = killed(parts, victims, url, kills, seed(), SPACING)
    assert outcome.counts() == (0, 0, 0, 0), [*outcome.lost, *outcome.doubled, *outcome.invented][:20]
    assert outcome.facts > RATE * (BEFORE + kills * SPACING + BEHIND) / 10, (
        "each death of the subscriber costs a few seconds, and no more"
    )


def test_kills_with_sqlite() -> None:
    check(SPLIT, EACH, None, 8)


@EACH_MAJOR
def test_kills_with_elasticsearch(major: int) -> None:
    parts, victims = {9: (SPLIT, EACH), 8: (("daemon",), (("daemon",),))}[major]
    check(parts, victims, address(major), 6)
