"""The JSON API: what each address under `/api/v1` answers, as functions of its parameters.

Parameters are those of the command line: `world` (may be repeated; number or name), `empire`, `from`, `to`, `step` (or `auto`), `tz`; `by` and `back` for the overlay.
A parameter that is unknown, doubled or wrong is a `UsageError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Final, cast

import msgspec
import trio
from starlette.datastructures import QueryParams

from ps2daemon.analysis import asking
from ps2daemon.analysis.alerts import alert_views
from ps2daemon.analysis.documents import (
    Document,
    alert_document,
    alert_view_document,
    coverage_answer,
    effect_document,
    lock_document,
    overlay_answer,
    population_answer,
    rounded,
    trend_answer,
)
from ps2daemon.analysis.leaving import BYS, EFFECT_START, Answer, By, EffectQuery, effect, gather
from ps2daemon.analysis.matching import KINDS
from ps2daemon.analysis.overlay import MAX_BACK, Period, overlay
from ps2daemon.analysis.population import PopulationQuery, population, spans_by_world
from ps2daemon.analysis.rhythm import rhythm
from ps2daemon.analysis.trend import MAX_WEEKS, WEEKS, TrendQuery, trends
from ps2daemon.analysis.view import Lines, View, faction_label, latest, world_view
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import SECOND, Ms
from ps2daemon.model.times import iso
from ps2daemon.store.base import StoreReader
from ps2daemon.web.charts import chart, ends_at, period_label
from ps2daemon.web.effect_charts import curve_chart, difference_chart
from ps2daemon.web.specs import ThemeName
from ps2daemon.web.trend_charts import calendar_chart, change_chart, hours_chart, weeks_chart

_WINDOW: Final = ("world", "from", "to", "step", "tz")
_EFFECT: Final = ("world", "from", "to", "tz", "by")
_REPEATED: Final = ("world", "empire")
CHART_HEIGHT: Final = 300


class Asked:
    """The parameters of one request, read once the store is known.

    Args:
        known: the names that this address takes.
        worlds: those of the store, for a request that names none.
    """

    def __init__(self, params: QueryParams, known: Collection[str], worlds: Sequence[int], now: Ms) -> None:
        for name in params:
            if name not in known:
                raise UsageError(f"{name[:40]!r} is no parameter here; it takes {', '.join(known)}")
            if name not in _REPEATED and len(params.getlist(name)) > 1:
                raise UsageError(f"{name} is given more than once")
        self._params = params
        self.now = now
        self.zone: tzinfo = asking.parse_zone(params.get("tz", "UTC"))
        self.worlds = asking.parse_worlds(params.getlist("world")) or tuple(worlds)
        self.factions = asking.parse_empires(params.getlist("empire"))

    def window(self, start: str = asking.DEFAULT_START) -> asking.Window:
        get = self._params.get
        window = asking.parse_window(
            get("from", start),
            get("to", "now"),
            get("step", "auto"),
            now=self.now,
            zone=self.zone,
        )
        if window.start >= window.end:
            what = "empty" if window.start == window.end else "reversed"
            raise UsageError(f"the window is {what}: let `to` be later than `from`")
        return window

    def query(self) -> PopulationQuery:
        window = self.window()
        query = PopulationQuery(
            start=window.start, end=window.end, step=window.step, worlds=self.worlds, factions=self.factions
        )
        query.check()
        return query

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self._params.get(name, default)
        if value not in choices:
            raise UsageError(f"{name} can't be {value[:40]!r}; it takes {', '.join(choices)}")
        return value

    def end(self) -> Ms:
        return asking.parse_time(self._params.get("to", "now"), now=self.now, zone=self.zone)

    def number(self, name: str, default: int, most: int) -> int:
        text = self._params.get(name, str(default))
        digits = text.isascii() and text.isdecimal() and len(text) <= 4
        if not digits or not 1 <= int(text) <= most:
            raise UsageError(f"{name} can't be {text[:40]!r}; it takes a whole number, 1 to {most}")
        return int(text)

    def back(self) -> int:
        return self.number("back", 1, MAX_BACK)


async def worlds(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The worlds that the store knows, with how far each is recorded."""
    Asked(params, (), (), now)
    found = await store.worlds()
    spans = spans_by_world(await store.spans(found), found)
    coverage = {world: WorldCoverage(spans[world]) for world in found}
    return {
        "worlds": [
            {
                "world_id": world,
                "name": tables.world_name(world),
                "recorded_from": iso(coverage[world].spans[0].start) if coverage[world].spans else None,
                "recorded_until": None if (end := coverage[world].end) is None else iso(end),
            }
            for world in found
        ]
    }


async def now_online(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """Who was online at the latest instant that each world's coverage vouches for."""
    asked = Asked(params, ("world",), await store.worlds(), now)
    answers = [await latest(store, world) for world in asked.worlds]
    return {
        "worlds": [
            {
                "world_id": each.world_id,
                "name": tables.world_name(each.world_id),
                "at": None if each.at is None else iso(each.at),
                "online": [
                    {"faction_id": faction, "online": people} for faction, people in each.online.items()
                ],
                "total": None if each.at is None else sum(each.online.values()),
            }
            for each in answers
        ]
    }


async def population_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The same as `ps2daemon population --json`."""
    asked = Asked(params, (*_WINDOW, "empire"), await store.worlds(), now)
    return population_answer(await population(store, asked.query()))


async def overlay_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The same as `ps2daemon population --overlay … --json`."""
    asked = Asked(params, (*_WINDOW, "empire", "by", "back"), await store.worlds(), now)
    by = cast(Period, asked.one_of("by", ("day", "week"), "day"))
    return overlay_answer(await overlay(store, asked.query(), by, asked.back(), asked.zone))


async def alerts(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """Alerts that ran in the window; with `people=yes`, the people before, in and after each, as `ps2daemon alerts` has them."""
    asked = Asked(params, (*_WINDOW, "people"), await store.worlds(), now)
    query = asked.query()
    if asked.one_of("people", ("no", "yes"), "no") == "yes":
        views = await alert_views(store, query.start, query.end, asked.worlds, now)
        return {"alerts": [alert_view_document(view) for view in views]}
    found = await store.alerts(query.start, query.end, asked.worlds)
    return {"alerts": [alert_document(alert) for alert in found]}


async def locks(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """Continent locks in the window."""
    asked = Asked(params, _WINDOW, await store.worlds(), now)
    query = asked.query()
    found = await store.locks(query.start, query.end, asked.worlds)
    return {"locks": [lock_document(lock) for lock in found]}


async def effect_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """What `ps2daemon effect` says, with the curves around the events, and each event with its controls."""
    asked = Asked(params, _EFFECT, await store.worlds(), now)
    return effect_document(await _effect(store, asked))


async def effect_charts_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The same as charts, by kind of event, with the rows that they are of and how many events were left out why."""
    asked = Asked(params, (*_EFFECT, "theme"), await store.worlds(), now)
    theme = cast(ThemeName, asked.one_of("theme", ("light", "dark"), "light"))
    found = (await _effect(store, asked)).whole
    curves = {curve.event: curve for curve in found.curves}
    kinds = []
    for kind in KINDS:
        rows = [row for row in found.effects if row.event == kind]
        of_kind = [each for each in found.matched if each.event.kind == kind]
        curve = curves.get(kind)
        kinds.append(
            {
                "event": kind,
                "events": len(of_kind),
                "left_out": Counter(each.left_out for each in of_kind if each.left_out is not None),
                "effects": rounded([row for row in rows if row.n]),
                "curve": None if curve is None else curve_chart(curve, theme=theme, width="container"),
                "difference": difference_chart(rows, theme=theme, width="container")
                if any(row.low is not None for row in rows)
                else None,
            }
        )
    return {"kinds": kinds}


async def _effect(store: StoreReader, asked: Asked) -> Answer:
    by = asked.one_of("by", ("none", *BYS), "none")
    window = asked.window(EFFECT_START)
    query = EffectQuery(
        start=window.start,
        end=window.end,
        worlds=asked.worlds,
        zone=asked.zone,
        by=None if by == "none" else cast(By, by),
    )
    facts = await gather(store, query)
    return await trio.to_thread.run_sync(effect, query, facts)


async def trends_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The same as `ps2daemon trend --json`."""
    asked = Asked(params, ("world", "empire", "to", "tz", "weeks"), await store.worlds(), now)
    return trend_answer(await trends(store, _trend_query(asked)))


async def trend_charts_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """Of one world: its trends with a chart of the weeks, a calendar, and the week hour by hour, also against as many weeks before."""
    asked = Asked(params, ("world", "to", "tz", "weeks", "theme"), await store.worlds(), now)
    if len(asked.worlds) != 1:
        raise UsageError("these charts show one world: give world=…")
    theme = cast(ThemeName, asked.one_of("theme", ("light", "dark"), "light"))
    query = _trend_query(asked)
    found = await trends(store, query)
    glance = await rhythm(store, asked.worlds[0], query.end, query.weeks, query.zone)
    return {
        **trend_answer(found),
        "weeks": weeks_chart(found, query.zone, theme=theme, width="container"),
        "calendar": calendar_chart(glance, theme=theme, width="container"),
        "hours": hours_chart(glance, theme=theme, width="container"),
        "change": change_chart(glance, theme=theme, width="container")
        if any(hour.before is not None for hour in glance.hours)
        else None,
    }


def _trend_query(asked: Asked) -> TrendQuery:
    return TrendQuery(
        end=asked.end(),
        weeks=asked.number("weeks", WEEKS, MAX_WEEKS),
        worlds=asked.worlds,
        zone=asked.zone,
        factions=asked.factions,
    )


async def coverage(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The spans that touch the window, and which share of it each world's cover."""
    asked = Asked(params, _WINDOW, await store.worlds(), now)
    query = asked.query()
    spans = await store.spans(asked.worlds, query.start, query.end)
    return coverage_answer(spans_by_world(spans, asked.worlds), query.start, query.end)


async def chart_of(store: StoreReader, params: QueryParams, now: Ms) -> Document:
    """The chart of one world as a Vega-Lite spec, with what the page says beside it and under the pointer; times are milliseconds."""
    view, theme = await chart_view(store, params, now)
    spec = chart(view, theme=theme, width="container", height=CHART_HEIGHT, title=False)
    return {"spec": spec, "view": view_document(view)}


async def chart_view(store: StoreReader, params: QueryParams, now: Ms) -> tuple[View, ThemeName]:
    """What a chart shows, for the page and for files."""
    known = (*_WINDOW, "empire", "by", "back", "lines", "theme")
    asked = Asked(params, known, await store.worlds(), now)
    if len(asked.worlds) != 1:
        raise UsageError("a chart shows one world: give world=…")
    by = asked.one_of("by", ("none", "day", "week"), "none")
    theme = cast(ThemeName, asked.one_of("theme", ("light", "dark"), "light"))
    view = await world_view(
        store,
        asked.query(),
        lines=cast(Lines, asked.one_of("lines", ("empires", "total"), "empires")),
        by=None if by == "none" else cast(Period, by),
        back=asked.back(),
        zone=asked.zone,
        now=now,
    )
    return view, theme


def view_document(view: View) -> Document:
    """What lies behind a chart, for the pointer and the text beside it."""
    return {
        "world_id": view.world_id,
        "name": tables.world_name(view.world_id),
        "from": view.start,
        "to": view.end,
        "step": view.step,
        "step_s": view.step // SECOND,
        "lines": [
            {
                "faction_id": line.faction_id,
                "label": faction_label(line.faction_id),
                "back": line.back,
                "period": period_label(view, line.back),
                "online": line.online,
            }
            for line in view.lines
        ],
        "unrecorded": [msgspec.structs.asdict(gap) for gap in view.unrecorded],
        "alerts": [
            {
                "start": alert.changes[0].at,
                "end": ends_at(alert, view.now),
                "running": alert.end is None and alert.start is not None,
                "name": alert.name,
                "zone": _zone_name(alert.zone_id),
                "winner": alert.winner,
                "canceled": alert.canceled,
            }
            for alert in view.alerts
        ],
        "locks": [
            {"at": lock.at, "zone": _zone_name(lock.zone_id), "winner": lock.winner} for lock in view.locks
        ],
        "comparisons": [
            row | {"label": faction_label(row["faction_id"]), "period": period_label(view, row["back"])}
            for row in rounded(view.comparisons)
        ],
        "trends": [row | {"label": faction_label(row["faction_id"])} for row in rounded(view.trends)],
        "recorded_until": view.recorded_until,
        "share": round(view.share, 6),
    }


def _zone_name(zone_id: int | None) -> str | None:
    zone = None if zone_id is None else tables.zones().get(zone_id)
    return None if zone_id is None else f"zone {zone_id}" if zone is None else zone.name
