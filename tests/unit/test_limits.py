from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.census.limits import Backoff, TokenBucket


@given(
    requests=st.integers(2, 400),
    pauses=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=300),
    start=st.floats(0, 1e6),
)
def test_no_minute_sees_more_requests_than_granted(requests: int, pauses: list[float], start: float) -> None:
    bucket = TokenBucket.per_minute(requests, now=start)
    now = start
    sent: list[float] = []
    for pause in pauses:
        now += pause
        sent.append(now + bucket.reserve(now))
    assert sent == sorted(sent)
    for index, first in enumerate(sent):
        assert sum(at < first + 60 - 1e-6 for at in sent[index:]) <= requests


def test_a_tenth_goes_at_once_and_the_rest_evenly() -> None:
    bucket = TokenBucket.per_minute(100, now=0)
    assert [bucket.reserve(0) for _ in range(12)] == pytest.approx([0] * 10 + [60 / 90, 120 / 90])
    assert bucket.tokens(0) == pytest.approx(-2)
    assert bucket.tokens(60) == 10, "it holds no more than its capacity"


def test_a_wait_is_told_without_a_reservation() -> None:
    bucket = TokenBucket(per_second=2, capacity=1, now=5)
    assert bucket.wait(5) == 0
    assert bucket.reserve(5) == 0
    assert bucket.wait(5) == bucket.wait(5) == 0.5
    assert bucket.wait(5.25) == 0.25


def test_a_token_that_was_not_used_comes_back_once() -> None:
    bucket = TokenBucket(per_second=1, capacity=2, now=0)
    bucket.reserve(0)
    bucket.give_back()
    bucket.give_back()
    assert bucket.tokens(0) == 2


def test_time_that_goes_back_gains_nothing() -> None:
    bucket = TokenBucket(per_second=1, capacity=1, now=10)
    bucket.reserve(10)
    assert bucket.reserve(5) == 1
    assert bucket.reserve(10) == 2


@pytest.mark.parametrize(("per_second", "capacity"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_could_never_fill_is_refused(per_second: float, capacity: float) -> None:
    with pytest.raises(ValueError, match="bucket"):
        TokenBucket(per_second=per_second, capacity=capacity, now=0)


def test_waits_double_up_to_the_highest() -> None:
    backoff = Backoff(first=1, highest=60)
    assert [backoff.seconds(failures, 0) for failures in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(failures=st.integers(0, 10_000), chance=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_jitter_only_shortens_and_by_no_more_than_its_part(
    failures: int, chance: float, jitter: float
) -> None:
    backoff = Backoff(first=0.5, highest=60, jitter=jitter)
    longest = backoff.seconds(failures, 0)
    assert longest * (1 - jitter) - 1e-9 <= backoff.seconds(failures, chance) <= longest <= 60
