"""`make screenshots`: a picture of every view, of ten weeks that the simulator made up, in light, in dark, and on a phone; two of them are README's."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import trio

from bench import year
from ps2daemon.model.records import MINUTE
from ps2daemon.model.times import parse_iso
from ps2daemon.simulator.population import Sitting, WorldPopulation
from ps2daemon.simulator.schedule import Schedule
from ps2daemon.simulator.settings import PopulationSettings
from ps2daemon.store.base import Commit, SessionDocument
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.web.app import page_app
from ps2daemon.web.bundle import charts_installed
from ps2daemon.web.server import serve_app
from tests.acceptance.browser import CHROMIUM, Tab, open_tab
from tests.pages import FixedClock

END: Final = parse_iso("2026-03-15T18:00:00Z")
SHOWN: Final = year.Year(END, scale=0.3, days=70, worlds=(10, 1))
ZONE: Final = "Europe/Berlin"
DOCS: Final = Path(__file__).parent.parent / "docs"


class View(NamedTuple):
    """A view, and in README's picture of it so many pixels from the top."""

    name: str
    path: str
    in_readme: int | None = None


VIEWS: Final = (
    View("now", f"/?tz={ZONE}"),
    View("history", f"/history?world=10&window=14d&by=week&back=1&tz={ZONE}", in_readme=900),
    View("trends", f"/trends?world=10&weeks=8&tz={ZONE}"),
    View("recording", f"/recording?window=28d&tz={ZONE}"),
    View("events", f"/events?window=28d&tz={ZONE}", in_readme=900),
)


class Look(NamedTuple):
    """How a view is looked at."""

    name: str
    width: int
    scheme: str


LOOKS: Final = (Look("light", 1280, "light"), Look("dark", 1280, "dark"), Look("phone", 390, "light"))


async def fill(store: SqliteStore) -> None:
    """People who leave after alerts as the simulator lets them, with the same alerts, and gaps about once a week."""
    settings = PopulationSettings(worlds=SHOWN.worlds, scale=SHOWN.scale)
    for world_id in SHOWN.worlds:
        schedule = Schedule(settings, world_id, SHOWN.start)
        people = WorldPopulation(settings, world_id, schedule, SHOWN.start, hostile=False).sittings(END)
        for chunk in year.chunks(_sessions(world_id, people)):
            await store.commit(Commit(sessions=chunk))
        alerts, locks = year.world_events(SHOWN, settings, world_id)
        await store.commit(Commit(alerts=alerts, locks=locks))
        await store.commit(Commit(spans=year.spans(SHOWN, world_id), records_until=END))


def _sessions(world_id: int, people: Iterable[Sitting]) -> Iterator[SessionDocument]:
    for person in people:
        own = (person.character.character_id, world_id, person.character.faction_id)
        logout = person.logout if person.logout < END else None
        yield SessionDocument(
            f"{own[0]}-{person.login}",
            *own,
            person.login,
            logout,
            "login",
            "logout" if logout else None,
            None,
            None,
            None,
        )


async def take(tab: Tab, origin: str, folder: Path) -> list[str]:
    """Takes them all; returns what the browser complained about."""
    for look in LOOKS:
        await tab.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": look.scheme}]
        )
        for view in VIEWS:
            await tab.size(look.width, 900)
            await tab.open(origin + view.path)
            await tab.until("!document.querySelector('.waiting')")
            await tab.picture(folder / f"{view.name}-{look.name}.png")
            if view.in_readme is not None and look is LOOKS[0]:
                await tab.picture(DOCS / f"{view.name}.png", height=view.in_readme)
    return tab.complaints


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ps2-screenshots-") as name:
        async with (
            aclosing(await SqliteStore.open(Path(name) / "ps2.db")) as store,
            trio.open_nursery() as nursery,
        ):
            await fill(store)
            stopping = trio.Event()
            app = page_app(store, FixedClock(END + MINUTE))
            port = await nursery.start(partial(serve_app, app, host="127.0.0.1", port=0, stopping=stopping))
            async with open_tab(Path(name) / "profile") as tab:
                complaints = await take(tab, f"http://127.0.0.1:{port}", folder)
            stopping.set()
    if complaints:
        sys.exit("the browser complained:\n" + "\n".join(complaints))
    print(f"{len(VIEWS) * len(LOOKS)} pictures are in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are put")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if CHROMIUM is None:
        sys.exit("there is no chromium; the distribution's package has it")
    if not charts_installed():
        sys.exit("the charts extra is not installed: pip install 'ps2daemon[charts]'")
    trio.run(main, arguments.folder)
