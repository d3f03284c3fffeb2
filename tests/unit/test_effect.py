"""The share who leave after an event, against what is expected by hand and against histories of which the truth is known."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
import pytest

from bench.effect import SHARES, one
from ps2daemon.analysis.counting import CURVE, HORIZONS, count
from ps2daemon.analysis.effect import Effect, Found, measure, student
from ps2daemon.analysis.leaving import EffectQuery, gather
from ps2daemon.analysis.matching import Event, Matched
from ps2daemon.errors import UsageError
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sittings import Part
from tests.matches import matches_of
from tests.memory_reader import MemoryReader, Sitting, columns_of, session
from tests.records import T0

UTC = ZoneInfo("UTC")
WEEK = 7 * DAY


def stays(at: Ms, faction_id: int, *minutes: int, world_id: int = 10) -> list[Sitting]:
    """People online since an hour before `at`, each of whom leaves so many minutes after it."""
    return [Sitting(world_id, faction_id, at - HOUR, at + each * MINUTE) for each in minutes]


def ended(at: Ms, winner: int = 0, world_id: int = 10) -> Event:
    return Event("alert_end", world_id, at, at, winner)


def row(found: Found, minutes: int, group: str = "all") -> Effect:
    (only,) = (
        each
        for each in found.effects
        if (each.event, each.group, each.minutes) == ("alert_end", group, minutes)
    )
    return only


def parts_of(people: list[Sitting]) -> dict[int, list[Part]]:
    """Everybody in two parts, as different as can be."""
    return {
        world_id: [Part(columns.at(slice(first, None, 2))) for first in (0, 1)]
        for world_id, columns in columns_of(people).items()
    }


def found_in(matched: list[Matched], people: list[Sitting]) -> Found:
    matches = matches_of(matched)
    return measure(matches, count(matches, parts_of(people)), UTC)


def test_the_shares_are_of_all_people_and_controls_weigh_as_their_event() -> None:
    first, second = T0, T0 + DAY
    people = [
        *stays(first, 1, 3, 10, 20, 40),  # of 4, within 5, 15, 30 minutes: 1, 2, 3
        *stays(first - WEEK, 1, 4, 40),  # 1 of 2 at once
        *stays(first + WEEK, 1, 40, 40),  # nobody of 2: a quarter together
        *stays(second, 2, 5, 45),  # exactly five minutes are within five
        *stays(second - WEEK, 2, 45),
    ]
    matched = [
        Matched(ended(first), (first - WEEK, first + WEEK)),
        Matched(ended(second), (second - WEEK,)),
        Matched(ended(second + HOUR), (), "gap"),
    ]
    found = found_in(matched, people)
    five = row(found, 5)
    assert (five.n, five.people, five.left_out) == (2, 6, 1)
    assert five.share == pytest.approx(2 / 6)
    assert five.control_share == pytest.approx((4 * 0.25 + 2 * 0.0) / 6)
    assert five.difference == pytest.approx(1 / 6)
    assert [row(found, minutes).share for minutes in HORIZONS] == pytest.approx([2 / 6, 3 / 6, 4 / 6])
    assert (five.low, five.high, five.verdict) == (None, None, "too few events")


def test_who_has_just_come_is_compared_with_those_who_had_just_come() -> None:
    def came(before: int, at: Ms, *minutes: int) -> list[Sitting]:
        return [Sitting(10, 1, at - before * MINUTE, at + each * MINUTE) for each in minutes]

    controls = [*came(14, T0 - WEEK, 3), *came(15, T0 - WEEK, 40, 3), *came(61, T0 - WEEK, 40)]
    matched = [Matched(ended(T0), (T0 - WEEK,))]
    people = [*came(5, T0, 40, 40, 40), *came(20, T0, 40, 40), *came(90, T0, 40)]
    five = row(found_in(matched, [*people, *controls]), 5)
    assert five.share == 0
    assert five.control_share == pytest.approx((3 * 1 + 2 * 0.5 + 1 * 0) / 6)
    nobody_new = row(found_in(matched, [*people, *controls[1:]]), 5)
    assert nobody_new.control_share == pytest.approx((3 * (1 / 3) + 2 * 0.5 + 1 * 0) / 6)


def test_groups_are_those_of_the_winner_of_the_others_and_of_those_who_fight_for_all() -> None:
    people = [
        *stays(T0, 1, 3),
        *stays(T0, 2, 40, 3),
        *stays(T0, 3, 40),
        *stays(T0, 4, 3, 40),
        *stays(T0, 0, 40),
        *(sitting for faction in range(5) for sitting in stays(T0 - WEEK, faction, 40)),
    ]
    found = found_in([Matched(ended(T0, winner=2), (T0 - WEEK,))], people)
    assert {group: row(found, 5, group).people for group in ("all", "winner", "loser", "nso")} == {
        "all": 7,
        "winner": 2,
        "loser": 2,
        "nso": 2,
    }
    assert row(found, 5, "winner").share == 0.5
    assert row(found, 5, "loser").share == 0.5
    assert row(found, 5, "all").share == pytest.approx(3 / 7)
    tie = found_in([Matched(ended(T0, winner=0), (T0 - WEEK,))], people)
    assert [row(tie, 5, group).n for group in ("all", "winner", "loser", "nso")] == [1, 0, 0, 0]
    assert row(tie, 5, "winner").left_out == 1


def test_each_event_has_its_own_people_whatever_order_worlds_come_in() -> None:
    people: list[Sitting] = []
    matched = []
    for number, (world_id, winner) in enumerate(((10, 1), (17, 2), (10, 2), (17, 1), (10, 1))):
        at = T0 + number * HOUR * 3
        people += stays(at, 1, *[2] * (number + 1), 40, world_id=world_id)
        people += stays(at - WEEK, 1, *[40] * (number + 1), world_id=world_id)
        matched.append(Matched(ended(at, winner, world_id), (at - WEEK,)))
    found = found_in([*matched[:3], Matched(ended(T0 + DAY), (), "gap"), *matched[3:]], people)
    assert (row(found, 5, "winner").people, row(found, 5, "winner").n) == (2 + 5 + 6, 3)
    assert row(found, 5, "winner").share == pytest.approx((1 + 4 + 5) / 13)
    assert (row(found, 5, "loser").people, row(found, 5, "loser").n) == (3 + 4, 2)
    assert row(found, 5, "loser").share == pytest.approx((2 + 3) / 7)


def test_who_comes_after_the_event_is_no_leaver_and_who_goes_on_stays() -> None:
    people = [
        Sitting(10, 1, T0, None),
        Sitting(10, 1, T0 + 1, T0 + MINUTE),
        Sitting(10, 1, T0 - HOUR, T0),  # over just then
        *stays(T0 - WEEK, 1, 40),
    ]
    found = found_in([Matched(ended(T0), (T0 - WEEK,))], people)
    assert (row(found, 5).people, row(found, 5).share) == (1, 0.0)


def test_an_event_without_people_there_or_then_is_left_out() -> None:
    matched = [Matched(ended(T0), (T0 - WEEK,)), Matched(ended(T0 + DAY), (T0 + DAY - WEEK,))]
    found = found_in(matched, [*stays(T0, 1, 3), *stays(T0 + DAY - WEEK, 1, 3)])
    assert (row(found, 5).n, row(found, 5).left_out, row(found, 5).share) == (0, 2, None)


def test_the_curve_is_a_multiple_of_those_at_the_event() -> None:
    people = [*stays(T0, 1, 10, 40), *stays(T0 - WEEK, 1, 90), Sitting(10, 1, T0 + 20 * MINUTE, None)]
    (curve,) = found_in([Matched(ended(T0), (T0 - WEEK,))], people).curves
    assert len(curve.events) == len(CURVE)
    by_minute = dict(zip(CURVE, curve.events, strict=True))
    assert [by_minute[minute] for minute in (-30, 0, 9, 10, 20, 40, 60)] == [1, 1, 1, 0.5, 1, 0.5, 0.5]
    assert set(curve.controls) == {1.0}


def test_days_that_differ_make_the_interval_wide_and_equal_days_make_it_narrow() -> None:
    def interval(uneven: bool) -> float:
        people, matched = [], []
        for number in range(20):
            at = T0 + number * DAY
            leavers = (0 if number % 2 else 10) if uneven else 5
            people += stays(at, 1, *[3] * leavers, *[40] * (20 - leavers))
            people += stays(at - 4 * WEEK, 1, *[40] * 20)
            matched.append(Matched(ended(at), (at - 4 * WEEK,)))
        found = row(found_in(matched, people), 5)
        assert found.difference == pytest.approx(0.25)
        assert found.verdict == "more"
        assert found.low is not None
        assert found.high is not None
        assert found.low <= 0.25 <= found.high
        return found.high - found.low

    assert interval(uneven=False) == pytest.approx(0.0)
    assert 0.15 < interval(uneven=True) < 0.3


def test_events_that_share_controls_make_the_interval_wider_as_is_computed_by_hand() -> None:
    """Twelve events of 20 people, 5 of whom leave; at the controls nobody or 10 of 20: each deviates by 5 from no difference.

    The sum of squares is 12 * 25 by day, and each of six pairs adds twice 25; t of 11 degrees of freedom is 2.201.
    """

    def margin(apart: Ms) -> float:
        people, matched = [], []
        for day in range(6):
            for at, then in ((T0, T0 - WEEK), (T0 + 3 * WEEK, T0 - WEEK - apart)):
                event, control = at + day * DAY, then + day * DAY
                matched.append(Matched(ended(event), (control,)))
                people += stays(event, 1, *[3] * 5, *[200] * 15)
                if at == T0 or apart:
                    people += stays(control, 1, *[3] * (10 * (day % 2)), *[200] * (20 - 10 * (day % 2)))
        found = row(found_in(matched, people), 5)
        assert found.difference == pytest.approx(0.0)
        assert found.low is not None
        assert found.high is not None
        assert found.low == pytest.approx(-found.high)
        return found.high

    alone, shared = margin(apart=WEEK), margin(apart=0)
    assert shared / alone == pytest.approx((600 / 300) ** 0.5, rel=1e-6)
    # What is drawn comes in steps of ten people.
    assert alone == pytest.approx(2.201 * (300 * 12 / 11) ** 0.5 / 240, abs=5 * 1.2 / 240)


def test_days_with_more_people_than_others_are_worth_fewer_of_the_same() -> None:
    """Eleven days, of which one has three times the people: squares of 9 and ten times of 1, 361/121 their squared mean, 640/121 their variance: worth 3.967 days."""

    def margin(crowd: int) -> float:
        people, matched = [], []
        for day in range(11):
            at, times = T0 + day * DAY, crowd if day == 0 else 1
            matched.append(Matched(ended(at), (at - 4 * WEEK,)))
            leavers = 10 * (day % 2) if day else 5
            people += stays(at, 1, *[3] * leavers * times, *[200] * (20 - leavers) * times)
            people += stays(at - 4 * WEEK, 1, *[3] * 5 * times, *[200] * 15 * times)
        found = row(found_in(matched, people), 5)
        assert found.low is not None
        assert found.high is not None
        # The first day deviates by nothing, so that its people only make each of the others count for less.
        return (found.high - found.low) * (crowd + 10)

    assert margin(3) / margin(1) == pytest.approx(student(2.967) / student(10), rel=0.05)


@pytest.mark.parametrize(
    ("freedom", "table"), [(4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (10**6, 1.960)]
)
def test_the_quantile_is_that_of_the_tables(freedom: int, table: float) -> None:
    assert student(freedom) == pytest.approx(table, abs=1.1e-3)


@pytest.mark.parametrize("share", SHARES)
def test_the_truth_about_a_history_is_within_the_interval(share: float) -> None:
    """The bench counts a hundred of each share. Of ten intervals of 95 %, fewer than seven hold the truth once in a thousand times (binomial)."""
    said = [
        row
        for seed in range(1, 11)
        for row in one(seed, share, days=42)
        if (row.effect.event, row.effect.group, row.effect.minutes) == ("alert_end_and_lock", "all", 15)
    ]
    assert len(said) == 10
    assert min(row.effect.n for row in said) > 150
    assert sum(row.covered for row in said) >= 7, said
    verdicts = [row.effect.verdict for row in said]
    # 2 % are 1.5 points after 15 minutes, and the interval is 0.6 to either side.
    assert verdicts.count("more" if share else "no difference found") >= 7, verdicts
    assert verdicts.count("fewer") <= (0 if share else 3)
    assert all(row.truth == pytest.approx(share * 0.977 * 0.77, rel=0.02) for row in said)


async def test_a_window_that_can_not_be_answered_is_refused() -> None:
    query = EffectQuery(start=T0, end=T0 + DAY, worlds=(10,), zone=UTC)
    for changed, words in (
        ({"end": T0}, "empty"),
        ({"end": T0 - 1}, "reversed"),
        ({"end": T0 + 401 * DAY}, "too long: at most 400 days"),
    ):
        with pytest.raises(UsageError, match=words):
            await gather(MemoryReader([]), msgspec.structs.replace(query, **changed))


async def test_people_whose_login_was_not_seen_are_counted_once_for_all_questions() -> None:
    logouts = [T0, T0 + HOUR, T0 + 8 * DAY]
    unseen = [session(str(number), None, at) for number, at in enumerate(logouts)]
    query = EffectQuery(start=T0 - DAY, end=T0 + DAY, worlds=(10,), zone=UTC)
    first, again = [
        (await gather(MemoryReader(people), query)).parts[10][1:] for people in (unseen, unseen[::-1])
    ]
    assert [part.sittings().logouts.tolist() for part in first] == [logouts[:2], logouts[2:]]
    assert [*map(id, first)] == [*map(id, again)]
    (other,) = (await gather(MemoryReader(unseen[1:2]), query)).parts[10][1:]
    assert other not in first
    assert other.sittings().logouts.tolist() == logouts[1:2]
