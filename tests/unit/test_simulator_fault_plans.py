"""How the simulator's faults are asked for: by name, in a plan, and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from ps2daemon.clock import VirtualClock
from ps2daemon.errors import UsageError
from ps2daemon.simulator.control import control
from ps2daemon.simulator.faults.catalogue import FAULTS, listing
from ps2daemon.simulator.faults.plan import Planned, parse_fault, read_plan
from ps2daemon.simulator.server import Simulator
from ps2daemon.simulator.sources import QuietSource
from tests.unit.fault_bench import NOW, WORLDS, Message, bench


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("drop_logout", ["'drop_logout'", "did you mean drop_logouts?", "--list-faults"]),
        ("qqq", ["'qqq'", "none of that name"]),
        ("", ["none of that name"]),
        ("no_ack:5", ["no_ack takes no value", "'5'"]),
        ("world_silent", ["world_silent needs a value", "world_silent:WORLD", "one of 1, "]),
        ("world_silent:7777", ["'7777' is not accepted", "one of 1, "]),
        ("drop_logouts:101", ["'101' is not accepted", "a number (percent) from 0 to 100"]),
        ("drop_logouts:", ["'' is not accepted"]),
        ("drop_logouts:nan", ["'nan' is not accepted"]),
        ("refuse_upgrade:200", ["'200' is not accepted", "a whole number (status) from 400 to 599"]),
        ("refuse_upgrade:403.5", ["'403.5' is not accepted"]),
        ("rest_error_body:bad", ["'bad' is not accepted", "one of service_unavailable, no_data"]),
        ("drop_logouts:5@7777", ["'7777' is no world"]),
        ("rest_html@10", ["can't be limited to a world"]),
        ("world_restart:10@10", ["can't be limited to a world"]),
        ("large_frame:1e9", ["'1e9' is not accepted"]),
    ],
)
def test_what_is_no_fault_is_refused_with_what_would_be(text: str, says: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    for part in (repr(text), *says):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["world_restart:13", "world_silent:13", "drop_logouts:5@13"])
def test_a_world_that_is_not_simulated_is_refused(simulator: Simulator, text: str) -> None:
    before = simulator.faults.active
    with pytest.raises(UsageError, match="world 13 is not simulated; simulated are 1, 10, 40"):
        simulator.faults.start(text)
    with pytest.raises(UsageError, match="not simulated"):
        simulator.faults.plan([Planned(parse_fault("no_ack")), Planned(parse_fault(text), start=5)])
    assert simulator.faults.active == before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("drop_logouts", "drop_logouts:10"),
        (" drop_logouts:30@10 ", "drop_logouts:30@10"),
        ("world_clock:86400", "world_clock:86400"),
        ("rest_error_body", "rest_error_body:service_unavailable"),
        ("reset:0.5", "reset:0.5"),
        ("large_frame", "large_frame:10000000"),
        ("no_ack", "no_ack"),
    ],
)
def test_a_fault_shows_as_it_is_asked_for(text: str, shown: str) -> None:
    setting = parse_fault(text)
    assert str(setting) == shown
    assert parse_fault(shown) == setting


def test_the_list_has_every_fault_in_one_line_of_eighty_columns() -> None:
    lines = listing().splitlines()
    assert max(map(len, lines)) <= 80
    for fault in FAULTS.values():
        (line,) = [line for line in lines if line.lstrip(" *").split(" ")[0] == fault.usage]
        assert fault.effect in line
        assert fault.quirk in line
        assert ("*" in line[:2]) is fault.changes


def test_every_fault_is_described() -> None:
    for name, fault in FAULTS.items():
        assert name == fault.name
        assert fault.effect
        assert fault.truth
        if fault.value is not None and fault.value.default is not None:
            assert fault.value.parse(str(fault.value.default)) == fault.value.default


PLAN = """
[[fault]]
fault = "drop_logouts:30"

[[fault]]
fault = "world_silent:10"
start = 60
seconds = 90.5
"""


async def test_a_plan_starts_and_ends_faults_at_its_times(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    async with trio.open_nursery() as nursery:
        simulator = Simulator(QuietSource(), worlds=WORLDS, clock=VirtualClock(NOW))
        always = simulator.faults.active
        simulator.faults.plan(read_plan(path))
        nursery.start_soon(simulator.run)
        seen: list[tuple[float, tuple[str, ...]]] = []
        for seconds in (1, 58, 2, 88, 3):
            await trio.sleep(seconds)
            seen.append((trio.current_time(), simulator.faults.active[len(always) :]))
        nursery.cancel_scope.cancel()
    dropping = "drop_logouts:30"
    assert [active for _, active in seen] == [
        (dropping,), (dropping,), (dropping, "world_silent:10"), (dropping, "world_silent:10"), (dropping,)
    ]  # fmt: skip


async def test_a_fault_that_is_started_again_lasts_as_long_as_the_second_time_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bench() as here:
        here.start("drop_logouts:10", seconds=10)
        await trio.sleep(5)
        here.start("drop_logouts:20", seconds=10)
        await trio.sleep(7)
        assert "drop_logouts:20" in here.simulator.faults.active
        await trio.sleep(5)
        assert not here.simulator.faults.is_on("drop_logouts")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("fault = [", "is no TOML"),
        ("", "no table [[fault]]"),
        ("other = 1", "'other' is not accepted"),
        ("fault = 1", "no table [[fault]]"),
        ("fault = [1]", "fault 1: 1 is not accepted"),
        ("[[fault]]\nstart = 1", "fault 1: fault is None"),
        ('[[fault]]\nfault = "drop_logoutz"', "fault 1: fault 'drop_logoutz'"),
        ('[[fault]]\nfault = "no_ack"\nstrat = 1', "'strat' is not accepted; accepted are fault, start, seconds; did you mean start?"),
        ('[[fault]]\nfault = "no_ack"\nstart = -1', "start is -1; accepted is a number of seconds"),
        ('[[fault]]\nfault = "no_ack"\nseconds = true', "seconds is True"),
        ('[[fault]]\nfault = "no_ack"\n[[fault]]\nfault = "no_ack"\nseconds = nan', "fault 2: seconds is nan"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        read_plan(tmp_path / "nothing")


# The control.


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(QuietSource(), worlds=WORLDS)


def asked(simulator: Simulator, method: str, target: str) -> tuple[int, Message]:
    answer = control(simulator.faults, method, target)
    assert answer is not None
    body = json.loads(answer.body)
    assert isinstance(body, dict)
    return answer.status, body


def test_the_control_starts_stops_and_tells(simulator: Simulator) -> None:
    status, body = asked(simulator, "GET", "/faults")
    assert (status, body["active"]) == (200, ["rest_missing_first_session"])
    assert [each["name"] for each in body["faults"]] == list(FAULTS)
    assert all(each["truth"] and each["effect"] for each in body["faults"])
    status, body = asked(simulator, "POST", "/faults/start?fault=drop_logouts:30")
    assert (status, body["active"]) == (200, ["rest_missing_first_session", "drop_logouts:30"])
    asked(simulator, "POST", "/faults/start?fault=rest_html")
    status, body = asked(simulator, "POST", "/faults/stop?fault=drop_logouts")
    assert body["active"] == ["rest_missing_first_session", "rest_html"]
    status, body = asked(simulator, "POST", "/faults/stop")
    assert body["active"] == ["rest_missing_first_session"]


@pytest.mark.parametrize(
    ("method", "target", "status", "says"),
    [
        ("POST", "/faults", 405, "/faults takes GET"),
        ("GET", "/faults/start?fault=no_ack", 405, "takes POST"),
        ("POST", "/faults/start", 400, "fault is missing"),
        ("POST", "/faults/start?fault=drop_logoutz", 400, "did you mean drop_logouts?"),
        ("POST", "/faults/start?fault=no_ack&seconds=x", 400, "seconds is 'x'"),
        ("POST", "/faults/stop?fault=nothing_like_it", 400, "none of that name"),
    ],
)
def test_the_control_refuses(simulator: Simulator, method: str, target: str, status: int, says: str) -> None:
    found, body = asked(simulator, method, target)
    assert (found, says in body["error"]) == (status, True)
    assert simulator.faults.active == ("rest_missing_first_session",)


def test_other_requests_are_not_for_the_control(simulator: Simulator) -> None:
    assert control(simulator.faults, "GET", "/s:me/get/ps2/world") is None
    assert control(simulator.faults, "GET", "/faultsome") is None
