"""Each fault of the simulator's stream in virtual time: what the real subscriber puts into its queue of it, what the ledger makes of that, and the truth.

The fault strikes a recording of three worlds at a busy hour that goes well before and after it. What has to be stored is what the service told of it:
nobody can know of a login that it keeps to itself while it says that all is well.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bench.comparison import Fact, Told, alert_fact, compare_facts, edges_of, stored_facts
from bench.outcomes import Outcome, Row
from bench.recorded import LATENCY, START, UNDIALLED, WORLDS, Fault, Recorded, record
from ps2daemon.model.alerts import lock_of
from ps2daemon.model.batch import make_batch
from ps2daemon.model.events import (
    CANCELED,
    ENDED,
    STARTED,
    ContinentLock,
    Event,
    Login,
    Logout,
    Metagame,
    decode_event,
)
from ps2daemon.model.records import Ms
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.definition import ONE_WORLD, PERCENT, Setting
from ps2daemon.simulator.faults.plan import parse_fault
from ps2daemon.simulator.faults.telling import Telling, telling_of
from ps2daemon.simulator.payloads import Happening
from ps2daemon.simulator.truth import TrueAlert, Truth
from ps2daemon.store.ledger import Ledger
from ps2daemon.store.sqlite import SqliteStore

BATCH: Final = 2_000
"""Records that are written together."""
WORLD: Final = 10
"""The one that faults of one world strike."""
SHARE: Final = 30
"""Percent of the events that faults of a share strike."""
BEGIN: Final = (330.0, 450.0)
"""Seconds after the start when faults begin, somewhere between two verifications."""
LONG: Final = 300.0
MOMENT: Final = 5.0
"""How long those last that strike a connection once."""


class Strike(NamedTuple):
    """How a fault is tried.

    Attributes:
        value: what stands behind its colon; None for the default, or `WORLD` or `SHARE`.
        seconds: how long it lasts.
        begin: between which seconds after the start it begins.
        reconnecting: it strikes new connections: the one that is there is reset.
        connections: how many there are.
        to_be_noticed: the recording has to know of it.
        always: it is on from the start: it changes what is told of an event.
    """

    value: str | None = None
    seconds: float | None = LONG
    begin: tuple[float, float] = BEGIN
    minutes: int = 20
    scale: float = 0.3
    reconnecting: bool = False
    connections: int = 1
    to_be_noticed: bool = False
    always: bool = False


_REFUSING: Final = Strike(reconnecting=True, to_be_noticed=True)
_ONCE: Final = Strike(seconds=MOMENT, value="1", to_be_noticed=True)
_UNTRUE: Final = Strike(always=True)
_ALERT: Final = Strike(always=True, minutes=240, scale=0.05)
"""Some eight alerts a day and world."""
_SILENCE: Final = Strike(minutes=60, begin=(1_830.0, 1_950.0), seconds=1_200.0, to_be_noticed=True)
"""On worlds whose rate is known, and of which an event comes every half a minute: of slower ones some is vouched for falsely (`model.silence`)."""

STRIKES: Final = {
    "refuse_upgrade": _REFUSING,
    "refuse_tcp": _REFUSING,
    "tls_failure": _REFUSING,
    "stream_down": Strike(to_be_noticed=True),
    "accept_silent": _REFUSING,
    "close_at_once": _REFUSING,
    "reset": _ONCE,
    "half_open": _ONCE,
    "heartbeats_only": _SILENCE,
    "world_silent": _SILENCE,
    "subscription_emptied": _ONCE,
    "subscription_narrowed": _ONCE,
    "no_ack": Strike(to_be_noticed=True),
    "false_while_flowing": Strike(to_be_noticed=True),
    "world_restart": Strike(seconds=None, to_be_noticed=True),
    "orphan_logout": _UNTRUE,
    "world_clock": _UNTRUE,
    "clock_rollback": _UNTRUE,
    "unknown_world": _UNTRUE,
    "large_frame": Strike(to_be_noticed=True),
    "duplicate_across": Strike(connections=2),
}
"""Those that are not tried like the others."""
MIXED: Final = (
    "refuse_upgrade", "refuse_tcp", "tls_failure", "close_at_once", "stream_down", "accept_silent", "reset:20", "half_open:20",
    "subscription_emptied:5", "subscription_narrowed:5", "no_ack", "false_while_flowing:10", "ghost_world", "renamed_endpoint",
    "heartbeat_without_timestamp", "drop_logouts:20", "drop_logins:20", "same_second_relog:20", "swapped_order:20", "double_login:20",
    "duplicate:50", "duplicate_late:20", "duplicate_across:2", "out_of_order:3", "unknown_event:50", "payload_without_name:50",
    "missing_team_id:50", "numbers_for_strings", "unparseable_frame:20", "truncated_json:20", "large_frame", "world_restart:10",
)  # fmt: skip
"""Those that leave as true what is told, and do not last until they are noticed by chance alone."""
MIXTURE_MINUTES: Final = 120
MIXTURE_FAULTS: Final = 50


def rows(runs: int) -> list[Row]:
    """One for each fault of the stream, and one for many at once."""
    found = []
    for fault in FAULTS.values():
        if fault.place == "rest":
            continue
        strike = STRIKES.get(fault.name, _ALERT if fault.place == "alert" else Strike())
        value = strike.value
        if value is None and fault.value is ONE_WORLD:
            value = str(WORLD)
        elif value is None and fault.value is PERCENT:
            value = str(SHARE)
        text = fault.name if value is None else f"{fault.name}:{value}"
        found.append(Row(text, partial(struck, text, strike), runs, to_be_noticed=strike.to_be_noticed))
    found += [Row(text, partial(struck, text, _REFUSING), runs, to_be_noticed=True) for text in UNDIALLED]
    found.append(Row(f"{MIXTURE_FAULTS} at random in {MIXTURE_MINUTES} minutes", mixed, runs, MIXTURE_FAULTS))
    return found


def struck(text: str, strike: Strike, seed: int) -> Outcome:
    """One recording that a fault strikes."""
    setting = None if text in UNDIALLED else parse_fault(text)
    begin = 0.0 if strike.always else Random(f"{seed}/{text}").uniform(*strike.begin)
    faults = [Fault(text, begin, None if strike.always else strike.seconds)]
    at = begin if setting is None else begin + float(setting.value or 0) * setting.fault.after
    if strike.reconnecting:
        faults.append(Fault("reset:0", begin, 1.0))
    found = recorded(
        faults, seed=seed, minutes=strike.minutes, scale=strike.scale, connections=strike.connections
    )
    outcome = trio.run(compared, found, setting if strike.always else None)
    if not strike.to_be_noticed:
        return outcome
    told = [each.second - at for each in found.told if each.second >= at]
    return outcome._replace(noticed=min(told, default=None))


def mixed(seed: int) -> Outcome:
    """One recording that many faults strike, some at the same time."""
    random = Random(f"{seed}/mixed")
    end = (MIXTURE_MINUTES - 20) * 60
    faults = [
        Fault(random.choice(MIXED), random.uniform(BEGIN[0], end), random.uniform(1, LONG))
        for _ in range(MIXTURE_FAULTS)
    ]
    found = recorded(faults, seed=seed, minutes=MIXTURE_MINUTES, connections=1 + seed % 2)
    return trio.run(compared, found, None)


def recorded(
    faults: Sequence[Fault], *, seed: int, minutes: int, scale: float = 0.3, **settings: Any
) -> Recorded:
    """Records in virtual time; see `record`."""
    logging.disable(logging.WARNING)

    async def run() -> Recorded:
        with pytest.MonkeyPatch.context() as patch:
            return await record(
                patch,
                *faults,
                seed=seed,
                minutes=minutes,
                scale=scale,
                listening=True,
                **settings,
            )

    return trio.run(run, clock=MockClock(autojump_threshold=0))


async def compared(found: Recorded, untrue: Setting | None) -> Outcome:
    """Writes what was recorded into a store, and compares that with the truth.

    Args:
        untrue: a fault that was on all the time, and by which something else is told than what happened.
    """
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as folder:
        store = await SqliteStore.open(Path(folder) / "ps2.db")
        try:
            ledger = Ledger(store, lambda: found.end)
            for first in range(0, len(found.records), BATCH):
                await ledger.apply(make_batch(found.records[first : first + BATCH]))
            await ledger.settle()
            stored = await stored_facts(store, WORLDS)
        finally:
            await store.aclose()
    result = compare_facts(stored, told(found.truth, untrue), found.coverage)
    return Outcome(result.lost, result.doubled, result.invented, found.falsely_covered(), result.edges)


def told(truth: Truth, untrue: Setting | None) -> Iterator[Told]:
    """Everything that the service told."""
    changing = untrue is not None and untrue.fault.changes  # of what it changes, the truth knows
    for true in truth.sessions:
        for edge in edges_of(true, by_sent=True):
            kind = Login if edge.fact.kind == "login" else Logout
            event = kind(edge.fact.who, edge.fact.world_id, edge.fact.at)
            yield from _as_told(event, edge.moments, None if changing else untrue)
    for alert in truth.alerts:
        before = (
            alert.start < START
        )  # and so it goes on as if nothing had happened to it, but for what is told
        for change in _changes(alert):
            moments = (change.at, change.at + LATENCY)
            yield from _as_told(change, moments, None if changing and not before else untrue)
    for lock in truth.locks:
        locked = ContinentLock(lock.world_id, lock.zone_id, lock.at, lock.winner, 0, 0, 0.0, 0.0, 0.0)
        yield from _as_told(locked, (lock.at, lock.at + LATENCY), None if changing else untrue)


def _changes(alert: TrueAlert) -> Iterator[Metagame]:
    """What was to be heard of an alert since the start; the shares do not matter."""
    last = CANCELED if alert.canceled else ENDED
    for state, at in ((STARTED, alert.start), (last, alert.end)):
        if at >= START:
            ids = alert.world_id, alert.instance_id, alert.metagame_event_id
            yield Metagame(*ids, state, at, alert.zone_id, 0.0, 0.0, 0.0)


def _as_told(event: Happening, moments: tuple[Ms, ...], untrue: Setting | None) -> Iterator[Told]:
    """What is told of an event while a fault is on: something else, or of something else besides."""
    tellings: Sequence[Telling] = [telling_of(event)]
    if untrue is not None and untrue.fault.tell is not None:
        tellings = untrue.fault.tell(tellings[0], untrue.value)
    for telling in tellings:
        fact = fact_of(decode_event(msgspec.json.encode(telling.fields)))
        if fact is not None:
            yield Told(fact, moments)


def fact_of(event: Event) -> Fact | None:
    """What is to be stored of an event, if anything."""
    match event:
        case Login():
            return Fact("login", event.character_id, event.world_id, event.at)
        case Logout():
            return Fact("logout", event.character_id, event.world_id, event.at)
        case Metagame():
            return alert_fact(event.world_id, event.instance_id, event.state, event.at)
        case ContinentLock() if (lock := lock_of(event)) is not None:
            return Fact("lock", str(lock.zone_id), lock.world_id, lock.at)
    return None
