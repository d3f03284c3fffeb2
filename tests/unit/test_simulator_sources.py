"""What happens in a simulation, over streams in memory and on a clock that jumps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from ps2daemon.clock import VirtualClock
from ps2daemon.errors import UsageError
from ps2daemon.model.messages import Heartbeat, decode_message
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.server import Client, Simulator, Source
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.simulator.sources import BurstSource, BusySource, CaptureSource, LiveSource, QuietSource
from ps2daemon.simulator.truth import Truth

NOW = 1_772_395_215_000  # 2026-03-01T20:00:15Z
WORLDS = (1, 10, 40)
SMALL = PopulationSettings(seed=5, worlds=WORLDS, scale=0.2)
RESOURCE = "/streaming?environment=ps2&service-id=s:me"
SUBSCRIBE = {
    "service": "event",
    "action": "subscribe",
    "worlds": ["1", "10", "40"],
    "eventNames": ["PlayerLogin", "PlayerLogout", "MetagameEvent", "ContinentLock"],
}


@asynccontextmanager
async def serving(simulator: Simulator) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(simulator.source.run, simulator)
        yield nursery
        nursery.cancel_scope.cancel()


async def connect(
    simulator: Simulator, nursery: trio.Nursery, resource: str = RESOURCE
) -> WebSocketConnection:
    mine, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(simulator.serve_stream, theirs)
    return await wrap_client_stream(nursery, mine, "simulator", resource, message_queue_size=10_000)  # type: ignore[arg-type]


async def receive(websocket: WebSocketConnection) -> dict[str, Any]:
    message = json.loads(await websocket.get_message())
    assert isinstance(message, dict)
    return message


async def subscribed(websocket: WebSocketConnection, command: dict[str, Any] = SUBSCRIBE) -> dict[str, Any]:
    """Sends a command and reads up to its acknowledgement."""
    await websocket.send_message(json.dumps(command))
    while True:
        message = await receive(websocket)
        if "subscription" in message:
            return message


async def payloads(websocket: WebSocketConnection, seconds: float) -> list[dict[str, Any]]:
    """The payloads of so many seconds."""
    found = []
    with trio.move_on_after(seconds):
        while True:
            message = await receive(websocket)
            if "payload" in message:
                found.append(message["payload"])
    return found


async def to_the_end(websocket: WebSocketConnection) -> None:
    while True:
        await receive(websocket)


def quiet(**settings: Any) -> Simulator:
    return Simulator(QuietSource(), worlds=WORLDS, clock=VirtualClock(NOW), **settings)


@pytest.mark.parametrize(
    "resource",
    [
        "/streaming?environment=ps2&service-id=s:other",
        "/streaming?environment=ps2&service-id=me",
        "/streaming?environment=ps2",
        "/streaming?environment=pluto&service-id=s:me",
        "/streaming?service-id=s:me",
        "/elsewhere?environment=ps2&service-id=s:me",
    ],
)
async def test_who_is_not_registered_is_refused_at_the_handshake(
    resource: str, autojump_clock: trio.testing.MockClock
) -> None:
    simulator = quiet(service_ids=frozenset({"me"}))
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(simulator) as nursery:
            await connect(simulator, nursery, resource)
    (error,) = caught.value.exceptions
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)
    assert error.status_code == 403


async def test_a_connection_is_greeted_and_then_hears_a_heartbeat_every_thirty_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simulator = quiet()
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        first = [await receive(websocket) for _ in range(5)]
        assert first[0]["type"] == "connectionStateChanged"
        assert sum(message.get("type") == "serviceStateChanged" for message in first) == 3
        assert sum("send this for help" in message for message in first) == 1
        beats = []
        for _ in range(4):
            message = decode_message(await websocket.get_message())
            assert isinstance(message, Heartbeat)
            assert message.at == simulator.clock.now() // SECOND * SECOND
            assert message.online == dict.fromkeys(WORLDS, True)
            beats.append(trio.current_time())
        assert beats[0] <= 30
        assert [later - earlier for earlier, later in pairwise(beats)] == pytest.approx([30.0] * 3, abs=0.01)


async def test_connections_to_one_service_have_different_phases(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simulator = quiet()
    phases = set()
    async with serving(simulator) as nursery:
        for _ in range(6):
            websocket = await connect(simulator, nursery)
            while "timestamp" not in (message := await receive(websocket)):
                pass
            phases.add(int(message["timestamp"]) % 30)
    assert len(phases) > 2


async def test_a_subscription_in_the_address_counts(autojump_clock: trio.testing.MockClock) -> None:
    simulator = quiet()
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery, RESOURCE + "&worlds=1,10&eventNames=PlayerLogin")
        while "subscription" not in (message := await receive(websocket)):
            pass
        assert message["subscription"]["worlds"] == ["1", "10"]
        assert message["subscription"]["eventNames"] == ["PlayerLogin"]


async def test_a_world_that_goes_down_is_told_and_falls_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simulator = Simulator(BusySource(200, WORLDS), worlds=WORLDS, clock=VirtualClock(NOW))
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await subscribed(websocket)
        simulator.set_world(10, False)
        while True:
            message = await receive(websocket)
            if message.get("type") == "serviceStateChanged":
                break
        assert (message["detail"], message["online"]) == ("EventServerEndpoint_Wainwright_10", "false")
        assert {payload["world_id"] for payload in await payloads(websocket, 5)} == {"1", "40"}
        simulator.set_world(10, True)
        assert {payload["world_id"] for payload in await payloads(websocket, 5)} == {"1", "10", "40"}
    unsent = [session for session in simulator.truth.sessions if session.login_sent is None]
    assert {session.world_id for session in unsent} >= {10}


async def test_dropped_connections_end_and_new_ones_are_served(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simulator = quiet()
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await receive(websocket)
        simulator.drop_connections()
        with pytest.raises(ConnectionClosed):
            await to_the_end(websocket)
        assert websocket.closed is not None
        assert websocket.closed.code == 1006  # no close frame
        assert simulator.clients == set()
        again = await connect(simulator, nursery)
        assert (await receive(again))["connected"] == "true"


async def test_pings_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    simulator = quiet()
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        with trio.fail_after(5):
            await websocket.ping(b"there?")


@pytest.mark.parametrize(
    "last", [b"\x89\x80\0\0\0\0\x88\x80\0\0\0\0", b"\x88\x80\0\0\0\0\x89\x80\0\0\0\0", b"\xff" * 99]
)
async def test_a_ping_and_a_goodbye_in_one_piece_end_the_connection_and_nothing_else(
    autojump_clock: trio.testing.MockClock, last: bytes
) -> None:
    simulator = quiet()
    async with serving(simulator) as nursery:
        mine, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(simulator.serve_stream, theirs)
        await mine.send_all(
            f"GET {RESOURCE} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await mine.receive_some()
        await mine.send_all(last)
        with trio.fail_after(5):
            while await mine.receive_some():
                pass
        assert simulator.clients == set()
        again = await connect(simulator, nursery)
        assert (await receive(again))["connected"] == "true"


def edges(truth: Truth) -> Counter[tuple[str, str, str, str]]:
    """Every login and logout of a truth that was sent, as payloads say it."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for session in truth.sessions:
        who, world = session.character_id, str(session.world_id)
        if session.login_sent is not None:
            found["PlayerLogin", who, world, str(session.login // SECOND)] += 1
        if session.logout is not None and session.logout_sent is not None:
            found["PlayerLogout", who, world, str(session.logout // SECOND)] += 1
    return found


def told(messages: list[dict[str, Any]]) -> Counter[tuple[str, str, str, str]]:
    return Counter(
        (message["event_name"], message["character_id"], message["world_id"], message["timestamp"])
        for message in messages
        if "character_id" in message
    )


async def test_a_live_simulation_plays_its_timeline_in_time(autojump_clock: trio.testing.MockClock) -> None:
    clock = VirtualClock(NOW)
    truth = Truth()
    source = LiveSource(SMALL, truth, clock.now())
    online = {world_id: sum(truth.online(NOW, world_id).values()) for world_id in WORLDS}
    assert online[10] > 50, "it begins warm"
    simulator = Simulator(source, worlds=WORLDS, truth=truth, clock=clock)
    received: list[tuple[int, dict[str, Any]]] = []
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await subscribed(websocket)
        with trio.move_on_after(3 * 3600):
            while True:
                message = await receive(websocket)
                if "payload" in message:
                    received.append((clock.now(), message["payload"]))
    assert len(received) > 300
    for at, payload in received:
        assert 0 <= at - int(payload["timestamp"]) * SECOND <= 2_000
    assert told([payload for _, payload in received]) == edges(truth)
    kinds = {payload["event_name"] for _, payload in received}
    assert kinds >= {"PlayerLogin", "PlayerLogout", "MetagameEvent"}


async def test_a_live_simulation_goes_on_where_a_recording_of_the_same_settings_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = VirtualClock(NOW)
    start = NOW - 2 * DAY
    _, longer = history(HistorySettings(population=SMALL, start=start, end=NOW + HOUR))
    truth = Truth()
    simulator = Simulator(
        LiveSource(SMALL, truth, NOW, history_from=start), worlds=WORLDS, truth=truth, clock=clock
    )
    async with serving(simulator):
        await trio.sleep(3_590)
    end = NOW + HOUR - MINUTE
    for at in range(NOW, end, MINUTE):
        for world_id in WORLDS:
            assert {faction: count for faction, count in truth.online(at, world_id).items() if count} == {
                faction: count for faction, count in longer.online(at, world_id).items() if count
            }


async def test_a_busy_simulation_keeps_its_rate_and_its_truth(autojump_clock: trio.testing.MockClock) -> None:
    clock = VirtualClock(NOW)
    simulator = Simulator(BusySource(100, WORLDS), worlds=WORLDS, clock=clock)
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await subscribed(websocket)
        first = await payloads(websocket, 60)
        second = await payloads(websocket, 60)
        simulator.pause()
        rest = await payloads(websocket, 5)
        assert await payloads(websocket, 60) == []
        simulator.resume()
        assert await payloads(websocket, 1) != []
        simulator.pause()
        last = await payloads(websocket, 5)
    assert len(second) / 60 == pytest.approx(100, rel=0.1)
    sent = edges(simulator.truth)
    received = told(first + second + rest + last)
    assert sum((received - sent).values()) == 0
    ended = [session for session in simulator.truth.sessions if session.logout is not None]
    assert len(ended) > 4_000
    assert all(
        session.logout - session.login >= 4 * SECOND for session in ended if session.logout is not None
    )
    assert max(Counter(session.character_id for session in ended).values()) > 2, "characters come back"
    new = [character for character in simulator.truth.characters.values() if character.first_end != 0]
    assert new


async def test_events_of_a_busy_simulation_carry_the_current_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = VirtualClock(NOW)
    simulator = Simulator(BusySource(50, WORLDS), worlds=WORLDS, clock=clock)
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await subscribed(websocket)
        for _ in range(500):
            message = await receive(websocket)
            if "payload" in message:
                assert int(message["payload"]["timestamp"]) == clock.now() // SECOND


async def test_a_burst_goes_to_the_first_who_subscribes_and_is_the_truth(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = BurstSource(5_001, WORLDS)
    simulator = Simulator(source, worlds=WORLDS, clock=VirtualClock(NOW))
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await websocket.send_message('{"service":"event","action":"subscribe"}')
        assert await payloads(websocket, 5) == []
        await subscribed(websocket)
        received = await payloads(websocket, 5)
        with trio.fail_after(1):
            await source.done.wait()
    assert len(received) == 5_000
    assert told(received) == edges(simulator.truth)


CAPTURE = [
    b'{"connected": "true", "service": "push", "type": "connectionStateChanged"}',
    b'{"detail": "EventServerEndpoint_Briggs_25", "online": "false", "service": "event", "type": "serviceStateChanged"}',
    b'{"payload": {"event_name": "PlayerLogin", "character_id": "5", "timestamp": "1", "world_id": "25"}}',
]


async def test_a_capture_is_sent_as_it_is_in_place_of_the_greeting(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "capture.ndjson"
    path.write_bytes(b"\n".join(CAPTURE) + b"\n\n")
    source = CaptureSource.read(path)
    assert source.worlds == {25: False}
    simulator = Simulator(source, worlds=(25,), clock=VirtualClock(NOW))
    async with serving(simulator) as nursery:
        for _ in range(2):
            websocket = await connect(simulator, nursery)
            assert [await websocket.get_message() for _ in CAPTURE] == [frame.decode() for frame in CAPTURE]
            assert "subscription" in await subscribed(websocket)


async def test_a_capture_without_a_greeting_follows_ours_at_its_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    simulator = Simulator(CaptureSource(CAPTURE[2:] * 3, rate=0.5), worlds=(10,), clock=VirtualClock(NOW))
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        assert (await receive(websocket))["connected"] == "true"
        began = trio.current_time()
        times: list[float] = []
        while len(times) < 3:
            if "payload" in await receive(websocket):
                times.append(trio.current_time() - began)
        assert times == pytest.approx([2.0, 4.0, 6.0], abs=0.01)


@pytest.mark.parametrize("content", [b"", b"\n", b"what?\n"])
def test_what_is_no_capture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "capture.ndjson"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        CaptureSource.read(path)
    with pytest.raises(UsageError, match="can't read"):
        CaptureSource.read(tmp_path / "nothing")


def test_impossible_sources_are_refused() -> None:
    for rate in (0.0, -1.0, 1e9, float("nan")):
        with pytest.raises(UsageError, match="rate"):
            BusySource(rate, WORLDS)
    with pytest.raises(UsageError, match="burst"):
        BurstSource(1, WORLDS)
    with pytest.raises(UsageError, match="future"):
        LiveSource(SMALL, Truth(), NOW, history_from=NOW + 1)


async def test_a_source_of_ones_own_is_told_about_connections(autojump_clock: trio.testing.MockClock) -> None:
    class Noting(QuietSource):
        def __init__(self) -> None:
            self.clients: list[Client] = []
            self.answers: list[Client] = []

        async def connected(self, client: Client) -> None:
            self.clients.append(client)

        def subscribed(self, client: Client) -> None:
            self.answers.append(client)

    noting = Noting()
    source: Source = noting
    simulator = Simulator(source, worlds=WORLDS, clock=VirtualClock(NOW))
    async with serving(simulator) as nursery:
        websocket = await connect(simulator, nursery)
        await subscribed(websocket)
        assert noting.clients == noting.answers == list(simulator.clients)
