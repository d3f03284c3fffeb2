"""The views' HTML: one frame, put around what each view has of its own when the server starts.

A view's file is its controls and its main part, a line with `NOTES`, and the items of "How to read it". Controls that several have stand in it as a
line of `SHARED`.
"""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Final, NamedTuple

FRAME: Final = "shell.html"
NOTES: Final = "<!-- notes -->\n"
SHARED: Final = {
    "<!-- worlds -->": """\
  <fieldset>
    <legend>Worlds</legend>
    <div id="worlds" class="chips"></div>
  </fieldset>""",
    "<!-- from to -->": """\
    <div id="custom" class="row" hidden>
      <label>from <input type="datetime-local" name="from" min="2012-11-20T00:00"></label>
      <label>to <input type="datetime-local" name="to" min="2012-11-20T00:00"></label>
    </div>""",
    "<!-- clock -->": """\
  <fieldset>
    <legend>Clock</legend>
    <select name="tz" aria-label="Time zone"></select>
  </fieldset>""",
}
_CHARTS: Final = '<link rel="preload" href="/static/vega.js" as="script">'
"""It is large, and asked for before the scripts are read."""


_CURRENT: Final = ' aria-current="page"'


class View(NamedTuple):
    """One view of the page.

    Attributes:
        title: what it is about, or the question that it answers.
        json: the address of its numbers.
        charts: it draws with the chart library.
    """

    path: str
    label: str
    title: str
    file: str
    script: str
    json: str
    charts: bool


VIEWS: Final = (
    View("/", "Now", "who is online now", "now.html", "now.js", "/api/v1/overview", charts=False),
    View(
        "/history", "History", "who was online when", "history.html", "page.js", "/api/v1/worlds", charts=True
    ),
    View(
        "/trends", "Trends", "rising or falling?", "trends.html", "trends.js", "/api/v1/trends", charts=True
    ),
    View(
        "/events",
        "Events",
        "do alerts and locks make people log off?",
        "events.html",
        "events.js",
        "/api/v1/effect",
        charts=True,
    ),
    View(
        "/recording",
        "Recording",
        "what is recorded",
        "recording.html",
        "recording.js",
        "/api/v1/recording",
        charts=False,
    ),
)
"""In the order of the navigation."""


def page_of(view: View) -> bytes:
    """The view's whole HTML."""
    folder = files("ps2daemon.web").joinpath("static")
    body, _, notes = folder.joinpath(view.file).read_text("utf-8").partition(NOTES)
    for line, controls in SHARED.items():
        body = body.replace(line, controls)
    frame = Template(folder.joinpath(FRAME).read_text("utf-8"))
    links = [f'<a href="{each.path}"{_CURRENT if each is view else ""}>{each.label}</a>' for each in VIEWS]
    return frame.substitute(
        title=view.title,
        head=_CHARTS if view.charts else "",
        script=view.script,
        nav=" ".join(links),
        body=body,
        notes=notes,
        json=view.json,
    ).encode()
