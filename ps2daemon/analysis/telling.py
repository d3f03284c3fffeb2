"""Answers about effects in words, the same in tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ps2daemon.analysis.effect import Group
from ps2daemon.analysis.matching import Kind, Reason

KIND_TITLES: Final[Mapping[Kind, str]] = {
    "alert_end": "An alert ends",
    "alert_end_and_lock": "An alert ends and its continent locks",
    "lock": "A continent locks without an alert",
}
REASONS: Final[Mapping[Reason, str]] = {
    "overlapping": "another event was near",
    "gap": "not recorded around it",
    "no control": "nothing to compare with",
}
GROUPS: Final[Mapping[Group, str]] = {
    "all": "everybody",
    "winner": "the winner’s",
    "loser": "the losers’",
    "nso": "NSO",
}


def count_text(left_out: Sequence[Reason | None]) -> str:
    """How many events there are, and how many of them are left out and why.

    Args:
        left_out: why each of them is, None of one that is not.
    """
    if not left_out:
        return "none in this window"
    reasons = Counter(REASONS[reason] for reason in left_out if reason is not None)
    why = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
    return f"{len(left_out):,} in this window" + (f"; left out: {why}" if why else "")
