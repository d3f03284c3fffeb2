from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio.testing import MockClock

from ps2daemon.census.stream import (
    CAUSES,
    EVENT_NAMES,
    HIGHEST_RECONNECT_SECONDS,
    Backpressure,
    StreamSettings,
    run_stream,
)
from ps2daemon.census.websocket import Dial
from ps2daemon.clock import VirtualClock
from ps2daemon.errors import StreamLost
from ps2daemon.model.messages import MAX_MESSAGE_BYTES
from ps2daemon.model.records import Ms
from ps2daemon.secret import Secret
from tests.unit.scripted_census import START, Network, Recorder, Script, Server, faithful

SERVICE_ID = "Zq9hidden"
LOGIN = '{"character_id":"5429038329410828849","event_name":"PlayerLogin","timestamp":"1611720644","world_id":"1"}'


def settings(**changes: object) -> StreamSettings:
    values: dict[str, object] = {
        "url": "ws://push.example/streaming",
        "environment": "ps2",
        "service_id": Secret(SERVICE_ID),
        "worlds": (1, 10),
    }
    return StreamSettings(**(values | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def streaming(
    *scripts: Script,
    dial: Dial | None = None,
    chance: Callable[[], float] = lambda: 0.0,
    backpressure: Backpressure | None = None,
    recorder: Callable[[VirtualClock], Recorder] = Recorder,
    **changes: object,
) -> AsyncIterator[tuple[Network, Recorder]]:
    """A client that runs against servers following `scripts`, until the block ends."""
    clock = VirtualClock(START)
    written = recorder(clock)
    async with trio.open_nursery() as nursery:
        network = Network(nursery, scripts)
        stream = settings(**changes)

        async def run() -> None:
            await run_stream(
                stream,
                written,
                clock,
                written.observer,
                backpressure=backpressure,
                dial=dial or network.dial,
                chance=chance,
            )

        nursery.start_soon(run)
        yield network, written
        nursery.cancel_scope.cancel()


def after(seconds: float, then: Callable[[Server], Awaitable[None]]) -> Script:
    """A faithful Census to which something happens."""

    async def script(server: Server) -> None:
        await server.accept()
        await server.greet()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve)
            await trio.sleep(seconds)
            await then(server)

    return script


async def settled() -> None:
    """All that happens at this moment has happened."""
    await trio.sleep(0.001)


# verification


async def test_coverage_begins_with_the_first_right_answer_and_is_verified_every_period(
    autojump_clock: MockClock,
) -> None:
    async with streaming(faithful) as (network, recorder):
        await trio.sleep(121)
    assert network.servers[0].asks == [(0, True), (0.5, False), (60.5, False), (120.5, False)]
    assert recorder.spans[:8] == [
        ("verified", world_id, at, at) for at in (0, 0.5, 60.5, 120.5) for world_id in (1, 10)
    ]
    assert recorder.spans[8:] == [("lost", (1, 10), "connection", 121)]
    assert recorder.causes == []
    assert recorder.of("connected") == [()]


async def test_it_asks_for_every_wanted_event_with_its_environment_and_service_id(
    autojump_clock: MockClock,
) -> None:
    async with streaming(faithful, service_id=Secret("s:a b"), environment="ps2ps4us") as (network, _):
        await settled()
        server = network.servers[0]
    parts = urlsplit(server.path)
    assert parts.path == "/streaming"
    assert parse_qs(parts.query) == {"environment": ["ps2ps4us"], "service-id": ["s:a b"]}
    assert server.event_names == set(EVENT_NAMES)
    assert server.worlds == {"1", "10"}
    assert b"\r\nHost: push.example\r\n" in server.wire.head
    assert b"\r\nUser-Agent: ps2daemon/" in server.wire.head


async def test_a_slow_answer_vouches_from_its_arrival_and_up_to_its_question(
    autojump_clock: MockClock,
) -> None:
    async def slow(server: Server) -> None:
        await server.accept()
        await server.greet()
        while True:
            command = json.loads(await server.socket.get_message())
            await trio.sleep(2)
            await server.answer(command)

    async with streaming(slow, worlds=(1,)) as (_, recorder):
        await trio.sleep(7)
    # The second question is asked because the first answer began a span.
    assert recorder.spans[:2] == [("verified", 1, 0, 2), ("verified", 1, 2, 4)]


async def test_a_narrowed_subscription_breaks_the_span_of_what_it_lost_and_is_renewed(
    autojump_clock: MockClock,
) -> None:
    async def narrow(server: Server) -> None:
        server.worlds.discard("10")

    async with streaming(after(70, narrow)) as (network, recorder):
        await trio.sleep(130)
    assert network.servers[0].asks == [
        (0, True), (0.5, False), (60.5, False), (120.5, False), (121, True), (121.5, False)
    ]  # fmt: skip
    assert recorder.spans[6:] == [
        ("lost", (10,), "subscription", 120.5),
        ("verified", 1, 120.5, 120.5),
        ("verified", 1, 121, 121),
        ("verified", 10, 121, 121),
        ("verified", 1, 121.5, 121.5),
        ("verified", 10, 121.5, 121.5),
        ("lost", (1, 10), "connection", 130),
    ]
    assert recorder.causes == []


@pytest.mark.parametrize("emptied", ["worlds", "event_names"])
async def test_an_emptied_subscription_breaks_every_span_and_is_renewed(
    autojump_clock: MockClock, emptied: str
) -> None:
    async def empty(server: Server) -> None:
        getattr(server, emptied).clear()

    async with streaming(after(70, empty)) as (network, recorder):
        await trio.sleep(122)
    assert recorder.spans[6:9] == [
        ("lost", (1, 10), "subscription", 120.5),
        ("verified", 1, 121, 121),
        ("verified", 10, 121, 121),
    ]
    assert (121, True) in network.servers[0].asks


async def test_a_subscription_that_is_told_to_be_lost_unasked_is_lost(autojump_clock: MockClock) -> None:
    async def lose(server: Server) -> None:
        server.worlds.clear()
        await server.tell_subscription()

    async with streaming(after(70, lose)) as (network, recorder):
        await trio.sleep(71)
    assert recorder.spans[6:8] == [("lost", (1, 10), "subscription", 70), ("verified", 1, 70, 70)]
    assert network.servers[0].asks[3] == (70, True)


async def test_a_subscription_that_is_never_taken_leads_to_another_connection(
    autojump_clock: MockClock,
) -> None:
    async def deaf(server: Server) -> None:
        server.refused_worlds = {"1", "10"}
        await faithful(server)

    async with streaming(deaf, faithful) as (network, recorder):
        await trio.sleep(130)
    assert recorder.causes == ["subscription"]
    assert recorder.attempts == [0, 121]
    assert recorder.spans[:2] == [("verified", 1, 121, 121), ("verified", 10, 121, 121)]
    assert len(network.servers[0].asks) == 3


async def test_a_world_that_is_never_taken_does_not_cost_the_others_their_coverage_for_ever(
    autojump_clock: MockClock,
) -> None:
    async def without_ten(server: Server) -> None:
        server.refused_worlds = {"10"}
        await faithful(server)

    async with streaming(without_ten) as (_, recorder):
        await trio.sleep(3600 * 24)
    assert set(recorder.causes) == {"subscription"}
    gaps = [later - earlier for earlier, later in pairwise(recorder.attempts)]
    # The first answer begins a span, which is asked about at once; so n answers take n - 2 periods.
    assert gaps == [0.5 + 60 * (n - 2) + 1 for n in (3, 6, 12, 24, 48, 96, 192, 384)]


# worlds


async def test_a_world_that_goes_down_is_lost_and_verified_anew_when_it_is_up(
    autojump_clock: MockClock,
) -> None:
    async def restart(server: Server) -> None:
        await server.world("Connery_1", "false")
        await server.world("Connery_1", "false")
        await trio.sleep(300)
        await server.world("Connery_1", "true")

    async with streaming(after(70, restart)) as (_, recorder):
        await trio.sleep(371)
    of_world = [span for span in recorder.spans if span[1] in (1, (1,))]
    assert of_world[3:] == [
        ("lost", (1,), "world_down", 70),
        ("verified", 1, 370, 370),
        ("verified", 1, 370.5, 370.5),
    ]
    others = [span for span in recorder.spans if span[1] == 10]
    assert [asked for _, _, asked, _ in others] == [
        0,
        0.5,
        60.5,
        120.5,
        180.5,
        240.5,
        300.5,
        360.5,
        370,
        370.5,
    ]
    assert recorder.of("world_state") == [(1, False), (1, True)]


async def test_heartbeats_tell_of_worlds_too_and_endpoints_may_serve_several(
    autojump_clock: MockClock,
) -> None:
    async def beat(server: Server) -> None:
        for up in ("false", "true"):
            online = {"EventServerEndpoint_1_Palos_10_Crux": up, "EventServerEndpoint_Briggs_25": "false"}
            await server.send({"online": online, "service": "event", "type": "heartbeat"})

    async with streaming(after(70, beat)) as (_, recorder):
        await trio.sleep(71)
    assert recorder.spans[6:10] == [
        ("lost", (1,), "world_down", 70),
        ("lost", (10,), "world_down", 70),
        ("verified", 1, 70, 70),
        ("verified", 10, 70, 70),
    ]


async def test_a_flapping_world_does_not_make_it_hammer(autojump_clock: MockClock) -> None:
    async def flap(server: Server) -> None:
        for _ in range(1000):
            await server.world("Connery_1", "false")
            await server.world("Connery_1", "true")
            await trio.sleep(0.01)

    async with streaming(after(70, flap)) as (network, _):
        await trio.sleep(82)
    asks = [at for at, _ in network.servers[0].asks if at >= 70]
    assert len(asks) <= 22
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(asks))


# dead, silent and broken connections


async def test_a_half_open_connection_is_noticed_by_its_ping(autojump_clock: MockClock) -> None:
    async def die(server: Server) -> None:
        server.wire.dead.set()

    async with streaming(after(65, die), faithful) as (network, recorder):
        await trio.sleep(120)
        # The ping at 60 was answered; the one at 80 had 15 s.
        assert network.clients[0].closed.is_set()
    assert recorder.causes == ["ping"]
    # It said goodbye for a second at most.
    assert recorder.attempts == pytest.approx([0, 97], abs=0.01)
    assert recorder.spans[6] == ("lost", (1, 10), "connection", 96)


async def test_a_server_that_only_answers_pings_is_silent(autojump_clock: MockClock) -> None:
    async def fall_silent(server: Server) -> None:
        await server.accept()
        await server.greet()
        while True:
            await server.socket.get_message()

    async with streaming(fall_silent, faithful) as (_, recorder):
        await trio.sleep(70)
    assert recorder.causes == ["silent"]
    assert recorder.attempts == pytest.approx([0, 66], abs=0.01)


async def test_a_service_that_never_says_that_it_is_connected_is_left(autojump_clock: MockClock) -> None:
    async def wordless(server: Server) -> None:
        await server.accept()
        await server.serve()

    async with streaming(wordless, faithful) as (network, recorder):
        await trio.sleep(30)
    assert recorder.causes == ["not_connected"]
    assert recorder.attempts == pytest.approx([0, 21], abs=0.01)
    assert network.servers[0].asks == []


async def test_a_service_that_takes_its_leave_is_left(autojump_clock: MockClock) -> None:
    async def leave(server: Server) -> None:
        await server.send({"connected": "false", "service": "push", "type": "connectionStateChanged"})

    async with streaming(after(5, leave), faithful) as (_, recorder):
        await trio.sleep(10)
    assert recorder.causes == ["closed"]


async def test_an_abrupt_end_is_noticed_at_once(autojump_clock: MockClock) -> None:
    async def reset(server: Server) -> None:
        await server.wire.aclose()

    async with streaming(after(5, reset), faithful) as (_, recorder):
        await trio.sleep(10)
    assert recorder.causes == ["closed"]
    assert recorder.attempts == [0, 6]
    assert recorder.spans[4] == ("lost", (1, 10), "connection", 5)


async def test_an_end_in_the_middle_of_a_frame_is_noticed_at_once(autojump_clock: MockClock) -> None:
    async def tear(server: Server) -> None:
        await server.wire.send_all(b"\x81\x7e\x10\x00half a fra")
        await server.wire.aclose()

    async with streaming(after(5, tear), faithful) as (_, recorder):
        await trio.sleep(10)
    assert recorder.causes == ["closed"]
    assert recorder.events == []


async def test_a_close_frame_ends_it_and_the_socket_is_closed_even_if_the_server_lingers(
    autojump_clock: MockClock,
) -> None:
    async def close(server: Server) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(100):
            await server.socket.aclose(1012, "restart")

    async with streaming(after(5, close), faithful) as (network, recorder):
        await trio.sleep(8)
        assert network.clients[0].closed.is_set()
    assert recorder.causes == ["closed"]
    assert recorder.attempts == [0, 6]


async def test_a_cancel_closes_the_socket(autojump_clock: MockClock) -> None:
    async with streaming(faithful) as (network, _):
        await trio.sleep(1)
    assert network.clients[0].closed.is_set()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no json",
        '{"payload":{"event_name":"PlayerLogin"',
        "[]",
        '{"detail":"EventServerEndpoint_Connery_1","online":"perhaps"}',
        '{"subscription":[]}',
        '{"payload":17}',
        "[" * 50_000,
        b"\xff\xfe\x00",
        "\x00",
    ],
)
async def test_a_malformed_frame_is_left_out_and_the_connection_goes_on(
    autojump_clock: MockClock, frame: str | bytes
) -> None:
    async def mumble(server: Server) -> None:
        await server.event(LOGIN)
        await server.socket.send_message(frame)
        await server.event(LOGIN)

    async with streaming(after(5, mumble)) as (_, recorder):
        await trio.sleep(100)
    assert recorder.events == [LOGIN.encode()] * 2
    assert len(recorder.of("malformed")) == 1
    assert recorder.causes == []


async def test_frames_of_other_kinds_are_left_alone(autojump_clock: MockClock) -> None:
    async def chat(server: Server) -> None:
        await server.send({"test": "test"})
        await server.send({"payload": {"recent_character_id_count": 0, "recent_character_id_list": []}})
        await server.send({"type": "novelty", "service": "event"})
        await server.send({"example event service message payloads": {}, "padding": "x" * 100_000})
        await server.event(LOGIN)

    async with streaming(after(5, chat)) as (_, recorder):
        await trio.sleep(6)
    assert recorder.events == [LOGIN.encode()]
    assert recorder.of("malformed") == []


async def test_a_huge_frame_costs_the_connection_and_not_the_memory(autojump_clock: MockClock) -> None:
    async def shout(server: Server) -> None:
        await server.socket.send_message("x" * (MAX_MESSAGE_BYTES + 1))
        await trio.sleep_forever()

    async with streaming(after(5, shout), faithful) as (network, recorder):
        await trio.sleep(10)
        assert network.clients[0].closed.is_set()
    assert recorder.causes == ["closed"]
    assert "1009" in recorder.of("disconnected")[0][1]
    assert recorder.attempts == [0, 6]


@pytest.mark.parametrize(
    "data", [b"\x81\x02\xff\xfe", b"\xff\xff\xff", b"\x81\xff" + b"\xff" * 12, b"\x00" * 64]
)
async def test_what_is_no_websocket_frame_ends_the_connection(autojump_clock: MockClock, data: bytes) -> None:
    async def garble(server: Server) -> None:
        await server.wire.send_all(data)
        await trio.sleep_forever()

    async with streaming(after(5, garble), faithful) as (_, recorder):
        await trio.sleep(10)
    assert recorder.causes in (["closed"], ["protocol"])
    assert recorder.attempts == pytest.approx([0, 6], abs=1.1)


# opening


def raw(answer: bytes, *, close: bool) -> Script:
    """Answers the upgrade with these bytes."""

    async def script(server: Server) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await server.wire.receive_some()
        await server.wire.send_all(answer)
        if close:
            await server.wire.aclose()
        await trio.sleep_forever()

    return script


@pytest.mark.parametrize(
    ("answer", "close"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", False),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nno", True),
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<html>no</html>", True),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n<html>no</html>", True),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
async def test_a_refusal_is_told_and_followed_by_ten_seconds_at_least(
    autojump_clock: MockClock, answer: bytes, close: bool
) -> None:
    async with streaming(raw(answer, close=close)) as (_, recorder):
        await trio.sleep(110)
    assert set(recorder.causes) == {"refused"}
    assert "service id" in recorder.of("refused")[0][0]
    assert recorder.attempts == pytest.approx([0, 10, 20, 30, 40, 56, 88], abs=0.1)


async def test_a_refusal_whose_body_never_ends_is_a_refusal(autojump_clock: MockClock) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nno"
    async with streaming(raw(answer, close=False)) as (_, recorder):
        await trio.sleep(29)
    assert recorder.causes == ["refused"]


async def test_a_refusal_without_end_is_not_collected(autojump_clock: MockClock) -> None:
    async def pour(server: Server) -> None:
        await server.wire.send_all(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n")
        for _ in range(100):
            await server.wire.send_all(b"x" * 65536)

    async with streaming(pour) as (network, recorder):
        await trio.sleep(1)
        assert network.clients[0].closed.is_set()
    assert recorder.causes == ["refused"]


@pytest.mark.parametrize(
    ("answer", "close", "cause"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", True, "handshake"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n", True, "handshake"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", False, "handshake"),
        (b"", True, "handshake"),
        (b"HTTP/1.1 1", True, "handshake"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False, "protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False, "protocol"),
    ],
)
async def test_what_is_no_upgrade_is_another_attempt(
    autojump_clock: MockClock, answer: bytes, close: bool, cause: str
) -> None:
    async with streaming(raw(answer, close=close)) as (network, recorder):
        await trio.sleep(2)
        assert network.clients[0].closed.is_set()
    assert recorder.causes == [cause, cause]
    assert recorder.attempts == pytest.approx([0, 1], abs=0.1)


async def test_a_connection_without_an_answer_to_the_upgrade_times_out(autojump_clock: MockClock) -> None:
    async with streaming(raw(b"", close=False)) as (network, recorder):
        await trio.sleep(21.5)
        assert network.clients[0].closed.is_set()
    assert recorder.causes == ["timeout"]
    assert recorder.attempts == [0, 21]


async def test_an_address_that_can_not_be_reached_is_tried_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    async def unreachable(host: str, port: int, tls: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError(111, "Connection refused")

    async with streaming(dial=unreachable) as (_, recorder):
        await trio.sleep(250)
    assert recorder.attempts == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert set(recorder.causes) == {"connect"}
    assert recorder.of("disconnected")[0][1] == "can't reach push.example:80: Connection refused"


async def test_a_dial_that_hangs_times_out(autojump_clock: MockClock) -> None:
    async def hang(host: str, port: int, tls: object) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with streaming(dial=hang) as (_, recorder):
        await trio.sleep(20.5)
    assert recorder.causes == ["timeout"]


async def test_tls_that_fails_is_another_attempt(autojump_clock: MockClock) -> None:
    async def distrust(host: str, port: int, tls: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise StreamLost("tls", "no TLS")

    async with streaming(dial=distrust, url="wss://push.example/streaming") as (_, recorder):
        await trio.sleep(0.5)
    assert recorder.causes == ["tls"]


async def test_chance_shortens_the_waits(autojump_clock: MockClock) -> None:
    async def unreachable(host: str, port: int, tls: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError(111, "Connection refused")

    async with streaming(dial=unreachable, chance=lambda: 0.5) as (_, recorder):
        await trio.sleep(6)
    assert recorder.attempts == pytest.approx([0, 0.85, 2.55, 5.95], abs=0.002)


async def test_waits_begin_anew_only_after_a_connection_proved_itself(autojump_clock: MockClock) -> None:
    def lasting(seconds: float) -> Script:
        async def reset(server: Server) -> None:
            await server.wire.aclose()

        return after(seconds, reset)

    async with streaming(*map(lasting, [5, 5, 5, 11, 5]), faithful) as (_, recorder):
        await trio.sleep(100)
    gaps = [later - earlier for earlier, later in pairwise(recorder.attempts)]
    assert gaps == pytest.approx([5 + 1, 5 + 2, 5 + 4, 11 + 1, 5 + 2])


async def test_connections_that_open_and_prove_nothing_are_tried_less_and_less_often(
    autojump_clock: MockClock,
) -> None:
    async def useless(server: Server) -> None:
        await server.accept()
        await server.greet()
        await trio.sleep(30)
        await server.wire.aclose()

    async with streaming(useless) as (_, recorder):
        await trio.sleep(1000)
    gaps = [later - earlier for earlier, later in pairwise(recorder.attempts)]
    assert max(gaps) == pytest.approx(30 + HIGHEST_RECONNECT_SECONDS)


# what was received


async def test_events_arrive_in_order_and_exactly_as_sent(autojump_clock: MockClock) -> None:
    payloads = [f'{{ "event_name" :"PlayerLogin", "ü":"\\u00fc","n":{number}}}' for number in range(1000)]

    async def burst(server: Server) -> None:
        for payload in payloads:
            await server.event(payload)

    async with streaming(after(5, burst)) as (_, recorder):
        await trio.sleep(6)
    assert recorder.events == [payload.encode() for payload in payloads]


async def test_what_came_before_the_end_is_not_lost_while_it_is_held_back(autojump_clock: MockClock) -> None:
    room: trio.Event | None = None

    def backpressure() -> Awaitable[None] | None:
        return None if room is None else room.wait()

    async def burst_and_close(server: Server) -> None:
        nonlocal room
        room = trio.Event()
        for _ in range(50):
            await server.event(LOGIN)
        await server.socket.aclose()

    async with streaming(after(5, burst_and_close), faithful, backpressure=backpressure) as (_, recorder):
        await trio.sleep(600)
        assert len(recorder.events) == 1
        assert recorder.causes == [], "to be held back is no fault of the other side"
        assert room is not None
        room.set()
        await trio.sleep(0.1)
        assert len(recorder.events) == 50
        assert recorder.causes == ["closed"]


async def test_a_reader_that_was_held_back_goes_on_where_it_was(autojump_clock: MockClock) -> None:
    room: trio.Event | None = None

    def backpressure() -> Awaitable[None] | None:
        return None if room is None or room.is_set() else room.wait()

    async def burst(server: Server) -> None:
        nonlocal room
        room = trio.Event()
        for number in range(1000):
            await server.event(f'{{"event_name":"PlayerLogin","n":"{number}"}}')

    async with streaming(after(5, burst), faithful, backpressure=backpressure) as (_, recorder):
        await trio.sleep(1000)
        assert room is not None
        room.set()
        await trio.sleep(100)
    assert [json.loads(event)["n"] for event in recorder.events] == [str(number) for number in range(1000)]
    assert recorder.causes == []
    assert recorder.attempts == [0]


async def test_answers_have_their_time_after_a_reader_was_held_back(autojump_clock: MockClock) -> None:
    room: trio.Event | None = None

    def backpressure() -> Awaitable[None] | None:
        return None if room is None or room.is_set() else room.wait()

    async def stall(server: Server) -> None:
        nonlocal room
        await server.accept()
        await server.greet()
        for _ in range(2):
            await server.answer(json.loads(await server.socket.get_message()))
        await trio.sleep(5)
        room = trio.Event()
        await server.event(LOGIN)
        await trio.sleep(1015.5)  # neither side reads; the client asks, and looks for answers, at 1020.5
        await server.serve()

    async with streaming(stall, faithful, backpressure=backpressure) as (_, recorder):
        await trio.sleep(1020)
        assert room is not None
        room.set()
        await trio.sleep(100)
    assert recorder.causes == []


async def test_a_defect_of_the_sink_is_not_taken_for_an_outage(autojump_clock: MockClock) -> None:
    class Broken(Recorder):
        def event(self, payload: bytes, received_at: Ms) -> None:
            raise ZeroDivisionError

    async def say(server: Server) -> None:
        await server.event(LOGIN)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with streaming(after(5, say), recorder=Broken):
            await trio.sleep(10)
    assert caught.group_contains(ZeroDivisionError)


# secrets


async def test_the_service_id_is_in_no_message_and_no_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="trio-websocket")
    echo = f"HTTP/1.1 403 s:{SERVICE_ID}\r\nX: s:{SERVICE_ID}\r\nContent-Length: 0\r\n\r\n".encode()
    location = f"HTTP/1.1 302 Found\r\nLocation: /?s:{SERVICE_ID}\r\nContent-Length: 0\r\n\r\n".encode()

    async def say(server: Server) -> None:
        await server.socket.aclose(1008, f"s:{SERVICE_ID}")

    scripts = [
        raw(echo, close=True),
        raw(location, close=True),
        raw(echo[9:], close=True),
        after(5, say),
        faithful,
    ]
    async with streaming(*scripts) as (network, recorder):
        await trio.sleep(120)
    assert SERVICE_ID in network.servers[4].path, "it was sent"
    assert len(recorder.causes) == 4
    shown = repr(recorder.observer.happenings) + caplog.text
    assert SERVICE_ID not in shown
    assert set(recorder.causes) <= set(CAUSES)
