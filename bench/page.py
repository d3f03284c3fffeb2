"""`python -m bench page`: how long somebody who looks at the page waits, with a year of four worlds behind it.

A store is filled (see `bench/year.py`), and while something is written into it every second, `ps2daemon serve` is asked for everything that each view asks for, as
the browser does: all at once, over connections that stay. The first time is with a server that was started a moment before, with Elasticsearch once with what an
earlier one kept of its days in `--settle` seconds, and once without; then the same view is asked for with other windows and choices, after the server had
`--settle` seconds. A view's time is until its last answer came.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import trio

from bench import year
from bench.elasticsearch import prefix
from bench.programs import free_port, peak_megabytes, program
from ps2daemon.config import ElasticsearchSettings, StoreSettings
from ps2daemon.daemon import open_store
from ps2daemon.model.records import SECOND
from ps2daemon.store.base import Commit, SessionDocument, Store

CONFIG: Final = """\
[store]
{store}

[web]
port = {port}
cache_directory = "cache"
"""
CACHE: Final = "cache"
SQLITE: Final = 'kind = "sqlite"\npath = "{path}"'
ELASTICSEARCH: Final = 'kind = "elasticsearch"\nurl = "{url}"\nindex_prefix = "{prefix}"'
ZONE: Final = "Europe/Berlin"
START_SECONDS: Final = 60.0
WRITES: Final = 20
"""Sessions written a second while it is measured."""


class Question(NamedTuple):
    """One request of a view: what it is called, and its address."""

    label: str
    path: str


class View(NamedTuple):
    """What a view asks for with one choice: requests that are made one after the other before, and those made at once."""

    name: str
    before: tuple[Question, ...]
    at_once: tuple[Question, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part of the benchmark."""
    option = parser.add_argument
    option("--url", help="a server of Elasticsearch to fill instead of a file of SQLite")
    option(
        "--scale",
        type=float,
        default=2.0,
        help="times the people of today: 2 makes about 13 million sessions of a year (default: %(default)s)",
    )
    option("--days", type=int, default=year.DAYS, help="the length of the history (default: %(default)s)")
    option("--rounds", type=int, default=5, help="how often each choice is repeated (default: %(default)s)")
    option(
        "--settle",
        type=float,
        default=0.0,
        help="seconds that the server gets before the repetitions (default: %(default)s)",
    )
    option(
        "--keep",
        type=Path,
        help="a folder where the filled file of SQLite is kept and found again, while its end is recent: windows end now",
    )
    option("--view", action="append", help="leave out the others; may be repeated")


def main(arguments: argparse.Namespace) -> None:
    """Fills one store and measures all views."""
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as name, _store(arguments, Path(name)) as settings:
        trio.run(_measure, arguments, Path(name), settings)


@contextmanager
def _store(arguments: argparse.Namespace, directory: Path) -> Iterator[StoreSettings]:
    if arguments.url is not None:
        with prefix(arguments.url) as settings:
            yield StoreSettings(kind="elasticsearch", path=directory, elasticsearch=settings)
        return
    folder = directory if arguments.keep is None else arguments.keep
    unused = ElasticsearchSettings(urls=())
    yield StoreSettings(kind="sqlite", path=(folder / "year.db").absolute(), elasticsearch=unused)


def _config(directory: Path, settings: StoreSettings) -> int:
    port = free_port()
    if settings.kind == "elasticsearch":
        server = settings.elasticsearch
        store = ELASTICSEARCH.format(url=server.urls[0], prefix=server.index_prefix)
    else:
        store = SQLITE.format(path=settings.path)
    (directory / "config.toml").write_text(CONFIG.format(store=store, port=port))
    return port


async def _measure(arguments: argparse.Namespace, directory: Path, settings: StoreSettings) -> None:
    async with aclosing(await open_store(settings)) as store:
        await _fill(store, arguments)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, store)
            await _views(arguments, directory, settings)
            nursery.cancel_scope.cancel()


async def _fill(store: Store, arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    if not (await store.counts())["sessions"]:
        now = int(time.time()) * SECOND
        await year.fill(store, year.Year(now, arguments.scale, arguments.days))
    counts = await store.counts()
    size = (await store.describe()).size_bytes
    print(
        f"{counts['sessions']:,} sessions, {counts['alerts']:,} alerts, {counts['locks']:,} locks of {arguments.days} days and "
        f"{len(year.WORLDS)} worlds, with {arguments.scale:g} times the people of today; {size / 1e9:.1f} GB, "
        f"filled in {time.monotonic() - began:,.0f} s",
        flush=True,
    )


async def _write(store: Store) -> None:
    """People come, as they do while it is recorded: what is stored changes all the time."""
    number = 0
    while True:
        now = int(time.time()) * SECOND
        number += 1
        some = [
            SessionDocument(
                f"5428900{number:06d}{place:06d}-{now}", f"5428900{number:06d}{place:06d}", world_id, 1 + place % 4, now, None,
                "login", None, None, None, None,
            )
            for place in range(WRITES // len(year.WORLDS))
            for world_id in year.WORLDS
        ]  # fmt: skip
        await store.commit(Commit(sessions=some))
        await trio.sleep(1)


# What the views ask for (see `web/static`)


def _views_of() -> dict[str, list[View]]:
    """The choices of each view, the one that it opens with first."""
    worlds = "&".join(f"world={world}" for world in year.WORLDS)
    known = Question("worlds", "/api/v1/worlds")
    online = Question("now", f"/api/v1/now?{worlds}")

    def history(name: str, span: str, more: str = "by=none&back=1", step: str = "auto") -> View:
        asked = f"from={span}&to=now&step={step}&tz={ZONE}&{more}&lines=empires&theme=light"
        charts = tuple(
            Question(f"chart, world {world}", f"/api/v1/chart?world={world}&{asked}") for world in year.WORLDS
        )
        return View(f"History {name}", (known, online), charts)

    def trends(weeks: int) -> View:
        charts = tuple(
            Question(
                f"trends/charts, world {world}",
                f"/api/v1/trends/charts?world={world}&weeks={weeks}&tz={ZONE}&theme=light",
            )
            for world in year.WORLDS
        )
        return View(f"Trends {weeks} weeks", (known,), charts)

    def events(span: str) -> View:
        charts = Question(
            "effect/charts", f"/api/v1/effect/charts?{worlds}&from=-{span}&tz={ZONE}&theme=light"
        )
        alerts = Question("alerts", f"/api/v1/alerts?{worlds}&from=-3d&tz={ZONE}&people=yes")
        return View(f"Events {span}", (known,), (charts, alerts))

    def by(choice: str) -> View:
        asked = f"{worlds}&from=-28d&tz={ZONE}&by={choice}"
        return View(f"effect by {choice}, 28d", (), (Question("effect", f"/api/v1/effect?{asked}"),))

    def now() -> View:
        return View("Now", (known,), (Question("overview", f"/api/v1/overview?{worlds}&tz={ZONE}"),))

    def recording(span: str) -> View:
        asked = Question("recording", f"/api/v1/recording?{worlds}&from=-{span}&tz={ZONE}")
        return View(f"Recording {span}", (known,), (asked,))

    return {
        "now": [now()],
        "history": [
            history("24 h", "-24h"),
            history("7 d", "-7d"),
            history("28 d", "-28d"),
            history("7 d over the week before", "-7d", "by=week&back=1"),
            history("7 d over four weeks before", "-7d", "by=week&back=4"),
        ],
        "trends": [trends(weeks) for weeks in (8, 4, 26, 52)],
        "events": [events(span) for span in ("28d", "14d", "91d", "365d")],
        "recording": [recording(span) for span in ("7d", "28d", "91d", "365d")],
        "effect": [by(choice) for choice in ("world", "alert", "length", "ended")],
    }


FILES: Final = {
    "now": ("/", "/static/page.css", "/static/now.js", "/static/shared.js", "/static/spark.js"),
    "history": ("/history", "/static/page.css", "/static/page.js", "/static/shared.js", "/static/pointer.js", "/static/vega.js"),
    "trends": ("/trends", "/static/page.css", "/static/trends.js", "/static/shared.js", "/static/vega.js"),
    "events": ("/events", "/static/page.css", "/static/events.js", "/static/shared.js", "/static/vega.js"),
    "recording": ("/recording", "/static/page.css", "/static/recording.js", "/static/shared.js", "/static/spark.js"),
    "effect": (),
}  # fmt: skip


async def _views(arguments: argparse.Namespace, directory: Path, settings: StoreSettings) -> None:
    port = _config(directory, settings)
    names = arguments.view or list(FILES)
    if settings.kind == "elasticsearch":
        await _first_views(names, directory, port, anew=True)
        async with _serving(directory, port):
            await trio.sleep(arguments.settle)
    await _first_views(names, directory, port, anew=False)
    print(
        "\nEach change of window, ms until the last answer: first, then median and maximum of the repetitions"
    )
    async with _serving(directory, port) as (client, process):
        await trio.sleep(arguments.settle)
        for name in names:
            for view in _views_of()[name]:
                own: dict[str, list[float]] = defaultdict(list)
                times = [await _ask_view(client, view, own) for _ in range(1 + arguments.rounds)]
                _line(view.name, times, peak_megabytes(process))
                _details(own)


async def _first_views(names: Sequence[str], directory: Path, port: int, *, anew: bool) -> None:
    """Asks for each view of a server that was started a moment before; if `anew`, one that finds nothing that an earlier one kept."""
    when = "just started, for the first time" if anew else "just started"
    print(f"\nFirst view, the server {when}, ms until the last answer")
    for name in names:
        if anew:
            shutil.rmtree(directory / CACHE, ignore_errors=True)
        async with _serving(directory, port) as (client, process):
            files = tuple(Question(path, path) for path in FILES[name])
            view = _views_of()[name][0]
            asked = view._replace(before=(*files[:1],), at_once=files[1:])
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                own: dict[str, list[float]] = defaultdict(list)
                nursery.start_soon(_ask_view, client, asked, own)
                await _ask_view(client, view, own)
            _line(view.name, [(time.perf_counter() - began) * 1000], peak_megabytes(process))
            _details(own)


async def _ask_view(client: httpx.AsyncClient, view: View, own: dict[str, list[float]]) -> float:
    """Asks for everything; returns how long it took in all, in milliseconds."""
    began = time.perf_counter()

    async def ask(question: Question) -> None:
        since = time.perf_counter()
        answer = await client.get(question.path)
        answer.raise_for_status()
        own[question.label].append((time.perf_counter() - since) * 1000)

    for question in view.before:
        await ask(question)
    async with trio.open_nursery() as nursery:
        for question in view.at_once:
            nursery.start_soon(ask, question)
    return (time.perf_counter() - began) * 1000


@asynccontextmanager
async def _serving(
    directory: Path, port: int
) -> AsyncIterator[tuple[httpx.AsyncClient, subprocess.Popen[bytes]]]:
    with program(directory, "--config", "config.toml", "serve") as process:
        limits = httpx.Limits(max_connections=6)  # as many as a browser has
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=300, limits=limits
        ) as client:
            with trio.fail_after(START_SECONDS):
                while True:
                    try:
                        (await client.get("/static/icon.svg")).raise_for_status()
                        break
                    except httpx.TransportError:
                        await trio.sleep(0.02)
            yield client, process


def _line(name: str, times: Sequence[float], megabytes: float) -> None:
    first, *again = times
    repeated = f"{statistics.median(again):>9,.0f}{max(again):>9,.0f}" if again else " " * 18
    print(f"{name:<36}{first:>9,.0f}{repeated}   {megabytes:>5,.0f} MB", flush=True)


def _details(own: dict[str, list[float]]) -> None:
    for label, times in own.items():
        first, *again = times
        repeated = f"{statistics.median(again):>9,.0f}{max(again):>9,.0f}" if again else ""
        print(f"    {label:<32}{first:>9,.0f}{repeated}", flush=True)
