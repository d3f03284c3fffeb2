"""Each fault of the simulator by itself, without a network and on a clock that jumps.

Every fault of the catalogue has an effect test, by its name in `EFFECTS`; one without fails `test_every_fault_has_an_effect_test`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from ps2daemon.model.events import CANCELED, Login
from ps2daemon.model.messages import Heartbeat, MessageError, WorldState, decode_message
from ps2daemon.model.records import DAY, SECOND, Ms
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.logins import RESTART_SECONDS, RETURN_SECONDS
from ps2daemon.simulator.faults.rest import ERROR_BODIES
from ps2daemon.simulator.payloads import Happening, payload_of
from ps2daemon.simulator.protocol import service_message
from ps2daemon.simulator.sources import BusySource
from ps2daemon.simulator.truth import TrueSession
from tests.unit.fault_bench import (
    ASK,
    CLOSE_FRAME,
    EVENTS,
    GET_WORLDS,
    SUBSCRIBE,
    UPGRADE,
    WORLDS,
    Bench,
    Listener,
    Message,
    bench,
)

Effect = Callable[[Bench], Awaitable[None]]
EFFECTS: dict[str, Effect] = {}


def effect(function: Effect) -> Effect:
    """Registers the effect test of the fault whose name the function has."""
    EFFECTS[function.__name__] = function
    return function


def names(payloads: list[Message]) -> list[str]:
    return [payload["event_name"].removeprefix("Player") for payload in payloads]


# Connections.


@effect
async def refuse_upgrade(bench: Bench) -> None:
    bench.start("refuse_upgrade")
    answer, _ = await bench.http(UPGRADE)
    assert answer.startswith(b"HTTP/1.1 403")
    bench.start("refuse_upgrade:503")
    answer, _ = await bench.http(UPGRADE)
    assert answer.startswith(b"HTTP/1.1 503")
    answer, _ = await bench.http(GET_WORLDS)
    assert answer.startswith(b"HTTP/1.1 200")


@effect
async def refuse_tcp(bench: Bench) -> None:
    bench.start("refuse_tcp")
    await trio.sleep(0.01)
    assert bench.simulator.hidden.is_set()
    for _ in range(5):  # whichever of its tasks comes first
        bench.start("refuse_tcp")
        await trio.sleep(0.01)
        assert bench.simulator.hidden.is_set()
    bench.stop("refuse_tcp")
    await trio.sleep(0.01)
    assert not bench.simulator.hidden.is_set()
    assert bench.simulator.shown.is_set()


@effect
async def tls_failure(bench: Bench) -> None:
    bench.start("tls_failure")
    for request in (UPGRADE, GET_WORLDS, b"\x16\x03\x01\x02\x00\x01"):
        answer, _ = await bench.http(request)
        assert answer[:3] == b"\x15\x03\x03"
        assert len(answer) == 7
    answer, _ = await bench.http(b"GET /faults HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


@effect
async def stream_down(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("stream_down")
    await trio.sleep(0.01)
    assert listener.closed == 1006
    answer, _ = await bench.http(UPGRADE)
    assert answer == b""
    answer, _ = await bench.http(GET_WORLDS)
    assert answer.startswith(b"HTTP/1.1 200")


@effect
async def accept_silent(bench: Bench) -> None:
    before = await bench.subscribed()
    bench.start("accept_silent")
    listener = await bench.open()
    await listener.send(SUBSCRIBE)
    session = bench.login()
    assert await listener.heard(100) == []
    assert names(await before.payloads()) == ["Login"]
    assert await listener.pong()
    assert session.login_sent is not None


@effect
async def close_at_once(bench: Bench) -> None:
    value = FAULTS["close_at_once"].value
    assert value is not None
    for code in value.choices:
        bench.start(f"close_at_once:{code}")
        listener = await bench.open()
        await trio.sleep(0.01)
        assert listener.closed == int(code)
        assert listener.texts == []


@effect
async def reset(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("reset:5")
    await trio.sleep(4)
    assert listener.closed is None
    await trio.sleep(2)
    assert listener.closed == 1006
    assert listener.texts == []
    later = await bench.subscribed()
    await trio.sleep(6)
    assert later.closed == 1006


@effect
async def half_open(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("half_open:5")
    assert await listener.pong()
    await trio.sleep(6)
    await listener.heard()
    session = bench.login()
    assert session.login_sent is None
    assert not await listener.pong()
    assert await listener.heard(100) == []
    assert listener.closed is None


# Subscriptions, heartbeats and silence.


@effect
async def heartbeats_only(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("heartbeats_only")
    session = bench.login()
    assert session.login_sent is None
    (heartbeat,) = await listener.heard(30)
    assert isinstance(decode_message(heartbeat), Heartbeat)
    bench.stop("heartbeats_only")
    bench.logout(session)
    assert session.logout_sent is not None
    assert names(await listener.payloads()) == ["Logout"]


@effect
async def world_silent(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("world_silent:10")
    silent, told = bench.login(1, 10), bench.login(2, 40)
    assert (silent.login_sent, told.login_sent is None) == (None, False)
    assert [payload["world_id"] for payload in await listener.payloads()] == ["40"]


async def subscription(listener: Listener) -> Message:
    await listener.heard()
    await listener.send(ASK)
    (answer,) = await listener.heard()
    answered = json.loads(answer)["subscription"]
    assert isinstance(answered, dict)
    return answered


@effect
async def subscription_emptied(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("subscription_emptied:5")
    await trio.sleep(4)
    assert (await subscription(listener))["worlds"] == ["1", "10", "40"]
    texts = await listener.heard(2)
    assert texts == [], "it is not told"
    assert bench.login().login_sent is None
    answer = await subscription(listener)
    assert (answer["worlds"], answer["eventNames"]) == ([], [])
    await listener.send(SUBSCRIBE)
    await listener.heard(20)
    assert bench.login(2).login_sent is not None


@effect
async def subscription_narrowed(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("subscription_narrowed:0")
    assert await listener.heard() == []
    answer = await subscription(listener)
    assert (answer["worlds"], answer["eventNames"]) == (["1"], EVENTS)
    assert bench.login(1, 10).login_sent is None
    assert bench.login(2, 1).login_sent is not None


@effect
async def no_ack(bench: Bench) -> None:
    bench.start("no_ack")
    listener = await bench.open()
    await listener.send(SUBSCRIBE)
    assert not [text for text in await listener.heard() if "subscription" in text]
    bench.login()
    assert names(await listener.payloads()) == ["Login"]
    await listener.send({"service": "event", "action": "echo", "payload": {"a": 1}})
    assert await listener.heard() == ['{"a":1}']


async def heartbeat(listener: Listener) -> Heartbeat:
    await listener.heard()
    (text,) = await listener.heard(30)
    beat = decode_message(text)
    assert isinstance(beat, Heartbeat)
    return beat


@effect
async def heartbeat_without_timestamp(bench: Bench) -> None:
    listener = await bench.subscribed()
    assert (await heartbeat(listener)).at is not None
    bench.start("heartbeat_without_timestamp")
    beat = await heartbeat(listener)
    assert beat.at is None
    assert beat.online == dict.fromkeys(WORLDS, True)


@effect
async def ghost_world(bench: Bench) -> None:
    bench.start("ghost_world")
    listener = await bench.subscribed()
    assert (await heartbeat(listener)).online == {**dict.fromkeys(WORLDS, True), 25: True}


@effect
async def false_while_flowing(bench: Bench) -> None:
    bench.start("false_while_flowing:10")
    listener = await bench.subscribed()
    assert (await heartbeat(listener)).online == {1: True, 10: False, 40: True}
    assert bench.login().login_sent is not None


@effect
async def renamed_endpoint(bench: Bench) -> None:
    bench.start("renamed_endpoint")
    listener = await bench.open()
    greeting = await listener.heard()
    states = [decode_message(text) for text in greeting if "serviceStateChanged" in text]
    assert [state.world_ids for state in states if isinstance(state, WorldState)] == [(1,), (10,), (40,)]
    assert not [text for text in greeting if "Wainwright" in text]
    (text,) = await listener.heard(30)
    assert "EventServerEndpoint_Renamed_10" in text
    assert "Wainwright" not in text
    bench.simulator.set_world(10, False)
    assert "EventServerEndpoint_Renamed_10" in (await listener.heard())[0]


# Logins and logouts.


@effect
async def world_restart(bench: Bench) -> None:
    listener = await bench.subscribed()
    sessions = [bench.login(number, 10) for number in range(10)]
    elsewhere = bench.login(10, 40)
    await listener.heard()
    began = bench.now()
    bench.start("world_restart:10")
    await trio.sleep(0.01)
    assert [session.logout for session in sessions] == [began] * 10
    assert bench.truth.online_count() == 1
    bench.logout(sessions[0])  # the story has it leave now
    bench.logout(elsewhere)
    await trio.sleep(RESTART_SECONDS)
    texts = await listener.heard()
    states = [decode_message(text) for text in texts if "serviceStateChanged" in text]
    assert states == [WorldState((10,), False), WorldState((10,), True)]
    payloads = [json.loads(text)["payload"] for text in texts if "payload" in text]
    assert names(payloads) == ["Logout"], "of the other world"
    bench.logout(sessions[9])  # up again, but not back yet
    payloads = await listener.payloads(RETURN_SECONDS + 1)
    assert names(payloads) == ["Login"] * 8
    again = bench.truth.sessions[-8:]
    assert {session.character_id for session in again} == {session.character_id for session in sessions[1:9]}
    assert all(session.logout_sent is None for session in sessions)
    assert all(session.login_sent is not None for session in again)
    assert "world_restart:10" not in bench.simulator.faults.active


@effect
async def drop_logouts(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("drop_logouts:40")
    sessions = [bench.login(number) for number in range(500)]
    for session in sessions:
        bench.logout(session)
    told = Counter(names(await listener.payloads()))
    dropped = [session for session in sessions if session.logout_sent is None]
    assert told["Login"] == 500
    assert told["Logout"] == 500 - len(dropped)
    assert len(dropped) == pytest.approx(200, abs=50)
    assert all(session.logout is not None for session in sessions), "they left all the same"


@effect
async def drop_logins(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("drop_logins:100")
    session = bench.login()
    bench.logout(session)
    assert names(await listener.payloads()) == ["Logout"]
    assert session.login_sent is None
    assert session.logout_sent is not None


async def relog(bench: Bench) -> tuple[list[tuple[str, Ms]], list[TrueSession], Ms]:
    """What is told of a logout and what comes of it, the sessions that there are, and when it was."""
    listener = await bench.subscribed()
    session = bench.login()
    await trio.sleep(60)
    await listener.heard()
    at = bench.now()
    bench.logout(session)
    told = [
        (payload["event_name"].removeprefix("Player"), int(payload["timestamp"]) * SECOND)
        for payload in await listener.payloads(5)
    ]
    first, second = bench.truth.sessions
    assert (first.logout, second.login, second.logout) == (at, at, at + SECOND)
    assert (second.login_sent, second.logout_sent) != (None, None)
    assert bench.truth.online_count() == 0
    return told, bench.truth.sessions, at


@effect
async def same_second_relog(bench: Bench) -> None:
    bench.start("same_second_relog:100")
    told, sessions, at = await relog(bench)
    assert told == [("Logout", at), ("Login", at), ("Logout", at + SECOND)]
    assert sessions[0].logout_sent is not None


@effect
async def swapped_order(bench: Bench) -> None:
    bench.start("swapped_order:100")
    told, sessions, at = await relog(bench)
    assert told == [("Login", at), ("Logout", at), ("Logout", at + SECOND)]
    first = sessions[0].logout_sent
    assert first is not None
    assert sessions[1].login_sent is not None
    assert first > sessions[1].login_sent


@effect
async def double_login(bench: Bench) -> None:
    bench.start("double_login:100")
    told, sessions, at = await relog(bench)
    assert told == [("Login", at), ("Logout", at + SECOND)]
    assert sessions[0].logout_sent is None


@effect
async def orphan_logout(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("orphan_logout:100")
    bench.logout(bench.login())
    payloads = await listener.payloads()
    assert names(payloads) == ["Login", "Logout", "Logout"]
    assert payloads[2]["character_id"] not in bench.truth.characters
    assert len(bench.truth.sessions) == 1


# Alerts and locks.


def states(payloads: list[Message]) -> list[tuple[str, int]]:
    """Each change's state, and how many seconds after the first it says to be."""
    first = int(payloads[0]["timestamp"]) if payloads else 0
    return [(payload["metagame_event_state"], int(payload["timestamp"]) - first) for payload in payloads]


@effect
async def alert_early_end(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_early_end:60")
    alert = bench.alert()
    payloads = await listener.payloads(70)
    assert states(payloads) == [("135", 0), ("138", 60)]
    assert [payload["faction_nc"] for payload in payloads] == ["33.000000", "40.000000"]
    assert bench.truth.alerts[0].end == alert.start + 60 * SECOND
    bench.end(alert)
    assert await listener.payloads() == [], "it is over"


@effect
async def alert_missing_end(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_missing_end")
    alert = bench.alert()
    bench.end(alert)
    bench.simulator.tell(bench.change(alert, CANCELED, alert.end))
    assert states(await listener.payloads()) == [("135", 0)]
    assert bench.truth.alerts == [alert]


@effect
async def alert_canceled(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_canceled")
    bench.end(bench.alert())
    payloads = await listener.payloads()
    assert states(payloads) == [("135", 0), ("137", 5_400)]
    assert payloads[1]["metagame_event_state_name"] == "canceled"
    (alert,) = bench.truth.alerts
    assert (alert.canceled, alert.winner) == (True, None)


@effect
async def alert_restarted(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_restarted:30")
    alert = bench.alert()
    payloads = await listener.payloads(40)
    assert states(payloads) == [("135", 0), ("136", 30)]
    assert payloads[1]["metagame_event_state_name"] == "restarted"
    assert bench.truth.alerts == [alert]


@effect
async def alert_ended_twice(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_ended_twice")
    bench.end(bench.alert())
    _, first, second = states(await listener.payloads(10))
    assert (first[0], second[0]) == ("138", "138")
    assert 1 <= second[1] - first[1] <= 5


@effect
async def alert_instance_reset(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("alert_instance_reset:2")
    for instance_id in range(100, 104):
        bench.end(bench.alert(instance_id))
    told = [payload["instance_id"] for payload in await listener.payloads()]
    assert told == ["1", "1", "2", "2", "1", "1", "2", "2"]
    assert [alert.instance_id for alert in bench.truth.alerts] == [100, 101, 102, 103]


async def one_alert(bench: Bench, fault: str) -> Message:
    """What is told of an alert's start, and of nothing else but alerts."""
    listener = await bench.subscribed()
    bench.login()
    (plain,) = await listener.payloads()
    bench.start(fault)
    bench.login(2)
    assert set((await listener.payloads())[0]) == set(plain)
    bench.alert()
    (payload,) = await listener.payloads()
    return payload


@effect
async def alert_missing_zone(bench: Bench) -> None:
    payload = await one_alert(bench, "alert_missing_zone")
    assert "zone_id" not in payload
    assert payload["metagame_event_id"] == "147"


@effect
async def alert_missing_state_name(bench: Bench) -> None:
    payload = await one_alert(bench, "alert_missing_state_name")
    assert "metagame_event_state_name" not in payload
    assert payload["metagame_event_state"] == "135"


@effect
async def unknown_metagame(bench: Bench) -> None:
    assert (await one_alert(bench, "unknown_metagame"))["metagame_event_id"] == "9999"


@effect
async def packed_zones(bench: Bench) -> None:
    assert (await one_alert(bench, "packed_zones:1573"))["zone_id"] == str(1573 << 16 | 2)
    listener = await bench.subscribed()
    bench.lock()
    assert (await listener.payloads())[0]["zone_id"] == str(1573 << 16 | 2)


@effect
async def tutorial_lock(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("tutorial_lock:100")
    bench.logout(bench.login())
    payloads = await listener.payloads()
    assert names(payloads) == ["Login", "Logout", "ContinentLock"]
    zone = int(payloads[2]["zone_id"])
    assert zone & 0xFFFF == 364
    assert zone >> 16 > 0
    assert bench.truth.locks == []


# Events and frames of any kind.


async def login_told(bench: Bench, fault: str, seconds: float = 0.01) -> tuple[list[str], Login]:
    """Every frame by which one login is told."""
    listener = await bench.subscribed()
    bench.start(fault)
    session = bench.login()
    assert len(bench.truth.sessions) == 1
    return await listener.heard(seconds), Login(session.character_id, 10, session.login)


def plainly(event: Happening) -> str:
    return service_message(payload_of(event)).decode()


@effect
async def world_clock(bench: Bench) -> None:
    (text,), event = await login_told(bench, "world_clock:-309")
    assert int(json.loads(text)["payload"]["timestamp"]) == event.at // SECOND - 309
    listener = await bench.subscribed()
    bench.start("world_clock:86400@40")
    bench.login(2, 10)
    bench.login(3, 40)
    here, there = (int(payload["timestamp"]) * SECOND for payload in await listener.payloads())
    assert there - here == DAY


@effect
async def clock_rollback(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("clock_rollback:7")
    offsets = []
    for number in range(60):
        at = bench.login(number).login
        (payload,) = await listener.payloads(1.0)
        offsets.append(int(payload["timestamp"]) - at // SECOND)
    assert Counter(offsets) == {0: 30, -7: 30}


async def besides(bench: Bench, fault: str) -> Message:
    """The payload that comes behind a login."""
    texts, event = await login_told(bench, fault)
    assert texts[0] == plainly(event)
    (text,) = texts[1:]
    payload = json.loads(text)["payload"]
    assert isinstance(payload, dict)
    return payload


@effect
async def unknown_event(bench: Bench) -> None:
    assert (await besides(bench, "unknown_event:100"))["event_name"] == "PlayerTeleport"


@effect
async def payload_without_name(bench: Bench) -> None:
    assert set(await besides(bench, "payload_without_name:100")) == {"character_id", "timestamp", "world_id"}


@effect
async def missing_team_id(bench: Bench) -> None:
    payload = await besides(bench, "missing_team_id:100")
    assert payload["event_name"] == "GainExperience"
    assert "team_id" not in payload


@effect
async def unknown_world(bench: Bench) -> None:
    payload = await besides(bench, "unknown_world:555")
    assert (payload["event_name"], payload["world_id"]) == ("PlayerLogin", "555")


@effect
async def numbers_for_strings(bench: Bench) -> None:
    (text,), event = await login_told(bench, "numbers_for_strings")
    assert json.loads(text)["payload"] == {
        "character_id": int(event.character_id),
        "event_name": "PlayerLogin",
        "timestamp": event.at // SECOND,
        "world_id": 10,
    }


@effect
async def unparseable_frame(bench: Bench) -> None:
    texts, event = await login_told(bench, "unparseable_frame:100")
    assert texts[0] == plainly(event)
    (text,) = texts[1:]
    with pytest.raises(MessageError):
        decode_message(text)


@effect
async def truncated_json(bench: Bench) -> None:
    texts, event = await login_told(bench, "truncated_json:100")
    assert texts[0] == plainly(event)
    (text,) = texts[1:]
    assert plainly(event).startswith(text)
    with pytest.raises(MessageError):
        decode_message(text)


@effect
async def large_frame(bench: Bench) -> None:
    before = await bench.subscribed()
    bench.start("large_frame:3000000")
    after = await bench.open()
    for listener in (before, after):
        text = (await listener.heard())[0]
        assert len(text) == 3_000_000
        json.loads(text)


@effect
async def duplicate(bench: Bench) -> None:
    texts, event = await login_told(bench, "duplicate:100")
    assert texts == [plainly(event)] * 2


@effect
async def duplicate_late(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("duplicate_late:20")
    for number in range(50):
        bench.login(number)
    assert len(await listener.payloads(0.9)) == 50
    early = len(await listener.payloads(9))
    late = len(await listener.payloads(11))
    assert early + late == 50
    assert min(early, late) > 10


@effect
async def duplicate_across(bench: Bench) -> None:
    first, second = await bench.subscribed(), await bench.subscribed()
    bench.start("duplicate_across:3")
    session = bench.login()
    assert session.login_sent is not None
    assert names(await first.payloads(1)) == ["Login"]
    assert await second.payloads(1) == []
    assert names(await second.payloads(2)) == ["Login"]
    assert await first.payloads() == []


@effect
async def out_of_order(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("out_of_order:3")
    sessions = [bench.login(number) for number in range(30)]
    assert [session.login_sent for session in sessions] == [None] * 30
    told = [payload["character_id"] for payload in await listener.payloads(4)]
    expected = [session.character_id for session in sessions]
    assert sorted(told) == expected
    assert told != expected
    assert all(session.login_sent is not None for session in sessions)


# REST.


@effect
async def rest_missing_first_session(bench: Bench) -> None:
    session = bench.login()
    assert bench.rows() == []
    bench.stop("rest_missing_first_session")
    assert len(bench.rows()) == 1
    bench.start("rest_missing_first_session")
    assert bench.rows() == []
    bench.logout(session)
    assert len(bench.rows()) == 1


@effect
async def rest_nameless(bench: Bench) -> None:
    bench.populate()
    bench.start("rest_nameless")
    assert {"name" in row for row in bench.rows()} == {False}
    assert bench.rows()[0]["faction_id"] == "1"


@effect
async def rest_null_names(bench: Bench) -> None:
    bench.populate()
    bench.start("rest_null_names")
    assert {row["name"]["first"] for row in bench.rows()} == {"null"}


@effect
async def rest_partial(bench: Bench) -> None:
    bench.populate(20)
    whole = bench.rows()
    bench.start("rest_partial:30")
    assert len(bench.rows()) == 14
    assert all(row in whole for row in bench.rows())


@effect
async def rest_reordered(bench: Bench) -> None:
    bench.populate(20)
    whole = bench.rows()
    bench.start("rest_reordered")
    rows = bench.rows()
    assert rows != whole
    assert sorted(rows, key=lambda row: row["character_id"]) == whole


@effect
async def rest_empty(bench: Bench) -> None:
    bench.populate()
    bench.start("rest_empty")
    assert json.loads(bench.get().body) == {"character_list": [], "returned": 0}


@effect
async def rest_error_body(bench: Bench) -> None:
    bench.populate()
    for which, body in ERROR_BODIES.items():
        bench.start(f"rest_error_body:{which}")
        assert json.loads(bench.get().body) == body
        assert bench.get().status == 200


@effect
async def rest_html(bench: Bench) -> None:
    bench.start("rest_html")
    answer = bench.get("/s:me/get/ps2/world")
    assert (answer.status, answer.content_type[:9], answer.body[:9]) == (200, "text/html", b"<!DOCTYPE")


@effect
async def rest_text_html(bench: Bench) -> None:
    bench.populate(1)
    bench.start("rest_text_html")
    assert bench.get().content_type.startswith("text/html")
    assert len(bench.rows()) == 1


@effect
async def rest_status(bench: Bench) -> None:
    bench.start("rest_status:502")
    assert bench.get("/s:me/get/ps2/world").status == 502


@effect
async def rest_redirect(bench: Bench) -> None:
    bench.start("rest_redirect")
    answer, _ = await bench.http(GET_WORLDS)
    assert answer.startswith(b"HTTP/1.1 302")
    assert b"location: https://www.daybreakgames.com/home\r\n" in answer.lower()
    assert b"<html>" in answer


@effect
async def rest_trickle(bench: Bench) -> None:
    whole, at_once = await bench.http(GET_WORLDS)
    bench.start("rest_trickle:30")
    answer, took = await bench.http(GET_WORLDS)
    assert answer == whole
    assert at_once == 0
    assert took == pytest.approx(30, abs=0.1)


@effect
async def rest_reset(bench: Bench) -> None:
    whole, _ = await bench.http(GET_WORLDS)
    bench.start("rest_reset")
    answer, _ = await bench.http(GET_WORLDS)
    assert whole.startswith(answer)
    assert whole.index(b"\r\n\r\n") + 10 < len(answer) < len(whole)


@effect
async def rest_down(bench: Bench) -> None:
    listener = await bench.subscribed()
    bench.start("rest_down")
    answer, _ = await bench.http(GET_WORLDS)
    assert answer == b""
    assert bench.login().login_sent is not None
    assert names(await listener.payloads()) == ["Login"]


def test_every_fault_has_an_effect_test_and_no_other_has() -> None:
    assert set(EFFECTS) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
async def test_the_effect_of(name: str, autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as here:
        await EFFECTS[name](here)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
async def test_a_fault_that_was_stopped_leaves_nothing_behind(
    fault: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with bench() as here:
        before = here.simulator.faults.active
        value = "" if fault.value is None or fault.value.default is not None else ":10"
        here.start(fault.name + value, seconds=5)
        assert here.simulator.faults.is_on(fault.name)
        await trio.sleep(6)
        if fault.from_start:
            assert not here.simulator.faults.is_on(fault.name)
            return
        assert here.simulator.faults.active == before
        await trio.sleep(100)
        listener = await here.subscribed()
        session = here.login()
        assert session.login_sent is not None
        assert names(await listener.payloads()) == ["Login"]
        assert here.get("/s:me/get/ps2/world").status == 200
        assert not here.simulator.faults.touch_events, "events go the short way again"


async def test_faults_combine(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as here:
        listener = await here.subscribed()
        for text in ("duplicate:100", "world_clock:-309", "numbers_for_strings", "drop_logouts:100@40"):
            here.start(text)
        for number, world_id in enumerate((10, 40)):
            here.logout(here.login(number, world_id))
        payloads = await listener.payloads()
        assert names(payloads) == ["Login", "Login", "Logout", "Logout", "Login", "Login"]
        assert {payload["timestamp"] for payload in payloads} == {here.now() // SECOND - 309}


async def test_relogs_of_all_kinds_together_happen_once(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as here:
        for text in ("same_second_relog:100", "swapped_order:100", "double_login:100"):
            here.start(text)
        told, sessions, at = await relog(here)
        assert told == [("Login", at), ("Logout", at + SECOND)]
        assert sessions[0].logout_sent is None


async def test_in_whatever_order_faults_are_started_they_do_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = ["unknown_event:100", "duplicate:100", "rest_status:503", "rest_redirect"]
    doors = ["refuse_upgrade:502", "stream_down"]
    for step in (1, -1):
        async with bench() as here:
            listener = await here.subscribed()
            for text in faults[::step]:
                here.start(text)
            here.login()
            assert names(await listener.payloads()) == ["Login", "Login", "Teleport", "Teleport"]
            assert here.get("/s:me/get/ps2/world").status == 302
            for text in doors[::step]:
                here.start(text)
            answer, _ = await here.http(UPGRADE)
            assert answer.startswith(b"HTTP/1.1 502")


async def test_who_logs_in_again_has_left_before(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as here:
        here.start("same_second_relog:100")
        listener = await here.subscribed()
        session = here.login()
        await trio.sleep(60)
        here.logout(session)
        here.login()  # at once, as when a pause is caught up with
        assert names(await listener.payloads(5)) == ["Login", "Logout", "Login", "Logout", "Login"]
        assert [each.logout is None for each in here.truth.sessions] == [False, False, True]


async def test_a_half_open_connection_hears_no_goodbye_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bench() as here:
        here.start("half_open:1")
        answer, took = await here.http(UPGRADE, (2.0, CLOSE_FRAME))
        assert answer.startswith(b"HTTP/1.1 101")
        assert took == pytest.approx(100, abs=3), "its end never came"
        here.stop()
        _, took = await here.http(UPGRADE, (2.0, CLOSE_FRAME))
        assert took == pytest.approx(2, abs=0.1)


async def test_a_copy_of_what_is_held_back_does_not_come_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bench() as here:
        here.start("swapped_order:100")
        here.start("duplicate:100")
        told, _, at = await relog(here)
        logins, logouts, last = [("Login", at)] * 2, [("Logout", at)] * 2, [("Logout", at + SECOND)] * 2
        assert told == logins + logouts + last


async def test_a_held_back_event_that_nobody_was_there_for_is_not_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bench() as here:
        await here.subscribed()
        here.start("out_of_order:30")
        session = here.login()
        here.simulator.drop_connections()
        await trio.sleep(31)
        assert session.login_sent is None


@pytest.mark.parametrize(
    "fault",
    ["same_second_relog:60", "swapped_order:60", "double_login:60", "drop_logouts:30", "duplicate_late:5", "out_of_order:1"],
)  # fmt: skip
async def test_a_busy_truth_is_what_was_told(fault: str, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        here = Bench(nursery)
        source = BusySource(100, WORLDS)
        here.start(fault)
        listener = await here.subscribed()
        nursery.start_soon(source.run, here.simulator)
        told = await listener.payloads(120)
        here.simulator.pause()
        told += await listener.payloads(30)
        nursery.cancel_scope.cancel()
    expected: set[tuple[str, str, Ms]] = set()
    for session in here.truth.sessions:
        if session.login_sent is not None:
            expected.add(("PlayerLogin", session.character_id, session.login // SECOND))
        if session.logout is not None and session.logout_sent is not None:
            expected.add(("PlayerLogout", session.character_id, session.logout // SECOND))
    found = {(each["event_name"], each["character_id"], int(each["timestamp"])) for each in told}
    assert found == expected
    assert len(found) > 5_000
    by_character: dict[str, list[TrueSession]] = {}
    for session in here.truth.sessions:
        by_character.setdefault(session.character_id, []).append(session)
    for sessions in by_character.values():
        for earlier, later in pairwise(sessions):
            assert earlier.logout is not None
            assert earlier.logout <= later.login, "nobody is twice online"
