"""What a view shows is there to take along: the files that it links say what is seen, in JSON, in CSV and as pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import httpx
import pytest

from ps2daemon.model import tables
from ps2daemon.model.records import HOUR
from ps2daemon.web import pictures
from ps2daemon.web.app import page_app
from ps2daemon.web.bundle import charts_installed
from tests.acceptance.browser import CHROMIUM, Tab
from tests.acceptance.served import Page, served, watched
from tests.acceptance.test_views_in_a_browser import told
from tests.memory_reader import MemoryReader
from tests.pages import END, FixedClock
from tests.synthetic import fortnight

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; the distribution's package has it"),
    pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed"),
]

PATIENCE: Final = 120
"""Seconds."""
NAMES: Final = {1: "Osprey", 10: "Wainwright"}
MADE = fortnight(END, worlds=tuple(NAMES), days=14, people=60, gaps=((8 * HOUR, 2 * HOUR),))
READER = MemoryReader(MADE.sessions, MADE.stored_spans, MADE.stored_alerts, MADE.stored_locks)
TYPES: Final = {"json": "application/json", "csv": "text/csv", "png": "image/png", "svg": "image/svg+xml"}


class Files(NamedTuple):
    """What the links below a view lead to."""

    json: dict[str, Any]
    csv: list[dict[str, str]]
    svg: str


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    app = page_app(READER, FixedClock(), daemon=told)
    async with served(app) as origin, watched(tmp_path) as tab:
        yield Page(origin, tab)


async def opened(page: Page, path: str) -> Files:
    """The view, once it is shown, and its files."""
    await page.tab.open(f"{page.origin}{path}")
    await page.tab.until("document.body.dataset.shown && !document.querySelector('.waiting')")
    found = {}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for kind, media_type in TYPES.items():
            assert not await page.tab.value(f"document.getElementById({kind!r}).hidden"), kind
            answer = await client.get(await page.tab.value(f"document.getElementById({kind!r}).href"))
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith(media_type)
            found[kind] = answer
    assert found["png"].content.startswith(b"\x89PNG")
    assert len(found["png"].content) > 10_000
    rows = list(csv.DictReader(io.StringIO(found["csv"].text)))
    return Files(found["json"].json(), rows, found["svg"].text)


async def cells(tab: Tab, table: str) -> list[list[str]]:
    """The words of the rows of a table."""
    found: list[list[str]] = await tab.value(
        f"[...document.querySelectorAll({table + ' tbody tr'!r})].map((row) => [...row.children].map((cell) => cell.innerText))"
    )
    assert found, table
    return found


async def test_of_now(page: Page) -> None:
    files = await opened(page, "/?tz=UTC")
    assert [world["world_id"] for world in files.json["worlds"]] == list(NAMES)
    together = {**files.json["together"], "world_id": "", "name": "2 worlds together"}
    for one, row in zip([*files.json["worlds"], together], files.csv, strict=True):
        card = f"#world-{one['world_id']}" if one["world_id"] else "#overall"
        shown = await page.tab.value(f"document.querySelector('{card} .people b').innerText")
        assert shown == str(one["people"]) == row["people"]
        assert f"{one['name']}: {shown} online" in files.svg
        empires = await page.tab.value(
            f"[...document.querySelectorAll('{card} .empires li')].map((item) => [item.children[0].innerText, item.children[1].innerText])"
        )
        assert empires == [[each["label"], str(each["people"])] for each in one["online"]]
        assert all(row[label] == people for label, people in empires)
        (_, then, *_), _ = await cells(page.tab, f"{card} .changes")
        assert then == str(one["ago"][0]["people"]) == row["a_day_ago"]
        assert row["world_id"] == str(one["world_id"])


@pytest.mark.parametrize("lines", ["empires", "share", "total"])
async def test_of_history(page: Page, lines: str) -> None:
    """Also where it is read off the chart, and in the terms that it is shown in."""
    files = await opened(page, f"/history?window=24h&by=day&lines={lines}&nso=folded&tz=UTC")
    factions = {"VS": 1, "NC": 2, "TR": 3, "all": None}
    unit = " %" if lines == "share" else ""
    for world, name in NAMES.items():
        assert f"{name}: " in files.svg
        rows = await cells(page.tab, f"#world-{world} .compare:not(.list)")
        assert [row[0] for row in rows] == (["all"] if lines == "total" else ["VS", "NC", "TR"])
        for empire, against, mean, then, *_ in rows:
            assert against == "1 day earlier"
            compared = _row(files.json["comparisons"], world, factions[empire])
            assert (mean, then) == (f"{compared['mean']:.1f}{unit}", f"{compared['earlier_mean']:.1f}{unit}")
            of_csv = [
                row
                for row in files.csv
                if (row["world_id"], row["faction_id"]) == (str(world), str(factions[empire] or ""))
            ]
            both = [row for row in of_csv if row["online"] and row["earlier_online"]]
            assert len(of_csv) == len(files.json["times"]) > len(both) > 0
            assert fmean(float(row["online"]) for row in both) == pytest.approx(compared["mean"], abs=1e-3)
            assert fmean(float(row["earlier_online"]) for row in both) == pytest.approx(
                compared["earlier_mean"], abs=1e-3
            )


def _row(rows: Collection[dict[str, Any]], world: int, faction: int | None) -> dict[str, Any]:
    (found,) = [row for row in rows if (row["world_id"], row["faction_id"]) == (world, faction)]
    return found


async def test_of_trends(page: Page) -> None:
    files = await opened(page, "/trends?weeks=4&tz=UTC")
    for world, name in NAMES.items():
        assert name in files.svg
        *_, together = await cells(page.tab, f"#world-{world} .compare")
        last = _row(files.json["trends"], world, None)["weeks"][-1]
        assert together[2] == f"{last['mean']:.1f}"
        (row,) = [
            row
            for row in files.csv
            if (row["world_id"], row["faction_id"], row["from"]) == (str(world), "", last["from"])
        ]
        assert (float(row["mean"]), int(row["peak"])) == (last["mean"], last["peak"])


async def test_of_events(page: Page) -> None:
    files = await opened(page, "/events?window=14d&tz=UTC")
    first, *_ = await cells(page.tab, "#kind-alert_end .compare")
    (told,) = [
        row
        for row in files.json["effects"]
        if (row["event"], row["group"], row["minutes"], row["of"]) == ("alert_end", "all", 5, None)
    ]
    assert first[:4] == [
        f"everybody ({told['n']})",
        "5 min",
        f"{100 * told['share']:.1f} %",
        f"{100 * told['control_share']:.1f} %",
    ]
    (row,) = [
        row
        for row in files.csv
        if (row["event"], row["group"], row["minutes"], row["of"]) == ("alert_end", "all", "5", "")
    ]
    assert (int(row["n"]), float(row["share"])) == (told["n"], told["share"])
    assert f"{told['n']} of" in files.svg


async def test_of_the_recording(page: Page) -> None:
    files = await opened(page, "/recording?window=7d&tz=UTC")
    kinds = {kind: [row for row in files.csv if row["kind"] == kind] for kind in ("world", "gap", "stage")}
    for world, row in zip(files.json["worlds"], kinds["world"], strict=True):
        shown = await page.tab.value(f"document.querySelector('#world-{world['world_id']} .share').innerText")
        assert float(shown.removesuffix(" %")) == pytest.approx(100 * world["share"], abs=0.01)
        assert float(row["share"]) == world["share"]
        listed = await page.tab.value(
            f"[...document.querySelectorAll('#world-{world['world_id']} li')].map((one) => one.textContent)"
        )
        gaps = [gap for gap in kinds["gap"] if gap["world_id"] == str(world["world_id"])]
        assert len(gaps) == len(listed) == 1
        assert listed[0].endswith(gaps[-1]["reason"])
        assert f"{world['share']:.2%} recorded" in files.svg
    stages = await cells(page.tab, "#daemon .stages")
    for one, stage, row in zip(files.json["daemon"]["stages"], stages, kinds["stage"], strict=True):
        assert one["name"] == stage[0].splitlines()[0] == row["name"]
        assert one["state"] == stage[1].split()[1] == row["state"]


@pytest.mark.parametrize("choice", ["trends?weeks=52", "events?window=365d", "recording?window=365d"])
async def test_the_longest_choice_of_all_worlds_that_run_can_be_taken_along(
    tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Five seconds of a core, and any number on a machine that is busy: whether it is refused is looked at here, and not how fast it is.
    monkeypatch.setattr(pictures, "DRAWING_SECONDS", PATIENCE)
    worlds = tuple(world.world_id for world in tables.worlds().values() if world.live)
    everything = fortnight(END, worlds=worlds, people=20, gaps=())
    reader = MemoryReader(
        everything.sessions, everything.stored_spans, everything.stored_alerts, everything.stored_locks
    )
    async with served(page_app(reader, FixedClock(), daemon=told)) as origin, watched(tmp_path) as tab:
        await tab.open(f"{origin}/{choice}{''.join(f'&world={world}' for world in worlds)}")
        links = "[...document.querySelectorAll('footer a')].filter((link) => !link.hidden).map((link) => link.href)"
        offered = await tab.value(links)
        assert len(offered) >= 4
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            for link in offered:
                assert choice.startswith("recording") or all(f"world={world}&" in link for world in worlds)
                answer = await client.get(link)
                assert answer.status_code == 200, (link, answer.text)
