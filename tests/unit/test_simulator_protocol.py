from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from ps2daemon.model.events import ContinentLock, Login, Logout, Metagame, decode_event
from ps2daemon.model.messages import (
    Connected,
    Echo,
    Heartbeat,
    Help,
    HelpHint,
    RecentIds,
    ServiceMessage,
    WorldState,
    decode_message,
)
from ps2daemon.simulator import protocol
from ps2daemon.simulator.payloads import Happening, event_name, payload_of
from ps2daemon.simulator.subscription import Subscription

WORLDS = {1: True, 10: True, 40: False}
SEEN = ("5428010618013876561", "5428010618013876562")


def answer(command: object) -> bytes | None:
    return protocol.answer(json.dumps(command), Subscription(), SEEN)


def test_the_greeting_begins_with_the_connection_and_has_the_hint_anywhere_behind_it() -> None:
    places = set()
    for seed in range(40):
        messages = [decode_message(frame) for frame in protocol.greeting(WORLDS, Random(seed))]
        assert messages[0] == Connected(True)
        assert [message for message in messages if isinstance(message, WorldState)] == [
            WorldState((1,), True),
            WorldState((10,), True),
            WorldState((40,), False),
        ]
        assert len(messages) == 5
        places.add(messages.index(HelpHint()))
    assert places == {1, 2, 3, 4}


def test_frames_are_those_of_the_real_service() -> None:
    assert json.loads(protocol.world_state(40, True)) == {
        "detail": "EventServerEndpoint_Soltech_40",
        "online": "true",
        "service": "event",
        "type": "serviceStateChanged",
    }
    assert json.loads(protocol.heartbeat({1: True, 40: False}, 1_730_180_181_999)) == {
        "online": {"EventServerEndpoint_Osprey_1": "true", "EventServerEndpoint_Soltech_40": "false"},
        "service": "event",
        "timestamp": "1730180181",
        "type": "heartbeat",
    }
    assert decode_message(protocol.heartbeat(WORLDS, 1_730_180_181_999)) == Heartbeat(
        WORLDS, 1_730_180_181_000
    )


def test_an_echo_is_the_payload_without_an_envelope() -> None:
    frame = answer({"service": "event", "action": "echo", "payload": {"test": "test"}})
    assert frame == b'{"test":"test"}'
    assert isinstance(decode_message(frame), Echo)


def test_recent_characters_are_listed_or_counted() -> None:
    listed = answer({"service": "event", "action": "recentCharacterIds"})
    counted = answer({"service": "event", "action": "recentCharacterIdsCount"})
    assert listed is not None
    assert counted is not None
    assert decode_message(listed) == RecentIds(2, SEEN)
    assert decode_message(counted) == RecentIds(2, ())


def test_help_is_recognised() -> None:
    frame = answer({"service": "event", "action": "help"})
    assert frame is not None
    assert isinstance(decode_message(frame), Help)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[",
        "null",
        "[]",
        '"subscribe"',
        "{}",
        '{"service":"push","action":"help"}',
        '{"service":"event"}',
        "[" * 5_000,
    ],
)
def test_what_is_no_command_has_no_answer(frame: str) -> None:
    assert protocol.answer(frame, Subscription(), ()) is None


METAGAME = Metagame(10, 20_367, 152, 138, 1_544_075_818_000, 8, 27.84314, 52.156864, 19.607843)
LOCK = ContinentLock(17, 2, 1_488_350_511_000, 2, 0, 0, 36.0, 39.0, 23.0)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (
            Login("5429038329410828849", 1, 1_611_720_644_000),
            {
                "character_id": "5429038329410828849",
                "event_name": "PlayerLogin",
                "timestamp": "1611720644",
                "world_id": "1",
            },
        ),
        (
            Logout("5429091716534991393", 1, 1_611_720_653_000),
            {
                "character_id": "5429091716534991393",
                "event_name": "PlayerLogout",
                "timestamp": "1611720653",
                "world_id": "1",
            },
        ),
        (
            METAGAME,
            {
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
                "world_id": "10",
                "zone_id": "8",
            },
        ),
        (
            LOCK,
            {
                "event_name": "ContinentLock",
                "metagame_event_id": "0",
                "nc_population": "39",
                "previous_faction": "0",
                "timestamp": "1488350511",
                "tr_population": "23",
                "triggering_faction": "2",
                "vs_population": "36",
                "world_id": "17",
                "zone_id": "2",
            },
        ),
    ],
)
def test_payloads_have_the_real_fields_all_of_them_strings(event: Happening, payload: dict[str, Any]) -> None:
    text = payload_of(event)
    assert json.loads(text) == payload
    assert list(json.loads(text)) == sorted(payload)
    assert event_name(event) == payload["event_name"]
    assert decode_event(text) == event
    assert decode_message(protocol.service_message(text)) == ServiceMessage(text)
