"""Which faults are on, and the one place where what they do is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import trio

from ps2daemon.model.events import CANCELED, ENDED, Login, Logout, Metagame
from ps2daemon.model.records import Ms
from ps2daemon.simulator.connection import Answer, text_frame
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.definition import ONE_WORLD, Fault, Setting, refused
from ps2daemon.simulator.faults.plan import Planned, fault_named, parse_fault
from ps2daemon.simulator.faults.telling import Also, Telling, telling_of
from ps2daemon.simulator.payloads import Happening

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Client, Simulator

ALL: Final = "all"
Hook = TypeVar("Hook")
_ORDER: Final = {name: number for number, name in enumerate(FAULTS)}


class Later:
    """Does things after a while, in the order of their times; `run` has to run."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Callable[[], None]]] = []
        self._numbers = count()
        self._lives: Counter[str] = Counter()
        self._changed = trio.Event()

    @property
    def of_lives(self) -> bool:
        """Whether anything is left to do about a character."""
        return bool(self._lives)

    def add(self, seconds: float, action: Callable[[], None], about: str = "") -> None:
        """`about`: the character whose life the action is part of."""
        heappush(self._heap, (trio.current_time() + seconds, next(self._numbers), about, action))
        if about:
            self._lives[about] += 1
        self._changed.set()

    def hurry(self, about: str) -> None:
        """Does now what is left to do about a character."""
        if not self._lives[about]:
            return
        due = sorted(entry for entry in self._heap if entry[2] == about)
        self._heap = [entry for entry in self._heap if entry[2] != about]
        heapify(self._heap)
        del self._lives[about]
        for *_, action in due:
            action()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._heap[0][0]) if self._heap else trio.CancelScope():
                await self._changed.wait()
            while self._heap and self._heap[0][0] <= trio.current_time():
                _, _, about, action = heappop(self._heap)
                if about:
                    self._lives[about] -= 1
                    if not self._lives[about]:
                        del self._lives[about]
                action()


class _On:
    """A fault that is on for so many seconds, or until it is stopped, with what runs on its account."""

    def __init__(self, setting: Setting, seconds: float | None) -> None:
        self.setting = setting
        self.seconds = seconds
        self.scope = trio.CancelScope()
        self.before: trio.Event | None = None
        self.over = trio.Event()


class Faults:
    """The faults of one simulator.

    They may be started before it runs; what takes time begins when `run` does. A fault has one setting at a time: starting it again replaces it.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._on: dict[str, _On] = {}
        self._nursery: trio.Nursery | None = None
        self._planned: list[Planned] = []
        self._tasks: dict[str, _On] = {}
        self._later = Later()
        self._tells: list[Setting] = []
        self._happens: list[Setting] = []
        self._frames: list[Setting] = []
        self.touch_events = False
        """Whether events have to go through `tell`."""
        for fault in FAULTS.values():
            if fault.from_start:
                self._start(Setting(fault))

    @property
    def active(self) -> tuple[str, ...]:
        """What is on, each as `start` takes it."""
        return tuple(str(on.setting) for on in self._on.values())

    def is_on(self, name: str) -> bool:
        """Whether a fault is on."""
        return name in self._on

    def start(self, text: str, seconds: float | None = None) -> None:
        """Starts `NAME[:VALUE][@WORLD]`.

        Args:
            seconds: how long; None for until it is stopped.

        Raises:
            UsageError: no fault, a value that it does not accept, or a world that is not simulated.
        """
        self.plan([Planned(parse_fault(text), seconds=seconds)])

    def stop(self, name: str = ALL) -> None:
        """Stops a fault, or `all` but those that are always on; what is not on stays off.

        Raises:
            UsageError: there is none of that name.
        """
        if name != ALL:
            self._stop(fault_named(name.partition(":")[0]).name)
            return
        for on in list(self._on.values()):
            if not on.setting.fault.from_start:
                self._stop(on.setting.fault.name)

    def plan(self, planned: Iterable[Planned]) -> None:
        """Starts faults at their times, counted from now, or from the start of a simulator that does not run yet.

        Raises:
            UsageError: one is about a world that is not simulated.
        """
        planned = list(planned)
        for each in planned:
            self._check(each.setting)
        for each in planned:
            if each.start <= 0:
                self._start(each.setting, each.seconds)
            elif self._nursery is None:
                self._planned.append(each)
            else:
                self._later.add(each.start, partial(self._start, each.setting, each.seconds))

    def _check(self, setting: Setting) -> None:
        of_one = setting.fault.value is ONE_WORLD
        for world_id in (setting.value if of_one else None, setting.world_id):
            if world_id is not None and world_id not in self._simulator.worlds:
                known = ", ".join(map(str, self._simulator.worlds))
                raise refused(str(setting), f"world {world_id} is not simulated; simulated are {known}")

    async def run(self) -> None:
        """Has to run for faults that take time."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for on in list(self._on.values()):
                self._run(on)
            planned, self._planned = self._planned, []
            self.plan(planned)
            await self._later.run()

    def _start(self, setting: Setting, seconds: float | None = None) -> None:
        fault = setting.fault
        self._stop(fault.name)
        self._on[fault.name] = on = _On(setting, seconds)
        self._changed()
        if fault.existing:
            for client in list(self._simulator.clients):
                self._strike(on, client)
        self._run(on)

    def _stop(self, name: str) -> None:
        on = self._on.pop(name, None)
        if on is not None:
            on.scope.cancel()
            self._changed()

    def _end(self, on: _On) -> None:
        """Stops it unless it was stopped, or started anew, before."""
        name = on.setting.fault.name
        if self._on.get(name) is on:
            self._stop(name)

    def _run(self, on: _On) -> None:
        """Begins what takes time, or leaves that to `run`."""
        if self._nursery is None:
            return
        if on.seconds is not None:
            self._later.add(on.seconds, partial(self._end, on))
        fault = on.setting.fault
        if fault.task is not None:
            before, self._tasks[fault.name] = self._tasks.get(fault.name), on
            on.before = None if before is None else before.over
            self._nursery.start_soon(self._task, on)

    async def _task(self, on: _On) -> None:
        fault = on.setting.fault
        try:
            if on.before is not None:
                await on.before.wait()  # what it puts right at its end must not undo this one
            if fault.task is not None and self._on.get(fault.name) is on:
                with on.scope:
                    await fault.task(self._simulator, on.setting.value)
                self._end(on)
        finally:
            on.over.set()

    def _settings(self) -> list[Setting]:
        """In the order in which they are applied."""
        return sorted((on.setting for on in self._on.values()), key=lambda each: _ORDER[each.fault.name])

    def _changed(self) -> None:
        settings = self._settings()
        self._tells = [setting for setting in settings if setting.fault.tell is not None]
        self._happens = [setting for setting in settings if setting.fault.happen is not None]
        self._frames = [setting for setting in settings if setting.fault.frame is not None]
        self._see_to_events()

    def _see_to_events(self) -> None:
        self.touch_events = bool(self._tells or self._happens or self._later.of_lives)

    def _hooks(self, hook: Callable[[Fault], Hook | None]) -> list[tuple[Hook, Any]]:
        found = ((hook(setting.fault), setting.value) for setting in self._settings())
        return [(function, value) for function, value in found if function is not None]

    # Connections.

    def first_bytes(self) -> bytes | None:
        """What a new connection is answered with instead of being served."""
        for first_bytes, value in self._hooks(lambda fault: fault.first_bytes):
            return first_bytes(value)
        return None

    def admit(self) -> int | None:
        """The status that an upgrade is refused with, 0 for the end without a word, None to accept it."""
        for admit, value in self._hooks(lambda fault: fault.admit):
            return admit(value)
        return None

    def opened(self, client: Client) -> None:
        """A websocket was opened; nothing was sent on it yet."""
        for on in list(self._on.values()):
            self._strike(on, client)

    def _strike(self, on: _On, client: Client) -> None:
        fault, value = on.setting.fault, on.setting.value
        if fault.connection is None:
            return
        if not fault.after:
            fault.connection(self._simulator, client, value)
        else:
            assert isinstance(value, int | float)
            self._later.add(value, partial(self._strike_later, on, client))

    def _strike_later(self, on: _On, client: Client) -> None:
        fault = on.setting.fault
        if (
            self._on.get(fault.name) is on
            and client in self._simulator.clients
            and fault.connection is not None
        ):
            fault.connection(self._simulator, client, on.setting.value)

    def reply(self, frame: bytes | None) -> bytes | None:
        """What a command is answered with."""
        for reply, value in self._hooks(lambda fault: fault.reply):
            frame = None if frame is None else reply(frame, value)
        return frame

    def frame(self, frame: bytes) -> bytes:
        """A frame that the service sends of its own accord, as it is sent."""
        if not self._frames:
            return frame
        content: dict[str, Any] = msgspec.json.decode(frame)
        for setting in self._frames:
            if setting.fault.frame is not None:
                content = setting.fault.frame(content, setting.value)
        return msgspec.json.encode(content)

    def answer(self, answer: Answer) -> Answer:
        """An answer of REST, as it is given."""
        for change, value in self._hooks(lambda fault: fault.answer):
            answer = change(answer, value)
        return answer

    # Events.

    def tell(self, event: Happening) -> Ms | None:
        """Tells an event as the faults have it.

        Returns:
            when it was handed to a socket, or None if that was not yet, or never; then the truth hears of it.
        """
        if isinstance(event, Login | Logout):
            self._later.hurry(event.character_id)  # what came of their last logout comes before
        sent = self._convey(event, self.tellings(telling_of(event)))
        for also in self.also(event):
            about = event.character_id if isinstance(event, Login | Logout) else ""
            self._later.add(also.delay, partial(self._happen, also), about)
        self._see_to_events()
        return sent

    def tellings(self, telling: Telling) -> list[Telling]:
        """What becomes of a telling."""
        tellings = [telling]
        for setting in self._tells:
            tell = setting.fault.tell
            if tell is not None and setting.strikes(telling.event.world_id):
                tellings = [each for one in tellings for each in tell(one, setting.value)]
        return tellings

    def also(self, event: Happening) -> list[Also]:
        """What really happens because of an event; once, even if several faults want it."""
        found: dict[Also, None] = {}
        for setting in self._happens:
            happen = setting.fault.happen
            if happen is not None and setting.strikes(event.world_id):
                found.update(dict.fromkeys(happen(event, setting.value)))
        return list(found)

    def _happen(self, also: Also) -> None:
        """It happens now, is told, and is true."""
        event, truth = also.event, self._simulator.truth
        if isinstance(event, Login | Logout):
            there = truth.running(event.character_id) is not None
            if there is isinstance(event, Login) or event.character_id not in truth.characters:
                return  # the story went on without it
        elif isinstance(event, Metagame):
            alert = truth.alert(event.world_id, event.instance_id)
            if alert is not None and event.state == ENDED:
                vs, nc, tr = alert.territory_end
                event = msgspec.structs.replace(
                    event,
                    state=CANCELED if alert.canceled else ENDED,
                    territory_vs=vs,
                    territory_nc=nc,
                    territory_tr=tr,
                )
        sent = self._convey(event, self.tellings(telling_of(event, extra=True)))
        if isinstance(event, Login):
            truth.login(truth.characters[event.character_id], event.at, sent)
        elif isinstance(event, Logout):
            truth.logout(event.character_id, event.at, sent)
        elif isinstance(event, Metagame) and also.amends:
            truth.amend_alert(event.world_id, event.instance_id, **dict(also.amends))

    def _convey(self, event: Happening, tellings: Iterable[Telling]) -> Ms | None:
        sent: Ms | None = None
        for telling in tellings:
            if telling.delay > 0:
                self._later.add(telling.delay, partial(self._convey_late, telling))
                continue
            at = self._dispatch(telling)
            if telling.genuine and at is not None:
                sent = at
        return sent

    def _convey_late(self, telling: Telling) -> None:
        sent = self._dispatch(telling)
        if telling.genuine and isinstance(telling.event, Login | Logout):
            self._simulator.truth.mark_sent(telling.event, sent)

    def _dispatch(self, telling: Telling) -> Ms | None:
        """Sends one frame; returns when it was handed to a socket."""
        event = telling.event
        if telling.amends and isinstance(event, Metagame):
            self._simulator.truth.amend_alert(event.world_id, event.instance_id, **telling.amends)
        clients = self._simulator.audience(event)
        if telling.audience == "first":
            clients = clients[:1]
        elif telling.audience == "others":
            clients = clients[1:]
        if not clients:
            return None
        frame = text_frame(telling.frame)
        for client in clients:
            client.websocket.send_frames(frame)
        return self._simulator.clock.now()
