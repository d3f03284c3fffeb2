"""What an address under `/api/v1` takes: one table, by which requests are read and from which the schema is made.

Promises of `Asked`:
- A parameter that is unknown, doubled or wrong is a `UsageError`, and so is a request that would cost more than the limits here; it says what to ask instead.
- It knows up to which instant the answer bears on what is stored, if that is the same whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final, get_args

import msgspec
from starlette.datastructures import QueryParams

from ps2daemon.analysis import asking
from ps2daemon.analysis.leaving import BYS, EFFECT_START
from ps2daemon.analysis.overlay import MAX_BACK
from ps2daemon.analysis.population import FACTIONS, PopulationQuery
from ps2daemon.analysis.rhythm import MAX_COMPARED, Shown
from ps2daemon.analysis.trend import MAX_WEEKS, WEEKS
from ps2daemon.errors import UsageError
from ps2daemon.model.records import DAY, Ms

MAX_QUERY: Final = 4_096
"""Bytes of a query string; everything below is small then. A hundred worlds take less than half of it."""
MAX_WORLDS: Final = 16
"""Twice those that run."""
MAX_POINTS: Final = 400_000
"""Instants times worlds times empires, earlier periods included: a year by the hour of nine worlds. At worst, an overlay, it is 6 MB and two seconds of work."""
MAX_DAYS: Final = 3_660
"""Ten years: the longest window of a series or of coverage."""
MAX_LISTED_DAYS: Final = 400
"""The longest window of a list of alerts or locks; some ten thousand of four worlds."""
MAX_WORLD_DAYS: Final = 2_400
"""Days times worlds whose events are looked at at once: 400 days of the six worlds that run, all of which the page offers; some ten seconds of work."""
MAX_WORLD_WEEKS: Final = 624
"""Weeks times worlds of trends: a year, and the year before it, of the six worlds that run, all of which the page offers. They are read one world after the
other, so that it takes the memory of one, and some three seconds."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter.

    Attributes:
        about: for a person, in the schema.
        default: what stands for one that is not given; None where `about` says what happens then.
        choices: all that it may be; empty for whatever can be read.
        most: it is a whole number, from 1 to this.
        repeated: it may be given several times, and each may be several with commas between.
    """

    name: str
    about: str
    example: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    most: int | None = None
    repeated: bool = False


def _from(default: str) -> Parameter:
    about = "Where the window begins: a time as ISO 8601, local to `tz` unless it has an offset; `now`, or a span back from now such as `-7d` (s, m, h, d, w)."
    return Parameter(name="from", about=about, example="2026-03-01T12:00:00Z", default=default)


def _one_of(name: str, about: str, *choices: str) -> Parameter:
    """The first is the default."""
    return Parameter(name=name, about=about, example=choices[-1], default=choices[0], choices=choices)


WORLD: Final = Parameter(
    name="world",
    about=f"A world's number or name, at most {MAX_WORLDS} of them. All that are stored, if none is given.",
    example="10",
    repeated=True,
)
EMPIRE: Final = Parameter(
    name="empire",
    about="`vs`, `nc`, `tr`, `nso` or `unknown` (not named by Census yet), or its number. If none is given, the four, and `unknown` where there is anyone.",
    example="vs",
    repeated=True,
)
FROM: Final = _from(asking.DEFAULT_START)
EFFECT_FROM: Final = _from(EFFECT_START)
RECORDING_FROM: Final = _from("-7d")
TO: Final = Parameter(
    name="to",
    about="Where it ends, itself left out; written like `from`.",
    example="2026-03-02T12:00:00Z",
    default="now",
)
STEP: Final = Parameter(
    name="step",
    about="From instant to instant, such as `5m`, `1h` or `1d`; `auto` takes the shortest good one of which the window has at most "
    f"{asking.GOOD_BUCKETS:,}. Times relative to now are rounded up to whole steps.",
    example="5m",
    default="auto",
)
TZ: Final = Parameter(
    name="tz",
    about="The time zone of times without an offset, and of days and weeks: a name of the IANA's list.",
    example="Europe/Berlin",
    default="UTC",
)
WINDOW: Final = (WORLD, FROM, TO, STEP, TZ)
LAID: Final = _one_of("by", "What is laid over the window.", "day", "week")
LAID_OR_NOT: Final = _one_of("by", "What is laid over the window, if anything.", "none", "day", "week")
BACK: Final = Parameter(
    name="back", about="How many days or weeks back.", example="2", default="1", most=MAX_BACK
)
PEOPLE: Final = _one_of("people", "Whether the people before, in and after each alert are told.", "no", "yes")
TOLD_APART: Final = _one_of(
    "by",
    "What the events are told apart by as well: the world, the name or the length of the alert, or whether it `ended` before its time.",
    "none",
    *BYS,
)
HOW_MANY_WEEKS: Final = Parameter(
    name="weeks",
    about="How many weeks, up to the midnight before `to`.",
    example="26",
    default=str(WEEKS),
    most=MAX_WEEKS,
)
DAYS_BY: Final = _one_of(
    "days", "What the calendar shows of each day: people on average, or at most.", *get_args(Shown)
)
COMPARED_WEEKS: Final = Parameter(
    name="weeks",
    about="How many weeks, up to the midnight before `to`, and as many before them.",
    example="26",
    default=str(WEEKS),
    most=MAX_COMPARED,
)
LINES: Final = _one_of("lines", "A line an empire, or one in all.", "empires", "total")
UNIT: Final = _one_of(
    "unit", "People, or percent of all who are online; of lines by empire.", "people", "share"
)
NSO: Final = _one_of(
    "nso", "NSO apart, or a third of them with each other empire; of lines by empire.", "apart", "folded"
)
THEME: Final = _one_of("theme", "The colours.", "light", "dark")
FORMAT: Final = Parameter(
    name="format",
    about="`csv` answers CSV, for links in a browser; otherwise the header `Accept` decides, and JSON is what comes without one.",
    example="json",
    choices=("json", "csv"),
)


class Asked:
    """The parameters of one request, read once the store is known.

    Args:
        takes: what this address takes.
        worlds: those of the store, for a request that names none.

    Attributes:
        bears_on: the last instant on which the answer depends; None where that moves with the clock.
    """

    def __init__(
        self, params: QueryParams, takes: Iterable[Parameter], worlds: Sequence[int], now: Ms
    ) -> None:
        self._params = params
        self._takes = {each.name: each for each in takes}
        for name in params:
            known = self._takes.get(name)
            if known is None:
                raise UsageError(f"{name[:40]!r} is no parameter here; it takes {self._names()}")
            if not known.repeated and len(params.getlist(name)) > 1:
                raise UsageError(f"{name} is given more than once")
        self.now = now
        self.zone: tzinfo = asking.parse_zone(params.get("tz", "UTC"))
        self.worlds = asking.parse_worlds(params.getlist("world")) or tuple(worlds)
        if WORLD.name in self._takes and len(self.worlds) > MAX_WORLDS:
            raise UsageError(
                f"that is {len(self.worlds)} worlds, and at most {MAX_WORLDS} are answered at once; name fewer with `world`"
            )
        self.factions = asking.parse_empires(params.getlist("empire"))
        self.bears_on: Ms | None = None

    def _names(self) -> str:
        return ", ".join(self._takes) or "none"

    def _text(self, name: str) -> str:
        default = self._takes[name].default
        assert default is not None, f"{name} has no default"
        return self._params.get(name, default)

    def one_of(self, name: str) -> str:
        """One of the choices of a parameter."""
        value, choices = self._text(name), self._takes[name].choices
        if value not in choices:
            raise UsageError(f"{name} can't be {value[:40]!r}; it takes {', '.join(choices)}")
        return value

    def number(self, name: str) -> int:
        """A whole number, 1 or more."""
        text, most = self._text(name), self._takes[name].most
        assert most is not None, f"{name} is no number"
        digits = text.isascii() and text.isdecimal() and len(text) <= 4
        if not digits or not 1 <= int(text) <= most:
            raise UsageError(f"{name} can't be {text[:40]!r}; it takes a whole number, 1 to {most}")
        return int(text)

    def end(self) -> Ms:
        """`to` alone, to the letter."""
        at = asking.parse_time(self._text("to"), now=self.now, zone=self.zone)
        self._bear_on(at, "to")
        return at

    def window(self, longest: int) -> asking.Window:
        """The window, of at most so many days."""
        step = self._text("step") if "step" in self._takes else "auto"
        window = asking.parse_window(self._text("from"), self._text("to"), step, now=self.now, zone=self.zone)
        if window.start >= window.end:
            what = "empty" if window.start == window.end else "reversed"
            raise UsageError(f"the window is {what}: let `to` be later than `from`")
        days = -((window.start - window.end) // DAY)
        if days > longest:
            raise UsageError(
                f"the window is too long: {days:,} days, and at most {longest:,} are answered at once; ask for a shorter one"
            )
        self._bear_on(window.end, "from", "to")
        return window

    def query(self, longest: int = MAX_DAYS, *, back: int = 0) -> PopulationQuery:
        """The window as instants of a series.

        Args:
            longest: days.
            back: earlier periods that are laid over it.
        """
        window = self.window(longest)
        query = PopulationQuery(
            start=window.start, end=window.end, step=window.step, worlds=self.worlds, factions=self.factions
        )
        query.check()
        check_points(query.buckets * (back + 1), len(query.worlds), len(query.factions))
        return query

    def reach_beyond(self, span: Ms) -> None:
        """The answer depends on so much after what it is of."""
        self.bears_on = None if self.bears_on is None else self.bears_on + span

    def _bear_on(self, at: Ms, *names: str) -> None:
        moving = any(text == "now" or text.startswith("-") for text in map(self._text, names))
        self.bears_on = None if moving else at


def check_points(instants: int, worlds: int, empires: int = 0) -> None:
    """Refuses a series that would hold up the others.

    Args:
        empires: how many are named; 0 stands for all.

    Raises:
        UsageError: it has more than `MAX_POINTS`.
    """
    points = instants * max(worlds, 1) * (empires or len(FACTIONS))
    if points > MAX_POINTS:
        raise UsageError(
            f"too much at once: {points:,} points (instants by worlds by empires, earlier periods among them), and at most {MAX_POINTS:,} are "
            "answered; ask for a shorter window, a longer step, or fewer worlds, empires or periods"
        )


def check_weeks(weeks: int, worlds: int) -> None:
    """Refuses trends that would hold up the others.

    Args:
        weeks: those that are looked at of each world, with those that they are compared with.

    Raises:
        UsageError: it has more than `MAX_WORLD_WEEKS`.
    """
    if weeks * worlds > MAX_WORLD_WEEKS:
        raise UsageError(
            f"too much at once: {weeks:,} weeks of {worlds} worlds, and at most {MAX_WORLD_WEEKS:,} weeks of a world are looked at; "
            "ask for fewer weeks or worlds"
        )
