"""Every address under `/api/v1`: its name, who answers, what it takes, and how the answer becomes rows.

To add one: a function in `api`, its answer's type in `analysis.answers` or `view_answers` (or a `Document`, for what is the page's own), and a line here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_type_hints

from ps2daemon.analysis import sheets
from ps2daemon.analysis.documents import Document
from ps2daemon.analysis.sheets import Sheet
from ps2daemon.analysis.view_answers import RecordingAnswer
from ps2daemon.store.base import StoreReader
from ps2daemon.web import api, parameters
from ps2daemon.web.now import overview_of, overview_sheet
from ps2daemon.web.parameters import WINDOW, Asked, Parameter
from ps2daemon.web.pictures import (
    Picture,
    alerts_picture,
    chart_picture,
    coverage_picture,
    effect_picture_of,
    overview_picture,
    trends_picture,
)
from ps2daemon.web.recording import Probe, recording_of, recording_sheet

A = TypeVar("A")


class Endpoint(NamedTuple, Generic[A]):
    """One address.

    Attributes:
        ask: answers; its docstring is the schema's description.
        sheet: its rows, for CSV; None where the answer is no table.
    """

    name: str
    ask: Callable[[StoreReader, Asked], Awaitable[A]]
    parameters: tuple[Parameter, ...]
    sheet: Callable[[A], Sheet] | None = None

    @property
    def takes(self) -> tuple[Parameter, ...]:
        """Every parameter that it takes."""
        return self.parameters if self.sheet is None else (*self.parameters, parameters.FORMAT)

    @property
    def answer(self) -> Any:
        """The type of its answer; None for what is the page's own."""
        found = get_type_hints(self.ask)["return"]
        return None if found == Document else found


_EFFECT: Final = (
    parameters.WORLD,
    parameters.EFFECT_FROM,
    parameters.TO,
    parameters.TZ,
    parameters.TOLD_APART,
)
_TRENDS: Final = (parameters.TO, parameters.TZ, parameters.HOW_MANY_WEEKS)
_COMPARED: Final = (parameters.TO, parameters.TZ, parameters.COMPARED_WEEKS)
_OF: Final = (parameters.WORLD, parameters.EMPIRE)

_TERMS: Final = (parameters.LINES, parameters.UNIT, parameters.NSO)
_CHART: Final = (
    *WINDOW,
    parameters.EMPIRE,
    parameters.LAID_OR_NOT,
    parameters.BACK,
    *_TERMS,
    parameters.THEME,
)

ENDPOINTS: Final[tuple[Endpoint[Any], ...]] = (
    Endpoint("worlds", api.worlds, (), sheets.worlds_sheet),
    Endpoint("now", api.now_online, (parameters.WORLD,), sheets.now_sheet),
    Endpoint("population", api.population_of, (*WINDOW, parameters.EMPIRE, *_TERMS), sheets.population_sheet),
    Endpoint(
        "overlay",
        api.overlay_of,
        (*WINDOW, parameters.EMPIRE, parameters.LAID, parameters.BACK, *_TERMS),
        sheets.overlay_sheet,
    ),
    Endpoint("alerts", api.alerts, (*WINDOW, parameters.PEOPLE), sheets.alerts_sheet),
    Endpoint("locks", api.locks, WINDOW, sheets.locks_sheet),
    Endpoint("notes", api.notes, WINDOW, sheets.notes_sheet),
    Endpoint("coverage", api.coverage, WINDOW, sheets.coverage_sheet),
    Endpoint("effect", api.effect_of, _EFFECT, sheets.effect_sheet),
    Endpoint("effect/curves", api.effect_curves_of, _EFFECT, sheets.curves_sheet),
    Endpoint("trends", api.trends_of, (*_OF, *_TRENDS), sheets.trends_sheet),
    Endpoint("trends/days", api.days_of, (*_OF, *_TRENDS), sheets.days_sheet),
    Endpoint("trends/hours", api.hours_of, (*_OF, *_COMPARED), sheets.hours_sheet),
    # The page's own
    Endpoint("effect/charts", api.effect_charts_of, (*_EFFECT, parameters.THEME)),
    Endpoint(
        "trends/charts",
        api.trend_charts_of,
        (parameters.WORLD, *_COMPARED, parameters.DAYS_BY, parameters.THEME),
    ),
    Endpoint("overview", overview_of, (parameters.WORLD, parameters.TZ), overview_sheet),
    Endpoint("chart", api.chart_of, _CHART),
)


class Drawing(NamedTuple):
    """One picture: its name, to which the kind of file is added, what makes it, and what it takes."""

    name: str
    ask: Callable[[StoreReader, Asked], Awaitable[Picture]]
    takes: tuple[Parameter, ...]


DRAWINGS: Final = (
    Drawing("chart", chart_picture, _CHART),
    Drawing("overview", overview_picture, (parameters.WORLD, parameters.TZ, parameters.THEME)),
    Drawing(
        "alerts",
        alerts_picture,
        (parameters.WORLD, parameters.FROM, parameters.TO, parameters.TZ, parameters.THEME),
    ),
    Drawing("effect", effect_picture_of, (*_EFFECT, parameters.THEME)),
    Drawing("trends", trends_picture, (*_OF, *_TRENDS, parameters.DAYS_BY, parameters.THEME)),
    Drawing(
        "coverage",
        coverage_picture,
        (parameters.WORLD, parameters.RECORDING_FROM, parameters.TO, parameters.TZ, parameters.THEME),
    ),
)
"""The page's own, as all that draws."""


def recording(probe: Probe | None) -> Endpoint[RecordingAnswer]:
    """That of the page's view of the recording; what it answers of the daemon is `probe`'s."""
    takes = (parameters.WORLD, parameters.RECORDING_FROM, parameters.TO, parameters.TZ)
    return Endpoint("recording", recording_of(probe), takes, recording_sheet)


DESCRIBED: Final = tuple(each for each in (*ENDPOINTS, recording(None)) if each.answer is not None)
"""What is the API's, and so in its description."""
