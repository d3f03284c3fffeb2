"""Random lives of one character, told in any way, against the slow reference."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import (
    KEPT_SESSIONS,
    NO_GAPS,
    Character,
    Check,
    Evidence,
    Folded,
    Session,
    fold,
    settle,
)
from tests.unit.reference_sessions import Reference, Spans

SLOT = 10 * MINUTE
LAST_SLOT = 3 * 24 * 6
WORLDS = (1, 10)

slots = st.one_of(st.integers(0, LAST_SLOT), st.integers(0, 12)).map(lambda slot: slot * SLOT)
times = st.one_of(slots, slots.map(lambda at: at + SECOND))
worlds = st.sampled_from((10, 10, 10, 1))
events = st.builds(
    lambda kind, world, at: kind("7", world, at), st.sampled_from((Login, Logout)), worlds, times
)
checks = st.one_of(
    st.builds(
        lambda offline, back: Check(offline, None if back is None else max(0, offline - back)),
        times,
        st.none() | st.integers(1, 80).map(lambda slot: slot * SLOT),
    ),
    times.map(lambda online: Check(None, online)),
)
spans = st.builds(
    lambda world, start, length: Span(world, start, start + length, "start"),
    st.sampled_from(WORLDS),
    times,
    st.one_of(st.integers(0, 20), st.integers(0, 200)).map(lambda slot: slot * SLOT),
)
moderate = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Coverage:
    """Coverage of all worlds, kept twice: as the model keeps it, and as it was told."""

    def __init__(self, told: list[Span] | None = None) -> None:
        self.worlds = {world: WorldCoverage() for world in WORLDS}
        self.reference = Spans()
        for span in told or []:
            self.add(span)

    def add(self, span: Span) -> None:
        self.worlds[span.world_id].add(span)
        self.reference.told.append((span.world_id, span.start, span.end))

    def evidence(self, as_of: Ms) -> Evidence:
        return Evidence(as_of, lambda world, start, end: self.worlds[world].gaps(start, end))


def batches(told: list[Login | Logout], cuts: list[int]) -> list[list[Login | Logout]]:
    edges = sorted({0, len(told), *(cut % (len(told) + 1) for cut in cuts)})
    return [told[a:b] for a, b in pairwise(edges)]


def folded(told: list[Login | Logout], cuts: list[int], evidence: Evidence) -> Character:
    character = Character()
    for batch in batches(told, cuts):
        character = fold(character, batch, evidence).character
    return character


def assert_disjoint(sessions: tuple[Session, ...]) -> None:
    """Sessions of one character are in order and don't overlap; an open one can only be the last login."""
    for session, following in pairwise(sessions):
        assert session.logout_ts is not None
        assert session.start <= session.logout_ts <= following.start
    for session in sessions:
        if session.ended_by is not None and session.ended_by != "logout":
            assert session.login_ts is not None
            assert session.ended_after is not None
            assert session.ended_before is not None
            assert session.logout_ts is not None
            assert session.login_ts <= session.ended_after <= session.logout_ts <= session.ended_before
        else:
            assert session.ended_after is None
            assert session.ended_before is None


def edges(sessions: tuple[Session, ...]) -> list[tuple[str, Ms, int]]:
    """Every told event that the sessions show."""
    found = []
    for session in sessions:
        if session.login_ts is not None:
            found.append(("login", session.login_ts, session.world_id))
        if session.ended_by == "logout":
            assert session.logout_ts is not None
            other = session.logout_world_id
            found.append(("logout", session.logout_ts, session.world_id if other is None else other))
    return sorted(found)


@moderate
@given(
    told=st.lists(events, max_size=30),
    seed=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    coverage=st.lists(spans, max_size=6),
    as_of=times,
)
def test_any_order_repetition_and_batching_folds_to_the_reference(
    told: list[Login | Logout],
    seed: random.Random,
    cuts: list[int],
    coverage: list[Span],
    as_of: Ms,
) -> None:
    kept = Coverage(coverage)
    evidence = kept.evidence(as_of)
    reference = Reference()
    reference.tell(told)
    expected = reference.sessions(kept.reference.gaps, as_of)
    shuffled = told + [event for event in told if seed.random() < 0.5]
    seed.shuffle(shuffled)
    character = folded(shuffled, cuts, evidence)
    assert character == Character(expected)
    assert_disjoint(character.sessions)
    # No event is lost by another's arrival: each is an edge of exactly one session.
    assert edges(character.sessions) == sorted(
        [("login", at, world) for at, world in reference.logins.items()]
        + [("logout", at, world) for at, world in reference.logouts.items()]
    )
    assert msgspec.json.decode(msgspec.json.encode(character), type=Character) == character
    assert fold(character, shuffled, evidence) == Folded(character)


@moderate
@given(
    told=st.lists(events, max_size=20),
    seen_at=times,
    known=st.integers(0, 20),
    coverage=st.lists(spans, max_size=6),
    as_of=times,
)
def test_who_was_seen_online_is_told_by_that_and_it_is_kept_where_a_session_ends_by_it(
    told: list[Login | Logout], seen_at: Ms, known: int, coverage: list[Span], as_of: Ms
) -> None:
    evidence = Coverage(coverage).evidence(as_of)
    asked = settle(fold(Character(), told, evidence).character, evidence, [Check(None, seen_at)])
    before = fold(Character(), told[:known], evidence).character
    seen = settle(fold(before, told[known:], evidence, seen_at).character, evidence, (), seen_at)
    assert [msgspec.structs.replace(each, checks=()) for each in seen.sessions] == [
        msgspec.structs.replace(each, checks=()) for each in asked.sessions
    ]
    later = settle(seen, evidence)
    assert later.sessions[:-1] == seen.sessions[:-1]
    if seen.sessions and seen.sessions[-1].ended_by is not None:
        assert later == seen


@moderate
@given(
    told=st.lists(events, max_size=20),
    asked=st.lists(checks, max_size=6),
    seed=st.randoms(use_true_random=False),
    coverage=st.lists(spans, max_size=6),
    as_of=times,
)
def test_settle_knows_neither_order_nor_repetition(
    told: list[Login | Logout],
    asked: list[Check],
    seed: random.Random,
    coverage: list[Span],
    as_of: Ms,
) -> None:
    kept = Coverage(coverage)
    evidence = kept.evidence(as_of)
    reference = Reference()
    reference.tell(told)
    for check in asked:
        reference.check(check)
    expected = Character(reference.sessions(kept.reference.gaps, as_of))
    before = fold(Character(), told, evidence).character
    once = settle(before, evidence, asked)
    assert once == expected
    assert settle(once, evidence) == once
    assert settle(once, evidence, asked) == once
    again = before
    shuffled = asked * 2
    seed.shuffle(shuffled)
    for check in shuffled:
        again = settle(again, evidence, [check])
    assert again == once
    assert msgspec.json.decode(msgspec.json.encode(once), type=Character) == once
    assert_disjoint(once.sessions)


@moderate
@given(
    told=st.lists(events, max_size=25),
    coverage=st.lists(spans, max_size=6),
    early=times,
    late=times,
)
def test_coverage_and_time_that_come_later_are_as_good_as_from_the_start(
    told: list[Login | Logout], coverage: list[Span], early: Ms, late: Ms
) -> None:
    early, late = sorted((early, late))
    evidence = Coverage(coverage).evidence(late)
    blind = fold(Character(), told, Evidence(early, NO_GAPS)).character
    assert settle(blind, evidence) == fold(Character(), told, evidence).character


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(60, 220), lateness=st.sampled_from((0, 3, 40, 500)))
def test_a_pruned_character_keeps_the_last_sessions(seed: int, count: int, lateness: int) -> None:
    choice = random.Random(seed)
    told: list[Login | Logout] = [
        choice.choice((Login, Logout))("7", choice.choice((1, 10)), at)
        for at in sorted(choice.randrange(count) * SLOT for _ in range(count * 2))
    ]
    # Each event is late by up to `lateness` others, and some are told again much later.
    order = sorted(range(len(told)), key=lambda index: index + choice.uniform(0, lateness))
    order += choice.choices(order, k=20)
    evidence = Coverage([Span(10, 0, 90 * SLOT, "start"), Span(10, 95 * SLOT, 400 * SLOT, "start")]).evidence(
        count * SLOT
    )
    character = Character()
    accepted = Reference()
    fallen: list[Session] = []
    while order:
        size = choice.choice((1, 1, 7, 150))
        batch, order = [told[index] for index in order[:size]], order[size:]
        edge = character.pruned_before
        result = fold(character, batch, evidence)
        for event in result.old:
            assert edge is not None
            assert event.at <= edge
        for event in batch:
            if edge is not None and event.at < edge:
                assert event in result.old
        accepted.tell(event for event in batch if event not in result.old)
        fallen.extend(result.dropped)
        character = result.character
        whole = accepted.sessions(evidence.gaps, evidence.as_of)
        surplus = max(0, len(whole) - KEPT_SESSIONS)
        assert character.sessions == whole[surplus:]
        assert tuple(fallen) == whole[:surplus]
        if surplus:
            assert character.pruned_before == whole[surplus].start
            assert character.pruned_logout == whole[surplus - 1].logout_ts
        else:
            assert character == Character(whole)


class Life(RuleBasedStateMachine):
    """One character's events, checks, caps and coverage in any order of arrival."""

    @initialize(start=slots, length=st.integers(0, 60))
    def begin(self, start: Ms, length: int) -> None:
        self.reference = Reference()
        self.coverage = Coverage([Span(10, start, start + length * SLOT, "start")])
        self.as_of: Ms = 0
        self.character = Character()
        self.told: list[Login | Logout] = []
        self.stale = False

    def evidence(self) -> Evidence:
        return self.coverage.evidence(self.as_of)

    @rule(batch=st.lists(events, min_size=1, max_size=4))
    def hear(self, batch: list[Login | Logout]) -> None:
        if len(self.told) > 40:
            return  # pruning has a test of its own
        self.told.extend(batch)
        self.reference.tell(batch)
        result = fold(self.character, batch, self.evidence())
        assert result.old == ()
        self.character = result.character

    @rule(login=times, length=st.integers(0, 30), world=worlds)
    def play(self, login: Ms, length: int, world: int) -> None:
        self.hear([Logout("7", world, login + length * SLOT), Login("7", world, login)])

    @rule(seed=st.randoms(use_true_random=False))
    def replay(self, seed: random.Random) -> None:
        again = [event for event in self.told if seed.random() < 0.5]
        seed.shuffle(again)
        assert fold(self.character, again, self.evidence()) == Folded(self.character)

    @rule(check=checks)
    def ask(self, check: Check) -> None:
        self.reference.check(check)
        self.character = settle(self.character, self.evidence(), [check])
        self.stale = False

    @rule(data=st.data(), hours=st.integers(1, 30), back=st.none() | st.integers(1, 60))
    def ask_about_the_last_one(self, data: st.DataObject, hours: int, back: int | None) -> None:
        if self.reference.logins:
            at = data.draw(st.sampled_from(sorted(self.reference.logins))) + hours * HOUR
            self.ask(Check(at, None if back is None else max(0, at - back * SLOT)))

    @rule(by=st.sampled_from((SLOT, HOUR, 12 * HOUR, 24 * HOUR)))
    def let_time_pass(self, by: Ms) -> None:
        self.as_of += by
        self.stale = True

    @rule(span=spans)
    def cover(self, span: Span) -> None:
        self.coverage.add(span)
        self.stale = True

    @rule()
    def settle(self) -> None:
        self.character = settle(self.character, self.evidence())
        self.stale = False

    @rule()
    def restart(self) -> None:
        self.character = msgspec.json.decode(msgspec.json.encode(self.character), type=Character)

    @invariant()
    def is_what_the_reference_says(self) -> None:
        expected = Character(self.reference.sessions(self.coverage.reference.gaps, self.as_of))
        assert settle(self.character, self.evidence()) == expected
        if not self.stale:
            assert self.character == expected
        assert_disjoint(self.character.sessions)


Life.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLife = Life.TestCase
