"""The History view's window in a real browser: dragging, keys and buttons change it, the address and the step follow, and nothing breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ps2daemon.model.records import DAY, HOUR, MINUTE
from ps2daemon.model.times import parse_iso
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

WINDOW = "from=2026-03-10T00:00&to=2026-03-14T00:00"
BOX = "document.querySelector('#world-10 .plot')"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    made = fortnight(END, worlds=(10,), days=14, people=40, gaps=((6 * DAY, 5 * HOUR),))
    reader = MemoryReader(made.sessions, made.stored_spans, made.stored_alerts, made.stored_locks)
    async with served(page_app(reader, FixedClock())) as origin, watched(tmp_path) as tab:
        yield Page(origin, tab)


async def opened(page: Page) -> Tab:
    await page.tab.open(f"{page.origin}/history?world=10&{WINDOW}&tz=UTC")
    await page.tab.until(f"{BOX}?.drawn")
    return page.tab


async def shown(tab: Tab) -> tuple[str, str]:
    """From when to when, once the chart shows what the address says."""
    await tab.until(
        f"{BOX}.drawn && Math.abs({BOX}.drawn.view.scale('x').domain()[0] - Date.parse(new URLSearchParams(location.search).get('from') + 'Z')) < 1"
        f" && Math.abs({BOX}.drawn.view.scale('x').domain()[1] - Date.parse(new URLSearchParams(location.search).get('to') + 'Z')) < 1"
    )
    query = parse_qs(urlsplit(await tab.value("location.href")).query)
    return query["from"][0], query["to"][0]


async def mouse(tab: Tab, kind: str, at: list[float], **more: Any) -> None:
    await tab.command("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **more)


async def drag(tab: Tab, start: str, end: str, *, shift: bool = False) -> None:
    """From one instant of the chart to another."""
    places = await tab.value(
        f"""(() => {{
        const svg = {BOX}.querySelector('svg.marks').getBoundingClientRect(), view = {BOX}.drawn.view, [left, top] = view.origin();
        return [{parse_iso(start)}, {parse_iso(end)}].map((at) => [svg.left + left + view.scale('x')(at), svg.top + top + 100]);
    }})()"""
    )
    more = {"button": "left", "modifiers": 8 if shift else 0}
    await mouse(tab, "mousePressed", places[0], clickCount=1, buttons=1, **more)
    await mouse(tab, "mouseMoved", places[1], buttons=1, **more)
    await mouse(tab, "mouseReleased", places[1], clickCount=1, buttons=0, **more)


def minutes(at: str) -> float:
    return parse_iso(f"{at}:00Z") / MINUTE


async def test_a_drag_zooms_and_asks_for_finer_steps(page: Page) -> None:
    tab = await opened(page)
    before = await tab.value("document.querySelector('#world-10 .statement').innerText")
    await drag(tab, "2026-03-11T00:00:00Z", "2026-03-11T12:00:00Z")
    await tab.until(f"!location.search.includes('{WINDOW.split('&')[0]}')")
    start, end = await shown(tab)
    # A pixel is about five minutes here.
    assert abs(minutes(start) - minutes("2026-03-11T00:00")) <= 10
    assert abs(minutes(end) - minutes("2026-03-11T12:00")) <= 10
    after = await tab.value("document.querySelector('#world-10 .statement').innerText")
    assert before.split("one point every")[1] != after.split("one point every")[1]
    await tab.open(await tab.value("location.href"))
    await tab.until(f"{BOX}?.drawn")
    assert await shown(tab) == (start, end), "a link restores it"


async def test_keys_pan_and_zoom_and_add_up(page: Page) -> None:
    tab = await opened(page)
    press = f"{BOX}.querySelector('.chart').dispatchEvent(new KeyboardEvent('keydown', {{ key: KEY, bubbles: true }}))"
    await tab.value(f"{BOX}.querySelector('.chart').focus()")
    left = press.replace("KEY", "'ArrowLeft'")
    await tab.value(f"{left}; {left}")
    assert await shown(tab) == ("2026-03-08T00:00", "2026-03-12T00:00")
    await tab.value(press.replace("KEY", "'+'"))
    assert await shown(tab) == ("2026-03-09T00:00", "2026-03-11T00:00")
    assert await tab.value(f"document.activeElement === {BOX}.querySelector('.chart')"), "the focus stays"


async def test_shift_moves_a_double_click_and_buttons_zoom(page: Page) -> None:
    tab = await opened(page)
    await drag(tab, "2026-03-12T00:00:00Z", "2026-03-13T00:00:00Z", shift=True)
    await tab.until(f"!location.search.includes('{WINDOW.split('&')[0]}')")
    start, end = await shown(tab)
    assert abs(minutes(start) - minutes("2026-03-09T00:00")) <= 10
    assert abs(minutes(end) - minutes(start) - 4 * 24 * 60) <= 1, "as long as before"
    await tab.value(f"{BOX}.querySelector('.zoom [title=\"Zoom in\"]').click()")
    nearer = await shown(tab)
    assert abs(minutes(nearer[1]) - minutes(nearer[0]) - 2 * 24 * 60) <= 1
    await tab.value(
        f"{BOX}.querySelector('.chart').dispatchEvent(new MouseEvent('dblclick', {{ bubbles: true }}))"
    )
    wider = await shown(tab)
    assert abs(minutes(wider[1]) - minutes(wider[0]) - 4 * 24 * 60) <= 2


async def test_a_year_of_weeks_is_laid_over_it_and_kept_in_the_address(page: Page) -> None:
    tab = page.tab
    url = f"{page.origin}/history?world=10&from=2026-03-10T00:00&to=2026-03-11T00:00&tz=UTC&lines=total&by=day&back="
    for asked, taken in (("12", 12), ("52", 52), ("99", 52), ("-3", 1), ("x", 1)):
        await tab.open(f"{url}{asked}")
        await tab.until(f"{BOX}?.drawn")
        assert f"back={taken}&" in await tab.value("location.search + '&'")
        told = await tab.value(
            "fetch(document.getElementById('json').href).then((answer) => answer.json()).then((told) => told.earlier.length)"
        )
        assert told == taken
    await tab.open(f"{url}12")
    await tab.until(f"{BOX}?.drawn")
    place = await tab.value(
        f"(() => {{ const {{ left, top, width }} = {BOX}.querySelector('svg.marks').getBoundingClientRect(); return [left + width / 2, top + 100]; }})()"
    )
    await tab.move(*place)
    tip = f"{BOX}.querySelector('.tip')"
    assert (await tab.value(f"{tip}.innerText")).count("earlier") == 4
    assert "and 8 more periods before" in await tab.value(f"{tip}.innerText")
    assert await tab.value(f"{tip}.scrollWidth <= {tip}.clientWidth")
    assert await tab.value(f"{tip}.getBoundingClientRect().right <= innerWidth")
    assert await tab.value("document.querySelector('.plot + .compare').offsetHeight") <= 420


async def test_nothing_is_too_wide_on_a_phone(page: Page) -> None:
    await page.tab.size(390, 800)
    tab = await opened(page)
    assert await tab.value("document.documentElement.scrollWidth") <= 390
    assert await tab.value(
        f"[...{BOX}.querySelectorAll('.zoom button')].every((each) => each.offsetHeight >= 32)"
    )


async def test_the_chart_is_saved_as_a_picture_that_stands_alone(page: Page) -> None:
    tab = await opened(page)
    fetched = """fetch(document.querySelector('#world-10 a.KIND').href).then(async (answer) => [
        answer.status, answer.headers.get('content-type'), answer.headers.get('content-disposition'), await answer.text()])"""
    status, media, named, text = await tab.value(fetched.replace("KIND", "svg"))
    assert (status, media.split(";")[0]) == (200, "image/svg+xml")
    assert named == 'attachment; filename="ps2-people-wainwright-2026-03-10T0000-to-2026-03-14T0000.svg"'
    assert all(part in text for part in ("Wainwright", "2026-03-10 00:00 to 2026-03-14 00:00", "UTC"))
    status, media, _, text = await tab.value(fetched.replace("KIND", "png"))
    assert (status, media) == (200, "image/png")
    assert text[1:4] == "PNG"
    assert len(text) > 10_000
