"""The rules of the session fold one by one, with numbers worked out by hand, and what they are for: an exact population in hindsight."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import pytest

from ps2daemon.model.coverage import Gap, Span, WorldCoverage
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import (
    KEPT_SESSIONS,
    Character,
    Check,
    Evidence,
    Session,
    fold,
    settle,
)

WORLD = 10


def login(at: Ms, world_id: int = WORLD) -> Login:
    return Login("5428", world_id, at)


def logout(at: Ms, world_id: int = WORLD) -> Logout:
    return Logout("5428", world_id, at)


def evidence(as_of: Ms = 0, *gaps: tuple[Ms, Ms], world_id: int = WORLD) -> Evidence:
    """As if coverage of one world had these gaps, and reached on for ever."""

    def overlapping(world: int, start: Ms, end: Ms) -> Sequence[Gap]:
        return [Gap(a, b, "connection") for a, b in gaps if world == world_id and a < end and b > start]

    return Evidence(as_of, overlapping)


def sessions(*events: Login | Logout, given: Evidence | None = None) -> tuple[Session, ...]:
    return fold(Character(), events, given or evidence()).character.sessions


def test_a_login_opens_and_a_logout_ends() -> None:
    assert sessions(login(0)) == (Session(WORLD, 0),)
    assert sessions(logout(HOUR), login(0)) == (Session(WORLD, 0, HOUR, ended_by="logout"),)


def test_an_open_session_stays_open_until_twelve_hours_without_evidence_are_recorded() -> None:
    assert sessions(login(0), given=evidence(12 * HOUR - 1)) == (Session(WORLD, 0),)
    assert sessions(login(0), given=evidence(12 * HOUR)) == (
        Session(
            WORLD,
            0,
            60 * MINUTE,  # the middle is six hours, which is more than a mean session
            ended_by="cap",
            ended_after=0,
            ended_before=12 * HOUR,
        ),
    )


def test_an_end_that_is_not_told_is_in_the_middle() -> None:
    assert sessions(login(0), login(30 * MINUTE)) == (
        Session(WORLD, 0, 15 * MINUTE, ended_by="next_login", ended_after=0, ended_before=30 * MINUTE),
        Session(WORLD, 30 * MINUTE),
    )


def test_an_end_that_is_not_told_is_at_most_an_hour_after_the_last_evidence() -> None:
    first, _ = sessions(login(0), login(2 * HOUR))
    assert (first.logout_ts, first.ended_before) == (HOUR, 2 * HOUR)
    first, _ = sessions(login(0), login(10 * HOUR))
    assert (first.logout_ts, first.ended_before, first.ended_by) == (HOUR, 10 * HOUR, "next_login")


def test_twelve_hours_without_evidence_come_before_a_later_login() -> None:
    first, second = sessions(login(0), login(13 * HOUR))
    assert (first.ended_by, first.ended_before, first.logout_ts) == ("cap", 12 * HOUR, HOUR)
    assert second == Session(WORLD, 13 * HOUR)
    # At the same time, the event wins.
    for as_of in (0, 20 * HOUR):
        first, _ = sessions(login(0), login(12 * HOUR), given=evidence(as_of))
        assert (first.ended_by, first.ended_before) == ("next_login", 12 * HOUR)


def test_a_login_at_the_second_of_the_logout_is_a_relog_while_a_session_is_open() -> None:
    assert sessions(login(HOUR), logout(HOUR), login(0)) == (
        Session(WORLD, 0, HOUR, ended_by="logout"),
        Session(WORLD, HOUR),
    )


def test_a_logout_at_the_second_of_the_login_ends_it_while_none_is_open() -> None:
    assert sessions(logout(HOUR), login(HOUR)) == (Session(WORLD, HOUR, HOUR, ended_by="logout"),)
    # A login that is told late makes a relog of it.
    late = fold(Character(sessions(logout(HOUR), login(HOUR))), [login(0)], evidence()).character
    assert late.sessions == (Session(WORLD, 0, HOUR, ended_by="logout"), Session(WORLD, HOUR))


def test_a_logout_without_a_session_has_no_login() -> None:
    assert sessions(logout(HOUR), logout(2 * HOUR)) == (
        Session(WORLD, None, HOUR, started_by="unknown", ended_by="logout"),
        Session(WORLD, None, 2 * HOUR, started_by="unknown", ended_by="logout"),
    )
    # Its login, told late, takes it over; the other logout stays by itself.
    late = fold(Character(sessions(logout(HOUR), logout(2 * HOUR))), [login(MINUTE)], evidence()).character
    assert late.sessions == (
        Session(WORLD, MINUTE, HOUR, ended_by="logout"),
        Session(WORLD, None, 2 * HOUR, started_by="unknown", ended_by="logout"),
    )


def test_a_logout_on_another_world_ends_the_session_of_the_login() -> None:
    (session,) = sessions(login(0, 1), logout(HOUR, 10))
    assert session == Session(1, 0, HOUR, ended_by="logout", logout_world_id=10)
    # Both are still there for whatever is told later.
    first, second = fold(Character((session,)), [login(MINUTE, 1)], evidence()).character.sessions
    assert (first.world_id, first.ended_by) == (1, "next_login")
    assert second == Session(1, MINUTE, HOUR, ended_by="logout", logout_world_id=10)


def test_of_two_worlds_in_one_second_the_lowest_counts() -> None:
    for first, second in ((10, 1), (1, 10)):
        character = Character()
        for world in (first, second):
            character = fold(character, [login(0, world)], evidence()).character
        assert character.sessions == (Session(1, 0),)


def test_a_logout_within_a_day_ends_the_session_even_after_the_cap() -> None:
    open_one = sessions(login(0), given=evidence(20 * HOUR))
    assert open_one[0].ended_by == "cap"
    late = fold(Character(open_one), [logout(24 * HOUR)], evidence(24 * HOUR)).character
    assert late.sessions == (Session(WORLD, 0, 24 * HOUR, ended_by="logout"),)


def test_a_logout_more_than_a_day_later_belongs_to_another_session() -> None:
    assert sessions(login(0), logout(25 * HOUR)) == (
        Session(WORLD, 0, HOUR, ended_by="cap", ended_after=0, ended_before=12 * HOUR),
        Session(WORLD, None, 25 * HOUR, started_by="unknown", ended_by="logout"),
    )
    # Unless the character was found online in between.
    kept = settle(Character(sessions(login(0), logout(25 * HOUR))), evidence(), [Check(26 * HOUR, 2 * HOUR)])
    assert kept.sessions == (
        Session(WORLD, 0, 25 * HOUR, ended_by="logout", checks=(Check(26 * HOUR, 2 * HOUR),)),
    )


def test_what_has_been_open_for_more_than_a_day_is_not_open_at_a_login_and_logout_of_one_second() -> None:
    assert sessions(login(0), login(25 * HOUR), logout(25 * HOUR)) == (
        Session(WORLD, 0, HOUR, ended_by="cap", ended_after=0, ended_before=12 * HOUR),
        Session(WORLD, 25 * HOUR, 25 * HOUR, ended_by="logout"),
    )


def test_a_check_from_behind_a_foreign_logout_proves_nothing_about_the_session_before() -> None:
    told = Character(sessions(login(0), logout(25 * HOUR)))
    settled = settle(told, evidence(60 * HOUR), [Check(26 * HOUR, 25 * HOUR + 30 * MINUTE)])
    assert [(s.login_ts, s.logout_ts, s.ended_by) for s in settled.sessions] == [
        (0, HOUR, "cap"),
        (None, 25 * HOUR, "logout"),
    ]


def test_the_logout_fell_into_the_gap() -> None:
    # Recorded until 1:00 and from 1:20: it ended at 1:10, not at the middle between the logins.
    given = evidence(0, (60 * MINUTE, 80 * MINUTE))
    first, _ = sessions(login(0), login(5 * HOUR), given=given)
    assert first == Session(
        WORLD,
        0,
        70 * MINUTE,
        ended_by="next_login",
        ended_after=60 * MINUTE,
        ended_before=80 * MINUTE,
    )


def test_in_a_long_gap_it_ended_an_hour_after_the_last_coverage() -> None:
    given = evidence(0, (60 * MINUTE, 360 * MINUTE))
    first, _ = sessions(login(0), login(7 * HOUR), given=given)
    assert (first.logout_ts, first.ended_after, first.ended_before) == (2 * HOUR, HOUR, 6 * HOUR)


def test_of_several_gaps_the_longest_counts() -> None:
    given = evidence(
        0, (60 * MINUTE, 70 * MINUTE), (120 * MINUTE, 150 * MINUTE), (180 * MINUTE, 190 * MINUTE)
    )
    first, _ = sessions(login(0), login(5 * HOUR), given=given)
    assert (first.ended_after, first.ended_before) == (120 * MINUTE, 150 * MINUTE)
    assert first.logout_ts == 135 * MINUTE


def test_of_two_longest_gaps_the_first_counts() -> None:
    given = evidence(0, (60 * MINUTE, 80 * MINUTE), (120 * MINUTE, 140 * MINUTE))
    first, _ = sessions(login(0), login(5 * HOUR), given=given)
    assert (first.ended_after, first.ended_before) == (60 * MINUTE, 80 * MINUTE)


def test_a_logout_after_the_gap_makes_the_mark_mean_nothing() -> None:
    given = evidence(0, (60 * MINUTE, 80 * MINUTE))
    assert sessions(login(0), logout(3 * HOUR), given=given) == (
        Session(WORLD, 0, 3 * HOUR, ended_by="logout"),
    )


def test_a_character_that_was_found_online_after_the_gap_did_not_leave_in_it() -> None:
    given = evidence(0, (60 * MINUTE, 80 * MINUTE))
    open_one = fold(Character(), [login(0)], given).character
    # Found online at 2:00 and offline at 2:20.
    (session,) = settle(open_one, given, [Check(140 * MINUTE, 120 * MINUTE)]).sessions
    assert (session.ended_by, session.ended_after, session.ended_before) == (
        "offline_check",
        120 * MINUTE,
        140 * MINUTE,
    )
    assert session.logout_ts == 130 * MINUTE
    # Found online only before it: it left in the gap.
    (session,) = settle(open_one, given, [Check(140 * MINUTE, 30 * MINUTE)]).sessions
    assert (session.ended_after, session.ended_before) == (60 * MINUTE, 80 * MINUTE)
    assert session.logout_ts == 70 * MINUTE


def test_a_gap_counts_only_between_the_evidence() -> None:
    # The login came in the middle of the gap, and the next one in the middle of another.
    given = evidence(0, (0, 30 * MINUTE))
    first, _ = sessions(login(10 * MINUTE), login(5 * HOUR), given=given)
    assert (first.ended_after, first.ended_before) == (10 * MINUTE, 30 * MINUTE)
    assert first.logout_ts == 20 * MINUTE
    given = evidence(0, (60 * MINUTE, 200 * MINUTE))
    first, _ = sessions(login(0), login(100 * MINUTE), given=given)
    assert (first.ended_after, first.ended_before) == (60 * MINUTE, 100 * MINUTE)


def test_a_gap_of_another_world_is_no_evidence() -> None:
    given = evidence(0, (60 * MINUTE, 80 * MINUTE), world_id=1)
    first, _ = sessions(login(0), login(5 * HOUR), given=given)
    assert (first.ended_after, first.ended_before) == (0, 5 * HOUR)


def test_a_gap_of_an_open_session_ends_it_only_once_there_is_evidence() -> None:
    given = evidence(11 * HOUR, (60 * MINUTE, 80 * MINUTE))
    assert sessions(login(0), given=given) == (Session(WORLD, 0),)
    given = evidence(12 * HOUR, (60 * MINUTE, 80 * MINUTE))
    (session,) = sessions(login(0), given=given)
    assert (session.ended_by, session.logout_ts) == ("cap", 70 * MINUTE)


def test_coverage_that_fills_the_gap_takes_the_mark_back() -> None:
    told = fold(Character(), [login(0), login(5 * HOUR)], evidence(0, (60 * MINUTE, 80 * MINUTE))).character
    assert told.sessions[0].logout_ts == 70 * MINUTE
    settled = settle(told, evidence())
    assert (settled.sessions[0].ended_after, settled.sessions[0].logout_ts) == (0, HOUR)


def test_an_offline_check_ends_an_open_session() -> None:
    open_one = fold(Character(), [login(0)], evidence()).character
    (session,) = settle(open_one, evidence(), [Check(20 * MINUTE)]).sessions
    assert session == Session(
        WORLD,
        0,
        10 * MINUTE,
        ended_by="offline_check",
        ended_after=0,
        ended_before=20 * MINUTE,
        checks=(Check(20 * MINUTE),),
    )


@pytest.mark.parametrize("told_first", [True, False])
def test_events_beat_checks(told_first: bool) -> None:
    check, given = Check(20 * MINUTE), evidence()
    character = fold(Character(), [login(0)], given).character
    events = [logout(15 * MINUTE)]
    if told_first:
        character = settle(fold(character, events, given).character, given, [check])
    else:
        character = fold(settle(character, given, [check]), events, given).character
    assert character.sessions == (Session(WORLD, 0, 15 * MINUTE, ended_by="logout", checks=(check,)),)


def test_a_login_told_late_takes_the_check_behind_it() -> None:
    given = evidence()
    character = settle(fold(Character(), [login(0)], given).character, given, [Check(40 * MINUTE)])
    first, second = fold(character, [login(20 * MINUTE)], given).character.sessions
    assert (first.ended_by, first.logout_ts, first.checks) == ("next_login", 10 * MINUTE, ())
    assert (second.ended_by, second.logout_ts) == ("offline_check", 30 * MINUTE)
    # So it does with a logout without a session in between.
    told = [logout(5 * MINUTE), logout(10 * MINUTE)]
    character = fold(character, told, given).character
    late = fold(character, [login(20 * MINUTE)], given).character.sessions[-1]
    assert (late.login_ts, late.ended_by, late.logout_ts) == (20 * MINUTE, "offline_check", 30 * MINUTE)


def test_two_checks_of_one_time_are_in_order() -> None:
    both = [Check(20 * MINUTE, 10 * MINUTE), Check(20 * MINUTE)]
    open_one = fold(Character(), [login(0)], evidence()).character
    for asked in (both, both[::-1]):
        (session,) = settle(open_one, evidence(), asked).sessions
        assert session.checks == (Check(20 * MINUTE), Check(20 * MINUTE, 10 * MINUTE))
        assert (session.ended_after, session.logout_ts) == (10 * MINUTE, 15 * MINUTE)


def test_a_character_found_online_starts_its_twelve_hours_anew() -> None:
    open_one = fold(Character(), [login(0)], evidence()).character
    (session,) = settle(open_one, evidence(22 * HOUR), [Check(22 * HOUR, 11 * HOUR)]).sessions
    assert (session.ended_by, session.ended_after, session.logout_ts) == (
        "offline_check",
        11 * HOUR,
        12 * HOUR,
    )
    # A check beyond the twelve hours finds it capped, however far the records are said to reach by then.
    for as_of in (12 * HOUR, 23 * HOUR, 40 * HOUR):
        (session,) = settle(open_one, evidence(as_of), [Check(30 * HOUR, 11 * HOUR)]).sessions
        assert (session.ended_by, session.ended_before) == ("cap", 23 * HOUR)


def test_who_was_seen_online_is_capped_by_that() -> None:
    open_one = fold(Character(), [login(0)], evidence()).character
    assert settle(open_one, evidence(22 * HOUR), seen_at=11 * HOUR) == open_one
    (session,) = settle(open_one, evidence(23 * HOUR), seen_at=11 * HOUR).sessions
    assert (session.ended_by, session.ended_after, session.ended_before) == ("cap", 11 * HOUR, 23 * HOUR)
    (session,) = settle(open_one, evidence(12 * HOUR), seen_at=-HOUR).sessions
    assert session.ended_after == 0, "of an earlier session"


def lives(count: int) -> list[Login | Logout]:
    told: list[Login | Logout] = []
    for hour in range(count):
        told += login(hour * HOUR), logout(hour * HOUR + MINUTE)
    return told


def test_the_oldest_of_more_than_fifty_fall_off() -> None:
    result = fold(Character(), lives(KEPT_SESSIONS + 2), evidence())
    character = result.character
    assert [session.login_ts for session in result.dropped] == [0, HOUR]
    assert len(character.sessions) == KEPT_SESSIONS == 50
    assert character.sessions[0].login_ts == character.pruned_before == 2 * HOUR
    assert character.pruned_logout == HOUR + MINUTE


def test_what_is_older_than_the_oldest_kept_is_told_apart() -> None:
    character = fold(Character(), lives(KEPT_SESSIONS + 2), evidence()).character
    old: list[Login | Logout] = [login(0), logout(MINUTE), login(HOUR + 1), logout(2 * HOUR)]
    kept: list[Login | Logout] = [login(2 * HOUR), logout(2 * HOUR + MINUTE)]
    result = fold(character, [*old, *kept], evidence())
    assert result.old == tuple(old)
    assert result.character == character
    assert result.dropped == ()


def test_a_logout_at_the_edge_that_is_known_is_not_old() -> None:
    instant = fold(Character(), [login(0), logout(0)], evidence()).character
    character = Character(instant.sessions, pruned_before=0, pruned_logout=0)
    assert fold(character, [logout(0), login(0)], evidence()).old == ()


def test_an_old_form_of_a_state_is_still_understood() -> None:
    text = (
        b'{"sessions":[{"world_id":10,"login_ts":1,"logout_ts":5,"ended_by":"offline_check",'
        b'"ended_after":1,"ended_before":9,"checks":[[9,null]]},{"world_id":1,"login_ts":12}],"pruned_before":1}'
    )
    character = msgspec.json.decode(text, type=Character)
    assert character == Character(
        (Session(10, 1, 5, "login", "offline_check", 1, 9, None, (Check(9),)), Session(1, 12)), 1
    )
    assert msgspec.json.encode(character).startswith(b'{"sessions":[{"world_id":10,"login_ts":1,')


def unknown_start(coverage: WorldCoverage, out: Ms, not_before: Ms | None) -> Ms:
    """Where a reader puts a start that was not seen.

    A logout from a time without coverage has its login in there too, or else it would have been seen: without that bound
    an hour before the logout could be time that is covered.
    """
    covered = coverage.covered_from(out)
    if covered is not None and out - covered <= 12 * HOUR:
        start = covered
    else:
        start = out - 60 * MINUTE
        if covered is None:
            start = max([start, *(gap.start for gap in coverage.gaps(out - 1, out + 1))])
    return start if not_before is None else max(start, not_before)


def truth(choice: random.Random, end: Ms) -> list[tuple[Ms, Ms]]:
    """A character's sessions of up to 12 h: many short, with relogs within the second, and breaks of up to two days.

    One thing is left out, since the stream can't tell it: two logins, or two logouts, within one second are one.
    """
    found: list[tuple[Ms, Ms]] = []
    at = choice.randrange(0, 20 * HOUR, SECOND)
    while at < end and len(found) < KEPT_SESSIONS:
        length = choice.choice((0, 5 * SECOND, 40 * MINUTE, 3 * HOUR, 12 * HOUR - SECOND))
        relog = bool(found) and found[-1][1] == at
        out = at + choice.randrange(SECOND if relog else 0, length + 2 * SECOND, SECOND)
        found.append((at, out))
        pause = choice.choice((0, 30 * SECOND, 2 * HOUR, 12 * HOUR, 2 * DAY))
        at = out + choice.randrange(SECOND if out == at else 0, pause + 2 * SECOND, SECOND)
    return found


def ambiguous(life: Sequence[tuple[Ms, Ms]], told: Sequence[Login | Logout]) -> bool:
    """Whether what is told of a login and a logout within one second leaves open which of them came first.

    It does where the login before them, or the logout before them, was lost.
    """
    for index, (start, out) in enumerate(life):
        if start == out and index > 0 and login(start) in told and logout(life[index - 1][1]) not in told:
            return True
        if (
            index > 0
            and life[index - 1][1] == start
            and login(start) in told
            and login(life[index - 1][0]) not in told
        ):
            return True
    return False


def remembered(
    told: list[Login | Logout], choice: random.Random, coverage: WorldCoverage, given: Evidence
) -> list[tuple[Ms, Ms]]:
    """When a reader says that a character was online whose events come shuffled, in batches, some of them twice."""
    told = told + choice.choices(told, k=len(told) // 2) if told else []
    choice.shuffle(told)
    character = Character()
    while told:
        size = choice.choice((1, 3, 1000))
        result = fold(character, told[:size], given)
        assert not result.old
        character, told = result.character, told[size:]
    found = []
    not_before: Ms | None = None
    for session in character.sessions:
        start = session.login_ts
        if start is None:
            assert session.logout_ts is not None
            start = unknown_start(coverage, session.logout_ts, not_before)
        found.append((start, given.as_of if session.logout_ts is None else session.logout_ts))
        not_before = session.logout_ts
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("lost_in_gaps", [1.0, 0.5])
def test_in_hindsight_the_population_is_exact_at_every_covered_instant(
    seed: int, lost_in_gaps: float
) -> None:
    """Gaps are a day apart, so that no session can have lost one end in one of them and be missed in the other."""
    choice = random.Random(seed)
    begin, end = choice.randrange(0, 12 * HOUR, SECOND), 9 * DAY
    coverage = WorldCoverage()
    since = begin
    while since < end - 3 * DAY:
        until = since + choice.randrange(DAY, 2 * DAY, SECOND)
        coverage.add(Span(WORLD, since, until, "start"))
        since = until + choice.choice((SECOND, 3 * MINUTE, HOUR, 8 * HOUR))
    coverage.add(Span(WORLD, since, end, "start"))
    assert len(coverage.gaps(begin, end)) >= 3
    given = Evidence(end, lambda world, start, stop: coverage.gaps(start, stop))

    lives: list[tuple[list[tuple[Ms, Ms]], list[Login | Logout]]] = []
    while len(lives) < 60:
        life = truth(choice, end)
        events: list[Login | Logout] = []
        for start, out in life:
            events += login(start), logout(out)
        told = [
            event
            for event in events
            if begin <= event.at < end and (coverage.covers(event.at) or choice.random() >= lost_in_gaps)
        ]
        if not ambiguous(life, told):
            lives.append((life, told))
    real = [session for life, _ in lives for session in life]
    recorded = [session for _, told in lives for session in remembered(told, choice, coverage, given)]
    edges = {at for session in real for at in session} | {at for span in coverage.spans for at in span}
    instants = {at + offset for at in edges for offset in (-SECOND, 0, SECOND)}
    covered = sorted(at for at in instants | set(range(begin, end, 10 * MINUTE)) if coverage.covers(at))
    assert population(recorded, covered) == population(real, covered)


def population(found: list[tuple[Ms, Ms]], instants: list[Ms]) -> dict[Ms, int]:
    starts, ends = sorted(start for start, _ in found), sorted(out for _, out in found)
    return {at: bisect_right(starts, at) - bisect_right(ends, at) for at in instants}
