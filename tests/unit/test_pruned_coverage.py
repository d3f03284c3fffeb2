"""What pruning leaves of coverage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.analysis.view import NEVER, NOTHING_BEFORE, REASONS, Unrecorded, unrecorded
from ps2daemon.model.coverage import Span, WorldCoverage, after_pruning, coverage_by_world

WORLDS = (1, 10)
LAST = 30


@st.composite
def stored(draw: st.DrawFn) -> list[Span]:
    """Spans as a store holds them: by world and start, maybe overlapping, touching or empty."""
    found = {}
    for world_id, start, length in draw(
        st.lists(st.tuples(st.sampled_from(WORLDS), st.integers(0, 20), st.integers(0, 10)), max_size=8)
    ):
        found[world_id, start] = Span(world_id, start, start + length, "connection")
    return [found[key] for key in sorted(found)]


@given(spans=stored(), at=st.integers(0, LAST))
def test_only_what_lies_behind_is_vouched_for_and_that_as_before(spans: list[Span], at: int) -> None:
    left = after_pruning(spans, at)
    assert left == sorted(left, key=lambda span: (span.world_id, span.start))
    before, after = coverage_by_world(spans), coverage_by_world(left)
    for world_id in WORLDS:
        was, now = before.get(world_id, WorldCoverage()), after.get(world_id, WorldCoverage())
        for moment in range(LAST + 5):
            assert now.covers(moment) == (moment >= at and was.covers(moment))
            if moment > at:
                assert now.covered_from(moment) == was.covered_from(moment)
        # A gap between two spans that vouch for something still is one, for the same reason.
        known = {gap for gap in was.gaps(0, LAST + 5) if gap.start > at}
        assert {gap for gap in now.gaps(0, LAST + 5) if gap.start > at} == known


@given(spans=stored(), at=st.integers(0, LAST), start=st.integers(0, LAST), length=st.integers(0, LAST))
def test_a_window_has_what_it_would_have_of_all(spans: list[Span], at: int, start: int, length: int) -> None:
    def touches(span: Span) -> bool:
        return span.end >= start and span.start <= start + length

    left = after_pruning([span for span in spans if touches(span)], at, start, start + length)
    assert all(touches(span) for span in left)
    whole, part = coverage_by_world(after_pruning(spans, at)), coverage_by_world(left)
    for moment in range(start, start + length + 1):
        for world_id in WORLDS:
            assert part.get(world_id, WorldCoverage()).covers(moment) == whole.get(
                world_id, WorldCoverage()
            ).covers(moment)


def test_nothing_pruned_leaves_everything() -> None:
    spans = [Span(1, 5, 5, "start"), Span(1, 7, 9, "connection")]
    assert after_pruning(spans, None) == after_pruning(spans, 5) == spans


def test_a_chart_says_what_was_pruned_and_what_never_was() -> None:
    pruned = REASONS["pruned"]
    cut = after_pruning([Span(1, 0, 5_000_000, "start")], 3_000_000)
    assert unrecorded(cut, 0, 5_000_000) == (Unrecorded(0, 3_000_000, pruned),)
    in_a_gap = after_pruning(
        [Span(1, 0, 1_000_000, "start"), Span(1, 4_000_000, 5_000_000, "world_down")], 3_000_000
    )
    assert unrecorded(in_a_gap, 0, 5_000_000) == (
        Unrecorded(0, 3_000_000, pruned),
        Unrecorded(3_000_000, 4_000_000, REASONS["world_down"]),
    )
    assert unrecorded(in_a_gap, 500_000, 2_000_000) == (Unrecorded(500_000, 2_000_000, pruned),)
    new = after_pruning([Span(1, 4_000_000, 5_000_000, "start")], 3_000_000)
    assert unrecorded(new, 0, 5_000_000) == (Unrecorded(0, 4_000_000, NOTHING_BEFORE),)
    assert unrecorded([Span(1, 7, 7, "start")], 0, 5) == (Unrecorded(0, 5, NEVER),)
