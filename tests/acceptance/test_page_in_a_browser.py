"""The page in a real browser: it draws, it breaks lines at gaps, it asks nobody else, and names stay text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Span
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.web.app import page_app
from ps2daemon.web.bundle import charts_installed
from tests.acceptance.browser import CHROMIUM, Tab
from tests.acceptance.served import Page, served, watched
from tests.memory_reader import MemoryReader
from tests.pages import END, FixedClock
from tests.synthetic import fortnight

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; the distribution's package has it"),
    pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed"),
]

HOSTILE = '<img src=x onerror="window.broken=1">'
NOTED = END - 4 * DAY
MARKS = "document.querySelector('#world-10 svg.marks')"


class HostileReader(MemoryReader):
    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        return [
            msgspec.structs.replace(alert, name=HOSTILE) for alert in await super().alerts(start, end, worlds)
        ]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    made = fortnight(
        END, worlds=(1, 10), days=14, people=40, gaps=((6 * DAY, 5 * HOUR), (8 * HOUR, 3 * MINUTE))
    )
    reader = HostileReader(
        made.sessions,
        made.stored_spans,
        made.stored_alerts,
        made.stored_locks,
        notes=[make_note(NOTED, (10,), HOSTILE), make_note(NOTED + DAY, (1,), "of another world")],
    )
    async with served(page_app(reader, FixedClock())) as origin, watched(tmp_path) as tab:
        yield Page(origin, tab)


async def point_at(tab: Tab, at: Ms, down: float = 100) -> str:
    """Moves the pointer over an instant of the chart, and returns what it shows."""
    place = await tab.value(
        f"""(() => {{
        const box = document.querySelector('#world-10 .plot'), svg = {MARKS}.getBoundingClientRect(), view = box.drawn.view;
        const [left, top] = view.origin();
        return [svg.left + left + view.scale('x')({at}), svg.top + top + {down}];
    }})()"""
    )
    await tab.move(*place)
    text: str = await tab.value("document.querySelector('#world-10 .tip').innerText")
    return text


async def test_two_weeks_with_an_overlay(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=14d&by=week&back=1&tz=Europe/Berlin")
    await tab.until(MARKS)
    pieces = await tab.value(
        f"""[...{MARKS}.querySelectorAll('g.mark-line path')].map((path) => (path.getAttribute('d') || '').split('M').length - 1)"""
    )
    assert len(pieces) == 8, "four empires, now and a week earlier"
    assert sorted(pieces)[-4:] == [3, 3, 3, 3], "two gaps make three pieces of each line"
    said = await tab.value("document.querySelector('#world-10 .statement').innerText")
    assert "is recorded" in said
    assert said.count("the connection was lost") == 2
    assert "up to Sun 15 Mar, 19:00" in said.replace("Sun, 15", "Sun 15"), "the clock of the axis"
    assert said.index("9 Mar") < said.index("11:00–11:03"), "the oldest first"
    assert (await tab.value("document.body.innerText")).count("Times are those of Europe/Berlin.") == 1
    compared = await tab.value("document.querySelector('#world-10 .compare').innerText")
    assert compared.splitlines()[0].split("\t") == [
        "empire",
        "against",
        "on average",
        "then",
        "difference",
        "in %",
    ]
    assert "1 week earlier" in compared


async def test_what_the_pointer_shows(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=14d&tz=UTC")
    await tab.until(MARKS)
    assert "Not recorded: the connection was lost." in await point_at(tab, END - 6 * DAY + HOUR)
    assert "Not recorded" in await point_at(tab, END - 8 * HOUR), "a gap of three minutes can be hit too"
    shown = await point_at(tab, END - 3 * DAY)
    assert all(word in shown for word in ("VS", "NC", "TR", "NSO", "together")), shown
    (alert, *_) = [
        alert
        for alert in fortnight(END, worlds=(1, 10), days=14, people=40).stored_alerts
        if alert.world_id == 10 and alert.start is not None and alert.start > END - 3 * DAY
    ]
    assert alert.start is not None
    shown = await point_at(tab, alert.start + 45 * MINUTE)
    assert f"Alert: {HOSTILE}" in shown, "a name that is markup is shown as what it is"
    assert await tab.value("document.querySelector('.tip img')") is None


async def test_the_pointer_tells_the_difference_to_earlier(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=7d&by=week&tz=UTC")
    await tab.until(MARKS)
    shown = (await point_at(tab, END - 3 * DAY)).splitlines()
    assert "1 week earlier" in shown[1]
    _, now, then, difference = next(line for line in shown if line.startswith("together")).split("\t")
    absolute, relative = re.fullmatch(r"([^ ]+) \(([^ ]+) %\)", difference.replace("−", "-")).groups()  # type: ignore[union-attr]
    assert int(now) - int(then) == int(absolute) != 0
    assert round(100 * (int(now) / int(then) - 1)) == int(relative)
    await tab.value("document.querySelector('input[name=lines][value=share]').click()")
    await tab.until("document.body.dataset.shown === '2' && !document.querySelector('.waiting')")
    row = next(line for line in (await point_at(tab, END - 3 * DAY)).splitlines() if line.startswith("VS"))
    assert row.count("%") == 2, "no percent of percent"


async def test_what_is_marked_is_listed_too(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=14d&tz=UTC")
    list_ = "document.querySelector('#world-10 .happened')"
    await tab.value(f"{list_}.open = true")
    head, *rows = (await tab.value(f"{list_}.querySelector('table').innerText")).splitlines()
    assert head.split("\t")[:4] == ["from", "to", "what", "where"]
    said = await tab.value(f"{list_}.querySelector('summary').innerText")
    assert said == f"Alerts, locks and notes in this window ({len(rows)})"
    assert sum(f"Note: {HOSTILE}" in row for row in rows) == 1
    assert any(f"Alert: {HOSTILE}" in row and "won by" in row for row in rows)
    assert any("Continent locked" in row for row in rows)


async def test_shares_and_folded_nso(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=7d&tz=UTC")
    await tab.until(MARKS)
    for name, value in (("lines", "share"), ("nso", "folded")):
        await tab.value(f"document.querySelector('input[name={name}][value={value}]').click()")
    await tab.until("document.body.dataset.shown === '3'")
    address = await tab.value("location.href")
    assert "lines=share" in address
    assert "nso=folded" in address
    await tab.open(address)
    await tab.until(MARKS)
    assert "% of people online" in await tab.value(f"{MARKS}.textContent")
    rows = [line.split("\t") for line in (await point_at(tab, END - 3 * DAY)).splitlines() if "%" in line]
    assert [name for name, _ in rows] == ["VS", "NC", "TR"]
    assert sum(float(share.removesuffix(" %")) for _, share in rows) == pytest.approx(100, abs=0.2)
    for link in ("#world-10 a.png", "#json", "#csv"):
        assert "unit=share&nso=folded" in await tab.value(f"document.querySelector('{link}').href")
    told = await tab.value("fetch(document.getElementById('json').href).then((answer) => answer.json())")
    assert [each["faction_id"] for each in told["series"]] == [1, 2, 3], "the lines that are drawn"


async def test_a_note_is_a_line_with_its_text(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=14d&tz=UTC")
    await tab.until(MARKS)
    assert HOSTILE[:12] in await tab.value(f"{MARKS}.textContent")
    assert "of another world" not in await tab.value(f"{MARKS}.textContent")
    assert f"18:00: {HOSTILE}" in await point_at(tab, NOTED)
    assert "Note" not in await point_at(tab, NOTED + 2 * HOUR)


async def test_times_are_said_as_the_axis_says_them(page: Page) -> None:
    """The 24 hour clock, a gap within one minute without a range, and what may wait in the queue not as unrecorded."""
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=24h&tz=UTC")
    await tab.until(MARKS)
    said = await tab.value(
        f"""import('/static/shared.js').then(({{ dayClock, spanText }}) => [
        spanText({{ start: {END + 10_000}, end: {END + 40_000} }}, dayClock('UTC')),
        spanText({{ start: {END}, end: {END + 2 * HOUR} }}, dayClock('UTC')),
    ])"""
    )
    assert said[0].endswith(" 18:00, for less than a minute")
    assert said[1].endswith(" 18:00–20:00")


async def test_the_address_restores_the_view(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&window=24h&tz=UTC")
    await tab.value("document.querySelector('input[name=window][value=\"7d\"]').click()")
    await tab.value("document.querySelector('input[name=lines][value=total]').click()")
    await tab.until("document.body.dataset.shown === '3'")
    address = await tab.value("location.href")
    assert "window=7d" in address
    assert "lines=total" in address
    await tab.open(address)
    assert await tab.value("new FormData(document.getElementById('controls')).get('window')") == "7d"
    assert await tab.value("new FormData(document.getElementById('controls')).get('lines')") == "total"
    assert await tab.value("new FormData(document.getElementById('controls')).getAll('world').join()") == "10"


async def test_a_window_that_cannot_be_is_told(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history?world=10&from=2026-03-15T12:00&to=2026-03-14T12:00&tz=UTC")
    assert "the window is reversed" in await tab.value(
        "document.querySelector('#world-10 .statement').innerText"
    )
    assert [each.split(" http")[0] for each in tab.complaints] == [
        "Failed to load resource: the server responded with a status of 400 ()"
    ], "the browser's own, once"
    tab.complaints.clear()


async def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    tab = page.tab
    await tab.size(390, 844)
    await tab.open(f"{page.origin}/history?window=7d&by=day&back=3&tz=Europe/Berlin")
    await tab.until(MARKS)
    assert await tab.value("document.documentElement.scrollWidth") <= 390
    assert await tab.value(f"{MARKS}.getBoundingClientRect().right") <= 390
    heads = "[...document.querySelectorAll('#world-10 .compare:not(.list) th')].filter((head) => head.offsetWidth)"
    assert await tab.value(f"{heads}.map((head) => head.innerText)") == [
        "empire",
        "against",
        "difference",
        "in %",
        "trend a day",
    ]
    assert await tab.value(f"{heads}.at(-1).getBoundingClientRect().right") <= 370, "within its card"


async def test_the_dark_theme_follows_the_system(page: Page) -> None:
    tab = page.tab
    await tab.command(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    await tab.open(f"{page.origin}/history?world=10&window=24h&tz=UTC")
    await tab.until(MARKS)
    assert any("theme=dark" in url for url in tab.requested)
    assert await tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(15, 17, 22)"


# Events


async def test_the_events_say_who_leaves(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/history")
    await tab.until("document.querySelector('#world-10 svg.marks')")
    await tab.value("document.querySelector('nav a[href=\"/events\"]').click()")
    await tab.until("location.pathname === '/events' && document.body?.dataset.shown")
    kinds = await tab.value("[...document.querySelectorAll('#cards h2')].map((head) => head.innerText)")
    assert kinds == [
        "An alert ends",
        "An alert ends and its continent locks",
        "A continent locks without an alert",
    ]
    said = await tab.value("document.getElementById('kind-alert_end').innerText")
    assert "in this window" in said
    rows = await tab.value("document.querySelectorAll('#alerts tbody tr').length")
    drawn = await tab.value("document.querySelectorAll('#alerts svg.small path').length")
    assert rows == drawn > 10
    listed = await tab.value("document.getElementById('alerts').innerText")
    assert HOSTILE in listed, "a name that is markup is shown as what it is"
    assert await tab.value("document.querySelector('#alerts img')") is None


async def test_the_address_restores_the_events(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/events?world=10&window=14d&tz=Europe/Berlin")
    await tab.until("document.body.dataset.shown")
    assert await tab.value("location.search") == "?world=10&window=14d&tz=Europe%2FBerlin"
    worlds = await tab.value(
        "[...document.querySelectorAll('#alerts tbody tr')].map((row) => row.children[1].innerText)"
    )
    assert set(worlds) == {"Wainwright"}
    assert "from=-14d" in await tab.value("document.getElementById('json').href")


async def test_events_are_told_apart(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/events?window=14d&tz=UTC")
    parts = "document.querySelector('#kind-alert_end .parts')"
    assert await tab.value(f"{parts}.hidden")
    await tab.value(
        "const by = document.querySelector('select[name=by]'); by.value = 'world'; by.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    await tab.until("document.body.dataset.shown === '2'")
    address = await tab.value("location.href")
    assert "by=world" in address
    await tab.open(address)
    await tab.until(f"{parts}.querySelector('svg.marks')")
    rows = (await tab.value(f"{parts}.querySelector('table').innerText")).splitlines()
    names = [row.split(" (")[0] for row in rows if " (" in row]
    assert names == ["everybody", "Osprey", "Wainwright"]
    assert "by=world" in await tab.value("document.getElementById('csv').href")


async def test_what_was_found_is_seen_without_scrolling(page: Page) -> None:
    await page.tab.open(f"{page.origin}/events?by=world")
    await page.tab.until("document.body.dataset.shown")
    for width in (900, 1_200, 1_250, 1_480):
        await page.tab.size(width, 900)
        tables = await page.tab.value(
            "[...document.querySelectorAll('#cards .compare')].map((box) => box.scrollWidth - box.clientWidth)"
        )
        assert tables
        assert set(tables) == {0}


async def test_the_events_fit_a_phone(page: Page) -> None:
    await page.tab.size(390, 844)
    await page.tab.open(f"{page.origin}/events")
    await page.tab.until("document.body.dataset.shown")
    assert await page.tab.value("document.documentElement.scrollWidth <= innerWidth")


# Trends


async def test_the_trends_show_weeks_days_and_hours(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/trends?world=10&weeks=8&tz=Europe/Berlin")
    await tab.until("document.body.dataset.shown")
    said = await tab.value("document.querySelector('#world-10 .sentence').innerText")
    assert said.startswith("There are too few weeks for a trend; 2")
    cells = "document.querySelectorAll('#world-10 .{} g.mark-rect.role-mark path').length"
    assert await tab.value(cells.format("calendar")) == 14, "days of which something is recorded"
    assert await tab.value(cells.format("hours")) == 7 * 24
    before = await tab.value("document.querySelector('#world-10 .change').innerText")
    assert before.strip() == "Too little was recorded before."
    assert await tab.value("location.search") == "?world=10&weeks=8&tz=Europe%2FBerlin"


async def test_the_trends_show_notes_at_their_week(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/trends?tz=UTC")
    await tab.until("document.body.dataset.shown")
    notes = [await texts(tab, f"#world-{world_id} .notes p") for world_id in (10, 1)]
    assert [[text.split(": ", 1)[1] for text in of_world] for of_world in notes] == [
        [HOSTILE],
        ["of another world"],
    ]
    written = "[...document.querySelectorAll('#world-10 .weeks text')].map((each) => each.textContent)"
    assert any(text.startswith("<img src=x") for text in await tab.value(written))


async def point_at_cell(tab: Tab, chart: str, number: int) -> list[str]:
    """Moves the pointer over one of the cells of which something is known, and returns what it shows, line by line."""
    cell = f"document.querySelectorAll('#world-10 .{chart} g.mark-rect.role-mark path')[{number}]"
    await tab.value(f"{cell}.scrollIntoView({{block: 'center'}})")
    await tab.move(
        *await tab.value(
            f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({cell}.getBoundingClientRect())"
        )
    )
    shown: str = await tab.value(
        f"document.querySelector('#world-10 .{chart}').parentNode.querySelector('.tip').innerText"
    )
    return shown.splitlines()


def lines_of(day: dict[str, Any]) -> list[str]:
    """What the calendar shows of a day that the API answers."""
    date = f"{datetime.fromisoformat(day['date']):%a %-d %b %Y}"
    return [
        date,
        f"on average\t{day['mean']:.1f}",
        f"at most\t{day['peak']}",
        f"recorded\t{100 * day['share']:.1f} %",
    ]


async def test_a_peak_is_read_from_the_calendar_by_pointer_and_by_keys(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/trends?world=10&weeks=4&tz=Europe/Berlin&days=peak")
    assert await tab.value("location.search") == "?world=10&weeks=4&tz=Europe%2FBerlin&days=peak"
    assert "&days=peak" in await tab.value("document.getElementById('png').href")
    calendar = "document.querySelector('#world-10 .calendar')"
    assert "people at most" in await tab.value(f"{calendar}.textContent")
    days = (
        await tab.value("fetch(document.querySelector('#taken-days a').href).then((answer) => answer.json())")
    )["days"]
    known = [day for day in days if day["peak"] is not None]
    for number in (0, 7, len(known) - 1):
        assert await point_at_cell(tab, "calendar", number) == lines_of(known[number])
    assert known[0]["share"] < 0.25
    crossed = [day for day in known if day["share"] < 0.9]
    assert await tab.value(f"{calendar}.querySelectorAll('g.mark-rule line').length") == len(crossed) == 2
    assert (await texts(tab, "#world-10 .missing")) == [
        "Crossed: less than 90% of the day was recorded. Dot: nothing was recorded."
    ]
    # The keys go from the latest day on, and what they come to is said.
    await tab.move(1, 1)
    for _ in range(40):
        await tab.press("Tab")
        if await tab.value(f"document.activeElement === {calendar}"):
            break
    by_date = {day["date"]: day for day in days}
    said = f"{calendar}.parentNode.querySelector('[aria-live]').textContent"
    for key, date in (
        ("", "2026-03-14"),
        ("ArrowUp", "2026-03-13"),
        ("ArrowLeft", "2026-03-06"),
        ("ArrowDown", "2026-03-07"),
        ("ArrowRight", "2026-03-14"),
        ("ArrowRight", "2026-03-14"),
    ):
        if key:
            await tab.press(key)
        head, *values = lines_of(by_date[date])
        assert await tab.value(f"{calendar}.parentNode.querySelector('.tip').innerText") == "\n".join(
            [head, *values]
        )
        assert await tab.value(said) == f"{head}: {', '.join(values)}.".replace("\t", " ")
    await tab.press("Home")
    assert await tab.value(said) == "Sat 21 Feb 2026: not recorded."
    await tab.press("Escape")
    assert await tab.value(f"{calendar}.parentNode.querySelector('.tip').hidden")


async def test_hours_say_now_before_and_the_difference(tmp_path: Path) -> None:
    made = fortnight(END, worlds=(10,), days=56, people=30, gaps=())
    async with served(page_app(made, FixedClock())) as origin, watched(tmp_path) as tab:
        await tab.open(f"{origin}/trends?world=10&weeks=4&tz=UTC")
        links = "[...document.querySelectorAll('#taken-hours a')].map((link) => link.href)"
        address = next(link for link in await tab.value(links) if "trends/hours?" in link)
        hours = (await tab.value(f"fetch({address!r}).then((answer) => answer.json())"))["hours"]
        for chart in ("hours", "change"):
            head, now, before, difference = await point_at_cell(tab, chart, 30)
            assert head == "Tuesday, 06:00"
            assert now == f"now\t{hours[30]['mean']:.1f}"
            assert before == f"before\t{hours[30]['before']:.1f}"
            shown = difference.removeprefix("difference\t").replace("−", "-").replace("±", "")
            assert float(shown) == pytest.approx(hours[30]["difference"], abs=0.051)


async def test_the_trends_fit_a_phone(page: Page) -> None:
    await page.tab.size(390, 844)
    made = fortnight(END, worlds=(10,), days=40, people=40)
    async with served(page_app(made, FixedClock())) as origin:
        await page.tab.open(f"{origin}/trends?weeks=8&tz=UTC")
        assert await page.tab.value("document.documentElement.scrollWidth <= innerWidth")
        table = "document.querySelector('#world-10 .compare')"
        assert "no trend found" in await page.tab.value(f"{table}.innerText")
        assert await page.tab.value(f"{table}.scrollWidth <= {table}.clientWidth"), "the verdict is seen"


# Where there is little to see


@pytest.mark.parametrize("view", ["history", "events", "trends"])
async def test_nothing_recorded_is_said(tmp_path: Path, view: str) -> None:
    async with served(page_app(MemoryReader(), FixedClock())) as origin, watched(tmp_path) as tab:
        await tab.open(f"{origin}/{view}")
        await tab.until("document.getElementById('status').innerText")
        said = await tab.value("document.getElementById('status').innerText")
        assert said == "Nothing is recorded yet. This page looks again in a minute."


async def test_three_weeks_in_which_nothing_happened(tmp_path: Path) -> None:
    quiet = MemoryReader((), [Span(10, END - 20 * DAY, END, "start")])
    async with served(page_app(quiet, FixedClock())) as origin, watched(tmp_path) as tab:
        await tab.open(f"{origin}/events?tz=UTC")
        await tab.until("document.body.dataset.shown")
        assert await texts(tab, "#cards .statement") == 3 * ["None in this window."]
        assert await texts(tab, "#alerts .compare") == ["None in these days."]
        assert await tab.value("document.querySelector('#cards svg')") is None
        await tab.open(f"{origin}/trends?tz=UTC")
        await tab.until("document.body.dataset.shown")
        assert (
            "too few weeks for a trend; 34.4 % of it is recorded" in (await texts(tab, "#cards .sentence"))[0]
        )
        assert await texts(tab, "#world-10 tbody tr:first-child td:nth-child(3)") == ["0.0"], (
            "nobody is a number"
        )


async def test_gaps_leave_out_events_and_days(tmp_path: Path) -> None:
    """Fifty hours, twenty minutes, and the first six weeks of eight."""
    made = fortnight(
        END, worlds=(10,), days=14, people=60, gaps=((9 * DAY, 50 * HOUR), (26 * HOUR, 20 * MINUTE))
    )
    async with served(page_app(made, FixedClock())) as origin, watched(tmp_path) as tab:
        await tab.open(f"{origin}/events?tz=UTC")
        await tab.until("document.body.dataset.shown")
        said = (await texts(tab, "#kind-alert_end .statement"))[0]
        assert re.fullmatch(
            r"[0-9]+ in this window; left out: [0-9]+ nothing to compare with, [0-9]+ not recorded around it\.",
            said,
        )
        pieces = await tab.value(
            "[...document.querySelectorAll('#alerts path.people')].map((path) => path.getAttribute('d').split('M').length - 1)"
        )
        assert max(pieces) == 2, "the line of an alert breaks where it is not recorded"
        await tab.open(f"{origin}/trends?tz=UTC&weeks=8")
        await tab.until("document.body.dataset.shown")
        cells = "document.querySelectorAll('#world-10 .calendar g.mark-{}.role-mark path').length"
        whole, gone = [await tab.value(cells.format(mark)) for mark in ("rect", "symbol")]
        assert (whole + gone, gone) == (8 * 7, 8 * 7 - 14 + 1)
        striped = "document.querySelectorAll('#world-10 .weeks g.mark-rect.role-mark path').length"
        assert await tab.value(striped) == 6


async def texts(tab: Tab, selector: str) -> list[str]:
    found: list[str] = await tab.value(
        f"[...document.querySelectorAll({selector!r})].map((each) => each.innerText.trim())"
    )
    return found
