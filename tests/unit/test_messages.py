from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps2daemon.model.events import decode_event
from ps2daemon.model.messages import (
    MAX_MESSAGE_BYTES,
    Connected,
    Echo,
    Heartbeat,
    Help,
    HelpHint,
    Message,
    MessageError,
    RecentIds,
    ServiceMessage,
    Subscription,
    Unknown,
    WorldState,
    decode_message,
)

DATA = Path(__file__).parent.parent / "data" / "census"


def decode(frame: object) -> Message:
    return decode_message(json.dumps(frame))


def subscription(**told: object) -> Subscription:
    message = decode({"subscription": told})
    assert isinstance(message, Subscription)
    return message


# every kind of frame


def test_connection_state() -> None:
    frame = {"connected": "true", "service": "push", "type": "connectionStateChanged"}
    assert decode(frame) == Connected(True)
    assert decode(frame | {"connected": "false"}) == Connected(False)


def test_the_hint_at_help_and_help_itself() -> None:
    assert decode({"send this for help": {"service": "event", "action": "help"}}) == HelpHint()
    assert decode({"example event service message payloads": {}, "other": {}}) == Help()


@pytest.mark.parametrize(
    ("endpoint", "worlds"),
    [
        ("EventServerEndpoint_Connery_1", (1,)),
        ("EventServerEndpoint_Wainwright_10", (10,)),
        ("EventServerEndpoint_Genudine_1000", (1000,)),
        (
            "EventServerEndpoint_1000_Genudine_1001_Palos_1002_Crux_1003_Searhus_1004_Xelas",
            (1000, 1001, 1002, 1003, 1004),
        ),
        ("EventServerEndpoint_2000_Ceres", (2000,)),
        ("EventServerEndpoint_1", (1,)),
        ("EventServerEndpoint", ()),
        ("", ()),
        ("Endpoint_99999999999999999999_7", (7,)),
        ("Endpoint_4294967296", ()),
        ("Endpoint_٣", ()),
    ],
)
def test_worlds_are_the_digits_of_an_endpoint(endpoint: str, worlds: tuple[int, ...]) -> None:
    frame = {"detail": endpoint, "online": "true", "service": "event", "type": "serviceStateChanged"}
    assert decode(frame) == WorldState(worlds, True)
    assert decode(frame | {"online": "false"}) == WorldState(worlds, False)


def test_heartbeat() -> None:
    online = {
        "EventServerEndpoint_Cobalt_13": "true",
        "EventServerEndpoint_Briggs_25": "false",
        "nothing": "true",
    }
    frame = {"online": online, "service": "event", "timestamp": "1730180181", "type": "heartbeat"}
    assert decode(frame) == Heartbeat({13: True, 25: False}, 1_730_180_181_000)


@pytest.mark.parametrize(
    "timestamp", [None, "", "soon", -1, "-1", 0, "0", 1.5, True, 10**30, "1730180181000", "9" * 30, {}]
)
def test_a_heartbeat_without_a_time(timestamp: object) -> None:
    frame = {"online": {}, "service": "event", "type": "heartbeat"}
    assert decode(frame) == Heartbeat({}, None)
    assert decode(frame | {"timestamp": timestamp}) == Heartbeat({}, None)


def test_a_world_is_up_if_all_of_its_endpoints_are() -> None:
    online = {"A_1_B_2": "true", "A_1": "false", "B_2": "true", "C_1": "true"}
    assert decode({"online": online, "type": "heartbeat"}) == Heartbeat({1: False, 2: True}, None)


def test_the_real_acknowledgement() -> None:
    frame = (
        '{"subscription":{"characters":["all"],"eventNames":["Death"],'
        '"logicalAndCharactersWithWorlds":false,"worlds":["40"]}}'
    )
    assert decode_message(frame) == Subscription(
        worlds=frozenset({40}),
        event_names=frozenset({"Death"}),
        characters="all",
        character_count=None,
        logical_and=False,
    )


def test_an_acknowledgement_in_all_its_forms() -> None:
    everything = subscription(worlds=["all"], eventNames=["all"], characters=["1", 2])
    assert (everything.worlds, everything.event_names) == ("all", "all")
    assert everything.characters == frozenset({"1", "2"})
    counted = subscription(worlds=[1, "10"], eventNames=["Death", "PlayerLogin"], characterCount="3")
    assert counted.worlds == frozenset({1, 10})
    assert counted.characters is None
    assert counted.character_count == 3
    assert subscription(characterCount=3).character_count == 3
    assert subscription(logicalAndCharactersWithWorlds="true").logical_and
    assert subscription(logicalAndCharactersWithWorlds=True).logical_and
    assert subscription(worlds="all").worlds == "all"
    nothing = subscription()
    assert (nothing.worlds, nothing.event_names, nothing.logical_and) == (frozenset(), frozenset(), False)


def test_an_event_is_passed_on_exactly_as_received() -> None:
    payload = '{ "z" : 1.0e2, "event_name":"PlayerLogin","ü":"\\u00fc \\/", "a":[ ] }'
    for frame in (
        f'{{"payload":{payload},"service":"event","type":"serviceMessage"}}',
        f'{{"type":"serviceMessage", "payload" : {payload} }}',
        f' {{"payload":{payload}}} ',
    ):
        assert decode_message(frame) == ServiceMessage(payload.encode())
        assert decode_message(frame.encode()) == ServiceMessage(payload.encode())


def test_an_event_whose_name_is_written_in_escapes_is_an_event() -> None:
    payload = r'{"event\u005fname":"PlayerLogin","recent_character_id_list":[]}'
    assert decode_message(f'{{"payload":{payload}}}') == ServiceMessage(payload.encode())


def test_recent_ids() -> None:
    answer: dict[str, Any] = {"recent_character_id_count": 2, "recent_character_id_list": ["5", "17"]}
    frame = {"payload": answer, "service": "event", "type": "serviceMessage"}
    assert decode(frame) == RecentIds(2, ("17", "5"))
    assert decode({"payload": {"recent_character_id_count": "2"}}) == RecentIds(2, ())
    assert decode({"payload": {"recent_character_id_list": [5]}}) == RecentIds(1, ("5",))


def test_a_payload_without_a_name_is_an_event_of_no_kind() -> None:
    assert decode({"payload": {}}) == ServiceMessage(b"{}")


def test_an_echo_is_what_was_sent() -> None:
    assert decode_message('{"test":"test"}') == Echo(b'{"test":"test"}')
    assert decode_message("{}") == Echo(b"{}")


def test_a_kind_that_is_not_known() -> None:
    assert decode({"type": "novelty", "service": "event"}) == Unknown("novelty")
    assert decode({"type": "x" * 1000}) == Unknown("x" * 60)
    assert decode({"type": 7}) == Unknown("")
    assert decode({"service": "event", "online": "true"}) == Unknown("")


# what is refused


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "no JSON object"),
        ("null", "no JSON object"),
        ("[]", "no JSON object"),
        ("[" * 50_000, "no JSON object"),
        ('{"payload":' * 20_000, "no JSON object"),
        ('{"payload":{"event_name":"PlayerLogin"', "no JSON object"),
        ('{"payload":{}} trailing', "no JSON object"),
        ('{"payload":{"event_name":"a" "b"}}', "no JSON object"),
        ('{"payload":null}', "payload"),
        ('{"payload":"event_name"}', "payload"),
        ('{"payload":[{"event_name":"a"}]}', "payload"),
        ('{"payload":{"recent_character_id_list":{}}}', "recent_character_id_list is an object, not a list"),
        ('{"payload":{"recent_character_id_list":[true]}}', "recent_character_id_list has True"),
        ('{"payload":{"recent_character_id_count":-1}}', "recent_character_id_count"),
        ('{"detail":"E_1","online":"maybe"}', "online is 'maybe', neither"),
        ('{"detail":"E_1","online":1}', "online is 1, neither"),
        ('{"detail":"E_1"}', "online is absent"),
        ('{"detail":7,"online":"true"}', "detail is 7"),
        ('{"online":{"E_1":"maybe"}}', "online of 'E_1' is 'maybe'"),
        ('{"connected":null}', "connected is None"),
        ('{"subscription":[]}', "subscription is a list"),
        ('{"subscription":null}', "subscription is None"),
        ('{"subscription":{"worlds":{}}}', "worlds is an object"),
        ('{"subscription":{"worlds":["Miller"]}}', "worlds has 'Miller'"),
        ('{"subscription":{"worlds":[4294967296]}}', "worlds has 4294967296"),
        ('{"subscription":{"worlds":[1.5]}}', "worlds has 1.5"),
        ('{"subscription":{"eventNames":[null]}}', "eventNames has None"),
        ('{"subscription":{"characterCount":"many"}}', "characterCount has 'many'"),
        (
            '{"subscription":{"logicalAndCharactersWithWorlds":"no"}}',
            "logicalAndCharactersWithWorlds is 'no'",
        ),
    ],
)
def test_a_frame_that_can_not_be_understood_says_why(frame: str, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode_message(frame)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "frame", [b"\xff", b'{"payload":{"event_name":"\xff"}}', b'{"detail":"\xc3"}', b"\xef\xbb\xbf{}"]
)
def test_what_is_no_utf_8_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError, match="no JSON object"):
        decode_message(frame)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(MessageError):
        decode_message('{"detail":"\ud800","online":"true"}')
    with pytest.raises(MessageError):
        decode_message('{"detail":"\\ud800","online":"true"}')


def test_a_frame_has_a_greatest_size() -> None:
    start, end = '{"type":"', '"}'
    room = MAX_MESSAGE_BYTES - len(start) - len(end)
    assert decode_message(start + "x" * room + end) == Unknown("x" * 60)
    with pytest.raises(MessageError, match="bytes"):
        decode_message(start + "x" * (room + 1) + end)


@pytest.mark.parametrize("digits", [400, 6000])
@pytest.mark.parametrize(
    "frame",
    [
        '{"subscription":{"worlds":[NUMBER]}}',
        '{"subscription":{"characters":[NUMBER],"characterCount":NUMBER}}',
        '{"detail":NUMBER}',
        '{"detail":"E_1","online":NUMBER}',
        '{"online":{"E_1":NUMBER}}',
        '{"connected":NUMBER}',
        '{"payload":{"recent_character_id_count":NUMBER}}',
    ],
)
def test_enormous_numbers_are_refused_in_few_words(frame: str, digits: int) -> None:
    with pytest.raises(MessageError) as caught:
        decode_message(frame.replace("NUMBER", "9" * digits))
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_a_message_or_a_message_error(frame: bytes | str) -> None:
    _decode_or_refuse(frame)


KEYS = st.sampled_from(
    [
        "payload", "type", "service", "online", "detail", "timestamp", "connected", "subscription", "event_name",
        "send this for help", "example event service message payloads", "worlds", "eventNames", "characters",
        "characterCount", "logicalAndCharactersWithWorlds", "recent_character_id_count", "recent_character_id_list",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["true", "false", "all", "EventServerEndpoint_Cobalt_13", "1", "PlayerLogin"])
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(frame=st.dictionaries(KEYS, VALUES, max_size=5), cut=st.none() | st.integers(0, 200))
def test_any_object_is_a_message_or_a_message_error(frame: dict[str, Any], cut: int | None) -> None:
    _decode_or_refuse(json.dumps(frame)[:cut])


def _outcome(frame: bytes | str) -> Message | str:
    try:
        return decode_message(frame)
    except MessageError as error:
        return str(error)


def _decode_or_refuse(frame: bytes | str) -> None:
    outcome = _outcome(frame)
    if isinstance(outcome, str):
        assert 0 < len(outcome) < 300
    elif isinstance(outcome, ServiceMessage):
        json.loads(outcome.payload)


# the real capture


def test_the_real_capture() -> None:
    lines = (DATA / "spascou_ess_capture_202004.ndjson").read_text().splitlines()
    messages = [decode_message(line) for line in lines]
    kinds = [type(message) for message in messages]
    assert kinds[:2] == [Connected, WorldState]
    assert kinds.count(HelpHint) == 1
    assert [message.world_ids for message in messages if isinstance(message, WorldState)] == [
        (1,), (10,), (13,), (17,), (19,), (25,), (40,)
    ]  # fmt: skip
    [acknowledged] = [message for message in messages if isinstance(message, Subscription)]
    assert acknowledged.worlds == frozenset({40})
    events = [
        (line, message.payload)
        for line, message in zip(lines, messages, strict=True)
        if isinstance(message, ServiceMessage)
    ]
    for line, payload in events:
        assert json.loads(payload) == json.loads(line)["payload"]
        decode_event(payload)
    assert len(events) + kinds.count(Heartbeat) + 10 == len(lines)
