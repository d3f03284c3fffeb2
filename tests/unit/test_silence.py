"""When a world's silence is longer than chance allows."""

from __future__ import annotations

import math
from random import Random

import pytest

from ps2daemon.model.silence import DOUBTFUL, KNOWN, SILENT, SOON, Silence


def regular(every: float, until: float, start: float = 0.0) -> Silence:
    """Events at equal distances, the last at `until`."""
    silence = Silence()
    add(silence, every, start, until)
    return silence


def add(silence: Silence, every: float, start: float, until: float) -> None:
    for number in range(int((until - start) / every) + 1):
        silence.event(start + number * every)


@pytest.mark.parametrize("every", [1.0, 10.0, 60.0, 600.0])
def test_twenty_events_that_are_missing_are_a_silence(every: float) -> None:
    silence = regular(every, 36_000)
    assert not silence.quiet(36_000 + SILENT * every).silent
    few = math.sqrt(min(1.0, every / 1_800))  # an average of few is taken for less
    assert silence.quiet(36_000 + 1.05 * SILENT * every / (1 - few)).silent
    silence.event(40_000)
    assert not silence.quiet(40_001).silent


def test_what_is_not_known_yet_is_no_silence() -> None:
    never = Silence()
    assert not never.quiet(1e9).silent
    assert never.quiet(1e9).vouches
    for last, known in ((KNOWN - 1, False), (KNOWN, True)):
        assert regular(1.0, last).quiet(1e6).silent is known


def test_where_a_silence_shows_soon_only_events_vouch() -> None:
    fast, slow = SOON / (1.5 * SILENT), SOON / (0.9 * SILENT)
    assert not regular(fast, 36_000).quiet(36_000 + 1).vouches
    silence = regular(slow, 36_000)
    last = int(36_000 / slow) * slow
    assert silence.quiet(last + 0.9 * DOUBTFUL * slow).vouches
    assert not silence.quiet(last + 1.4 * DOUBTFUL * slow).vouches


def test_silence_before_somebody_listened_says_nothing() -> None:
    silence = regular(1.0, 1_000)
    silence.listen(9_000)
    assert not silence.quiet(9_010).silent
    assert silence.quiet(9_040).silent
    silence.listen(5_000)
    assert silence.quiet(9_040).silent, "it was listened to since"


def test_a_crowd_that_comes_at_once_makes_nothing_usual() -> None:
    silence = regular(60.0, 36_000)
    add(silence, 0.2, 36_001, 36_041)  # two hundred
    assert not silence.quiet(36_041 + 9 * 60).silent


@pytest.mark.parametrize("half_in", [3_600.0, 7_200.0])
def test_an_evening_that_ends_is_no_silence(half_in: float) -> None:
    """The rate halves every hour or two, which is more than it ever does; by chance, in fifty nights."""
    for seed in range(50):
        random, silence, at, rate = Random(seed), Silence(), 0.0, 0.3
        while at < 50_000 and rate > 0.0005:
            passed = random.expovariate(rate)
            assert not silence.quiet(at + passed).silent
            at += passed
            silence.event(at)
            rate = 0.3 * 2 ** (-max(0.0, at - 14_400) / half_in)
