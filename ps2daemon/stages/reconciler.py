"""The reconciler: ends what no event ends.

Where coverage changed, it has the ends around the gap estimated anew; sessions without evidence for 12 h, and alerts whose time is up, it
ends, by the time of the records. What is left to do is in the store, so that a crash loses nothing; doing it twice changes nothing.
Beside that it has `Checks` ask who is still online.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import trio

from ps2daemon.clock import Clock
from ps2daemon.stages.checks import CURRENT, Checks, current_worlds
from ps2daemon.stages.patience import OutageEvents, patiently
from ps2daemon.store.base import Count, Store
from ps2daemon.store.ledger import Ledger
from ps2daemon.supervisor import StageControl

INTERVAL_SECONDS: Final = 10.0


class ReconcilerEvents(OutageEvents, Protocol):
    """What is told: see `telemetry.Telemetry`."""

    def gaps_settled(self, sessions: int) -> None: ...

    def sessions_capped(self, sessions: int) -> None: ...

    def online(self, counts: Sequence[Count]) -> None: ...


async def run_reconciler(
    control: StageControl,
    *,
    ledger: Ledger,
    store: Store,
    checks: Checks,
    clock: Clock,
    events: ReconcilerEvents,
) -> None:
    """Runs until it is asked to stop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checks.run, control)
        while not control.stopping.is_set():
            await reconcile(control, ledger=ledger, store=store, clock=clock, events=events)
            control.progress()
            control.waiting("for the next round")
            with trio.move_on_after(INTERVAL_SECONDS):
                await control.stopping.wait()
        nursery.cancel_scope.cancel()


async def reconcile(
    control: StageControl, *, ledger: Ledger, store: Store, clock: Clock, events: ReconcilerEvents
) -> None:
    """One round."""
    settled = await patiently(ledger.settle, control=control, events=events)
    if settled.estimated:
        events.gaps_settled(settled.estimated)
    if settled.capped:
        events.sessions_capped(settled.capped)
    events.online(await patiently(lambda: _online(ledger, store, clock), control=control, events=events))


async def _online(ledger: Ledger, store: Store, clock: Clock) -> list[Count]:
    """Who is online where the record reaches up to now; nothing is claimed of other worlds.

    A record that reaches beyond now, by a clock that was set back since, says nothing of the present.
    """
    now, coverage = clock.now(), await ledger.coverage()
    covered = [
        world_id
        for world_id in current_worlds(coverage, now)
        if (coverage[world_id].end or now) - now <= CURRENT
    ]
    return await store.online_at(ledger.records_until, covered) if covered else []
