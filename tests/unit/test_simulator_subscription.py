from __future__ import annotations

import json
from typing import Any

import pytest

from ps2daemon.model.messages import Subscription as Acknowledged
from ps2daemon.model.messages import decode_message
from ps2daemon.simulator.subscription import Subscription


def after(*commands: dict[str, Any]) -> Subscription:
    subscription = Subscription()
    for command in commands:
        subscription.subscribe(command)
    return subscription


def shown(frame: bytes) -> dict[str, Any]:
    answer = json.loads(frame)
    assert list(answer) == ["subscription"], "an acknowledgement has neither type nor service"
    subscription = answer["subscription"]
    assert isinstance(subscription, dict)
    return subscription


def test_an_empty_subscribe_changes_nothing_and_says_what_there_is() -> None:
    subscription = Subscription()
    assert shown(subscription.subscribe({})) == {
        "characterCount": 0,
        "eventNames": [],
        "logicalAndCharactersWithWorlds": False,
        "worlds": [],
    }
    first = subscription.subscribe({"worlds": ["1"], "eventNames": ["PlayerLogin"]})
    assert subscription.subscribe({}) == first


def test_calls_add_up() -> None:
    subscription = after(
        {"characters": ["all"], "worlds": ["1", "10"], "eventNames": ["PlayerLogin"]},
        {"worlds": ["10", "40"], "eventNames": ["Death"], "logicalAndCharactersWithWorlds": "true"},
    )
    assert shown(subscription.subscribe({})) == {
        "characters": ["all"],
        "eventNames": ["PlayerLogin", "Death"],
        "logicalAndCharactersWithWorlds": True,
        "worlds": ["1", "10", "40"],
    }


def test_characters_are_counted_unless_asked_for() -> None:
    subscription = after({"characters": ["5428010618013876561", "5428010618013876562"]})
    assert shown(subscription.subscribe({}))["characterCount"] == 2
    assert shown(subscription.subscribe({"list_characters": True}))["characters"] == [
        "5428010618013876561",
        "5428010618013876562",
    ]


def test_a_wrong_event_name_is_left_out_without_a_word() -> None:
    frame = Subscription().subscribe(
        {"eventNames": ["PlayerLogin", "PlayerLogn", "GainExperience_experience_id_7"]}
    )
    assert shown(frame)["eventNames"] == ["PlayerLogin", "GainExperience_experience_id_7"]


def test_clearing_takes_away_what_is_listed_or_everything() -> None:
    subscription = after(
        {"characters": ["all"], "worlds": ["1", "10"], "eventNames": ["Death", "PlayerLogin"]}
    )
    left = shown(subscription.clear({"worlds": ["1"], "eventNames": ["Death"]}))
    assert (left["worlds"], left["eventNames"], left["characters"]) == (["10"], ["PlayerLogin"], ["all"])
    assert shown(subscription.clear({"eventNames": ["all"]}))["eventNames"] == []
    subscription.subscribe({"logicalAndCharactersWithWorlds": True})
    assert shown(subscription.clear({"all": "true"})) == shown(Subscription().subscribe({}))


@pytest.mark.parametrize("value", [None, 5, {"a": 1}, [None, True, {}, []]])
def test_what_is_no_list_of_strings_is_as_good_as_nothing(value: object) -> None:
    subscription = Subscription()
    assert subscription.subscribe({"worlds": value, "characters": value, "eventNames": value}) == (
        Subscription().subscribe({})
    )


def test_the_daemon_understands_the_acknowledgement() -> None:
    frame = Subscription().subscribe(
        {"characters": ["all"], "worlds": ["1", "40"], "eventNames": ["PlayerLogin"]}
    )
    assert decode_message(frame) == Acknowledged(
        worlds=frozenset({1, 40}),
        event_names=frozenset({"PlayerLogin"}),
        characters="all",
        character_count=None,
        logical_and=False,
    )


ALL = ["all"]


@pytest.mark.parametrize(
    ("characters", "worlds", "both", "event", "delivered"),
    [
        # Logins and logouts: the world alone is enough, and so is the character.
        ([], ["10"], False, ("PlayerLogin", "10", "5"), True),
        ([], ["10"], False, ("PlayerLogin", "40", "5"), False),
        (["5"], [], False, ("PlayerLogout", "40", "5"), True),
        (["5"], [], False, ("PlayerLogout", "40", "6"), False),
        # Characters "all" without logicalAnd delivers every world.
        (ALL, ["40"], False, ("PlayerLogin", "1", "5"), True),
        (ALL, ["40"], False, ("Death", "1", "5"), True),
        (ALL, ["40"], True, ("PlayerLogin", "1", "5"), False),
        (ALL, ["40"], True, ("PlayerLogin", "40", "5"), True),
        (ALL, ["40"], True, ("Death", "1", "5"), False),
        (["5"], ["40"], True, ("Death", "40", "5"), True),
        (["5"], ["40"], True, ("Death", "40", "6"), False),
        # World events: the world alone counts.
        (ALL, ["40"], False, ("MetagameEvent", "1", None), False),
        (ALL, ["40"], False, ("ContinentLock", "40", None), True),
        (["5"], ["40"], True, ("MetagameEvent", "40", None), True),
        (ALL, [], False, ("ContinentLock", "40", None), False),
        ([], ALL, False, ("ContinentLock", "40", None), True),
    ],
)
def test_what_is_delivered(
    characters: list[str], worlds: list[str], both: bool, event: tuple[str, str, str | None], delivered: bool
) -> None:
    subscription = after(
        {
            "characters": characters,
            "worlds": worlds,
            "eventNames": ["all"],
            "logicalAndCharactersWithWorlds": both,
        }
    )
    assert subscription.wants(*event) is delivered
    name, world_id, character_id = event
    others = after(
        {
            "characters": characters,
            "worlds": worlds,
            "eventNames": ["SkillAdded"],
            "logicalAndCharactersWithWorlds": both,
        }
    )
    assert not others.wants(name, world_id, character_id)
