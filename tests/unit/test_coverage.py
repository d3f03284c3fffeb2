"""Coverage against the plainest model of it: the set of covered instants."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.model.coverage import Gap, Interval, Span, WorldCoverage, merge_spans
from ps2daemon.model.records import After, CoverageRecord, Ms

LAST = 40

afters = st.sampled_from(get_args(After)[:3])
spans = st.builds(
    lambda start, length, after: Span(10, start, start + length, after),
    st.integers(0, LAST),
    st.integers(0, 12),
    afters,
)
moderate = settings(max_examples=400, deadline=None)


def instants(told: list[Span]) -> set[int]:
    return {at for span in told for at in range(span.start, span.end)}


def gaps_of(told: list[Span]) -> list[Gap]:
    """Every run of instants between two covered ones; a gap's reason is the first by letter of the spans that begin at its end."""
    covered = instants(told)
    found = []
    for start in range(LAST + 20):
        if start in covered or start - 1 not in covered:
            continue
        later = [at for at in covered if at > start]
        if later:
            end = min(later)
            after = min(span.after for span in told if span.start == end and span.end > end)
            found.append(Gap(start, end, after))
    return found


def all_gaps(coverage: WorldCoverage) -> list[Gap]:
    return coverage.gaps(-1, 10_000)


@moderate
@given(told=st.lists(spans, max_size=10), window=st.tuples(st.integers(-2, 60), st.integers(1, 30)))
def test_coverage_is_the_union_of_its_spans_in_any_order(told: list[Span], window: tuple[int, int]) -> None:
    coverage = WorldCoverage()
    for span in told:
        coverage.add(span)
    covered = instants(told)
    for other in (WorldCoverage(told), WorldCoverage(reversed(told)), WorldCoverage(told * 2)):
        assert other.spans == coverage.spans
        assert all_gaps(other) == all_gaps(coverage)
    assert {at for span in coverage.spans for at in range(*span)} == covered
    assert all(a.end < b.start for a, b in zip(coverage.spans, coverage.spans[1:], strict=False))
    assert coverage.end == (max(covered) + 1 if covered else None)
    assert [coverage.covers(at) for at in range(-1, 60)] == [at in covered for at in range(-1, 60)]
    expected = gaps_of(told)
    assert all_gaps(coverage) == expected
    start, end = window[0], sum(window)
    assert coverage.gaps(start, end) == [gap for gap in expected if gap.start < end and gap.end > start]


@moderate
@given(told=st.lists(spans, max_size=8))
def test_covered_from_walks_back_to_the_last_instant_without_coverage(told: list[Span]) -> None:
    coverage, covered = WorldCoverage(told), instants(told)
    for at in range(60):
        back = at
        while back - 1 in covered:
            back -= 1
        assert coverage.covered_from(at) == (None if back == at else back)


@moderate
@given(told=st.lists(spans, max_size=8), span=spans)
def test_adding_a_span_says_where_gaps_changed(told: list[Span], span: Span) -> None:
    coverage = WorldCoverage(told)
    before = all_gaps(coverage)
    changed = coverage.add(span)
    after = all_gaps(coverage)
    if before == after:
        assert changed is None
    else:
        assert changed is not None
        for gap in set(before) ^ set(after):
            assert changed.start <= gap.start < gap.end <= changed.end


@pytest.mark.parametrize(
    ("told", "span", "changed"),
    [
        ([], (10, 20), None),
        ([(10, 20)], (10, 30), None),  # the latest span grows
        ([(10, 20)], (20, 30), None),
        ([(10, 20)], (12, 18), None),
        ([(10, 20)], (0, 15), None),
        ([(10, 20)], (15, 15), None),  # an empty span vouches for nothing
        ([(10, 20)], (50, 50), None),
        ([(10, 20)], (30, 40), (20, 40)),  # a gap came
        ([(10, 20)], (0, 5), (0, 10)),
        ([(10, 20), (30, 40)], (20, 30), (10, 40)),  # it went
        ([(10, 20), (30, 40)], (23, 26), (20, 30)),  # it was split
        ([(10, 20), (30, 40)], (15, 25), (10, 30)),  # it shrank
        ([(10, 20), (30, 40), (60, 70)], (40, 50), (20, 60)),
    ],
)
def test_examples_of_changes(
    told: list[tuple[Ms, Ms]], span: tuple[Ms, Ms], changed: tuple[Ms, Ms] | None
) -> None:
    coverage = WorldCoverage([Span(10, *ends, "start") for ends in told])
    result = coverage.add(Span(10, *span, "start"))
    assert result == (None if changed is None else Interval(*changed))


def test_a_gap_has_the_reason_of_the_span_behind_it() -> None:
    coverage = WorldCoverage([Span(10, 0, 10, "start"), Span(10, 20, 30, "world_down")])
    assert all_gaps(coverage) == [Gap(10, 20, "world_down")]
    coverage.add(CoverageRecord(10, 15, 25, "disk_full"))
    assert all_gaps(coverage) == [Gap(10, 15, "disk_full")]


def test_gaps_are_whole_and_only_those_that_overlap() -> None:
    coverage = WorldCoverage([Span(10, 0, 10, "start"), Span(10, 20, 30, "start"), Span(10, 40, 50, "start")])
    first, second = Gap(10, 20, "start"), Gap(30, 40, "start")
    assert coverage.gaps(0, 50) == [first, second]
    assert coverage.gaps(19, 30) == [first]
    assert coverage.gaps(20, 30) == []
    assert coverage.gaps(20, 31) == [second]
    assert coverage.gaps(0, 10) == []
    assert coverage.gaps(50, 90) == []


@moderate
@given(
    told=st.lists(
        st.builds(
            lambda record, world, start, length, after: (CoverageRecord if record else Span)(
                world, start, start + length, after
            ),
            st.booleans(),
            st.sampled_from((1, 10)),
            st.integers(0, 3),
            st.integers(0, 5),
            afters,
        ),
        max_size=8,
    ),
    seed=st.randoms(use_true_random=False),
)
def test_merged_spans_have_their_latest_end(told: list[Span | CoverageRecord], seed: object) -> None:
    merged = merge_spans(told)
    again = told * 2
    seed.shuffle(again)  # type: ignore[attr-defined]
    assert merge_spans(again) == merged
    assert set(merged) == {(span.world_id, span.start) for span in told}
    for (world, start), span in merged.items():
        same = [other for other in told if (other.world_id, other.start) == (world, start)]
        assert span == Span(world, start, max(o.end for o in same), min(o.after for o in same))
