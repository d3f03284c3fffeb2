"""The views Now and Recording in a real browser: with two weeks of data, with none, with gaps, with hostile names, on a phone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import trio

from ps2daemon.analysis.documents import Document
from ps2daemon.model.alerts import Alert
from ps2daemon.model.records import HOUR, MINUTE, Ms
from ps2daemon.model.times import iso
from ps2daemon.probe import STAGES
from ps2daemon.store.base import StoreReader
from ps2daemon.web.app import page_app
from ps2daemon.web.recording import Probe
from ps2daemon.web.server import serve_app
from tests.acceptance.browser import CHROMIUM, Tab
from tests.acceptance.served import watched
from tests.memory_reader import MemoryReader
from tests.pages import END, FixedClock
from tests.synthetic import fortnight

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; the distribution's package has it"
)

HOSTILE = '<img src=x onerror="window.broken=1">'
GAPS = ((26 * HOUR, 5 * HOUR), (8 * HOUR, 2 * HOUR))
WHOLE = fortnight(END, worlds=(1, 10), days=14, people=60, gaps=())
BROKEN = fortnight(END, worlds=(1, 10), days=14, people=60, gaps=GAPS)


class Serving(Protocol):
    """Serves the page over a store and what a daemon says; returns its origin."""

    async def __call__(self, reader: StoreReader, told: Probe = ...) -> str: ...


class RunningReader(MemoryReader):
    """Its latest alert has a hostile name and has run for 20 minutes."""

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        some = self.stored_alerts[-1]
        return [
            msgspec.structs.replace(
                some, name=HOSTILE, world_id=10, start=END - 19 * MINUTE, end=None, ended_by=None
            )
        ]


async def told() -> Document:
    """A daemon in trouble, with a hostile reason."""
    stages = [
        {"name": name, "state": "working", "why": None, "restarts": 0, "idle_s": 0.5, "ready": True}
        for name in STAGES
    ]
    stages[1] |= {"state": "degraded", "why": HOSTILE, "ready": False}
    return {
        "stages": stages,
        "queue": {
            "records": 1200,
            "bytes": 5_000_000,
            "max_bytes": 10_000_000,
            "oldest_at": iso(END - 4 * MINUTE),
        },
        "dead_letters": {"count": 7, "latest": [{"at": iso(END), "reason": HOSTILE}]},
    }


async def absent() -> Document:
    """Nothing answers, and there is no queue."""
    stages = [
        {"name": name, "state": "not running", "why": None, "restarts": None, "idle_s": None, "ready": False}
        for name in STAGES
    ]
    return {"stages": stages, "queue": {"error": "there is none"}, "dead_letters": {"count": 0, "latest": []}}


@pytest.fixture
async def serving(nursery: trio.Nursery) -> AsyncIterator[Serving]:
    stopping = trio.Event()

    async def serve(reader: StoreReader, told: Probe = told) -> str:
        app = page_app(reader, FixedClock(), daemon=told)
        port = await nursery.start(partial(serve_app, app, host="127.0.0.1", port=0, stopping=stopping))
        return f"http://127.0.0.1:{port}"

    yield serve
    stopping.set()


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with watched(tmp_path) as tab:
        yield tab


async def text(tab: Tab, selector: str) -> str:
    found: str = await tab.value(f"document.querySelector({selector!r}).innerText")
    return found


def number(signed: str) -> int:
    """A number with a sign as the page writes it."""
    return int(signed.replace("−", "-").removeprefix("±"))


# Now


async def test_now_has_numbers_changes_and_a_line(serving: Serving, tab: Tab) -> None:
    origin = await serving(RunningReader(WHOLE.sessions, WHOLE.stored_spans, WHOLE.stored_alerts))
    await tab.open(f"{origin}/?tz=Europe/Berlin")
    people = await tab.value(
        "[...document.querySelectorAll('#each .people b, #overall .people b')].map((one) => Number(one.innerText))"
    )
    assert len(people) == 3
    assert people[0] == people[1] + people[2] > 0
    for card in ("#overall", "#world-1", "#world-10"):
        parts = await tab.value(
            f"[...document.querySelectorAll('{card} .empires b')].map((one) => Number(one.innerText))"
        )
        assert sum(parts) == int(await text(tab, f"{card} .people b"))
        changes = (await text(tab, f"{card} .changes")).splitlines()
        assert [line.split("\t")[0] for line in changes] == ["a day ago", "a week ago"]
        assert all("%" in line and any(sign in line for sign in "▲▼±") for line in changes)
        for ago, change in (("day", changes[0]), ("week", changes[1])):
            of_empires = await tab.value(
                f"[...document.querySelectorAll('{card} .since')].map((one) => one.innerText.split(' ')).filter(([ago]) => ago === '{ago}').map(([, by]) => by)"
            )
            assert len(of_empires) == len(parts)
            assert sum(map(number, of_empires)) == number(change.split("\t")[2].split()[-1])
        assert await tab.value(f"document.querySelectorAll('{card} .spark path').length") == 1
        assert await tab.value(f"document.querySelector('{card} .spark .hole')") is None
    assert (
        await text(tab, "#world-10 .alert")
        == f"Alert {HOSTILE}, {(await text(tab, '#world-10 .alert')).split(', ')[1]}"
    )
    assert (await text(tab, "#world-10 .alert")).endswith(" for 20 min")
    assert await tab.value("document.querySelector('#each img')") is None
    assert await text(tab, "#world-10 .recording") == "Recorded up to 19:00"
    assert not any(url.endswith("vega.js") for url in tab.requested), "it draws without the chart library"
    await tab.value("document.querySelector('#world-10 h2 a').click()")
    await tab.until("location.pathname === '/history' && document.body?.dataset.shown")
    assert await tab.value("location.search") == "?world=10&window=24h&tz=Europe%2FBerlin"


async def test_now_breaks_at_gaps_and_says_what_is_not_known(serving: Serving, tab: Tab) -> None:
    behind = [
        msgspec.structs.replace(span, end=min(span.end, END - 3 * HOUR)) if span.world_id == 1 else span
        for span in BROKEN.stored_spans
    ]
    origin = await serving(MemoryReader(BROKEN.sessions, behind))
    await tab.open(f"{origin}/?tz=UTC")
    assert (await text(tab, "#world-10 .changes")).splitlines()[0] == "a day ago\tnot recorded then"
    assert await tab.value("document.querySelectorAll('#world-10 .spark path').length") == 2
    assert await tab.value("document.querySelectorAll('#world-10 .spark .hole').length") == 2
    since = "[...document.querySelectorAll('#world-10 .since')].map((one) => one.innerText.split(' ')[0])"
    assert set(await tab.value(since)) == {"week"}, "nothing against a day of which nothing is known"
    title = "document.querySelector('#world-10 .since').title"
    assert re.fullmatch(r"VS: \d+ now, \d+ a week ago", await tab.value(title))
    assert "Not up to date." in await text(tab, "#world-1 .recording")
    assert "15:00, 3 h" in await text(tab, "#world-1 .recording")
    assert "One world is not up to date and left out." in await text(tab, "#overall")
    assert await text(tab, "#overall .people b") == await text(tab, "#world-10 .people b")
    assert await text(tab, "#status") == "1 of 2 worlds is not up to date."


async def test_now_breaks_its_line_at_a_gap_of_a_minute(serving: Serving, tab: Tab) -> None:
    """It lies between two points."""
    made = fortnight(END, worlds=(10,), days=14, people=60, gaps=((4 * HOUR - MINUTE, MINUTE),))
    await tab.open(f"{await serving(made)}/?tz=UTC")
    assert await tab.value("document.querySelectorAll('#world-10 .spark path').length") == 2
    title = "document.querySelector('#world-10 .spark .hole title').textContent"
    assert await tab.value(title) == "Not recorded: 14:01\u201314:02 (the connection was lost)"


async def test_now_with_nothing_recorded(serving: Serving, tab: Tab) -> None:
    await tab.open(f"{await serving(MemoryReader())}/")
    assert await text(tab, "#status") == "Nothing is recorded yet. This page looks again in a minute."


async def test_now_goes_on_by_itself_after_the_server_was_away(serving: Serving, tab: Tab) -> None:
    await tab.command(
        "Page.addScriptToEvaluateOnNewDocument",
        source="const every = window.setInterval; window.setInterval = (call) => every(call, 1500);"
        "const real = window.fetch; window.fetch = (...args) => window.away ? Promise.reject(new Error('away')) : real(...args);",
    )
    await tab.open(f"{await serving(WHOLE)}/")
    await tab.value("window.away = true")
    await tab.until(
        "document.getElementById('status').innerText.startsWith('The server can’t be reached')".replace(
            "’", "\\'"
        )
    )
    assert await tab.value("document.body.classList.contains('lost')")
    await tab.value("window.away = false")
    await tab.until("document.getElementById('status').innerText === 'Refreshed each minute.'")
    assert not await tab.value("document.body.classList.contains('lost')")
    await tab.command("Page.navigate", url="about:blank")  # it goes on asking while the server ends
    await tab.until("location.href === 'about:blank'")


# Recording


async def test_recording_shows_what_is_covered_and_why_the_rest_is_not(serving: Serving, tab: Tab) -> None:
    await tab.open(f"{await serving(BROKEN)}/recording?window=7d&tz=UTC")
    for world in (1, 10):
        share = float((await text(tab, f"#world-{world} .share")).removesuffix(" %"))
        assert share == pytest.approx(100 * (1 - 7 / (7 * 24)), abs=0.05)
        holes = f"[...document.querySelectorAll('#world-{world} .timeline .hole title')].map((one) => one.textContent)"
        listed = f"[...document.querySelectorAll('#world-{world} li')].map((one) => one.textContent)"
        gaps = await tab.value(listed)
        assert sorted(gaps) == sorted(await tab.value(holes))
        assert [gap.split("(")[1] for gap in gaps] == [
            "2 h): the connection was lost",
            "5 h): the connection was lost",
        ]
        assert await tab.value(f"document.querySelectorAll('#world-{world} .timeline .covered').length") == 3
    await tab.value("document.querySelector('input[value=\"365d\"]').click()")
    await tab.until("document.body.dataset.shown === '2'")
    assert await tab.value("location.search") == "?window=365d&tz=UTC"
    assert "recorded since 1 Mar 2026" in await text(tab, "#world-10")
    assert not any(url.endswith("vega.js") for url in tab.requested)


async def test_recording_says_how_the_recorder_is(serving: Serving, tab: Tab) -> None:
    await tab.open(f"{await serving(WHOLE)}/recording?tz=UTC")
    assert (await text(tab, "#world-10")).endswith("no gap")
    assert await text(tab, "#daemon .verdict") == "Running, with a problem. Look at the enricher."
    assert await text(tab, "#status") == "The recorder: running, with a problem."
    rows = await tab.value("[...document.querySelectorAll('.stages tbody tr')].map((row) => row.innerText)")
    assert len(rows) == 4
    assert f"! degraded\n{HOSTILE}" in rows[1]
    assert "✓ working" in rows[0]
    facts = await text(tab, "#daemon .facts")
    assert "1,200 records wait, 5.0 MB of 10.0 MB (50.0 %)" in facts
    assert "5 min behind" in facts
    assert "Dead letters\n7" in facts
    assert HOSTILE in await text(tab, ".letters")
    assert await tab.value("document.querySelector('#daemon img')") is None


async def test_recording_without_a_recorder_and_without_a_recording(serving: Serving, tab: Tab) -> None:
    await tab.open(f"{await serving(MemoryReader(), absent)}/recording")
    assert (await text(tab, "#daemon .verdict")).startswith("Not running. No recorder answers")
    assert await text(tab, "#coverage > div") == "Nothing is recorded yet."
    assert await text(tab, "#status") == "The recorder: not running."


# Both


async def test_an_old_link_to_a_history_leads_there(serving: Serving, tab: Tab) -> None:
    origin = await serving(WHOLE)
    await tab.command("Page.navigate", url=f"{origin}/?world=10&window=7d&tz=UTC")
    await tab.until("location.pathname === '/history' && document.body?.dataset.shown")
    assert await tab.value("location.search") == "?world=10&window=7d&tz=UTC"


@pytest.mark.parametrize("path", ["/", "/recording"])
@pytest.mark.parametrize("reader", [WHOLE, BROKEN, MemoryReader()], ids=["whole", "broken", "none"])
async def test_nothing_is_wider_than_a_phone_and_the_keyboard_gets_everywhere(
    serving: Serving, tab: Tab, path: str, reader: MemoryReader
) -> None:
    await tab.size(390, 844)
    await tab.open(f"{await serving(reader)}{path}")
    assert await tab.value("document.documentElement.scrollWidth") <= 390
    assert (
        await tab.value("document.querySelectorAll('main, nav, footer, header.top, [role=status]').length")
        == 5
    )
    await tab.press("Tab")
    assert await tab.value("document.activeElement.innerText") == "Skip to the content"
    assert await tab.value("document.activeElement.getBoundingClientRect().left") >= 0


async def test_dark(serving: Serving, tab: Tab) -> None:
    await tab.command(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    await tab.open(f"{await serving(WHOLE)}/")
    assert (
        await tab.value("getComputedStyle(document.querySelector('.card')).backgroundColor")
        == "rgb(23, 26, 33)"
    )
