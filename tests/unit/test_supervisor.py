"""The supervisor in virtual time: when a stage starts again, when it is given up, and in which order all of them stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from ps2daemon.errors import ConfigError, QueueLocked, StageGivenUp, StoreMismatch
from ps2daemon.health import Health, StageControl, StageState
from ps2daemon.supervisor import StageSpec, Systemd, stop_on_signals, supervise


class Told:
    """Remembers what it is told, with the virtual time."""

    def __init__(self) -> None:
        self.states: list[tuple[float, str, str, str | None]] = []
        self.crashes: list[tuple[str, str, float | None]] = []
        self.restarts: list[tuple[float, str]] = []
        self.cut_off: list[tuple[str, float]] = []
        self.progress = 0

    def stage_state(self, stage: str, state: str, why: str | None) -> None:
        self.states.append((trio.current_time(), stage, str(state), why))

    def stage_progress(self, stage: str) -> None:
        self.progress += 1

    def stage_crashed(self, stage: str, error: Exception, seconds: float | None) -> None:
        self.crashes.append((stage, str(error), seconds))

    def stage_restarted(self, stage: str) -> None:
        self.restarts.append((trio.current_time(), stage))

    def stage_cut_off(self, stage: str, seconds: float) -> None:
        self.cut_off.append((stage, seconds))

    def of(self, stage: str) -> list[str]:
        return [state for _, name, state, _ in self.states if name == stage]


class Notified:
    """Stands for systemd's socket."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, str]] = []

    def notify(self, state: str) -> None:
        self.messages.append((trio.current_time(), state))

    def times(self, message: str) -> list[float]:
        return [at for at, each in self.messages if each == message]


Run = Callable[[StageControl], Awaitable[None]]


def spec(name: str, run: Run, *, stop_seconds: float = 1.0, may_finish: bool = False) -> StageSpec:
    return StageSpec(name=name, run=run, stop_seconds=stop_seconds, may_finish=may_finish)


async def idle(control: StageControl) -> None:
    control.waiting("for nothing")
    await control.stopping.wait()


async def stop_after(seconds: float, stop: trio.Event) -> None:
    await trio.sleep(seconds)
    stop.set()


async def run_for(
    seconds: float,
    *stages: StageSpec,
    told: Told | None = None,
    health: Health | None = None,
    chance: float = 0.0,
) -> Told:
    """Supervises the stages and asks to stop after `seconds`."""
    told = told or Told()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_after, seconds, stop)
        await supervise(stages, told, stop=stop, health=health or Health(), chance=lambda: chance)
        nursery.cancel_scope.cancel()
    return told


async def run_until_it_fails(*stages: StageSpec, told: Told) -> None:
    await supervise(stages, told, stop=trio.Event(), health=Health(), chance=lambda: 0.0)


def crashing(starts: list[float], *, after: float = 0.0, progress: bool = False) -> Run:
    """A stage that crashes each time, `after` some seconds, with or without making progress every second."""

    async def run(control: StageControl) -> None:
        starts.append(trio.current_time())
        if progress:
            for _ in range(int(after)):
                control.progress()
                await trio.sleep(1)
            control.progress()
        else:
            await trio.sleep(after)
        raise ValueError("broken")

    return run


def differences(times: list[float]) -> list[float]:
    return [round(after - before, 6) for before, after in pairwise(times)]


async def test_a_crashed_stage_starts_again_later_and_later_up_to_a_minute(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    # A minute and more between the crashes, without progress: neither a reset nor ten within ten minutes.
    told = await run_for(1_500, spec("sick", crashing(starts, after=61)))
    assert differences(starts)[:9] == [61 + wait for wait in (0.5, 1, 2, 4, 8, 16, 32, 60, 60)]
    assert [seconds for _, _, seconds in told.crashes][:3] == [0.5, 1.0, 2.0]
    assert told.of("sick")[:4] == ["starting", "restarting", "starting", "restarting"]
    assert len(told.restarts) == len(starts) - 1


async def test_waits_are_shortened_by_chance(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    await run_for(2, spec("sick", crashing(starts)), chance=0.999)
    assert differences(starts)[0] == pytest.approx(0.5 * (1 - 0.3 * 0.999))


async def test_the_others_go_on(autojump_clock: MockClock) -> None:
    beats: list[float] = []

    async def healthy(control: StageControl) -> None:
        while not control.stopping.is_set():
            beats.append(trio.current_time())
            control.progress()
            with trio.move_on_after(1):
                await control.stopping.wait()

    told = await run_for(10.5, spec("sick", crashing([], after=0.1)), spec("healthy", healthy))
    assert len(beats) == 11
    assert told.of("healthy") == ["starting", "working", "stopped"]


async def test_a_minute_of_progress_brings_the_first_wait_back(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def run(control: StageControl) -> None:
        starts.append(trio.current_time())
        steady = len(starts) == 3
        await crashing([], after=60 if steady else 59, progress=True)(control)

    await run_for(300, spec("sick", run))
    assert differences(starts)[:4] == [59.5, 60.0, 60.5, 60.0]


async def test_ten_crashes_within_ten_minutes_end_it_and_the_others_stop_in_order(
    autojump_clock: MockClock,
) -> None:
    starts: list[float] = []
    finished: list[float] = []

    async def careful(control: StageControl) -> None:
        control.working()
        await control.stopping.wait()
        await trio.sleep(0.5)
        finished.append(trio.current_time())

    told = Told()
    with pytest.raises(
        StageGivenUp, match=r"stage sick crashed 10 times within 10 minutes, last with ValueError: broken"
    ) as up:
        await run_until_it_fails(spec("careful", careful), spec("sick", crashing(starts)), told=told)
    assert up.value.stage == "sick"
    assert len(starts) == 10
    assert told.crashes[-1] == ("sick", "broken", None)
    assert finished == [starts[-1] + 0.5]


async def test_ten_crashes_over_a_longer_time_do_not_end_it(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    await run_for(3_000, spec("sick", crashing(starts, after=67)))
    assert len(starts) > 20


async def test_returning_unasked_is_a_crash(autojump_clock: MockClock) -> None:
    async def run(control: StageControl) -> None:
        await trio.lowlevel.checkpoint()

    told = await run_for(0.25, spec("gone", run))
    assert told.crashes == [("gone", "stage gone returned, and nobody had asked it to", 0.5)]


async def test_a_stage_that_may_finish_stops_the_others(autojump_clock: MockClock) -> None:
    async def run(control: StageControl) -> None:
        await trio.sleep(3)

    told = Told()
    health = Health()
    await supervise(
        [spec("drain", run, may_finish=True), spec("other", idle)], told, stop=trio.Event(), health=health
    )
    assert trio.current_time() == pytest.approx(3)
    assert told.crashes == []
    assert [stage.state for stage in health.stages()] == ["stopped", "stopped"]


@pytest.mark.parametrize(
    "error", [ConfigError("the port is taken"), QueueLocked("locked", 1), StoreMismatch("of a newer version")]
)
@pytest.mark.parametrize("grouped", [False, True])
async def test_what_no_waiting_helps_is_raised_at_once(
    autojump_clock: MockClock, error: Exception, grouped: bool
) -> None:
    async def run(control: StageControl) -> None:
        if not grouped:
            raise error
        async with trio.open_nursery():
            raise ExceptionGroup("two", [ValueError("another"), error])

    told = Told()
    with pytest.raises(type(error)) as caught:
        await run_until_it_fails(spec("other", idle), spec("fatal", run), told=told)
    assert caught.value is error
    assert told.crashes == []
    assert trio.current_time() == 0
    assert told.of("other")[-1] == "stopped"


async def test_stages_stop_one_after_the_other_in_the_listed_order(autojump_clock: MockClock) -> None:
    order: list[tuple[float, str]] = []

    def stage(name: str, seconds: float) -> StageSpec:
        async def run(control: StageControl) -> None:
            control.waiting("for a stop")
            await control.stopping.wait()
            order.append((trio.current_time(), f"{name} asked"))
            await trio.sleep(seconds)
            order.append((trio.current_time(), f"{name} done"))

        return spec(name, run, stop_seconds=5)

    await run_for(1, stage("source", 2), stage("middle", 0.5), stage("sink", 1))
    assert order == [
        (1, "source asked"),
        (3, "source done"),
        (3, "middle asked"),
        (3.5, "middle done"),
        (3.5, "sink asked"),
        (4.5, "sink done"),
    ]


async def test_a_stage_that_does_not_finish_in_time_is_cancelled(autojump_clock: MockClock) -> None:
    cleaned: list[float] = []

    async def stubborn(control: StageControl) -> None:
        control.working()
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(trio.current_time())

    told = await run_for(1, spec("stubborn", stubborn, stop_seconds=3), spec("other", idle))
    assert cleaned == [4.0]
    assert told.cut_off == [("stubborn", 3)]
    assert told.of("other")[-1] == "stopped"
    assert trio.current_time() == 4.0


async def test_a_stage_that_waits_for_its_restart_stops_at_once(autojump_clock: MockClock) -> None:
    starts: list[float] = []
    told = await run_for(3, spec("sick", crashing(starts)))
    assert trio.current_time() == 3
    assert told.of("sick")[-1] == "stopped"


async def test_a_crash_while_stopping_is_told_and_does_not_hinder_the_rest(autojump_clock: MockClock) -> None:
    async def run(control: StageControl) -> None:
        control.working()
        await control.stopping.wait()
        raise ValueError("late")

    told = await run_for(1, spec("late", run), spec("other", idle))
    assert told.crashes == [("late", "late", None)]
    assert told.of("other")[-1] == "stopped"


async def test_an_outer_cancel_ends_everything_at_once(autojump_clock: MockClock) -> None:
    told = Told()
    with trio.move_on_after(2):
        await supervise([spec("a", idle), spec("b", idle)], told, stop=trio.Event(), health=Health())
    assert trio.current_time() == 2
    assert (told.of("a")[-1], told.of("b")[-1]) == ("stopped", "stopped")


async def test_systemd_is_told_when_all_have_started_and_fed_while_none_hangs(
    autojump_clock: MockClock,
) -> None:
    async def slow(control: StageControl) -> None:
        await trio.sleep(5)
        control.degraded("the store is away")
        await trio.sleep(25)
        control.working()  # and then it hangs
        await control.stopping.wait()

    notified = Notified()
    systemd = Systemd({"WATCHDOG_USEC": "20000000"}, notified)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_after, 200, stop)
        await supervise(
            [spec("slow", slow), spec("idle", idle)],
            Told(),
            stop=stop,
            health=Health(stale_seconds=60),
            systemd=systemd,
        )
        nursery.cancel_scope.cancel()
    assert notified.times("READY=1") == [5.0]
    assert notified.times("WATCHDOG=1") == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert notified.times("STOPPING=1") == [200.0]


async def test_systemd_that_asks_for_no_watchdog_is_only_told_of_start_and_stop(
    autojump_clock: MockClock,
) -> None:
    notified = Notified()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_after, 100, stop)
        await supervise(
            [spec("idle", idle)], Told(), stop=stop, health=Health(), systemd=Systemd({}, notified)
        )
        nursery.cancel_scope.cancel()
    assert [message for _, message in notified.messages] == ["READY=1", "STOPPING=1"]


async def test_health_follows_what_a_stage_says(autojump_clock: MockClock) -> None:
    told = Told()
    health = Health(stale_seconds=10)
    assert (health.sound(), health.ready()) == (True, False)
    control = health.add("one", told)
    assert (health.sound(), health.ready()) == (True, False)
    await trio.sleep(11)
    assert not health.sound(), "it hangs in its start"
    control.progress()
    assert health.stages()[0].state == StageState.WORKING
    assert (health.sound(), health.ready()) == (True, True)
    await trio.sleep(11)
    assert not health.sound(), "it says that it works, and nothing comes of it"
    assert health.ready()
    control.waiting("for records")
    await trio.sleep(1_000)
    assert (health.sound(), health.ready()) == (True, True)
    control.degraded("the disk is full")
    await trio.sleep(1_000)
    assert (health.sound(), health.ready()) == (True, False)
    control.progress()
    assert health.stages()[0].state == StageState.DEGRADED, "progress does not end an outage"
    [snapshot] = health.stages()
    assert (snapshot.state, snapshot.why, snapshot.restarts) == ("degraded", "the disk is full", 0)
    with pytest.raises(ValueError, match="a stage 'one' already"):
        health.add("one", told)


async def test_saying_the_same_again_is_told_once(autojump_clock: MockClock) -> None:
    told = Told()
    control = Health().add("one", told)
    for _ in range(3):
        control.waiting("for records")
    control.waiting("for room")
    assert [(state, why) for _, _, state, why in told.states] == [
        ("starting", None),
        ("waiting", "for records"),
        ("waiting", "for room"),
    ]


async def test_the_first_signal_asks_to_stop() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(stop_on_signals, stop)
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        nursery.cancel_scope.cancel()
    assert signal.getsignal(signal.SIGTERM) == before


_HANGS = textwrap.dedent(
    """
    import time, trio
    from ps2daemon.supervisor import stop_on_signals

    async def main():
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(stop_on_signals, stop)
            print("ready", flush=True)
            await stop.wait()
            print("stopping", flush=True)
            while True:  # never lets the event loop run again
                time.sleep(0.05)

    trio.run(main)
    """
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_hangs(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _HANGS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == -number
