"""What the view Events lists, fixes and opens, in a real browser."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ps2daemon.model.records import DAY
from ps2daemon.web.app import page_app
from ps2daemon.web.bundle import charts_installed
from tests.acceptance.browser import CHROMIUM, Tab
from tests.acceptance.served import Page, served, watched
from tests.pages import END, FixedClock
from tests.synthetic import fortnight

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; the distribution's package has it"),
    pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed"),
]

READER = fortnight(END, worlds=(1, 10), days=14, people=40, gaps=())
TITLE = "document.querySelector('#alerts h2').innerText"
ROWS = "[...document.querySelectorAll('#alerts tbody tr')].map((row) => row.innerText.split('\\t').slice(0, 3).join(' '))"
EARLIER = "document.querySelector('#alerts header .earlier')"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with served(page_app(READER, FixedClock())) as origin, watched(tmp_path) as tab:
        yield Page(origin, tab)


async def press(tab: Tab, key: str, code: int) -> None:
    """A key, as it does something to what has the focus."""
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        await tab.command(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
        )


async def title(tab: Tab) -> str:
    """Of the list; with one kind of space."""
    return re.sub(r"\s+", " ", await tab.value(TITLE))


async def get(tab: Tab, selector: str) -> httpx.Response:
    """What a link leads to."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(await tab.value(f"document.querySelector({selector!r}).href"))
    assert answer.status_code == 200
    return answer


async def test_all_alerts_of_the_window_are_listed_some_days_at_a_time(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/events?tz=UTC&window=14d")
    seen: set[str] = set()
    titles: list[str] = []
    for _ in range(9):
        titles.append(await title(tab))
        rows = await tab.value(ROWS)
        alerts: list[dict[str, Any]] = (await get(tab, "#listed a.json")).json()["alerts"]
        assert len(rows) == len(alerts) > 10
        assert [each["name"] for each in reversed(alerts)] == [
            re.split(r"Osprey |Wainwright ", row)[1] for row in rows
        ]
        assert all(each["people"] for each in alerts)
        assert (await get(tab, "#listed a.csv")).text.count("\n") == len(rows) + 1
        seen |= {each["alert_id"] for each in alerts}
        if await tab.value(f"{EARLIER}.disabled"):
            break
        before = await tab.value(TITLE)
        await tab.value(f"{EARLIER}.focus()")
        await press(tab, "Enter", 13)
        await tab.until(f"{TITLE} !== {before!r}")
    assert titles == [
        "The alerts of 13 – 15 Mar 2026",
        "The alerts of 10 – 12 Mar 2026",
        "The alerts of 7 – 9 Mar 2026",
        "The alerts of 4 – 6 Mar 2026",
        "The alerts of 1 – 3 Mar 2026",
    ]
    assert seen == {each.alert_id for each in await READER.alerts(END - 14 * DAY, END, None)}, (
        "none is left out"
    )
    assert await tab.value("document.activeElement.className") == "later", "the keyboard keeps its place"
    assert len([url for url in tab.requested if "/effect/charts" in url]) == 1, (
        "turning asks for alerts alone"
    )
    await tab.value("document.activeElement.click()")
    await tab.until("location.search.includes('day=2026-03-06')")


async def test_an_alert_without_an_end_has_no_winner(page: Page) -> None:
    """Of the last alerts, those that run say so; without chance, since the history is always the same."""
    await page.tab.open(f"{page.origin}/events?tz=UTC&window=14d")
    won = "[...document.querySelectorAll('#alerts tbody tr')].map((row) => row.cells[3].innerText)"
    endless = [alert for alert in READER.stored_alerts if alert.end is None]
    assert endless
    said = Counter(await page.tab.value(won))
    assert said["still running"] == len(endless)
    assert said["nobody"] == 0


async def test_the_address_restores_the_days_that_are_listed(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/events?world=10&window=14d&tz=UTC&day=2026-03-08")
    assert await title(tab) == "The alerts of 6 – 8 Mar 2026"
    assert await tab.value("location.search") == "?world=10&window=14d&tz=UTC&day=2026-03-08"
    assert {row.split()[4] for row in await tab.value(ROWS)} == {"Wainwright"}
    await tab.value(
        "const day = document.querySelector('#alerts input'); day.value = '2026-03-10'; day.dispatchEvent(new Event('change'))"
    )
    await tab.until("location.search.endsWith('day=2026-03-10')")
    picture = (await get(tab, "#listed a.svg")).text
    assert "2026-03-08 00:00 to 2026-03-11 00:00" in picture
    await tab.until(f"{TITLE}.startsWith('The alerts of 8')")
    await tab.value(
        "const by = document.querySelector('select[name=by]'); by.value = 'world'; by.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    await tab.until("document.body.dataset.shown === '2'")
    assert await title(tab) == "The alerts of 8 – 10 Mar 2026", "what else is chosen leaves it alone"


@pytest.mark.parametrize("day", ["2026-02-01", "2027-01-01", "yesterday", "2026-99-99", ""])
async def test_a_day_that_is_not_in_the_window_is_not_listed(page: Page, day: str) -> None:
    await page.tab.open(f"{page.origin}/events?world=10&window=14d&tz=UTC&day={day}")
    assert await title(page.tab) == "The alerts of 13 – 15 Mar 2026"
    assert await page.tab.value("location.search") == "?world=10&window=14d&tz=UTC"


async def test_on_a_phone_each_alert_is_seen_with_its_chart(page: Page) -> None:
    tab = page.tab
    await tab.size(390, 844)
    await tab.open(f"{page.origin}/events?tz=UTC&window=14d")
    assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
    edges = await tab.value(
        "[...document.querySelectorAll('#alerts tbody td, #alerts svg, #alerts button')].map((each) => each.getBoundingClientRect()).map((each) => [each.left, each.right])"
    )
    assert len(edges) > 100
    assert min(left for left, _ in edges) >= 0
    assert max(right for _, right in edges) <= 390


async def test_on_a_phone_the_tables_need_no_scrolling(page: Page) -> None:
    tab = page.tab
    await tab.size(390, 844)
    await tab.open(f"{page.origin}/events?tz=UTC&window=14d&by=alert")
    for wide in (False, True):
        await tab.value("[...document.querySelectorAll('#cards summary')].map((each) => each.click()).length")
        over = await tab.value(
            "[...document.querySelectorAll('#cards .compare')].map((box) => box.scrollWidth - box.clientWidth)"
        )
        assert over
        assert set(over) == {0}
        heads = "[...document.querySelectorAll('#cards table')].map((each) => [...each.querySelectorAll('th')].filter((head) => head.offsetWidth).length)"
        assert set(await tab.value(heads)) == {7 if wide else 4}
        await tab.size(1400, 1000)


# What is told apart


async def test_a_part_opens_to_show_its_groups(page: Page) -> None:
    tab = page.tab
    await tab.size(390, 844)
    await tab.open(f"{page.origin}/events?window=14d&by=world&tz=UTC")
    table = "document.querySelector('#kind-alert_end .parts table')"
    shown = f"[...{table}.querySelectorAll('tbody tr')].filter((row) => row.offsetHeight).map((row) => row.innerText.split('\\t')[0])"
    labels = [each.split(" (")[0] for each in await tab.value(shown)]
    assert labels == ["Osprey", "", "", "Wainwright", "", ""]
    body = (await get(tab, "#json")).json()["effects"]
    curves = (await get(tab, "#curves a.csv")).text
    assert ",alert_end," in curves
    assert "\nWainwright,alert_end," in curves
    assert (await get(tab, "#curves a.json")).json()["curves"]
    (first,) = (
        row["n"]
        for row in body
        if (row["of"], row["event"], row["group"], row["minutes"]) == ("Wainwright", "alert_end", "winner", 5)
    )
    await tab.value(f"{table}.querySelectorAll('summary')[1].focus()")
    await press(tab, "Enter", 13)
    await tab.until(f"{shown}.length > 6")
    opened = await tab.value(shown)
    assert [each for each in opened if each][1:3] == [
        next(each for each in opened if each.startswith("Wainwright")),
        f"the winner’s ({first})",
    ]
    assert [each.split(" (")[0] for each in opened if each][2:] == ["the winner’s", "the losers’", "NSO"]
    assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
    await tab.value("document.querySelector('input[value=\"28d\"]').click()")
    await tab.until("document.body.dataset.shown === '2'")
    assert len(await tab.value(shown)) == len(opened), "it stays open"
    await tab.value(f"{table}.querySelectorAll('summary')[1].click()")
    await tab.until(f"{shown}.length === 6")


# A window that stays


CHOICE = "new FormData(document.getElementById('controls')).get({!r})"


async def test_events_of_a_fixed_window(page: Page) -> None:
    tab = page.tab
    address = "?world=10&from=2026-03-04T00%3A00&to=2026-03-08T12%3A00&tz=UTC"
    await tab.open(f"{page.origin}/events{address}")
    assert await tab.value("location.search") == address
    assert await tab.value(CHOICE.format("window")) == "custom"
    assert await title(tab) == "The alerts of 6 – 8 Mar 2026"
    alerts = (await get(tab, "#listed a.json")).json()["alerts"]
    assert max(each["start"] for each in alerts) < "2026-03-08T12:00"
    body = (await get(tab, "#json")).json()
    at = [each["at"] for each in body["events"]]
    assert "2026-03-04" <= min(at) < max(at) < "2026-03-08T12:00"
    await tab.value("document.querySelector('input[value=\"14d\"]').click()")
    await tab.until("document.body.dataset.shown === '2'")
    assert await tab.value("location.search") == "?world=10&window=14d&tz=UTC"


async def test_a_window_is_fixed_from_what_is_shown(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/events?world=10&window=14d&tz=UTC")
    assert await tab.value("document.getElementById('custom').hidden")
    await tab.value("document.querySelector('input[value=custom]').click()")
    await tab.until("document.body.dataset.shown === '2'")
    days = f"(Date.parse({CHOICE.format('to')}) - Date.parse({CHOICE.format('from')})) / 86400000"
    assert await tab.value(days) == pytest.approx(14, abs=0.1), "a change of clocks included"
    assert "&from=20" in await tab.value("location.search")
    assert not await tab.value("document.getElementById('custom').hidden")
    typed = "const field = document.querySelector('input[name=from]'); field.value = {!r}; field.dispatchEvent(new Event('change', {{bubbles: true}}))"
    await tab.value(f"(() => {{ {typed.format('0002-03-01T00:00')} }})()")
    assert await tab.value(CHOICE.format("from")) == "0002-03-01T00:00", "a year that is being typed"
    await tab.value(f"(() => {{ {typed.format('2026-03-01T00:00')} }})()")
    await tab.until("location.search.includes('from=2026-03-01T00%3A00')")


async def test_a_window_that_can_not_be_leaves_nothing_of_another(page: Page) -> None:
    tab = page.tab
    window = "from=2026-03-08T00:00&to=2026-03-07T00:00&tz=UTC"
    for view in ("events?world=10&", "recording?"):
        await tab.open(f"{page.origin}/{view}{window}")
        said = await tab.value("document.getElementById('status').innerText")
        assert said.startswith("This can't be shown: the window is reversed")
        assert await tab.value("document.querySelector('#cards svg')") is None
    assert len(tab.complaints) == 2, "the browser's own"
    tab.complaints.clear()


async def test_trends_before_a_day(page: Page) -> None:
    tab = page.tab
    address = "?world=10&weeks=4&to=2026-03-08&tz=UTC"
    await tab.open(f"{page.origin}/trends{address}")
    assert await tab.value("location.search") == address
    (trend, *_) = (await get(tab, "#json")).json()["trends"]
    assert trend["weeks"][-1]["to"] == "2026-03-08T00:00:00Z"
    assert any("/trends/charts" in url and "to=2026-03-08" in url for url in tab.requested)
    await tab.value(
        "const day = document.querySelector('input[name=to]'); day.value = ''; day.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    await tab.until("document.body.dataset.shown === '2'")
    assert await tab.value("location.search") == "?world=10&weeks=4&tz=UTC"


async def test_the_recording_of_a_fixed_window(page: Page) -> None:
    tab = page.tab
    await tab.open(f"{page.origin}/recording?from=2026-03-04&to=2026-03-08T12:00&tz=UTC")
    assert await tab.value("location.search") == "?from=2026-03-04T00%3A00&to=2026-03-08T12%3A00&tz=UTC", (
        "a date is its midnight"
    )
    ends = await tab.value("document.querySelector('.ends').innerText")
    assert re.fullmatch(r"4 Mar 2026, 00:00\s*8 Mar 2026, 12:00", ends)
    rows = (await get(tab, "#csv")).text.splitlines()
    worlds = [row.split(",")[1:5] for row in rows if row.startswith("world,")]
    assert [(world, *window) for world, _, *window in worlds] == [
        (world, "2026-03-04T00:00:00Z", "2026-03-08T12:00:00Z") for world in ("1", "10")
    ]


@pytest.mark.parametrize("view", ["events", "trends", "recording", "history"])
async def test_a_fixed_window_fits_a_phone(page: Page, view: str) -> None:
    await page.tab.size(360, 844)
    await page.tab.open(f"{page.origin}/{view}?world=10&from=2026-03-04T00:00&to=2026-03-08T12:00&tz=UTC")
    assert await page.tab.value("document.documentElement.scrollWidth <= innerWidth")
