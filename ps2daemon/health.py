"""What each stage is doing, told by the stage itself: the source of readiness, of health and of what systemd is told.

A stage is **sound** while it makes progress, or says that it waits knowingly: for records, for a store that is down, for its turn
after a crash. It is **unsound** when it claims to work, or to start, and nothing has come of it for `stale_seconds`: then it
hangs, which only a restart of the process helps. Times are `trio.current_time()`; nothing here waits.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

import msgspec
import trio

STALE_SECONDS: Final = 60.0
"""Longer than any single step of a stage: the slowest are a commit and a request with their deadlines, under 30 s."""


class StageState(enum.StrEnum):
    """`waiting` is in order, `degraded` is an outage that is waited out; both are knowingly so."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    DEGRADED = "degraded"
    RESTARTING = "restarting"
    STOPPED = "stopped"


READY_STATES: Final = frozenset({StageState.WORKING, StageState.WAITING})
STARTED_STATES: Final = READY_STATES | {StageState.DEGRADED}
_TIMED_STATES: Final = frozenset({StageState.STARTING, StageState.WORKING})


class StageTelemetry(Protocol):
    """Whom a change of a stage is told to."""

    def stage_state(self, stage: str, state: str, why: str | None) -> None:
        """The state, or the reason for it, changed."""

    def stage_progress(self, stage: str) -> None:
        """Something was done."""


class StageSnapshot(msgspec.Struct, frozen=True):
    """One stage at one moment.

    Attributes:
        why: what it waits for, or what is wrong; None while all is well.
        idle_seconds: since its last progress or change of state.
        restarts: since the process began.
        ready: it does what it is for.
        sound: see the module.
    """

    name: str
    state: str
    why: str | None
    idle_seconds: float
    restarts: int
    ready: bool
    sound: bool


class StageControl:
    """What a stage is given: its part is to say what it does and to finish when `stopping` is set.

    Whatever is said goes through one place, `_set`; saying the same again costs next to nothing.
    """

    def __init__(self, name: str, telemetry: StageTelemetry, stale_seconds: float) -> None:
        self.name = name
        self.stopping = trio.Event()
        self.restarts = 0
        self.past_start = trio.Event()
        self._telemetry = telemetry
        self._stale_seconds = stale_seconds
        self._state = StageState.STARTING
        self._why: str | None = None
        self._moved_at = trio.current_time()
        self._first_progress: float | None = None
        self._last_progress: float | None = None
        telemetry.stage_state(name, self._state, None)

    @property
    def state(self) -> StageState:
        """The latest that was said."""
        return self._state

    def working(self) -> None:
        """It is at work, and an outage, if there was one, is over; from now on it owes progress."""
        self._set(StageState.WORKING, None)

    def waiting(self, why: str) -> None:
        """There is nothing to do, which is in order; may last for ever."""
        self._set(StageState.WAITING, why)

    def degraded(self, why: str) -> None:
        """Something it needs is out of order, and it waits for that; may last for ever."""
        self._set(StageState.DEGRADED, why)

    def progress(self) -> None:
        """Something was done; at its start it is working from then on, and otherwise its state stays what it said last."""
        self._moved_at = self._last_progress = trio.current_time()
        if self._first_progress is None:
            self._first_progress = self._moved_at
        if self._state == StageState.STARTING:
            self._set(StageState.WORKING, None)
        self._telemetry.stage_progress(self.name)

    def starting(self) -> None:
        """The supervisor is about to start it (again)."""
        self._first_progress = self._last_progress = None
        self._set(StageState.STARTING, None)

    def restarting(self, why: str) -> None:
        """It crashed, and the supervisor lets some time pass."""
        self.restarts += 1
        self._set(StageState.RESTARTING, why)

    def stopped(self, why: str | None = None) -> None:
        """It ended for good."""
        self._set(StageState.STOPPED, why)

    @property
    def progress_seconds(self) -> float:
        """From the first to the last progress since it was last started."""
        if self._first_progress is None or self._last_progress is None:
            return 0.0
        return self._last_progress - self._first_progress

    def snapshot(self) -> StageSnapshot:
        """What there is to tell now."""
        idle = trio.current_time() - self._moved_at
        return StageSnapshot(
            name=self.name,
            state=self._state.value,
            why=self._why,
            idle_seconds=round(idle, 3),
            restarts=self.restarts,
            ready=self._state in READY_STATES,
            sound=self._state not in _TIMED_STATES or idle <= self._stale_seconds,
        )

    def _set(self, state: StageState, why: str | None) -> None:
        if state == self._state and why == self._why:
            return
        self._state = state
        self._why = why
        self._moved_at = trio.current_time()
        if state in STARTED_STATES:
            self.past_start.set()
        self._telemetry.stage_state(self.name, state, why)


class Health:
    """All stages of this process. Before there are any, it is neither ready nor unsound.

    Args:
        stale_seconds: how long a stage may claim to work without any progress.
    """

    def __init__(self, *, stale_seconds: float = STALE_SECONDS) -> None:
        self._stale_seconds = stale_seconds
        self._controls: dict[str, StageControl] = {}

    def add(self, name: str, telemetry: StageTelemetry) -> StageControl:
        """The control of a new stage; a name can be used once."""
        if name in self._controls:
            raise ValueError(f"there is a stage {name!r} already")
        control = self._controls[name] = StageControl(name, telemetry, self._stale_seconds)
        return control

    def stages(self) -> tuple[StageSnapshot, ...]:
        """In the flow's order."""
        return tuple(control.snapshot() for control in self._controls.values())

    def sound(self) -> bool:
        """No stage hangs: `/healthz`, and what feeds systemd's watchdog."""
        return all(stage.sound for stage in self.stages())

    def ready(self) -> bool:
        """Every stage does what it is for: `/readyz`."""
        stages = self.stages()
        return bool(stages) and all(stage.ready for stage in stages)

    async def wait_started(self) -> None:
        """Returns when every stage was past its start at least once: systemd's READY."""
        for control in self._controls.values():
            await control.past_start.wait()
