"""The page as `ps2daemon serve` has it from a store in SQLite and from one in Elasticsearch: two weeks of people in a real browser, view by view."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bench.backlog import store_section
from bench.elasticsearch import prefix
from bench.programs import configure, program, ps2daemon, simulator
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND
from ps2daemon.model.times import iso
from ps2daemon.simulator.names import HOSTILE_NAME
from ps2daemon.web.bundle import charts_installed
from tests.acceptance.browser import CHROMIUM, Tab
from tests.acceptance.served import CONFIGURED, serving, watched
from tests.elasticsearch import MAJORS, address, needs, variable

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; the distribution's package has it"),
    pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed"),
]

PEOPLE: Final = ("--seed", "7", "--scale", "0.05", "--worlds", "1,10")
HOSTILE: Final = '<img src=x onerror="window.broken=1">'
STORES: Final = [
    "sqlite",
    *(
        pytest.param(str(major), id=f"elasticsearch-{major}", marks=needs(variable(major)))
        for major in MAJORS
    ),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in SQLite of the two weeks until now, with a gap of three hours, and whom Census calls by a hostile name in it."""
    folder = tmp_path_factory.mktemp("recorded")
    end = int(time.time()) * SECOND // MINUTE * MINUTE
    start = end // HOUR * HOUR - 14 * DAY
    with program(folder, *simulator(folder, "--history-from", iso(start), *PEOPLE)):
        configure(folder, worlds="1, 10")
        span = ("--from", iso(start), "--to", iso(end), "--out", "recording.ndjson.gz")
        ps2daemon(folder, "simulate", "history", *span, *PEOPLE)
        ps2daemon(folder, *CONFIGURED, "queue", "import", "recording.ndjson.gz")
        ps2daemon(folder, *CONFIGURED, "queue", "drain")
    ps2daemon(folder, *CONFIGURED, "notes", "add", HOSTILE, "--at", iso(end - 2 * DAY))
    assert HOSTILE_NAME in ps2daemon(folder, *CONFIGURED, "export", "characters")
    return folder


@pytest.fixture(params=STORES)
def kept(request: pytest.FixtureRequest, recorded: Path, tmp_path: Path) -> Iterator[Path]:
    """Where the configuration of each store is, all with the same in it."""
    if request.param == "sqlite":
        yield recorded
        return
    with prefix(address(int(request.param))) as settings:
        target = ("--to", settings.urls[0], "--to-prefix", settings.index_prefix)
        ps2daemon(recorded, *CONFIGURED, "store", "copy", *target)
        text = (recorded / "config.toml").read_text()
        (tmp_path / "config.toml").write_text(text.replace('path = "ps2.db"', store_section(settings)))
        yield tmp_path


async def test_every_view_shows_what_is_in_the_store(kept: Path, tmp_path: Path) -> None:
    with serving(kept) as url:
        async with watched(tmp_path / "browser") as tab:
            await now(tab, url)
            await history(tab, url)
            await trends(tab, url)
            await events(tab, url)
            await recording(tab, url)


async def numbers(tab: Tab, selector: str) -> list[int]:
    found: Any = await tab.value(
        f"[...document.querySelectorAll({selector!r})].map((each) => Number(each.innerText))"
    )
    return list(found)


async def now(tab: Tab, url: str) -> None:
    """The recording ended a minute ago or some more, so that its worlds may be behind."""
    await tab.open(f"{url}?tz=UTC")
    for world in (1, 10):
        (people,) = await numbers(tab, f"#world-{world} .people b")
        assert people == sum(await numbers(tab, f"#world-{world} .empires b")) > 0
        assert await tab.value(f"document.querySelector('#world-{world} .spark path') !== null")


async def history(tab: Tab, url: str) -> None:
    await tab.open(f"{url}history?world=10&window=7d&tz=UTC")
    await tab.until("document.querySelector('#world-10 svg.marks')")
    lines = await tab.value(
        """[...document.querySelectorAll('#world-10 svg.marks g.mark-line path')].map((path) => path.getAttribute('d') || '')"""
    )
    assert max(line.count("M") for line in lines) == 2, "the gap breaks the lines"
    listed = await tab.value("document.querySelector('#world-10 .happened').textContent")
    assert HOSTILE in listed
    assert "Not recorded" in await tab.value("document.querySelector('#world-10').textContent")


async def trends(tab: Tab, url: str) -> None:
    await tab.open(f"{url}trends?world=10&weeks=4&tz=UTC")
    await tab.until("document.querySelector('#world-10 svg.marks')")
    assert "week" in await tab.value("document.querySelector('#world-10 .sentence').innerText")


async def events(tab: Tab, url: str) -> None:
    await tab.open(f"{url}events?window=14d&tz=UTC")
    kinds = await tab.value("[...document.querySelectorAll('#cards h2')].map((head) => head.innerText)")
    assert "An alert ends and its continent locks" in kinds
    assert await tab.value("document.querySelectorAll('#cards svg.marks').length") >= 2
    assert await tab.value("document.querySelectorAll('#alerts tbody tr').length") > 10


async def recording(tab: Tab, url: str) -> None:
    await tab.open(f"{url}recording?window=7d&tz=UTC")
    for world in (1, 10):
        share = await tab.value(f"document.querySelector('#world-{world} .share').innerText")
        assert 98 < float(share.removesuffix(" %")) < 100
        gaps = await tab.value(
            f"[...document.querySelectorAll('#world-{world} li')].map((each) => each.textContent)"
        )
        assert any("(3 h" in gap and gap.endswith(": the connection was lost") for gap in gaps), gaps
