"""The simulator's faults over TCP: with the daemon's own clients, by its control, and as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from ps2daemon.census.rest import CensusClient, CensusObserver
from ps2daemon.census.stream import StreamObserver, StreamSettings, run_stream
from ps2daemon.clock import SystemClock
from ps2daemon.errors import CensusError, CensusRefused, CensusUnavailable
from ps2daemon.model.records import DAY
from ps2daemon.secret import Secret
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.rest import ERROR_BODIES
from ps2daemon.simulator.server import Address, Simulator, serve_simulator
from ps2daemon.simulator.sources import BusySource, QuietSource
from ps2daemon.simulator.truth import TrueCharacter, Truth
from tests.integration.test_simulator_server import PATIENCE, WORLDS, Sink, serving

ALWAYS = ["rest_missing_first_session"]


class Ends(StreamObserver):
    """How connections end."""

    def __init__(self) -> None:
        self.causes: list[str] = []
        self.malformed_frames = 0
        self.told = trio.Event()

    def disconnected(self, cause: str, message: str) -> None:
        self.causes.append(cause)
        self._tell()

    def malformed(self, reason: str) -> None:
        self.malformed_frames += 1
        self._tell()

    def _tell(self) -> None:
        self.told.set()
        self.told = trio.Event()

    async def first(self) -> str:
        while not self.causes:
            await self.told.wait()
        return self.causes[0]


def listen(nursery: trio.Nursery, address: Address, **settings: Any) -> tuple[Sink, Ends]:
    """The daemon's stream client, impatient."""
    sink, ends = Sink(), Ends()
    wanted: dict[str, Any] = {
        "url": address.stream_url,
        "environment": "ps2",
        "service_id": Secret("me"),
        "worlds": WORLDS,
        "reconnect_seconds": 0.05,
        "verify_seconds": 0.2,
        "ping_seconds": 0.2,
        "ping_deadline": 0.3,
        "connect_deadline": 0.5,
    }
    nursery.start_soon(run_stream, StreamSettings(**(wanted | settings)), sink, SystemClock(), ends)
    return sink, ends


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("refuse_upgrade", "refused"),
        ("refuse_upgrade:502", "handshake"),
        ("refuse_tcp", "connect"),
        ("tls_failure", "protocol"),
        ("stream_down", "handshake"),
        ("accept_silent", "not_connected"),
        ("close_at_once", "closed"),
        ("large_frame", "closed"),
    ],
)
async def test_a_connection_fails_as_it_should_and_works_when_the_fault_is_over(
    fault: str, cause: str
) -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        simulator.faults.start(fault)
        await trio.sleep(0.05)
        _, ends = listen(nursery, address)
        assert await ends.first() == cause
        simulator.faults.stop()
        await trio.sleep(0.05)
        sink, _ = listen(nursery, address)
        await sink.until(covered=WORLDS)


async def test_over_wss_garbage_is_a_failure_of_tls() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        simulator.faults.start("tls_failure")
        _, ends = listen(nursery, address, url=address.stream_url.replace("ws:", "wss:"))
        assert await ends.first() == "tls"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("reset:0", "closed"),
        ("half_open:0", "ping"),
        ("stream_down", "closed"),
        ("no_ack", "unanswered"),
        ("large_frame", "closed"),
    ],
)
async def test_a_connection_that_worked_ends_as_it_should(fault: str, cause: str) -> None:
    simulator = Simulator(BusySource(100, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink, ends = listen(nursery, address)
        await sink.until(covered=WORLDS, events=10)
        assert ends.causes == []
        simulator.faults.start(fault)
        assert await ends.first() == cause
        assert not sink.covered
        simulator.faults.stop()
        await sink.until(covered=WORLDS, events=len(sink.payloads) + 10)


async def test_a_reset_is_one_for_tcp() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with serving(simulator) as (address, _):
        simulator.faults.start("rest_reset")
        stream = await trio.open_tcp_stream(address.host, address.port)
        async with stream:
            await stream.send_all(b"GET /s:me/get/ps2/world HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError) as caught:
                await to_the_end(stream)
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def to_the_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


async def test_while_tcp_is_refused_open_connections_stay() -> None:
    simulator = Simulator(BusySource(100, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink, ends = listen(nursery, address)
        await sink.until(covered=WORLDS)
        for _ in range(2):
            simulator.faults.start("refuse_tcp")
            await trio.sleep(0.05)
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(address.host, address.port)
            await sink.until(events=len(sink.payloads) + 10)
            simulator.faults.stop("refuse_tcp")
            await trio.sleep(0.05)
            await (await trio.open_tcp_stream(address.host, address.port)).aclose()
        assert ends.causes == []


@pytest.mark.parametrize("fault", ["subscription_emptied:0", "subscription_narrowed:0"])
async def test_a_lost_subscription_breaks_the_span_and_is_renewed(fault: str) -> None:
    simulator = Simulator(BusySource(100, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink, ends = listen(nursery, address)
        await sink.until(covered=WORLDS)
        simulator.faults.start(fault)
        while sink.covered.issuperset(WORLDS):
            await sink.told.wait()
        await sink.until(covered=WORLDS)
        assert ends.causes == []


async def test_bad_frames_cost_nothing_but_themselves() -> None:
    simulator = Simulator(BusySource(200, WORLDS), worlds=WORLDS)
    async with serving(simulator) as (address, nursery):
        sink, ends = listen(nursery, address)
        await sink.until(covered=WORLDS)
        for fault in (
            "unparseable_frame:50",
            "truncated_json:50",
            "payload_without_name:50",
            "unknown_event:50",
        ):
            simulator.faults.start(fault)
        await sink.until(covered=WORLDS, events=len(sink.payloads) + 200)
        assert ends.malformed_frames > 10
        assert ends.causes == []


class Results(CensusObserver):
    def __init__(self) -> None:
        self.results: list[str] = []

    def requested(self, result: str, seconds: float) -> None:
        self.results.append(result)


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[Simulator, CensusClient, Results, list[str]]]:
    """A simulator that knows ten characters, the daemon's client, and their ids."""
    truth = Truth()
    for number in range(10):
        who = f"{5_428_010_618_013_876_000 + number}"
        truth.login(TrueCharacter(who, f"N{number}", 1, 10, created=DAY, first_end=0), 2 * DAY)
    simulator, results = Simulator(QuietSource(), worlds=WORLDS, truth=truth), Results()
    async with (
        serving(simulator) as (address, _),
        CensusClient(
            rest_url=address.rest_url,
            environment="ps2",
            service_id=Secret("me"),
            requests_per_minute=6_000,
            observer=results,
        ) as census,
    ):
        yield simulator, census, results, list(truth.characters)


UNAVAILABLE = {
    "rest_redirect": "redirect",
    "rest_html": "malformed",
    "rest_status": "http",
    "rest_status:404": "http",
    "rest_reset": "network",
    "rest_down": "network",
    "tls_failure": "network",
    "refuse_tcp": "network",
    "rest_error_body:service_unavailable": "error",
    "rest_error_body:no_data": "error",
    "rest_error_body:server_error": "error",
}
REFUSED = (
    "rest_status:403",
    "rest_error_body:bad_syntax",
    "rest_error_body:missing_id",
    "rest_error_body:unregistered_id",
    "rest_error_body:search_term",
)


@pytest.mark.parametrize("fault", [*UNAVAILABLE, *REFUSED])
async def test_the_rest_client_knows_an_outage_from_a_refusal(fault: str) -> None:
    async with asking() as (simulator, census, results, ids):
        simulator.faults.start(fault)
        await trio.sleep(0.05)
        with pytest.raises(CensusError) as caught:
            await census.characters(ids)
        assert results.results == [UNAVAILABLE.get(fault, "refused")]
        assert type(caught.value) is (CensusRefused if fault in REFUSED else CensusUnavailable)
        assert "s:me" not in str(caught.value)
        simulator.faults.stop()
        await trio.sleep(0.05)
        assert len(await census.characters(ids)) == 10


def test_every_error_body_is_tried() -> None:
    tried = {fault.partition(":")[2] for fault in (*UNAVAILABLE, *REFUSED) if "error_body" in fault}
    assert tried == set(ERROR_BODIES)


@pytest.mark.parametrize(
    ("fault", "found", "named"),
    [
        ("rest_trickle:0.5", 10, 10),
        ("rest_text_html", 10, 10),
        ("rest_reordered", 10, 10),
        ("rest_partial:50", 5, 5),
        ("rest_empty", 0, 0),
        ("rest_nameless", 10, 0),
        ("rest_null_names", 10, 0),
        ("stream_down", 10, 10),
        ("no_ack", 10, 10),
    ],
)
async def test_the_rest_client_takes_what_is_there(fault: str, found: int, named: int) -> None:
    async with asking() as (simulator, census, results, ids):
        simulator.faults.start(fault)
        answer = await census.characters(ids)
        assert len(answer) == found
        assert all(answer[who].name in (None, f"N{who[-1]}") for who in answer)
        assert sum(identity.name is not None for identity in answer.values()) == named
        assert results.results == ["ok"]


async def test_the_control_over_http() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with (
        serving(simulator) as (address, _),
        httpx.AsyncClient(base_url=address.rest_url, trust_env=False) as client,
    ):
        state = (await client.get("/faults")).json()
        assert state["active"] == ALWAYS
        assert [fault["name"] for fault in state["faults"]] == list(FAULTS)
        started = await client.post("/faults/start", params={"fault": "rest_status:500"})
        assert (started.status_code, started.json()["active"]) == (200, [*ALWAYS, "rest_status:500"])
        await client.post("/faults/start?fault=drop_logouts:30@10")
        await client.post("/faults/start?fault=tls_failure")
        assert simulator.faults.active == (*ALWAYS, "rest_status:500", "drop_logouts:30@10", "tls_failure")
        bad = await client.post("/faults/start?fault=drop_logoutz")
        assert bad.status_code == 400
        assert "did you mean drop_logouts?" in bad.json()["error"]
        async with httpx.AsyncClient(base_url=address.rest_url, trust_env=False) as another:
            stopped = await another.post("/faults/stop?fault=tls_failure")
            assert stopped.json()["active"] == [*ALWAYS, "rest_status:500", "drop_logouts:30@10"]
        assert (await client.get("/s:me/get/ps2/world")).status_code == 500
        assert (await client.post("/faults/stop?fault=all")).json()["active"] == ALWAYS
        assert (await client.get("/s:me/get/ps2/world")).status_code == 200


async def test_a_fault_for_a_time_ends_by_itself() -> None:
    simulator = Simulator(QuietSource(), worlds=WORLDS)
    async with (
        serving(simulator) as (address, _),
        httpx.AsyncClient(base_url=address.rest_url, trust_env=False) as client,
    ):
        await client.post("/faults/start?fault=refuse_tcp&seconds=0.3")
        await trio.sleep(0.1)
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(address.host, address.port)
        await trio.sleep(0.4)
        await (await trio.open_tcp_stream(address.host, address.port)).aclose()


async def test_stopping_while_faults_are_on_ends_in_time() -> None:
    simulator = Simulator(BusySource(100, WORLDS), worlds=WORLDS)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address: Address = await nursery.start(serve_simulator, simulator)
            async with trio.open_nursery() as listening:
                sink, _ = listen(listening, address)
                await sink.until(covered=WORLDS)
                for fault in ("world_restart:10", "refuse_tcp", "duplicate_late", "reset:60"):
                    simulator.faults.start(fault)
                await trio.sleep(0.1)
                simulator.stop()
                while sink.covered:
                    await sink.told.wait()
                listening.cancel_scope.cancel()


COMMAND = [sys.executable, "-m", "ps2daemon", "simulate", "live"]
PLAN = '[[fault]]\nfault = "rest_redirect"\n[[fault]]\nfault = "no_ack"\nstart = 3600\n'


@asynccontextmanager
async def process(folder: Path, *options: str) -> AsyncIterator[Address]:
    """The command with these options, which says in time where it listens and ends well."""
    arguments = ["--port", "0", "--port-file", str(folder / "port"), *options]
    with trio.fail_after(PATIENCE):
        started = await trio.lowlevel.open_process([*COMMAND, *arguments], stderr=subprocess.PIPE)
        assert started.stderr is not None
        async with started.stderr:
            assert (await started.stderr.receive_some()).startswith(b"simulator: ws://")
            yield Address("127.0.0.1", int((folder / "port").read_text()))
            started.terminate()
            assert await started.wait() == 0


async def test_the_options_of_the_command_line(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    options = ["--busy", "10", "--fault", "drop_logouts:30", "--fault", "duplicate", "--faults", str(plan)]
    async with (
        process(tmp_path, *options) as address,
        httpx.AsyncClient(base_url=address.rest_url, trust_env=False) as client,
    ):
        state = (await client.get("/faults")).json()
        assert state["active"] == [*ALWAYS, "drop_logouts:30", "duplicate:10", "rest_redirect"]
        assert (await client.get("/s:me/get/ps2/world")).status_code == 302


def test_the_list_fits_a_terminal() -> None:
    done = subprocess.run([*COMMAND, "--list-faults"], capture_output=True, timeout=PATIENCE, check=True)
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert all(
        any(fault.usage in line and fault.effect in line for line in lines) for fault in FAULTS.values()
    )
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fault", "drop_logoutz:30"], "did you mean drop_logouts?"),
        (["--fault", "drop_logouts:130"], "accepted is a number (percent) from 0 to 100"),
        (["--fault", "world_silent"], "world_silent needs a value"),
        (["--faults", "no-such-file"], "can't read no-such-file"),
        (["--faults", "bad.toml"], "bad.toml, fault 1: 'begin' is not accepted"),
    ],
)
def test_bad_faults_are_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "bad.toml").write_text('[[fault]]\nfault = "no_ack"\nbegin = 3\n')
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, timeout=PATIENCE, check=False, cwd=tmp_path
    )
    stderr = done.stderr.decode()
    assert done.returncode == 2
    assert says in stderr
    assert stderr.count("\n") == 1
    assert done.stdout == b""


async def test_the_truth_of_a_process_has_what_was_not_told(tmp_path: Path) -> None:
    file = tmp_path / "truth.ndjson"
    async with (
        process(tmp_path, "--busy", "200", "--truth", str(file), "--fault", "world_silent:10") as address,
        trio.open_nursery() as nursery,
    ):
        sink, _ = listen(nursery, address)
        await sink.until(covered=WORLDS, events=200)
        nursery.cancel_scope.cancel()
    assert {json.loads(payload)["world_id"] for payload in sink.payloads} == {"1", "40"}
    sessions = Truth.load(file).sessions
    assert {session.world_id for session in sessions} == set(WORLDS)
    assert {session.world_id for session in sessions if session.login_sent is not None} == {1, 40}
