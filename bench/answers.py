"""Each fault of Census over REST in virtual time: what the store holds when it is over, and the truth.

A daemon of which all but the network and the queue is real records three worlds at a busy hour, which goes well before and after the fault. Who could not
be named meanwhile has to be named in the end without a hand, and nobody may be taken for offline or for somebody else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Final, NamedTuple

import pytest
import trio
from trio.testing import MockClock

from bench.comparison import compare_facts, stored_facts
from bench.kept import Kept
from bench.outcomes import Outcome, Row
from bench.recorded import START, WORLDS, Fault, falsely_covered
from bench.stored import Recorder, recorder
from bench.strikes import BEGIN, LONG, told
from ps2daemon.model.records import MINUTE, SECOND, Ms
from ps2daemon.simulator.faults.catalogue import FAULTS

SETTLED: Final = 8 * MINUTE
"""In that, Census is asked about whoever it can name, where nobody waits because it did not know him."""


class Answering(NamedTuple):
    """How a fault of REST is tried.

    Attributes:
        value: what stands behind its colon.
        seconds: how long it lasts.
        to_be_noticed: it gives no answer that could be used.
        unknown: it says of people that it does not know them; they are asked about ever more rarely.
        slowly: see `Recorder`.
    """

    value: str | None = None
    seconds: float = LONG
    minutes: int = 30
    scale: float = 0.3
    to_be_noticed: bool = False
    unknown: bool = False
    slowly: bool = False


_NONE: Final = Answering(to_be_noticed=True)
_UNKNOWN: Final = Answering(unknown=True)
ANSWERS: Final = {
    "rest_missing_first_session": Answering(seconds=0.0, minutes=90, slowly=True),
    "rest_partial": _UNKNOWN,
    "rest_empty": _UNKNOWN,
    "rest_error_body": _NONE,
    "rest_html": _NONE,
    "rest_status": _NONE,
    "rest_redirect": _NONE,
    "rest_trickle": _NONE._replace(value="31"),
    "rest_reset": _NONE,
    "rest_down": _NONE,
}
"""Those that are not tried like the others: they name nobody, or not all, or take longer than anybody waits."""
ALWAYS: Final = "rest_missing_first_session"
"""What Census does all the time."""
HOURS: Final = Answering(seconds=3 * 3_600.0, minutes=300, scale=0.05, to_be_noticed=True, slowly=True)
OUTAGES: Final = {
    "REST down for 3 hours, the stream fine": ("rest_down",),
    "stream down for 3 hours, REST fine": ("stream_down",),
}


def rows(runs: int) -> list[Row]:
    """One for each fault of REST, and one for each that lasts for hours."""
    found = []
    for fault in FAULTS.values():
        if fault.place == "rest":
            how = ANSWERS.get(fault.name, Answering())
            text = fault.name if how.value is None else f"{fault.name}:{how.value}"
            found.append(_row(text, how, (text,), runs))
    return found + [_row(name, HOURS, faults, runs) for name, faults in OUTAGES.items()]


def _row(name: str, how: Answering, faults: Sequence[str], runs: int) -> Row:
    return Row(name, partial(answered, faults, how), runs, to_be_noticed=how.to_be_noticed)


def answered(texts: Sequence[str], how: Answering, seed: int) -> Outcome:
    """One recording while Census answers like that."""
    logging.disable(logging.WARNING)
    begin = Random(f"{seed}/{texts}").uniform(*BEGIN)
    faults = [Fault(text, begin, how.seconds) for text in texts if text != ALWAYS]

    async def run() -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            async with recorder(patch, *faults, scale=how.scale, seed=seed, slowly=how.slowly) as recording:
                noticed = None
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(recording.simulation.listen)
                    async with recording.running():
                        await trio.sleep_until(begin)
                        if how.to_be_noticed:
                            noticed = await _noticed(recording, begin + how.seconds)
                        await trio.sleep_until(how.minutes * MINUTE / SECOND)
                    nursery.cancel_scope.cancel()
                reachable = START + round((begin + how.seconds) * SECOND)
                return (await _compared(recording, reachable, how))._replace(noticed=noticed)

    return trio.run(run, clock=MockClock(autojump_threshold=0))


async def _noticed(recording: Recorder, end: float) -> float | None:
    """Waits until something is noticed, of Census or of the stream; how long that took, if it came before the end."""
    began = trio.current_time()
    before, results = len(recording.simulation.observer.told), recording.results()
    while trio.current_time() < end:
        await trio.sleep(1)
        if len(recording.simulation.observer.told) > before or _failed(recording.results()) > _failed(
            results
        ):
            return trio.current_time() - began
    return None


def _failed(results: Mapping[str, float]) -> float:
    return sum(results.values()) - results.get("ok", 0)


async def _compared(recording: Recorder, reachable: Ms, how: Answering) -> Outcome:
    """Facts, and for each session when and whose it was; Census is well since `reachable`."""
    kept = await recording.kept()
    async with recording.reading() as store:
        stored = await stored_facts(store, WORLDS)
    coverage = {world_id: kept.coverage(world_id) for world_id in WORLDS}
    result = compare_facts(stored, told(kept.truth, None), coverage)
    due = _due(kept, reachable, how)
    unnamed = due & set(kept.unnamed())
    lost = [f"not named: {who}" for who in sorted(unnamed)]
    for session in kept.content.sessions.values():
        if session.character_id in due - unnamed and session.faction_id == 0:
            lost.append(f"no empire: {session}")
    invented = [f"another name or empire: {who}" for who in kept.misnamed()]
    invented += [f"never was: {session}" for session in kept.invented()]
    return Outcome(
        result.lost + lost,
        result.doubled,
        result.invented + invented,
        falsely_covered(coverage, recording.simulation.deaf),
        result.edges if due else 0,
    )


def _due(kept: Kept, reachable: Ms, how: Answering) -> set[str]:
    """The characters in the store who have to be named by now."""
    found = set()
    seen: dict[str, Ms] = {}
    for session in kept.content.sessions.values():
        at = session.login_ts or session.logout_ts or kept.end
        seen[session.character_id] = min(seen.get(session.character_id, at), at)
    for who, since in seen.items():
        true = kept.truth.characters.get(who)
        if true is None or true.first_end is None:
            continue
        known = max(since, true.first_end, reachable if since < reachable else since)
        waited = known - since if how.unknown or true.first_end > since else 0
        if kept.end - known > waited + SETTLED:
            found.add(who)
    return found
