from __future__ import annotations

import json
from typing import Any

import pytest

from ps2daemon.census.verification import EMPTY_SUBSCRIBE, Answer, Verification, subscribe_command
from ps2daemon.model.messages import Subscription

NAMES = ("PlayerLogin", "PlayerLogout")


def subscription(worlds: Any = (1, 10), names: Any = NAMES, **other: Any) -> Subscription:
    return Subscription(
        worlds=worlds if worlds == "all" else frozenset(worlds),
        event_names=names if names == "all" else frozenset(names),
        characters=other.get("characters", frozenset()),
        character_count=None,
        logical_and=other.get("logical_and", False),
    )


def verification(worlds: tuple[int, ...] = (1, 10)) -> Verification:
    return Verification(worlds, NAMES)


def answered(state: Verification, at: int, told: Subscription, *, subscribe: bool = False) -> Answer:
    state.asked(at, at / 1000, subscribe=subscribe)
    return state.answered(told)


def test_a_right_answer_begins_the_spans_and_the_next_one_goes_on() -> None:
    state = verification()
    first = answered(state, 1000, subscription(), subscribe=True)
    assert first == Answer(
        right=True, partly=True, to_subscribe=True, asked_at=1000, verified=(1, 10), begun=(1, 10), lost=()
    )
    second = answered(state, 2000, subscription(worlds=(1, 10, 40), names=(*NAMES, "Death")))
    assert second.verified == (1, 10)
    assert second.begun == second.lost == ()
    assert state.covered == (1, 10)
    assert state.right


@pytest.mark.parametrize(
    "told",
    [
        subscription(worlds="all"),
        subscription(names="all"),
        subscription(characters="all", logical_and=True),
        subscription(characters="all"),
    ],
)
def test_more_than_is_wanted_is_right(told: Subscription) -> None:
    assert answered(verification(), 1, told).right


@pytest.mark.parametrize(
    "told",
    [
        subscription(worlds=()),
        subscription(worlds=(40,)),
        subscription(names=("PlayerLogin",)),
        subscription(names=()),
        subscription(logical_and=True),
        subscription(logical_and=True, characters=None),
        subscription(logical_and=True, characters=frozenset({"5428"})),
    ],
)
def test_an_answer_without_a_wanted_event_breaks_every_span(told: Subscription) -> None:
    state = verification()
    answered(state, 1, subscription())
    answer = answered(state, 2, told)
    assert not answer.right
    assert not answer.partly
    assert answer.lost == (1, 10)
    assert answer.verified == ()
    assert state.covered == ()
    assert not state.right


def test_a_narrowed_subscription_breaks_only_what_it_lost() -> None:
    state = verification((1, 10, 40))
    answered(state, 1, subscription(worlds=(1, 10, 40)))
    answer = answered(state, 2, subscription(worlds=(10, 40)))
    assert (answer.right, answer.partly, answer.lost, answer.verified) == (False, True, (1,), (10, 40))
    again = answered(state, 3, subscription(worlds=(1, 10, 40)), subscribe=True)
    assert (again.right, again.begun, again.verified) == (True, (1,), (1, 10, 40))


def test_no_more_is_claimed_than_the_oldest_open_ask() -> None:
    state = verification()
    state.asked(1000, 1.0, subscribe=True)
    state.asked(2000, 2.0, subscribe=False)
    assert state.asked_since == 1.0
    first = state.answered(subscription())
    assert (first.asked_at, first.to_subscribe) == (1000, True)
    assert state.asked_since == 2.0
    second = state.answered(subscription())
    assert (second.asked_at, second.to_subscribe) == (2000, False)
    assert state.asked_since is None


def test_an_answer_that_nobody_asked_for_proves_nothing() -> None:
    state = verification()
    answer = state.answered(subscription())
    assert (answer.asked_at, answer.verified, answer.begun) == (None, (), ())
    assert state.covered == ()


def test_an_answer_that_nobody_asked_for_can_break_a_span() -> None:
    state = verification()
    answered(state, 1, subscription())
    assert state.answered(subscription()).lost == ()
    assert state.answered(subscription(worlds=(1,))).lost == (10,)
    assert state.covered == (1,)
    assert not state.right


def test_a_world_that_is_down_is_not_vouched_for() -> None:
    state = verification()
    assert state.world(10, online=False)
    assert not state.world(10, online=False), "no change"
    first = answered(state, 1, subscription())
    assert first.right
    assert first.verified == (1,)
    assert state.world(10, online=True)
    assert state.covered == (1,), "its endpoint is up, but nobody asked since"
    second = answered(state, 2, subscription())
    assert (second.verified, second.begun) == ((1, 10), (10,))
    assert state.world(10, online=False)
    assert state.covered == (1,)


def test_worlds_that_are_not_wanted_change_nothing() -> None:
    state = verification()
    assert not state.world(40, online=False)
    assert not state.world(1, online=True), "a world counts as up until it is said to be down"


def test_the_commands_are_the_documented_ones() -> None:
    assert json.loads(EMPTY_SUBSCRIBE) == {"service": "event", "action": "subscribe"}
    assert json.loads(subscribe_command((1, 10), NAMES)) == {
        "service": "event",
        "action": "subscribe",
        "worlds": ["1", "10"],
        "eventNames": ["PlayerLogin", "PlayerLogout"],
        "logicalAndCharactersWithWorlds": False,
    }
