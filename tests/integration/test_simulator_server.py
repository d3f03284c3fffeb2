"""The simulator over TCP: with the daemon's own clients, and as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request

from ps2daemon.census.rest import CensusClient, Identity
from ps2daemon.census.stream import StreamObserver, StreamSettings, run_stream
from ps2daemon.clock import SystemClock
from ps2daemon.model.events import Login, Logout, decode_event
from ps2daemon.model.records import DAY, SECOND, After, Ms
from ps2daemon.secret import Secret
from ps2daemon.simulator.server import Address, Simulator, serve_simulator
from ps2daemon.simulator.sources import BurstSource, BusySource, CaptureSource, QuietSource
from ps2daemon.simulator.truth import TrueCharacter, Truth

WORLDS = (1, 10, 40)
PING_AND_GOODBYE = bytes.fromhex("89 81 00000000 5a" + "88 82 00000000 03e8")
"""Two frames of a client, masked with zeros: a ping of one byte, and a close with code 1000."""
PATIENCE = 20.0
"""Seconds until a test gives up on what should take one or two."""


class Sink:
    """Keeps what the stream client says."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.covered: set[int] = set()
        self.told = trio.Event()

    def event(self, payload: bytes, received_at: Ms) -> None:
        self.payloads.append(payload)
        self._tell()

    def verified(self, world_id: int, asked_at: Ms, answered_at: Ms) -> None:
        self.covered.add(world_id)
        self._tell()

    def heartbeat(self, told_at: Ms | None, received_at: Ms) -> None:
        pass

    def lost(self, world_ids: Iterable[int], after: After) -> None:
        self.covered.difference_update(world_ids)
        self._tell()

    def _tell(self) -> None:
        self.told.set()
        self.told = trio.Event()

    async def until(self, *, events: int = 0, covered: Iterable[int] = ()) -> None:
        while len(self.payloads) < events or not self.covered.issuperset(covered):
            await self.told.wait()


class Refusals(StreamObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.refusal = trio.Event()

    def refused(self, message: str) -> None:
        self.messages.append(message)
        self.refusal.set()


@asynccontextmanager
async def serving(simulator: Simulator) -> AsyncIterator[tuple[Address, trio.Nursery]]:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address: Address = await nursery.start(serve_simulator, simulator)
            yield address, nursery
            nursery.cancel_scope.cancel()


def listen(nursery: trio.Nursery, address: Address, observer: StreamObserver | None = None) -> Sink:
    """The daemon's stream client, running."""
    sink = Sink()
    settings = StreamSettings(
        url=address.stream_url,
        environment="ps2",
        service_id=Secret("me"),
        worlds=WORLDS,
        reconnect_seconds=0.05,
        verify_seconds=0.5,  # the acknowledgement in a capture answers an ask that was not its own
    )
    nursery.start_soon(run_stream, settings, sink, SystemClock(), observer or StreamObserver())
    return sink


def edges(truth: Truth) -> set[tuple[str, str, Ms]]:
    found = {
        ("login", session.character_id, session.login) for session in truth.sessions if session.login_sent
    }
    return found | {
        ("logout", session.character_id, session.logout)
        for session in truth.sessions
        if session.logout is not None and session.logout_sent
    }


def told(payloads: Iterable[bytes]) -> set[tuple[str, str, Ms]]:
    events = [decode_event(payload) for payload in payloads]
    return {
        ("login" if isinstance(event, Login) else "logout", event.character_id, event.at)
        for event in events
        if isinstance(event, Login | Logout)
    }


async def test_the_daemon_s_stream_client_gets_what_really_happened() -> None:
    simulator = Simulator(BusySource(400, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink = listen(nursery, address)
        await sink.until(covered=WORLDS, events=400)
        simulator.pause()
        sent = edges(simulator.truth)
        await sink.until(events=len(sent))
        assert told(sink.payloads) == sent
        assert len(sink.payloads) == len(sent)


async def test_the_client_comes_back_after_every_connection_was_dropped() -> None:
    simulator = Simulator(BusySource(200, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink = listen(nursery, address)
        await sink.until(covered=WORLDS)
        simulator.drop_connections()
        while sink.covered:
            await sink.told.wait()
        await sink.until(covered=WORLDS, events=len(sink.payloads) + 50)


async def test_a_world_that_goes_down_is_not_covered() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink = listen(nursery, address)
        await sink.until(covered=WORLDS)
        simulator.set_world(10, False)
        while 10 in sink.covered:
            await sink.told.wait()
        assert sink.covered == {1, 40}


async def test_a_service_id_that_is_not_registered_is_refused() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS, service_ids=frozenset({"somebody"}))
    async with serving(simulator) as (address, nursery):
        observer = Refusals()
        listen(nursery, address, observer)
        await observer.refusal.wait()
        assert "403" in observer.messages[0]


async def test_a_burst_of_a_hundred_thousand_arrives_whole() -> None:
    simulator = Simulator(BurstSource(100_000, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink = listen(nursery, address)
        await sink.until(events=100_000)
        assert told(sink.payloads) == edges(simulator.truth)


async def test_the_real_capture_comes_through_to_the_letter(root: Path) -> None:
    path = root / "tests/data/census/spascou_ess_capture_202004.ndjson"
    source = CaptureSource.read(path)
    simulator = Simulator(source, worlds=tuple(source.worlds))
    simulator.worlds.update(source.worlds)
    expected = [line for line in path.read_bytes().splitlines() if b'"payload"' in line]
    async with serving(simulator) as (address, nursery):
        sink = listen(nursery, address)
        await sink.until(events=len(expected), covered=WORLDS)
    assert [json.loads(payload) for payload in sink.payloads] == [
        json.loads(line)["payload"] for line in expected
    ]


@pytest.fixture
def people() -> Truth:
    truth = Truth()
    for number in range(120):
        character = TrueCharacter(
            f"{5_428_010_618_013_876_000 + number}",
            f"Name{number}",
            1 + number % 4,
            10,
            created=DAY,
            first_end=None if number == 7 else 0,
        )
        truth.login(character, 2 * DAY)
    return truth


async def test_the_daemon_s_rest_client_learns_names_but_not_of_those_in_their_first_session(
    people: Truth,
) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS, truth=people)
    ids = list(people.characters)
    async with (
        serving(simulator) as (address, _),
        CensusClient(
            rest_url=address.rest_url, environment="ps2", service_id=Secret("me"), requests_per_minute=6_000
        ) as census,
    ):
        found = await census.characters(ids[:100])
        assert ids[7] not in found
        assert found[ids[0]] == Identity(ids[0], "Name0", 1)
        assert len(found) == 99
        people.logout(ids[7], 3 * DAY)
        assert (await census.characters([ids[7]]))[ids[7]].name == "Name7"


async def test_one_http_connection_serves_many_requests_and_the_wrong_ones_end_it() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, _):
        async with httpx.AsyncClient(base_url=address.rest_url, trust_env=False) as client:
            for _ in range(3):
                answer = await client.get("/s:me/get/ps2:v2/world?c:limit=9")
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith("application/json")
                assert answer.json()["returned"] == 3
            assert (await client.post("/s:me/get/ps2:v2/world", content=b"x")).status_code == 405
        for junk in (b"what?\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100_000):
            stream = await trio.open_tcp_stream(address.host, address.port)
            async with stream:
                await stream.send_all(junk)
                answer_bytes = await stream.receive_some()
                assert answer_bytes.startswith(b"HTTP/1.1 4") or not answer_bytes
        assert simulator.clients == set()


async def test_a_ping_and_a_goodbye_in_one_piece_harm_nobody() -> None:
    client = WSConnection(ConnectionType.CLIENT)
    target = "/streaming?environment=ps2&service-id=s:example"
    upgrade = client.send(Request(host="localhost", target=target))
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, _):
        for _ in range(2):
            stream = await trio.open_tcp_stream("127.0.0.1", address.port)
            async with stream:
                await stream.send_all(upgrade)
                await stream.receive_some()
                await stream.send_all(PING_AND_GOODBYE)
                while await stream.receive_some():
                    pass
        assert simulator.clients == set()


async def test_stopping_says_goodbye() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address: Address = await nursery.start(serve_simulator, simulator)
            async with trio.open_nursery() as listening:
                sink = listen(listening, address)
                await sink.until(covered=WORLDS)
                simulator.stop()
                while sink.covered:
                    await sink.told.wait()
                listening.cancel_scope.cancel()


@pytest.fixture
def command() -> list[str]:
    return [sys.executable, "-m", "ps2daemon", "simulate"]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> int:
    """The port in a file that a process is about to write."""
    for _ in range(int(PATIENCE / 0.05)):
        if path.exists():
            return int(path.read_text())
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"no port: {process.communicate()[1].decode()}")


@pytest.fixture
def busy(command: list[str], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    options = [
        "--port",
        "0",
        "--port-file",
        str(tmp_path / "port"),
        "--truth",
        str(tmp_path / "truth.ndjson"),
    ]
    process = subprocess.Popen([*command, "live", "--busy", "300", *options], stderr=subprocess.PIPE)
    yield process, tmp_path
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_serves_until_a_signal_and_leaves_its_truth(
    busy: tuple[subprocess.Popen[bytes], Path], number: signal.Signals
) -> None:
    process, folder = busy
    port = await trio.to_thread.run_sync(wait_for, folder / "port", process)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            sink = listen(nursery, Address("127.0.0.1", port))
            await sink.until(events=300, covered=WORLDS)
            os.kill(process.pid, number)
            while sink.covered:
                await sink.told.wait()
            nursery.cancel_scope.cancel()
    _, stderr = await trio.to_thread.run_sync(lambda: process.communicate(timeout=PATIENCE))
    assert process.returncode == 0
    assert stderr.decode() == (f"simulator: ws://127.0.0.1:{port}/streaming and http://127.0.0.1:{port}\n")
    truth = Truth.load(folder / "truth.ndjson")
    assert told(sink.payloads) == edges(truth)


def test_a_port_in_use_is_one_line_and_exit_code_2(command: list[str]) -> None:
    async def occupied() -> subprocess.CompletedProcess[bytes]:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            return await trio.run_process(
                [*command, "live", "--busy", "1", "--port", str(port)],
                check=False,
                capture_stdout=True,
                capture_stderr=True,
            )

    done = trio.run(occupied)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"can't listen on 127.0.0.1" in done.stderr
    assert b"choose another --port" in done.stderr


def test_a_history_is_the_same_for_one_seed_to_the_last_packed_byte(
    command: list[str], tmp_path: Path
) -> None:
    outputs = []
    options = ["--from", "2026-03-01", "--to", "2026-03-02", "--worlds", "40", "--seed", "33"]
    for name in ("a.ndjson.gz", "b.ndjson.gz"):
        subprocess.run(
            [*command, "history", *options, "--out", tmp_path / name, "--truth", tmp_path / "truth.ndjson"],
            check=True,
            capture_output=True,
            timeout=3 * PATIENCE,
        )
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1]
    truth = Truth.load(tmp_path / "truth.ndjson")
    assert len(truth.coverage) == 2
    assert truth.coverage[1].start - truth.coverage[0].end > 10_000 * SECOND


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["history", "--out", "-", "--from", "yesterday"], "no ISO 8601 time"),
        (["history", "--out", "-", "--worlds", "a"], "no list of world ids"),
        (["history", "--out", "-", "--worlds", "7777"], "7777 is no world"),
        (["history", "--out", "-", "--gap", "2026-03-01"], "no span"),
        (["history", "--out", "-", "--no-gap", "--gap", "2026-03-01/2026-03-02"], "exclude each other"),
        (["history", "--out", "-", "--from", "2026-03-02", "--to", "2026-03-01"], "not after its start"),
        (["live", "--busy", "-1"], "rate"),
        (["live", "--busy", "1", "--burst", "2"], "exclude each other"),
        (["live", "--history-from", "2999-01-01"], "future"),
        (["capture", "no-such-file"], "can't read"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    command: list[str], arguments: list[str], says: str
) -> None:
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize("name", [[], ["history"], ["live"], ["capture"]])
def test_every_help_has_an_example(command: list[str], name: list[str]) -> None:
    done = subprocess.run([*command, *name, "--help"], capture_output=True, timeout=PATIENCE, check=True)
    assert b"ps2daemon simulate" in done.stdout
    assert b"xample" in done.stdout
