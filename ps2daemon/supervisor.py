"""Keeps stages running, and stops them in the flow's order.

Promises:
- A stage that crashes is started again, that one alone, after 0.5 s doubling to 60 s with jitter; the first wait comes back after a
  minute of real progress. A stage that returns unasked is a defect and counts as a crash.
- What no waiting helps (`FATAL`) and the tenth crash of one stage within ten minutes (`StageGivenUp`) end the process: the
  other stages are stopped in order first, so that nothing is lost, then the error is raised.
- To stop, each stage in the listed order is asked (`StageControl.stopping`) and awaited up to its `stop_seconds`, then cancelled; the next one is
  asked only after that. So `supervise` ends within the sum of them.
- systemd is told READY=1 once every stage is past its start, WATCHDOG=1 only while `Health.sound`, and STOPPING=1.

This is the only place of the program that catches `Exception`.
"""

from __future__ import annotations

import os
import random
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import sdnotify
import trio

from ps2daemon.census.limits import Backoff
from ps2daemon.errors import QueueLocked, QueueMismatch, StageGivenUp, StoreMismatch, UsageError
from ps2daemon.health import Health, StageControl, StageState, StageTelemetry

__all__ = [
    "Health",
    "StageControl",
    "StageSpec",
    "StageState",
    "SupervisorTelemetry",
    "Systemd",
    "stop_on_signals",
    "supervise",
]

RESTART: Final = Backoff(first=0.5, highest=60.0)
STEADY_SECONDS: Final = 60.0
"""So long a span of progress proves a stage: its next crash is a first one again."""
MAX_CRASHES: Final = 10
CRASH_SECONDS: Final = 600.0
FATAL: Final = (UsageError, QueueLocked, QueueMismatch, StoreMismatch)
"""Errors that the next attempt would meet again: a person has to act."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSpec:
    """A stage.

    Attributes:
        run: works until `StageControl.stopping` is set, then finishes and returns. It is called again after a crash.
        stop_seconds: how long finishing may take.
        may_finish: it may return by itself; all stages are stopped then.
    """

    name: str
    run: Callable[[StageControl], Awaitable[None]]
    stop_seconds: float
    may_finish: bool = False


class SupervisorTelemetry(StageTelemetry, Protocol):
    """Whom the supervisor tells what happens."""

    def stage_crashed(self, stage: str, error: Exception, seconds: float | None) -> None:
        """An unexpected error; the stage starts again in `seconds`, or not at all (None)."""

    def stage_restarted(self, stage: str) -> None:
        """The wait is over; it is started again."""

    def stage_cut_off(self, stage: str, seconds: float) -> None:
        """It did not finish within its `seconds` and was cancelled."""


class Notifier(Protocol):
    """Where systemd listens."""

    def notify(self, state: str) -> None:
        """Sends one message such as READY=1."""


class Systemd:
    """Tells systemd how the process is; does nothing where it was not started by systemd.

    Args:
        environ: the environment variables; `WATCHDOG_USEC` says how often to call.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, notifier: Notifier | None = None) -> None:
        # Without the variable the library would leave a socket open.
        self._notifier = (
            sdnotify.SystemdNotifier() if notifier is None and environ.get("NOTIFY_SOCKET") else notifier
        )
        period = environ.get("WATCHDOG_USEC", "")
        # Twice within the period, as sd_watchdog_enabled(3) recommends.
        self._watchdog_seconds = int(period) / 2_000_000 if period.isdigit() and int(period) else None

    async def tell(self, health: Health) -> None:
        """READY=1 when it is due and then the watchdog's calls, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ready, health)
            if self._watchdog_seconds is not None:
                nursery.start_soon(self._feed, health, self._watchdog_seconds)

    def stopping(self) -> None:
        """The ordered stop begins."""
        self._notify("STOPPING=1")

    async def _ready(self, health: Health) -> None:
        await health.wait_started()
        self._notify("READY=1")

    async def _feed(self, health: Health, seconds: float) -> None:
        while True:
            if health.sound():
                self._notify("WATCHDOG=1")
            await trio.sleep(seconds)

    def _notify(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)


async def supervise(
    stages: Sequence[StageSpec],
    telemetry: SupervisorTelemetry,
    *,
    stop: trio.Event,
    health: Health,
    systemd: Systemd | None = None,
    chance: Callable[[], float] = random.random,
) -> None:
    """Runs the stages until `stop` is set, or one that may finish has finished; returns when all have ended.

    Args:
        stages: in the flow's order, which is the order of stopping.
        health: the stages are added to it.
        chance: draws the jitter, in [0, 1).

    Raises:
        StageGivenUp: a stage crashed too often.
        UsageError, QueueLocked, QueueMismatch, StoreMismatch: a stage met what no waiting helps.
    """
    systemd = systemd or Systemd()
    finish = trio.Event()
    runners = [_Runner(spec, health.add(spec.name, telemetry), telemetry, finish, chance) for spec in stages]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.tell, health)
        nursery.start_soon(_pass_on, stop, finish)
        for runner in runners:
            nursery.start_soon(runner.run)
        await finish.wait()
        systemd.stopping()
        for runner in runners:
            await runner.stop()
        nursery.cancel_scope.cancel()
    for runner in runners:
        if runner.failure is not None:
            raise runner.failure


async def _pass_on(stop: trio.Event, finish: trio.Event) -> None:
    await stop.wait()
    finish.set()


class _Runner:
    """One stage's life, over all its restarts."""

    def __init__(
        self,
        spec: StageSpec,
        control: StageControl,
        telemetry: SupervisorTelemetry,
        finish: trio.Event,
        chance: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._control = control
        self._telemetry = telemetry
        self._finish = finish
        self._chance = chance
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._failures = 0  # in a row, without a minute of progress in between
        self.failure: Exception | None = None

    async def run(self) -> None:
        """Until it is stopped, finishes or fails for good."""
        try:
            while (seconds := await self._attempt()) is not None:
                with trio.move_on_after(seconds):
                    await self._control.stopping.wait()
                if self._control.stopping.is_set():
                    break
                self._telemetry.stage_restarted(self._spec.name)
                self._control.starting()
        finally:
            self._control.stopped(None if self.failure is None else _line(self.failure))
            self._ended.set()

    async def stop(self) -> None:
        """Asks it to finish, and sees to it that it does."""
        self._control.stopping.set()
        with trio.move_on_after(self._spec.stop_seconds):
            await self._ended.wait()
        if not self._ended.is_set():
            self._telemetry.stage_cut_off(self._spec.name, self._spec.stop_seconds)
            self._scope.cancel()
            await self._ended.wait()

    async def _attempt(self) -> float | None:
        """Runs the stage once; the seconds until the next attempt, or None if there is none."""
        self._scope = trio.CancelScope()
        try:
            with self._scope:
                await self._spec.run(self._control)
            if self._control.stopping.is_set():
                return None
            if self._spec.may_finish:
                self._finish.set()
                return None
            raise RuntimeError(f"stage {self._spec.name} returned, and nobody had asked it to")
        except Exception as error:
            return self._crashed(error)

    def _crashed(self, error: Exception) -> float | None:
        """Decides what follows."""
        name = self._spec.name
        fatal = _fatal(error)
        if fatal is not None:
            self._fail(fatal)
            return None
        if self._control.stopping.is_set():
            self._telemetry.stage_crashed(name, error, None)
            return None
        now = trio.current_time()
        self._crashes.append(now)
        if len(self._crashes) == MAX_CRASHES and now - self._crashes[0] <= CRASH_SECONDS:
            self._telemetry.stage_crashed(name, error, None)
            message = (
                f"stage {name} crashed {MAX_CRASHES} times within {CRASH_SECONDS / 60:.0f} minutes, last with {_line(error)};"
                " the log says where"
            )
            self._fail(StageGivenUp(name, message))
            return None
        if self._control.progress_seconds >= STEADY_SECONDS:
            self._failures = 0
        seconds = RESTART.seconds(self._failures, self._chance())
        self._failures += 1
        self._control.restarting(_line(error))
        self._telemetry.stage_crashed(name, error, seconds)
        return seconds

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self._finish.set()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _fatal(error: Exception) -> Exception | None:
    """The first error in it that no waiting helps."""
    return next((leaf for leaf in _leaves(error) if isinstance(leaf, FATAL)), None)


def _line(error: Exception) -> str:
    """An error as one short line."""
    leaf = next(_leaves(error))
    text = " ".join(str(leaf).split())
    return f"{type(leaf).__name__}: {text[:200]}" if text else type(leaf).__name__


async def stop_on_signals(
    stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Sets `stop` at the first SIGTERM or SIGINT; from then on they have the kernel's default effect and end the process at once.

    Runs until cancelled; the earlier handlers are back then.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        await anext(signals)
        # Even if a stage hangs without letting the event loop run, the second one works.
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        stop.set()
        async for early in signals:  # came before the handlers were changed
            signal.raise_signal(early)
