"""Alerts as a Vega-Lite spec (see `charts`): one small chart each, of the people before, in and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final

from ps2daemon.analysis.alerts import STEP, AlertView, ran_text, winner_text
from ps2daemon.analysis.view import ALL, Line, View, unrecorded
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import HOUR, Ms
from ps2daemon.model.times import clock_text
from ps2daemon.web.charts import chart
from ps2daemon.web.gaps import gaps_text
from ps2daemon.web.specs import THEMES, Spec, ThemeName, stacked, window_text

MOST: Final = 12
"""Alerts that one picture shows."""
COLUMNS: Final = 3
WIDTH: Final = 300
HEIGHT: Final = 120
"""Pixels of one plot."""
LONGEST: Final = 4 * HOUR
"""What is shown of an alert that has no end."""


def alerts_chart(
    views: Sequence[AlertView],
    spans: Mapping[int, Sequence[Span]],
    start: Ms,
    end: Ms,
    zone: tzinfo,
    now: Ms,
    *,
    theme: ThemeName = "light",
) -> Spec:
    """The latest `MOST` of the alerts that ran in `[start, end)`; the title says how many there are.

    Args:
        views: one or more, by start.
        spans: all that are stored of each world that was asked about.
    """
    shown = views[-MOST:]
    laid = [_view(each, spans[each.alert.world_id], zone, now) for each in shown]
    count = f"{len(views):,} alert{'' if len(views) == 1 else 's'}"
    if len(views) > MOST:
        count = f"the latest {MOST} of {count}; {len(views) - MOST:,} before them are left out"
    keys = ["Shaded: the alert, in the winner's colour"]
    if striped := gaps_text([gap for view in laid for gap in view.unrecorded]):
        keys.append(striped)
    title: Spec = {
        "text": f"People online before, in and after alerts on {', '.join(map(tables.world_name, spans))}",
        "subtitle": [f"{window_text(start, end, zone)}; {count}", ". ".join(keys)],
        "offset": 14,
    }
    return stacked(
        [_panel(*pair, theme) for pair in zip(shown, laid, strict=True)], columns=COLUMNS, title=title
    )


def _view(each: AlertView, spans: Sequence[Span], zone: tzinfo, now: Ms) -> View:
    """The alert as a chart of its world at that time shows it."""
    most = len(each.around) if each.alert.end is not None else LONGEST // STEP
    online = each.around[:most]
    end = each.from_ + len(online) * STEP
    return View(
        world_id=each.alert.world_id,
        start=each.from_,
        end=end,
        step=STEP,
        zone=zone,
        now=now,
        by=None,
        times=tuple(each.from_ + place * STEP for place in range(len(online))),
        lines=(Line(ALL, 0, online),),
        unit="people",
        nso="apart",
        unrecorded=unrecorded(spans, each.from_, min(end, now)),
        alerts=(each.alert,),
        locks=(),
        notes=(),
        comparisons=(),
        trends=(),
        recorded_until=None,
        share=1.0,
    )


def _panel(each: AlertView, view: View, theme: ThemeName) -> Spec:
    alert = each.alert
    where = f"{tables.world_name(alert.world_id)}, {clock_text(each.start, view.zone)}"
    if alert.end is None:
        how = "no end seen yet" if each.running else "its end was not seen"
    else:
        won = winner_text(alert)
        if not alert.canceled:
            won = "winner not known" if alert.winner is None else f"won by {won}"
        how = f"{ran_text(each) or 'start not seen'}, {won}"
    return {
        **chart(view, theme=theme, width=WIDTH, height=HEIGHT, title=False),
        "background": THEMES[theme].background,
        "padding": 12,
        "title": {"text": alert.name, "fontSize": 12, "frame": "group", "subtitle": [where, how]},
    }
