"""Times as they are written and read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.errors import UsageError
from ps2daemon.model.records import LAST_MS, Ms
from ps2daemon.model.times import from_ms, iso, parse_iso, to_ms

times = st.integers(0, LAST_MS)


@given(at=times)
def test_what_is_written_is_read_as_the_same(at: Ms) -> None:
    text = iso(at)
    assert parse_iso(text) == at
    assert text.endswith("Z")
    assert len(text) == (20 if at % 1000 == 0 else 24)


@given(first=times, second=times)
def test_written_seconds_sort_as_text(first: Ms, second: Ms) -> None:
    first, second = first - first % 1000, second - second % 1000
    assert (iso(first) < iso(second)) == (first < second)


@given(at=times)
def test_datetimes_and_back(at: Ms) -> None:
    assert to_ms(from_ms(at)) == at
    assert from_ms(at).utcoffset() == timedelta(0)


@given(at=times, minutes=st.integers(-14 * 60, 14 * 60))
def test_an_offset_is_the_same_moment(at: Ms, minutes: int) -> None:
    try:
        local = from_ms(at).astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:
        return  # beyond the last year
    assert to_ms(local) == at
    assert parse_iso(local.isoformat()) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T12:00:00Z", 1_772_366_400_000),
        ("2026-03-01T12:00:00.123Z", 1_772_366_400_123),
        ("2026-03-01T12:00:00.001Z", 1_772_366_400_001),
        ("9999-12-31T23:59:59.999Z", LAST_MS),
    ],
)
def test_written_form(text: str, at: Ms) -> None:
    assert iso(at) == text
    assert parse_iso(text) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01", 1_772_323_200_000),
        ("2026-03-01T12:00", 1_772_366_400_000),
        ("2026-03-01 12:00:00", 1_772_366_400_000),
        ("2026-03-01T13:00:00+01:00", 1_772_366_400_000),
        ("2026-02-29T12:00:00+24:00", None),
        ("2026-03-01T12:00:00.1239Z", 1_772_366_400_123),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2026-02-29", None),
        ("1969-12-31T23:59:59Z", None),
        ("1970-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("", None),
        ("now", None),
        ("1772366400", None),
        ("2026-03-01T25:00:00Z", None),
    ],
)
def test_what_is_understood_and_what_is_refused(text: str, at: Ms | None) -> None:
    if at is not None:
        assert parse_iso(text) == at
        return
    with pytest.raises(UsageError) as refused:
        parse_iso(text)
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


@given(text=st.one_of(st.text(max_size=30), st.text("0123456789-:TZ+. W", max_size=30)))
def test_any_text_is_a_time_in_range_or_refused(text: str) -> None:
    try:
        at = parse_iso(text)
    except UsageError:
        return
    assert 0 <= at <= LAST_MS


def test_rounded_down() -> None:
    assert to_ms(datetime(1970, 1, 1, 0, 0, 0, 1999, tzinfo=UTC)) == 1
