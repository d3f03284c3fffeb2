"""The page by keys alone: every value, difference and reason that the pointer shows is reached, seen and said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND
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
TO = END - DAY - 18 * HOUR
SHORT = 45 * MINUTE + 30 * SECOND
"""Where a gap begins, from the end of the window on, that lies between two points."""
GAPS = ((END - TO + 3 * DAY, 5 * HOUR), (END - TO + SHORT, 20 * SECOND))
READER = fortnight(END, worlds=(10,), days=14, people=40, gaps=GAPS)
CHART = "document.querySelector('#world-10 .chart')"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    reader = MemoryReader(READER.sessions, READER.stored_spans, READER.stored_alerts, READER.stored_locks)
    async with served(page_app(reader, FixedClock())) as origin, watched(tmp_path) as tab:
        yield Page(origin, tab)


async def opened(page: Page, query: str) -> Tab:
    """The chart, drawn, with the focus, to which Tab leads."""
    await page.tab.open(f"{page.origin}/history?world=10&tz=UTC&{query}")
    await page.tab.until("document.querySelector('#world-10 .plot')?.drawn")
    for _ in range(60):
        await page.tab.press("Tab")
        if await page.tab.value(f"document.activeElement === {CHART}"):
            return page.tab
    raise AssertionError("Tab does not lead to the chart")


async def read(tab: Tab, *keys: str) -> tuple[list[str], str]:
    """What is shown and said after these keys; `⇧` is shift."""
    for key in keys:
        await tab.press(key.lstrip("⇧"), shift=key.startswith("⇧"))
    shown = await tab.value("document.querySelector('#world-10 .tip').innerText")
    return [line for line in shown.splitlines() if line], await tab.value(
        "document.querySelector('#world-10 .said').textContent"
    )


async def test_a_value_and_a_difference_are_read_by_keys(page: Page) -> None:
    tab = await opened(page, f"{WINDOW}&by=week")
    view = await tab.value("fetch(document.getElementById('json').href).then((answer) => answer.json())")
    shown, said = await read(tab, "⇧ArrowLeft")
    assert shown[0] == "Fri 13 Mar, 23:50", "the latest point first"
    for place in (-2, -3):
        shown, said = await read(tab, "⇧ArrowLeft")
        now, then = (rows[0]["online"][place] for rows in (view["series"], view["earlier"][0]["series"]))
        _, *values = next(row for row in shown if row.startswith("VS")).split("\t")
        assert [int(value) for value in values[:2]] == [now, then]
        assert values[2].split()[0] == f"{now - then:+}".replace("-", "−").replace("+0", "±0")
        assert f"VS {now}, 1 week earlier {then}, difference {values[2]}." in said
    back, _ = await read(tab, "⇧ArrowRight", "⇧ArrowRight")
    assert back[0] == "Fri 13 Mar, 23:50"
    _, said = await read(tab, "⇧ArrowRight")
    assert said == "The window ends here."
    first, _ = await read(tab, "⇧Home")
    assert first[0] == "Tue 10 Mar, 00:00"
    leap, _ = await read(tab, "⇧PageDown")
    assert leap[0] == "Tue 10 Mar, 09:40", "a tenth of the window, at a point"


async def test_the_reason_of_a_gap_is_read_by_keys(page: Page) -> None:
    tab = await opened(page, WINDOW)
    shown, said = await read(tab, "⇧G")
    assert shown[1] == "Not recorded: the connection was lost."
    assert shown[2].endswith("for less than a minute"), "it lies between two points"
    assert said.startswith(f"{shown[0]}. {shown[1]} {shown[2]}")
    shown, said = await read(tab, "⇧G")
    assert shown[:2] == ["Wed 11 Mar, 00:00", "Not recorded: the connection was lost."]
    assert "00:00–05:00" in shown[2]
    _, said = await read(tab, "⇧G")
    assert said == "No gap there."
    again, _ = await read(tab, "g")
    assert again[2].endswith("for less than a minute")


async def test_the_cursor_stays_and_can_be_put_away(page: Page) -> None:
    tab = await opened(page, "window=24h")
    tip = "document.querySelector('#world-10 .tip').hidden"
    shown, _ = await read(tab, "⇧ArrowLeft", "⇧ArrowLeft", "⇧ArrowLeft")
    before = await tab.value("document.body.dataset.shown")
    # It is shown again as if a minute had passed.
    await tab.value("document.querySelector('#controls').dispatchEvent(new Event('change', {bubbles: true}))")
    await tab.until(f"document.body.dataset.shown !== {before!r}")
    assert await tab.value(f"document.activeElement === {CHART}")
    assert not await tab.value(tip)
    assert (await read(tab))[0] == shown
    await read(tab, "Escape")
    assert await tab.value(tip)
    await read(tab, "⇧ArrowLeft")
    assert not await tab.value(tip)
    await tab.press("Tab")
    assert await tab.value(tip), "it goes with the focus"


async def test_a_screen_reader_is_told_what_the_chart_is_and_takes(page: Page) -> None:
    tab = await opened(page, WINDOW)
    tree = (await tab.command("Accessibility.getFullAXTree"))["nodes"]
    (chart,) = [
        node
        for node in tree
        if node.get("name", {}).get("value") == "People online on Wainwright" and not node["ignored"]
    ]
    assert chart["role"]["value"] == "application"
    assert "g goes to the next gap" in chart["description"]["value"]
    said = "document.querySelector('#world-10 .said')"
    assert await tab.value(f"{said}.getAttribute('aria-live')") == "polite"
    await tab.value(f"window.kept = {said}")
    await tab.press("ArrowLeft")  # another window, and so another drawing
    await tab.until(f"!location.search.includes('{WINDOW.split('&')[0]}')")
    assert await tab.value(f"{said} === window.kept"), "a region that is new is not listened to"


REACHABLE = """[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"], .plot .chart')].filter((one) =>
    one.checkVisibility() && !one.disabled && (one.type !== 'radio' || one.checked || !document.querySelector(`input[name="${one.name}"]:checked`)))"""
"""Every control that can do something, and every chart that says something under the pointer; of several to choose one from, the one that is chosen, from which arrows lead to the others."""
FOCUSED = """(() => {
    const one = document.activeElement, shown = one.matches('.chips input') ? one.nextElementSibling : one;
    const { outlineStyle, outlineWidth } = getComputedStyle(shown), { left, top, right, bottom } = shown.getBoundingClientRect();
    window.reached.add(one);
    return [one === document.body, one.outerHTML.slice(0, 120), outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1,
        right > left && bottom > top && right > 0 && bottom > 0 && left < innerWidth && top < innerHeight];
})()"""


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize(
    "path",
    ["/?tz=UTC", f"/history?{WINDOW}&by=week&tz=UTC", "/trends?tz=UTC", "/events?window=14d&by=world&tz=UTC", "/recording?tz=UTC"],
    ids=["now", "history", "trends", "events", "recording"],
)  # fmt: skip
async def test_tab_walks_to_every_control_and_chart_and_is_seen(page: Page, path: str, width: int) -> None:
    tab = page.tab
    await tab.size(width, 900)
    await tab.open(f"{page.origin}{path}")
    await tab.until("document.body.dataset.shown && !document.querySelector('.waiting')")
    await tab.value("window.reached = new Set()")
    expected = await tab.value(f"{REACHABLE}.length")
    seen = []
    for _ in range(120):
        await tab.press("Tab")
        ended, *where = await tab.value(FOCUSED)
        if ended:
            break
        seen.append(where)
    assert ended, "Tab leads out of the page at its end"
    assert [name for name, outlined, _ in seen if not outlined] == []
    assert [name for name, _, inside in seen if not inside] == []
    missing = f"{REACHABLE}.filter((one) => !reached.has(one)).map((one) => one.outerHTML.slice(0, 120))"
    assert await tab.value(missing) == []
    assert len(seen) >= expected > 8
