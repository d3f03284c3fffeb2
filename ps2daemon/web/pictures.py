"""Charts as PNG and SVG files for the page, drawn by a process of its own: a picture that takes too long ends with it, and the server goes on.

One is drawn at a time, since each takes a core, and few others wait. They are those that the command line draws.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final, NamedTuple, cast

import msgspec
import trio
from starlette.exceptions import HTTPException

from ps2daemon.analysis.alerts import STEP, alert_views
from ps2daemon.analysis.overview import overview
from ps2daemon.analysis.population import spans_by_world
from ps2daemon.analysis.rhythm import Shown
from ps2daemon.analysis.trend import notes_of
from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.times import from_ms
from ps2daemon.store.base import StoreReader
from ps2daemon.web.alert_charts import alerts_chart
from ps2daemon.web.api import chart_views, effect_answer, trend_glances
from ps2daemon.web.bundle import require_charts
from ps2daemon.web.charts import charts
from ps2daemon.web.coverage_charts import coverage_chart
from ps2daemon.web.drawing import ADVICE
from ps2daemon.web.effect_charts import effect_picture
from ps2daemon.web.now_charts import overview_chart
from ps2daemon.web.parameters import MAX_DAYS, MAX_LISTED_DAYS, Asked, check_points
from ps2daemon.web.specs import Spec, ThemeName
from ps2daemon.web.trend_charts import trend_picture

MEDIA: Final = {"png": "image/png", "svg": "image/svg+xml"}
DRAWING_SECONDS: Final = 30
WAITING: Final = 8
"""More than somebody saves at a time."""
_DRAW: Final = (sys.executable, "-m", "ps2daemon.web.drawing")


class Pictures:
    """Draws specs, one after the other."""

    def __init__(self) -> None:
        self._limit = trio.CapacityLimiter(1)

    async def draw(self, spec: Spec, kind: str) -> bytes:
        """The file's bytes; `kind` is one of `MEDIA`.

        Raises:
            UsageError: the extra is missing, or the picture is too much for it.
            HTTPException: 503, too many are waiting.
        """
        require_charts()
        if self._limit.statistics().tasks_waiting >= WAITING:
            raise HTTPException(503, f"{WAITING} pictures are waiting to be drawn already: ask again later")
        async with self._limit:
            with trio.move_on_after(DRAWING_SECONDS):
                done = await trio.run_process(
                    [*_DRAW, kind],
                    stdin=msgspec.json.encode(spec),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
                if done.returncode == 0:
                    return bytes(done.stdout)
                said = done.stderr.decode(errors="replace").strip().splitlines()
                if done.returncode == 1 and said:
                    raise UsageError(said[-1])
                raise UsageError(f"the drawing of this picture ended with {done.returncode}: {ADVICE}")
        raise UsageError(f"drawing this picture takes longer than {DRAWING_SECONDS} seconds: {ADVICE}")


class Picture(NamedTuple):
    """What is drawn, and what the file is called, without its kind."""

    spec: Spec
    name: str


async def chart_picture(store: StoreReader, asked: Asked) -> Picture:
    """The chart of every world that is asked for, one below the other."""
    views, theme = await chart_views(store, asked)
    if not views:
        raise UsageError("there is nothing to draw, since nothing was recorded yet")
    worlds = [view.world_id for view in views]
    name = _name("people", worlds, views[0].start, views[0].end, asked.zone)
    return Picture(charts(views, theme=theme), name)


async def overview_picture(store: StoreReader, asked: Asked) -> Picture:
    """The people of every world now, and over the last day."""
    theme = cast(ThemeName, asked.one_of("theme"))
    found = await overview(store, asked.worlds, asked.zone, asked.now)
    known = [world.at for world in found.worlds if world.at is not None]
    if not known:
        raise UsageError("there is nothing to draw, since nothing was recorded yet")
    spec = overview_chart(found, asked.zone, asked.now, theme=theme)
    worlds = [world.world_id for world in found.worlds if world.at is not None]
    return Picture(spec, _name("now", worlds, found.times[0], max(known), asked.zone))


async def alerts_picture(store: StoreReader, asked: Asked) -> Picture:
    """The latest alerts of the window, each with the people around it."""
    theme = cast(ThemeName, asked.one_of("theme"))
    start, end, _ = asked.window(MAX_LISTED_DAYS)
    check_points((end - start) // STEP, len(asked.worlds))
    views = await alert_views(store, start, end, asked.worlds, asked.now)
    if not views:
        raise UsageError("there is nothing to draw, since no alert ran in this window")
    spans = spans_by_world(await store.spans(asked.worlds), asked.worlds)
    spec = alerts_chart(views, spans, start, end, asked.zone, asked.now, theme=theme)
    return Picture(spec, _name("alerts", asked.worlds, start, end, asked.zone))


async def effect_picture_of(store: StoreReader, asked: Asked) -> Picture:
    """The curves and differences of every kind of event."""
    theme = cast(ThemeName, asked.one_of("theme"))
    query, answer = await effect_answer(store, asked, part_curves=True)
    if not answer.whole.curves:
        raise UsageError("there is nothing to draw, since no event of this window can be compared")
    name = _name("effect", query.worlds, query.start, query.end, query.zone)
    return Picture(effect_picture(query, answer, theme=theme), name)


async def trends_picture(store: StoreReader, asked: Asked) -> Picture:
    """The weeks, days and hours of every world that is asked for."""
    theme = cast(ThemeName, asked.one_of("theme"))
    query, found = await trend_glances(store, asked)
    notes = await notes_of(store, query)
    name = _name("trends", query.worlds, query.end - query.weeks * 7 * DAY, query.end, query.zone)
    days = cast(Shown, asked.one_of("days"))
    return Picture(trend_picture(found, query.zone, notes=notes, days=days, theme=theme), name)


async def coverage_picture(store: StoreReader, asked: Asked) -> Picture:
    """What was recorded of every world."""
    theme = cast(ThemeName, asked.one_of("theme"))
    start, end, _ = asked.window(MAX_DAYS)
    # All of each world: whether there is a gap at an end of the window depends on what is beyond.
    spans = spans_by_world(await store.spans(asked.worlds), asked.worlds)
    spec = coverage_chart(spans, start, end, asked.zone, asked.now, theme=theme)
    return Picture(spec, _name("coverage", asked.worlds, start, end, asked.zone))


def _name(what: str, worlds: Sequence[int], start: Ms, end: Ms, zone: tzinfo) -> str:
    """Worlds and window, in letters that every system takes."""
    times = [from_ms(at).astimezone(zone).strftime("%Y-%m-%dT%H%M") for at in (start, end)]
    names = [re.sub(r"[^A-Za-z0-9]+", "-", tables.world_name(world)).strip("-").lower() for world in worlds]
    where = "-".join(names) if len(names) <= 3 else f"{len(names)}-worlds"
    return f"ps2-{what}-{where}-{times[0]}-to-{times[1]}"
