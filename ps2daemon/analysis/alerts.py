"""Alerts with the people before, in and after each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from ps2daemon.analysis.population import (
    FACTIONS,
    MAX_BUCKETS,
    MAX_VALUES,
    PopulationQuery,
    population,
    total,
)
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.alerts import Alert, due, runs
from ps2daemon.model.records import HOUR, MINUTE, Ms
from ps2daemon.model.times import length_text
from ps2daemon.store.base import StoreReader

STEP: Final = 5 * MINUTE
BEFORE: Final = 30 * MINUTE
AFTER: Final = HOUR
LATER: Final = 30 * MINUTE


class AlertView(msgspec.Struct, frozen=True):
    """One alert, and the people of all empires on its world; None where that was not recorded.

    Attributes:
        start: when it started, or was first seen.
        at_start, at_end, later: the people then, and `LATER` after the end; of an alert without an end, only the first.
        running: it still runs (see `model.alerts.runs`).
        from_, around: the people every `STEP` from there, from `BEFORE` before it to `AFTER` after.
    """

    alert: Alert
    start: Ms
    at_start: int | None
    at_end: int | None
    later: int | None
    running: bool
    from_: Ms
    around: tuple[int | None, ...]


async def alert_views(
    reader: StoreReader, start: Ms, end: Ms, worlds: Collection[int], now: Ms
) -> list[AlertView]:
    """The alerts that ran in `[start, end)`, by start.

    Args:
        now: nothing later is known.

    Raises:
        UsageError: the window is too long.
        StoreError: the store refuses.
    """
    if (end - start) > MAX_BUCKETS // 2 * STEP:
        raise UsageError("the window is too long: ask for less than half a year of alerts at once")
    alerts = await reader.alerts(start, end, worlds)
    if not alerts:
        return []
    first = min(alert.changes[0].at for alert in alerts) - BEFORE
    first -= first % STEP
    last = max(_over(alert, now) for alert in alerts) + AFTER
    query = PopulationQuery(start=first, end=min(last, now) + STEP, step=STEP, worlds=(), factions=FACTIONS)
    online: dict[int, tuple[int | None, ...]] = {}
    wanted = sorted({alert.world_id for alert in alerts})
    at_once = max(1, MAX_VALUES // (query.buckets * len(FACTIONS)))
    for number in range(0, len(wanted), at_once):
        some = tuple(wanted[number : number + at_once])
        found = await population(reader, msgspec.structs.replace(query, worlds=some))
        online |= {
            world_id: total([series for series in found.series if series.world_id == world_id])
            for world_id in some
        }
    views = [_view(alert, first, online[alert.world_id], now) for alert in alerts]
    return sorted(views, key=lambda view: (view.start, view.alert.world_id, view.alert.alert_id))


def ran_text(view: AlertView) -> str:
    """How long it ran, as a person reads it: `runs` while it does, and nothing where its start was not seen."""
    alert = view.alert
    if alert.end is None:
        return "runs" if view.running else "end not seen"
    return "" if alert.start is None else length_text(alert.end - alert.start)


def winner_text(alert: Alert) -> str:
    """Who won it, as a person says it; nothing without an end."""
    if alert.end is None:
        return ""
    if alert.canceled:
        return "called off"
    if alert.winner is None:
        return "not known"
    faction = tables.factions().get(alert.winner)
    name = "nobody" if not alert.winner or faction is None else faction.tag
    return f"{name}, with lock" if alert.lock_id is not None else name


def _over(alert: Alert, now: Ms) -> Ms:
    """Its end; until one is known, no later than when its time is up."""
    return alert.end if alert.end is not None else min(now, due(alert))


def _view(alert: Alert, first: Ms, online: Sequence[int | None], now: Ms) -> AlertView:
    """One alert with the people of its world, every `STEP` from `first`."""

    def people(at: Ms) -> int | None:
        """At the nearest instant that was counted."""
        place = round((at - first) / STEP)
        return online[place] if 0 <= place < len(online) else None

    began = alert.start if alert.start is not None else alert.changes[0].at
    over = _over(alert, now)
    from_ = max(first, (began - BEFORE) // STEP * STEP)
    behind = min(len(online), (over + AFTER - first) // STEP + 1)
    ended = alert.end is not None
    return AlertView(
        alert,
        began,
        people(began),
        people(over) if ended else None,
        people(over + LATER) if ended else None,
        runs(alert, now),
        from_,
        tuple(online[(from_ - first) // STEP : behind]),
    )
