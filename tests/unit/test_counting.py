"""Counting part by part, and not again, against counting everything at once and anew."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from ps2daemon.analysis import counting
from ps2daemon.analysis.counting import AGES, AROUND, HORIZONS, Counted, count
from ps2daemon.analysis.matching import Event, Matched
from ps2daemon.analysis.sittings import FACTIONS, Times
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sittings import NEVER, Part, Sittings, sittings_of
from tests.matches import matches_of
from tests.records import T0

DAYS = 12
WORLD = 10


def people(rng: Random, number: int) -> Sittings:
    """Some of minutes, some of days, some that go on."""
    rows: list[tuple[int, Ms, Ms | None]] = []
    for _ in range(number):
        login = T0 + rng.randrange(DAYS * DAY)
        length = rng.choice((1, 5 * MINUTE, rng.randrange(HOUR), rng.randrange(14 * HOUR), 3 * DAY))
        rows.append((rng.choice(FACTIONS), login, None if rng.random() < 0.1 else login + length))
    return sittings_of(rows)


def by_day(sittings: Sittings) -> list[Part]:
    """A part for each day on which they ended, and one of those that go on."""
    days = np.minimum(sittings.logouts, T0 + 30 * DAY) // DAY
    return [Part(sittings.at(days == day)) for day in np.unique(days)]


def events(rng: Random, number: int) -> list[Matched]:
    found = []
    for _ in range(number):
        at = T0 + rng.randrange(-HOUR, DAYS * DAY + 2 * HOUR)
        controls = tuple(sorted({T0 + rng.randrange(DAYS * DAY) for _ in range(rng.randint(1, 5))}))
        left_out = rng.random() < 0.2
        event = Event("lock", WORLD, at, at, 1)
        found.append(Matched(event, (), "gap") if left_out else Matched(event, controls))
    return found


def counted_of(matched: list[Matched], parts: dict[int, list[Part]]) -> Counted:
    return count(matches_of(matched), parts)


def slowly(matched: list[Matched], sittings: Sittings) -> Counted:
    """One by one."""
    rows = list(zip(*(column.tolist() for column in sittings), strict=True))

    def at(instants: tuple[Ms, ...]) -> tuple[list[list[int]], list[list[list[int]]], list[int]]:
        there = [
            [
                (faction, sum(instant - login >= age * MINUTE for age in AGES), logout - instant)
                for faction, login, logout in rows
                if login <= instant < logout
            ]
            for instant in instants
        ]
        ages = range(len(AGES) + 1)
        return (
            [
                [sum((who, old) == (faction, age) for each in there for who, old, _ in each) for age in ages]
                for faction in FACTIONS
            ],
            [
                [
                    [
                        sum(
                            (who, old) == (faction, age) and goes <= span * MINUTE
                            for each in there
                            for who, old, goes in each
                        )
                        for span in HORIZONS
                    ]
                    for age in ages
                ]
                for faction in FACTIONS
            ],
            [
                sum(login <= instant + by < logout for instant in instants for _, login, logout in rows)
                for by in AROUND.tolist()
            ],
        )

    every = [((), ()) if each.left_out else ((each.event.at,), each.controls) for each in matched]
    columns = [(*at(own), *at(controls)) for own, controls in every]
    return Counted(*(np.moveaxis(np.array(column), 0, -1) for column in zip(*columns, strict=True)))


def same(found: Counted, wanted: Counted) -> None:
    for column, other in zip(found, wanted, strict=True):
        assert column.tolist() == other.tolist()


@pytest.mark.parametrize("most", [500, 7])
@pytest.mark.parametrize("seed", range(4))
def test_parts_are_counted_as_everything_one_by_one(
    monkeypatch: pytest.MonkeyPatch, seed: int, most: int
) -> None:
    monkeypatch.setattr(counting, "MOST_KNOWN", most)
    rng = Random(seed)
    sittings = people(rng, 150)
    parts = by_day(sittings)
    for _ in range(3):  # what was counted before is counted on
        matched = events(rng, 6)
        same(counted_of(matched, {WORLD: parts}), slowly(matched, sittings))
        same(counted_of(matched, {WORLD: [Part(sittings)]}), slowly(matched, sittings))
    assert max(len(part.counted.at) for part in parts if isinstance(part.counted, counting._Known)) <= max(
        most, 36
    )


def test_what_did_not_change_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(1)
    sittings = people(rng, 200)
    parts, matched = by_day(sittings), events(rng, 20)
    first = counted_of(matched, {WORLD: parts})
    counted: list[Part] = []
    counts = counting._counts

    def told(part: Part, at: Times) -> counting.Small:
        counted.append(part)
        return counts(part, at)

    monkeypatch.setattr(counting, "_counts", told)
    same(counted_of(matched, {WORLD: parts}), first)
    assert counted == []
    again = [*parts[:-1], Part(parts[-1].sittings())]
    same(counted_of(matched[::2], {WORLD: again}), slowly(matched[::2], sittings))
    assert counted == [again[-1]]


def test_nobody() -> None:
    matched = [Matched(Event("lock", WORLD, T0, T0, 1), (T0 - DAY,))]
    nobody: list[dict[int, list[Part]]] = [{}, {WORLD: []}, {WORLD: [Part(sittings_of(()))]}]
    for parts in nobody:
        assert all(not column.any() for column in counted_of(matched, parts))
    assert [column.shape[-1] for column in counted_of([], {})] == [0] * 6
    late = Part(sittings_of([(1, T0 + HOUR + 1, None)]))
    assert late.reach == (T0 + HOUR + 1, NEVER)
    assert not counted_of(matched, {WORLD: [late]}).around.any()
