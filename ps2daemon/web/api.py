"""The JSON API: what each address under `/api/v1` answers, as functions of the store and of what was asked.

`endpoints` says which address each of them is, and which parameters it takes. A function whose answer is a type of `analysis.answers` is part of the
API, with that type as its schema; one that answers a `Document` belongs to the page, which may change with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec
import trio

from ps2daemon.analysis import answers, rhythm_answers
from ps2daemon.analysis.alerts import STEP, alert_views
from ps2daemon.analysis.documents import (
    Document,
    coverage_answer,
    curves_document,
    effect_document,
    rounded,
    trend_answer,
)
from ps2daemon.analysis.effect import Effect
from ps2daemon.analysis.leaving import Answer, By, EffectQuery, effect, gather
from ps2daemon.analysis.listing import alerts_answer, locks_answer, notes_answer, now_answer, worlds_answer
from ps2daemon.analysis.matching import AFTER, KINDS, REACH, Kind
from ps2daemon.analysis.mixing import Nso, Unit
from ps2daemon.analysis.overlay import Period, overlay
from ps2daemon.analysis.population import PopulationQuery, population, spans_by_world
from ps2daemon.analysis.rhythm import MAX_COMPARED, Glance, Shown, glances
from ps2daemon.analysis.rhythm_documents import days_answer, hours_answer
from ps2daemon.analysis.series_documents import overlay_answer, population_answer
from ps2daemon.analysis.telling import GROUPS, KIND_TITLES, count_text
from ps2daemon.analysis.trend import TrendQuery, notes_of, trends
from ps2daemon.analysis.view import Lines, Terms, View, faction_label, latest, world_view
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.alerts import runs
from ps2daemon.model.notes import Note
from ps2daemon.model.records import DAY, SECOND
from ps2daemon.model.times import iso
from ps2daemon.store.base import StoreReader
from ps2daemon.web.cell_charts import calendar_chart, change_chart, hours_chart, missing
from ps2daemon.web.charts import chart, ends_at, period_label
from ps2daemon.web.effect_charts import by_group, by_part, curve_chart, difference_chart
from ps2daemon.web.parameters import (
    MAX_DAYS,
    MAX_LISTED_DAYS,
    MAX_WORLD_DAYS,
    Asked,
    check_points,
    check_weeks,
)
from ps2daemon.web.specs import ThemeName
from ps2daemon.web.trend_charts import weeks_chart

CHART_HEIGHT: Final = 300


async def worlds(store: StoreReader, asked: Asked) -> answers.WorldsAnswer:
    """The worlds that the store knows, with how far each is recorded."""
    return worlds_answer(spans_by_world(await store.spans(asked.worlds), asked.worlds))


async def now_online(store: StoreReader, asked: Asked) -> answers.NowAnswer:
    """Who was online at the latest instant that each world's coverage vouches for."""
    return now_answer([await latest(store, world) for world in asked.worlds])


async def population_of(store: StoreReader, asked: Asked) -> answers.PopulationAnswer:
    """The same as `ps2daemon population --json`; also all empires together, in percent, or with NSO folded into the others."""
    query, terms = _asked_in_terms(asked)
    return await trio.to_thread.run_sync(population_answer, await population(store, query), terms)


async def overlay_of(store: StoreReader, asked: Asked) -> answers.OverlayAnswer:
    """The same as `ps2daemon overlay --json`: the window, and earlier days or weeks laid over it by the clock of `tz`; in the same terms as `population`."""
    by, back = cast(Period, asked.one_of("by")), asked.number("back")
    query, terms = _asked_in_terms(asked, back)
    laid = await overlay(store, query, by, back, asked.zone)
    return await trio.to_thread.run_sync(overlay_answer, laid, terms)


def _asked_in_terms(asked: Asked, back: int = 0) -> tuple[PopulationQuery, Terms]:
    """What is asked of a series, and in which terms its answer is wanted."""
    terms = _terms(asked)
    query = asked.query(back=back)
    return msgspec.structs.replace(query, factions=terms.needed), terms


def _terms(asked: Asked) -> Terms:
    return Terms(
        cast(Lines, asked.one_of("lines")),
        cast(Unit, asked.one_of("unit")),
        cast(Nso, asked.one_of("nso")),
        asked.factions,
    )


async def alerts(store: StoreReader, asked: Asked) -> answers.AlertsAnswer:
    """Alerts that ran in the window; with `people=yes`, the people before, in and after each, as `ps2daemon alerts --json` has them."""
    start, end, _ = asked.window(MAX_LISTED_DAYS)
    if asked.one_of("people") == "no":
        return alerts_answer(await store.alerts(start, end, asked.worlds))
    check_points((end - start) // STEP, len(asked.worlds))
    return alerts_answer(await alert_views(store, start, end, asked.worlds, asked.now))


async def locks(store: StoreReader, asked: Asked) -> answers.LocksAnswer:
    """Continent locks in the window."""
    start, end, _ = asked.window(MAX_LISTED_DAYS)
    return locks_answer(await store.locks(start, end, asked.worlds))


async def notes(store: StoreReader, asked: Asked) -> answers.NotesAnswer:
    """The operator's notes in the window, about these worlds or about all."""
    start, end, _ = asked.window(MAX_DAYS)
    return notes_answer(await store.notes(start, end, asked.worlds))


async def coverage(store: StoreReader, asked: Asked) -> answers.CoverageAnswer:
    """The spans that touch the window, and which share of it each world's cover."""
    start, end, _ = asked.window(MAX_DAYS)
    spans = await store.spans(asked.worlds, start, end)
    return coverage_answer(spans_by_world(spans, asked.worlds), start, end)


async def effect_of(store: StoreReader, asked: Asked) -> answers.EffectAnswer:
    """What `ps2daemon effect` says of the events in the window, with the curves around them, and each event with its controls."""
    return effect_document((await effect_answer(store, asked))[1])


async def effect_curves_of(store: StoreReader, asked: Asked) -> answers.CurvesAnswer:
    """The curves around the events alone, of what they are told apart by as well."""
    return curves_document((await effect_answer(store, asked, part_curves=True))[1])


async def effect_charts_of(store: StoreReader, asked: Asked) -> Document:
    """The same as charts, by kind of event, with the rows that they are of and how many events there were; and its window.

    `parts` are what the events are told apart by, if anything: for everybody, which is drawn as well, and for each group.
    """
    theme = cast(ThemeName, asked.one_of("theme"))
    query, answer = await effect_answer(store, asked)
    found = answer.whole
    curves = {curve.event: curve for curve in found.curves}
    kinds = []
    for kind in KINDS:
        rows = [row for row in found.effects if row.event == kind]
        curve = curves.get(kind)
        parts = by_part(answer, kind)
        kinds.append(
            {
                "event": kind,
                "title": KIND_TITLES[kind],
                "count": count_text(found.matched.left_out(kind)),
                "effects": _told(by_group(row for row in rows if row.n)),
                "curve": None if curve is None else curve_chart(curve, theme=theme, width="container"),
                "difference": _differences(by_group(rows), theme),
                "parts": _parts(answer, kind),
                "parts_difference": _differences(parts, theme),
            }
        )
    return {"from": iso(query.start), "to": iso(query.end), "kinds": kinds}


def _told(rows: list[tuple[str, Effect]]) -> list[Document]:
    """The rows, each with whom or what it is `of`."""
    return [{"of": of, **row} for (of, _), row in zip(rows, rounded([row for _, row in rows]), strict=True)]


def _parts(answer: Answer, kind: Kind) -> list[Document]:
    """The rows of what the events are told apart by, each with `who` it is of."""
    rows = [
        (name, row)
        for name, found in answer.parts.items()
        for row in found.effects
        if row.event == kind and row.n
    ]
    return [{"who": GROUPS[row.group], **told} for (_, row), told in zip(rows, _told(rows), strict=True)]


def _differences(rows: list[tuple[str, Effect]], theme: ThemeName) -> Document | None:
    """The chart; None where no row has an interval."""
    if all(row.low is None for _, row in rows):
        return None
    return difference_chart(rows, theme=theme, width="container")


async def effect_answer(
    store: StoreReader, asked: Asked, *, part_curves: bool = False
) -> tuple[EffectQuery, Answer]:
    """What was asked, and what there is to say, for numbers and pictures."""
    by = asked.one_of("by")
    start, end, _ = asked.window(MAX_LISTED_DAYS)
    asked.reach_beyond(REACH + AFTER)
    days = -((start - end) // DAY)
    if days * len(asked.worlds) > MAX_WORLD_DAYS:
        raise UsageError(
            f"too much at once: {days:,} days of {len(asked.worlds)} worlds, and at most {MAX_WORLD_DAYS:,} days of a world are looked at; "
            "ask for a shorter window or fewer worlds"
        )
    query = EffectQuery(
        start=start,
        end=end,
        worlds=asked.worlds,
        zone=asked.zone,
        by=None if by == "none" else cast(By, by),
        part_curves=part_curves,
    )
    facts = await gather(store, query)
    return query, await trio.to_thread.run_sync(effect, query, facts)


async def trends_of(store: StoreReader, asked: Asked) -> answers.TrendsAnswer:
    """The same as `ps2daemon trend --json`."""
    return trend_answer(await trends(store, trend_query(asked)))


async def days_of(store: StoreReader, asked: Asked) -> rhythm_answers.DaysAnswer:
    """The days of these weeks: all empires together (or those that are named), on average and at most. The same as `ps2daemon trend --by day --json`."""
    return days_answer([each.rhythm for each in await glances(store, trend_query(asked), before=False)])


async def hours_of(store: StoreReader, asked: Asked) -> rhythm_answers.HoursAnswer:
    """The week hour by hour, all empires together (or those that are named), on average over these weeks, and against as many before. The same as `ps2daemon trend --by hour --json`."""
    return hours_answer([each.rhythm for each in await glances(store, trend_query(asked, beside=True))])


async def trend_charts_of(store: StoreReader, asked: Asked) -> Document:
    """Of one world: its trends with a chart of the weeks, a calendar, and the week hour by hour, also against as many weeks before."""
    if len(asked.worlds) != 1:
        raise UsageError("these charts show one world: give world=…")
    theme = cast(ThemeName, asked.one_of("theme"))
    query = trend_query(asked, beside=True)
    ((found, at_a_glance),) = await glances(store, query)
    notes = await notes_of(store, query)
    return {
        **trend_answer(found),
        "notes": _notes(notes),
        "weeks": weeks_chart(found, query.zone, notes=notes, theme=theme, width="container"),
        "calendar": calendar_chart(
            at_a_glance, by=cast(Shown, asked.one_of("days")), theme=theme, width="container"
        ),
        "missing": missing(at_a_glance),
        "hours": hours_chart(at_a_glance, theme=theme, width="container"),
        "change": change_chart(at_a_glance, theme=theme, width="container") if at_a_glance.compared else None,
    }


async def trend_glances(store: StoreReader, asked: Asked) -> tuple[TrendQuery, list[Glance]]:
    """What was asked, and each world at a glance, for pictures; weeks that are too many to be compared are not."""
    before = asked.number("weeks") <= MAX_COMPARED
    query = trend_query(asked, beside=before)
    return query, await glances(store, query, before=before)


def trend_query(asked: Asked, *, beside: bool = False) -> TrendQuery:
    """What is asked of trends.

    Args:
        beside: as many weeks before are looked at as well.
    """
    weeks = asked.number("weeks")
    check_weeks(2 * weeks if beside else weeks, len(asked.worlds))
    return TrendQuery(
        end=asked.end(), weeks=weeks, worlds=asked.worlds, zone=asked.zone, factions=asked.factions
    )


async def chart_of(store: StoreReader, asked: Asked) -> Document:
    """The chart of one world as a Vega-Lite spec, with what the page says beside it and under the pointer; times are milliseconds."""
    if len(asked.worlds) != 1:
        raise UsageError("a chart shows one world: give world=…")
    (view,), theme = await chart_views(store, asked)
    spec = chart(view, theme=theme, width="container", height=CHART_HEIGHT, title=False)
    return {"spec": spec, "view": view_document(view)}


async def chart_views(store: StoreReader, asked: Asked) -> tuple[list[View], ThemeName]:
    """What the chart of each world shows, for the page and for files."""
    by = asked.one_of("by")
    theme = cast(ThemeName, asked.one_of("theme"))
    back = asked.number("back")
    terms = _terms(asked)
    query = asked.query(back=0 if by == "none" else back)
    views = [
        await world_view(
            store,
            msgspec.structs.replace(query, worlds=(world,)),
            lines=terms.lines,
            unit=terms.unit,
            nso=terms.nso,
            by=None if by == "none" else cast(Period, by),
            back=back,
            zone=asked.zone,
            now=asked.now,
        )
        for world in query.worlds
    ]
    return views, theme


def view_document(view: View) -> Document:
    """What lies behind a chart, for the pointer and the text beside it."""
    return {
        "world_id": view.world_id,
        "name": tables.world_name(view.world_id),
        "from": view.start,
        "to": view.end,
        "unit": view.unit,
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
                "running": runs(alert, view.now),
                "unseen": alert.end is None and not runs(alert, view.now),
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
        "notes": _notes(view.notes),
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


def _notes(notes: Sequence[Note]) -> list[Document]:
    return [{"at": note.at, "text": note.text} for note in notes]
