"""Population series against a slow, obvious reference."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.analysis import population as module
from ps2daemon.analysis.population import PopulationQuery, population
from ps2daemon.errors import UsageError
from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.store.base import SessionDocument, UnknownStart
from tests.memory_reader import MemoryReader, session

T = 1_772_000_000_000


def reference(
    sessions: list[SessionDocument], spans: list[Span], world_id: int, faction_id: int, at: Ms
) -> int | None:
    """Straight from the definition, one instant at a time."""
    mine = [span for span in spans if span.world_id == world_id]
    if not any(span.start <= at < span.end for span in mine):
        return None
    online = 0
    for each in sessions:
        if (each.world_id, each.faction_id) != (world_id, faction_id):
            continue
        login = each.login_ts
        if login is None:
            assert each.logout_ts is not None
            login = each.logout_ts - HOUR
            # How far back the second before the logout is unbroken, walking from span to touching span.
            back = each.logout_ts
            while True:
                earlier = [span.start for span in mine if span.start < back <= span.end]
                if not earlier:
                    break
                back = min(earlier)
            if back < each.logout_ts and each.logout_ts - back <= 12 * HOUR:
                login = back
            if back == each.logout_ts and any(span.start >= each.logout_ts for span in mine):
                # In a gap: a login in the covered time before it would have been seen.
                login = max([login, *(span.end for span in mine if span.end < each.logout_ts)])
            if each.not_before is not None:
                login = max(login, each.not_before)
        online += login <= at and (each.logout_ts is None or at < each.logout_ts)
    return online


def random_history(rng: random.Random) -> tuple[list[SessionDocument], list[Span]]:
    sessions = []
    for number in range(rng.randrange(60)):
        start = T + rng.randrange(-20 * 60, 30 * 60) * MINUTE
        length = rng.choice([0, 1, 30, 90, 700, 1500]) * MINUTE + rng.randrange(60) * SECOND
        login: Ms | None = start
        logout: Ms | None = start + length
        not_before = None
        kind = rng.randrange(4)
        if kind == 0:
            login = None
            not_before = rng.choice([None, start, start - 3 * HOUR])
        elif kind == 1:
            logout = None
        sessions.append(
            session(
                str(number),
                login,
                logout,
                world_id=rng.choice([10, 40]),
                faction_id=rng.randrange(5),
                not_before=not_before,
            )
        )
    spans = []
    for world in (10, 40):
        at = T - rng.randrange(30) * HOUR
        for _ in range(rng.randrange(5)):
            at += rng.choice([0, 0, 1, 7, 60, 300]) * MINUTE
            length = rng.choice([1, 60, 600, 900]) * MINUTE
            spans.append(Span(world, at, at + length, "start"))
            at += length
    return sessions, spans


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), step=st.sampled_from([SECOND * 37, MINUTE, 7 * MINUTE, HOUR]))
def test_equals_the_definition_at_every_bucket(seed: int, step: Ms) -> None:
    rng = random.Random(seed)
    sessions, spans = random_history(rng)
    start = T + rng.randrange(-5, 10) * HOUR
    query = PopulationQuery(
        start=start,
        end=start + rng.randrange(1, 20 * step),
        step=step,
        worlds=(40, 10),
        factions=(0, 1, 2, 3, 4),
    )
    answer = trio.run(population, MemoryReader(sessions, spans), query)
    assert answer.times[0] == start
    assert answer.times[-1] < query.end <= answer.times[-1] + step
    assert [(each.world_id, each.faction_id) for each in answer.series] == [
        (world, faction) for world in (40, 10) for faction in range(5)
    ]
    for each in answer.series:
        expected = tuple(
            reference(sessions, spans, each.world_id, each.faction_id, at) for at in answer.times
        )
        assert each.online == expected


async def test_uncovered_is_none_and_nobody_is_zero() -> None:
    spans = [Span(10, T, T + 10 * MINUTE, "start"), Span(10, T + 20 * MINUTE, T + 30 * MINUTE, "connection")]
    query = PopulationQuery(
        start=T - 5 * MINUTE, end=T + 40 * MINUTE, step=5 * MINUTE, worlds=(10,), factions=(3,)
    )
    answer = await population(MemoryReader((), spans), query)
    assert answer.series[0].online == (None, 0, 0, None, None, 0, 0, None, None)


async def test_a_login_counts_at_its_second_and_a_logout_no_more() -> None:
    query = PopulationQuery(start=T, end=T + 5 * SECOND, step=SECOND, worlds=(10,), factions=(1,))
    reader = MemoryReader([session("1", T + SECOND, T + 3 * SECOND)], [Span(10, T, T + HOUR, "start")])
    assert (await population(reader, query)).series[0].online == (0, 1, 1, 0, 0)


async def test_empires_are_the_default_and_the_unknown_only_where_there_are_some() -> None:
    spans = [Span(world, T, T + HOUR, "start") for world in (1, 10)]
    reader = MemoryReader([session("1", T, None, world_id=10, faction_id=0)], spans)
    query = PopulationQuery(start=T, end=T + HOUR, step=30 * MINUTE, worlds=(1, 10))
    answer = await population(reader, query)
    assert [(each.world_id, each.faction_id) for each in answer.series] == [
        *((1, faction) for faction in (1, 2, 3, 4)),
        *((10, faction) for faction in (1, 2, 3, 4, 0)),
    ]
    assert answer.series[-1].online == (1, 1)


@pytest.mark.parametrize(
    ("spans", "not_before", "expected"),
    [
        ([(-4, 2)], None, -4 * HOUR),  # from the start of coverage
        ([(-12, 2)], None, -12 * HOUR),
        ([(-13, 2)], None, -HOUR),  # too far back: a mean session
        ([(-13, -2), (-2, 2)], None, -HOUR),  # touching spans are one
        ([(-13, -3), (-2, 2)], None, -2 * HOUR),
        ([(-4, 0)], None, -4 * HOUR),  # the instant before the logout is covered
        ([(0, 4)], None, -HOUR),  # and here it is not
        ([], None, -HOUR),
        ([(-9, -2), (4, 5)], None, -HOUR),
        ([(-9, -1), (4, 5)], None, -HOUR),
        ([(-9, -0.25), (4, 5)], None, -HOUR // 4),  # in a gap: no earlier than that
        ([(-9, -0.25), (0, 5)], None, -HOUR // 4),
        ([(-9, -0.25)], None, -HOUR),  # nothing follows: no gap, coverage may still grow
        ([(-9, -0.25), (4, 5)], -HOUR // 8, -HOUR // 8),
        ([(-4, 2)], -HOUR // 2, -HOUR // 2),
        ([(-4, 2)], -5 * HOUR, -4 * HOUR),
    ],
)
def test_an_estimated_login(spans: list[tuple[float, float]], not_before: int | None, expected: int) -> None:
    coverage = WorldCoverage(
        Span(10, T + int(start * HOUR), T + int(end * HOUR), "start") for start, end in spans
    )
    limit = None if not_before is None else T + not_before
    elsewhere = UnknownStart(1, 2, T + HOUR, None)
    others = [elsewhere, UnknownStart(10, 3, T - 99 * HOUR, None), elsewhere]
    found = module.unseen([UnknownStart(10, 1, T, limit), *others], {10: coverage, 1: WorldCoverage()})
    assert [column.tolist() for column in found[10]] == [
        [1, 3],
        [T + expected, T - 100 * HOUR],
        [T, T - 99 * HOUR],
    ]
    assert [column.tolist() for column in found[1]] == [[2, 2], [T, T], [T + HOUR, T + HOUR]]


async def test_the_answer_for_an_instant_does_not_depend_on_where_the_window_ends() -> None:
    reader = MemoryReader(
        [session("1", None, T + 20 * MINUTE)],
        [Span(10, T - DAY, T + 10 * MINUTE, "start"), Span(10, T + 20 * HOUR, T + DAY, "connection")],
    )
    for length in (5 * MINUTE, HOUR, 22 * HOUR):
        query = PopulationQuery(start=T, end=T + length, step=5 * MINUTE, worlds=(10,), factions=(1,))
        assert (await population(reader, query)).series[0].online[0] == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"end": T}, "window is empty"),
        ({"end": T - 1}, "window is reversed"),
        ({"end": T + 100_001 * MINUTE}, "100,001 steps, and at most 100,000"),
        ({"end": T + 90_000 * MINUTE, "worlds": (1, 10, 17, 19, 40)}, "2,250,000 values"),
        ({"step": 1500}, "whole number of seconds"),
        ({"step": 0}, "whole number of seconds"),
        ({"factions": (7,)}, "7 is no empire"),
    ],
)
async def test_refuses_what_it_cannot_answer(changed: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"start": T, "end": T + HOUR, "step": MINUTE, "worlds": (10,)}
    query = PopulationQuery(**{**values, **changed})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        await population(MemoryReader(), query)


def test_total_and_share_leave_out_what_is_not_covered() -> None:
    one = module.Series(10, 1, (1, None, 3))
    two = module.Series(10, 2, (10, None, 30))
    assert module.total([one, two]) == (11, None, 33)
    coverage = WorldCoverage([Span(10, T, T + HOUR, "start"), Span(10, T + 2 * HOUR, T + 9 * HOUR, "start")])
    assert module.covered_share(coverage, T, T + 4 * HOUR) == 0.75
