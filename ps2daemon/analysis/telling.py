"""Answers about effects in words, the same in tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from ps2daemon.analysis.effect import Group
from ps2daemon.analysis.matching import Kind, Matched, Reason

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


def count_text(of_kind: Sequence[Matched]) -> str:
    """How many events there are, and how many of them are left out and why."""
    if not of_kind:
        return "none in this window"
    reasons = Counter(REASONS[each.left_out] for each in of_kind if each.left_out is not None)
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
    return f"{len(of_kind):,} in this window" + (f"; left out: {left_out}" if left_out else "")
