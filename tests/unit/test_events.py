from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ps2daemon.model.events import (
    MAX_PAYLOAD_BYTES,
    ContinentLock,
    Event,
    EventError,
    Login,
    Logout,
    Metagame,
    Other,
    decode_event,
)

DATA = Path(__file__).parent.parent / "data" / "census"

LOGIN = {
    "character_id": "5429038329410828849",
    "event_name": "PlayerLogin",
    "timestamp": "1611720644",
    "world_id": "1",
}
METAGAME = {
    "event_name": "MetagameEvent",
    "experience_bonus": "25.000000",
    "faction_nc": "52.156864",
    "faction_tr": "19.607843",
    "faction_vs": "27.843140",
    "instance_id": "20367",
    "metagame_event_id": "152",
    "metagame_event_state": "138",
    "metagame_event_state_name": "ended",
    "timestamp": "1544075818",
    "world_id": "17",
    "zone_id": "4",
}
LOCK = {
    "event_name": "ContinentLock",
    "event_type": "0",
    "metagame_event_id": "152",
    "nc_population": "39",
    "previous_faction": "1",
    "timestamp": "1488350511",
    "tr_population": "23",
    "triggering_faction": "2",
    "vs_population": "36",
    "world_id": "17",
    "zone_id": "2",
}
DEATH = {
    "attacker_character_id": "0",
    "character_id": "5428010618013876561",
    "event_name": "Death",
    "timestamp": "1730180206",
    "world_id": "40",
    "zone_id": "103088492",
}


def decode(*payloads: dict[str, Any], without: tuple[str, ...] = (), **changes: object) -> Event:
    payload: dict[str, Any] = {}
    for part in (*payloads, changes):
        payload.update(part)
    return decode_event(
        json.dumps({key: value for key, value in payload.items() if key not in without}).encode()
    )


def test_login_and_logout() -> None:
    assert decode(LOGIN) == Login("5429038329410828849", 1, 1_611_720_644_000)
    assert decode(LOGIN, event_name="PlayerLogout") == Logout("5429038329410828849", 1, 1_611_720_644_000)


def test_a_change_of_an_alert() -> None:
    assert decode(METAGAME) == Metagame(
        world_id=17,
        instance_id=20367,
        metagame_event_id=152,
        state=138,
        at=1_544_075_818_000,
        zone_id=4,
        territory_vs=27.84314,
        territory_nc=52.156864,
        territory_tr=19.607843,
    )


def test_a_lock() -> None:
    assert decode(LOCK) == ContinentLock(
        world_id=17,
        zone_id=2,
        at=1_488_350_511_000,
        winner=2,
        previous_winner=1,
        metagame_event_id=152,
        population_vs=36.0,
        population_nc=39.0,
        population_tr=23.0,
    )


@pytest.mark.parametrize(
    "name",
    [
        "Death",
        "GainExperience",
        "VehicleDestroy",
        "BattleRankUp",
        "FacilityControl",
        "ItemAdded",
        "FishScan",
        "New",
    ],
)
def test_what_is_not_recorded_is_told_apart(name: str) -> None:
    assert decode(DEATH, event_name=name) == Other(name, 40, 1_730_180_206_000)


def test_the_real_events() -> None:
    lines = (DATA / "single_real_events.ndjson").read_bytes().splitlines()
    events = [decode_event(msgspec.json.encode(json.loads(line)["payload"])) for line in lines]
    assert events == [
        Login("5429038329410828849", 1, 1_611_720_644_000),
        Logout("5429091716534991393", 1, 1_611_720_653_000),
        Metagame(17, 20367, 152, 138, 1_544_075_818_000, None, 27.84314, 52.156864, 19.607843),
        ContinentLock(17, 2, 1_488_350_511_000, 2, 0, 0, 36.0, 39.0, 23.0),
        Other("FacilityControl", 10, 1_611_533_115_000),
        Other("FacilityControl", 10, 1_611_533_078_000),
    ]


# what years and platforms leave out, and what they send differently


def test_numbers_in_the_place_of_strings() -> None:
    numbers = {key: int(value) for key, value in LOGIN.items() if key != "event_name"}
    assert decode(LOGIN, numbers) == decode(LOGIN)
    assert decode(METAGAME, faction_vs=27.5, zone_id=4) == decode(METAGAME, faction_vs="27.5")


def test_keys_that_are_unknown_or_come_in_another_order() -> None:
    assert decode(LOGIN, future={"a": [1, None]}, team_id=None) == decode(LOGIN)
    assert decode_event(json.dumps(dict(reversed(LOGIN.items()))).encode()) == decode(LOGIN)


@pytest.mark.parametrize("zone_id", [None, "0", 0])
def test_an_alert_without_its_zone(zone_id: object) -> None:
    event = decode(METAGAME, zone_id=zone_id)
    assert isinstance(event, Metagame)
    assert event.zone_id is None
    assert decode(METAGAME, without=("zone_id",)) == event


def test_an_alert_of_the_least_words() -> None:
    optional = (
        "experience_bonus",
        "metagame_event_state_name",
        "faction_vs",
        "faction_nc",
        "faction_tr",
        "zone_id",
    )
    event = decode(METAGAME, without=optional)
    assert isinstance(event, Metagame)
    assert (event.territory_vs, event.territory_nc, event.territory_tr) == (None, None, None)


@pytest.mark.parametrize(
    "share", ["", "much", "nan", "inf", "-1", "100.1", "1e400", None, True, -0.5, 10**400, "9" * 6000]
)
def test_a_share_that_is_none_is_unknown(share: object) -> None:
    event = decode(METAGAME, faction_vs=share)
    assert isinstance(event, Metagame)
    assert event.territory_vs is None
    assert event.territory_nc == 52.156864


@pytest.mark.parametrize("share", ["0", "100", 0, 100, "99.999999", 33.3])
def test_shares_go_from_nothing_to_all(share: str | float) -> None:
    event = decode(METAGAME, faction_vs=share)
    assert isinstance(event, Metagame)
    assert event.territory_vs == float(share)


def test_a_lock_of_the_least_words() -> None:
    optional = (
        "event_type", "metagame_event_id", "previous_faction", "triggering_faction",
        "vs_population", "nc_population", "tr_population",
    )  # fmt: skip
    assert decode(LOCK, without=optional) == ContinentLock(
        17, 2, 1_488_350_511_000, 0, 0, 0, None, None, None
    )


def test_zones_that_pack_two_numbers_are_unsigned() -> None:
    event = decode(LOCK, zone_id=str(2**32 - 1))
    assert isinstance(event, ContinentLock)
    assert event.zone_id == 2**32 - 1


@pytest.mark.parametrize("character_id", ["0", 0, "000"])
def test_nobody_is_no_player(character_id: object) -> None:
    assert decode(LOGIN, character_id=character_id) == Other("PlayerLogin", 1, 1_611_720_644_000)


def test_a_character_has_one_spelling() -> None:
    assert (
        decode(LOGIN, character_id="0007")
        == decode(LOGIN, character_id=7)
        == Login("7", 1, 1_611_720_644_000)
    )
    assert decode(LOGIN, character_id=str(2**64 - 1)) == Login(str(2**64 - 1), 1, 1_611_720_644_000)


@pytest.mark.parametrize("garbage", ["x", "", None, -1, 2**32, 1.5, True, "9" * 6000])
def test_what_nothing_depends_on_may_be_anything(garbage: object) -> None:
    assert decode(DEATH, world_id=garbage) == Other("Death", None, 1_730_180_206_000)
    if garbage != 2**32:  # in the year 2106
        assert decode(DEATH, timestamp=garbage) == Other("Death", 40, None)


@pytest.mark.parametrize("name", [None, ""])
def test_a_payload_without_a_name(name: object) -> None:
    assert decode({"recent_character_id_count": 0}, event_name=name) == Other("", None, None)


# what is refused

REQUIRED = [
    (LOGIN, ("character_id", "world_id", "timestamp")),
    (METAGAME, ("world_id", "instance_id", "metagame_event_id", "metagame_event_state", "timestamp")),
    (LOCK, ("world_id", "zone_id", "timestamp")),
]


@pytest.mark.parametrize(
    ("payload", "key"),
    [(payload, key) for payload, keys in REQUIRED for key in keys],
    ids=lambda value: str(value)[-20:],
)
def test_a_needed_key_that_is_absent_or_no_number_is_named(payload: dict[str, Any], key: str) -> None:
    with pytest.raises(EventError, match=f"^{key} is None"):
        decode(payload, without=(key,))
    for value in (
        None,
        "",
        " 1",
        "1 ",
        "+1",
        "-1",
        "1.0",
        "0x1",
        "1_0",
        "٣",
        "²",
        "9" * 21,
        True,
        False,
        1.0,
        -1,
        10**400,
    ):
        with pytest.raises(EventError, match=f"^{key} is ") as caught:
            decode(payload, {key: value})
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "changes",
    [
        {"character_id": str(2**64)},
        {"world_id": str(2**32)},
        {"timestamp": "253402300800"},
        {"event_name": 7},
        {"event_name": True},
        {"event_name": ["PlayerLogin"]},
        {"world_id": ["1"]},
        {"world_id": {"a": 1}},
    ],
)
def test_what_is_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EventError):
        decode(LOGIN, changes)


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"PlayerLogin"', b"{", b"{}x", b"\xff", b"{'a':1}"]
)
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(EventError, match="payload"):
        decode_event(payload)


def test_a_payload_has_a_greatest_size() -> None:
    start, end = b'{"event_name":"', b'"}'
    room = MAX_PAYLOAD_BYTES - len(start) - len(end)
    assert isinstance(decode_event(start + b"x" * room + end), Other)
    with pytest.raises(EventError, match="bytes"):
        decode_event(start + b"x" * (room + 1) + end)


def test_depth_is_bounded() -> None:
    with pytest.raises(EventError):
        decode_event(b'{"a":' + b"[" * 60_000)


@given(st.binary(max_size=200))
@example(b'{"event_name":"\xff"}')
@example(b'{"event_name":"\\ud800"}')
def test_any_bytes_are_an_event_or_an_event_error(payload: bytes) -> None:
    _decode_or_refuse(payload)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 200).map(str)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.lists(st.integers(), max_size=2)
)


@given(
    base=st.sampled_from([LOGIN, METAGAME, LOCK, DEATH]),
    changes=st.dictionaries(st.sampled_from(sorted({*LOGIN, *METAGAME, *LOCK})), SCALARS, max_size=4),
    without=st.sets(st.sampled_from(sorted({*LOGIN, *METAGAME, *LOCK})), max_size=2),
)
def test_any_values_are_an_event_or_an_event_error(
    base: dict[str, Any], changes: dict[str, Any], without: set[str]
) -> None:
    payload = {key: value for key, value in (base | changes).items() if key not in without}
    _decode_or_refuse(json.dumps(payload).encode())


def _outcome(payload: bytes) -> Event | str:
    try:
        return decode_event(payload)
    except EventError as error:
        return str(error)


def _decode_or_refuse(payload: bytes) -> None:
    outcome = _outcome(payload)
    if isinstance(outcome, str):
        assert 0 < len(outcome) < 300
    else:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=type(outcome)) == outcome
