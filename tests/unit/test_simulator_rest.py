"""REST answers, errors to the letter of recorded ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ps2daemon.model.records import MINUTE, Ms
from ps2daemon.simulator.names import HOSTILE_NAME
from ps2daemon.simulator.rest import EXAMPLE_PER_MINUTE, Rest
from ps2daemon.simulator.truth import TrueCharacter, Truth

OLD = "5428010618013876561"
NEW = "5428010618013876562"
ASIAN = "5428010618013876563"
CONSOLE = "5428010618013876564"


class SetClock:
    def __init__(self, now: Ms) -> None:
        self.time = now

    def now(self) -> Ms:
        return self.time


@pytest.fixture
def clock() -> SetClock:
    return SetClock(1_772_400_000_000)


@pytest.fixture
def truth() -> Truth:
    truth = Truth()
    start = 1_772_390_000_000
    for character_id, name, faction_id, world_id, first_end in (
        (OLD, "BjacksonQA1", 2, 10, 0),
        (NEW, "Fresh", 1, 10, None),
        (ASIAN, HOSTILE_NAME, 4, 40, 0),
        (CONSOLE, "Pad", 3, 1000, 0),
    ):
        truth.login(
            TrueCharacter(
                character_id, name, faction_id, world_id, created=1_353_430_582_000, first_end=first_end
            ),
            start,
        )
    truth.logout(ASIAN, start + 90 * MINUTE)
    return truth


@pytest.fixture
def rest(truth: Truth, clock: SetClock) -> Rest:
    return Rest(
        truth, {1: True, 10: True, 40: False, 1000: True}, clock, lambda service_id: service_id == "me"
    )


def get(rest: Rest, query: str, prefix: str = "/s:me/get/ps2:v2/") -> dict[str, Any]:
    answer = json.loads(rest.answer(prefix + query))
    assert isinstance(answer, dict)
    return answer


def ids(answer: dict[str, Any], collection: str = "character") -> list[str]:
    rows = answer[f"{collection}_list"]
    assert answer["returned"] == len(rows)
    return [row["character_id"] for row in rows]


def test_a_character_s_row_is_made_of_strings(rest: Rest) -> None:
    (row,) = get(rest, f"character?character_id={OLD}")["character_list"]
    assert row["character_id"] == OLD
    assert row["name"] == {"first": "BjacksonQA1", "first_lower": "bjacksonqa1"}
    assert row["faction_id"] == "2"
    assert row["times"]["creation"] == "1353430582"
    assert row["times"]["creation_date"] == "2012-11-20 16:56:22.0"

    def leaves(value: object) -> list[object]:
        return (
            [leaf for part in value.values() for leaf in leaves(part)] if isinstance(value, dict) else [value]
        )

    assert all(isinstance(leaf, str) for leaf in leaves(row))


def test_one_row_comes_unless_more_are_asked_for(rest: Rest) -> None:
    both = f"character?character_id={OLD},{ASIAN}"
    assert ids(get(rest, both)) == [OLD]
    assert ids(get(rest, both + "&c:limit=2")) == [OLD, ASIAN]
    assert ids(get(rest, both + "&c:limit=100&c:start=1")) == [ASIAN]
    assert ids(get(rest, f"character?character_id={ASIAN}&character_id={OLD}&c:limit=9")) == [OLD, ASIAN]


def test_a_new_character_is_absent_until_its_first_session_has_ended(
    rest: Rest, truth: Truth, clock: SetClock
) -> None:
    for collection in ("character", "characters_online_status", "characters_world"):
        query = f"{collection}?character_id={NEW}&c:limit=10"
        assert get(rest, query) == {f"{collection}_list": [], "returned": 0}
    truth.logout(NEW, clock.time)
    assert ids(get(rest, f"character?character_id={NEW}")) == [NEW]


def test_online_status_is_the_world_or_nought(rest: Rest) -> None:
    answer = get(rest, f"characters_online_status?character_id={OLD},{ASIAN}&c:limit=2")
    assert answer["characters_online_status_list"] == [
        {"character_id": OLD, "online_status": "10"},
        {"character_id": ASIAN, "online_status": "0"},
    ]


def test_show_and_hide_and_resolve(rest: Rest) -> None:
    query = f"character?character_id={ASIAN}&c:show=character_id,name.first,faction_id,nothing"
    assert get(rest, query)["character_list"] == [
        {"character_id": ASIAN, "name": {"first": HOSTILE_NAME}, "faction_id": "4"}
    ]
    (row,) = get(
        rest, f"character?character_id={OLD}&c:hide=times,name.first_lower&c:resolve=world,online_status"
    )["character_list"]
    assert "times" not in row
    assert row["name"] == {"first": "BjacksonQA1"}
    assert (row["world_id"], row["online_status"]) == ("10", "10")


def test_worlds_say_whether_they_are_up(rest: Rest) -> None:
    rows = {row["world_id"]: row for row in get(rest, "world?c:limit=100")["world_list"]}
    assert {world_id: row["state"] for world_id, row in rows.items()} == {
        "1": "online",
        "10": "online",
        "40": "locked",
    }
    assert rows["10"]["name"]["en"] == "Wainwright"
    assert rows["10"]["name"]["tr"] == "null"


def test_namespaces_are_apart(rest: Rest) -> None:
    assert ids(get(rest, f"character?character_id={CONSOLE}")) == []
    console = get(rest, f"character?character_id={CONSOLE}", "/s:me/get/ps2ps4us:v2/")
    assert ids(console) == [CONSOLE]


def test_by_name_and_by_count(rest: Rest) -> None:
    assert ids(get(rest, "character?name.first_lower=bjacksonqa1")) == [OLD]
    assert get(rest, f"characters_world?character_id={OLD},{ASIAN}", "/s:me/count/ps2/") == {"count": 2}


SEARCH = {"errorCode": "SERVER_ERROR"}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/s:me/get/ps2/bogus", {"error": "No data found."}),
        ("/s:me/get/bogus/character", {"error": "No data found."}),
        ("/s:me/get/ps2", {"error": "No data found."}),
        ("/s:me/get/", {"errorCode": "SERVER_ERROR"}),
        ("/", {"errorCode": "SERVER_ERROR"}),
        ("//[?", {"errorCode": "SERVER_ERROR"}),
        (
            "/s:me/get/ps2/character?c:limit=Bogus",
            SEARCH
            | {
                "errorMessage": "INVALID_SEARCH_TERM: Invalid search term: c:limit. Value must be a whole number."
            },
        ),
        (
            "/s:me/get/ps2/character?character_id=bogus",
            SEARCH
            | {
                "errorMessage": "INVALID_SEARCH_TERM: Invalid search term: character_id. Value must be a number."
            },
        ),
        (
            "/s:me/get/ps2/character?invalid_field=Bogus",
            SEARCH | {"errorMessage": "INVALID_SEARCH_TERM: Invalid search term. Valid search terms: [...]"},
        ),
        (
            "/s:me/get/ps2/world?c:show=invalid_field",
            SEARCH | {"errorMessage": "INVALID_SEARCH_TERM: c:show or c:hide resulted in no valid terms."},
        ),
        (
            "/s:Bogus/get/ps2/character",
            {
                "error": "Provided Service ID is not registered.  A valid Service ID is required for continued api use."
                " (http://census.daybreakgames.com/#devSignup)"
            },
        ),
    ],
)
def test_errors_say_what_the_real_ones_say(rest: Rest, target: str, body: dict[str, str]) -> None:
    assert json.loads(rest.answer(target)) == body


@pytest.mark.parametrize("prefix", ["/get/ps2/", "/s:example/get/ps2/"])
def test_without_an_id_ten_requests_a_minute_are_answered(rest: Rest, clock: SetClock, prefix: str) -> None:
    for _ in range(EXAMPLE_PER_MINUTE):
        assert "world_list" in get(rest, "world", prefix)
    assert get(rest, "world", prefix) == {
        "error": "Missing Service ID.  A valid Service ID is required for continued api use.  The Service ID s:example is"
        " for casual use only.  (http://census.daybreakgames.com/#devSignup)"
    }
    assert "world_list" in get(rest, "world")
    clock.time += MINUTE
    assert "world_list" in get(rest, "world", prefix)
