"""The program as processes with its store in Elasticsearch: it keeps what happened, through kills and outages, and answers as it does from SQLite."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import trio

from bench.backlog import store_section
from bench.comparison import compare_minutes, compare_sessions, coverage_of
from bench.content import Content, content
from bench.elasticsearch import prefix
from bench.kills import started
from bench.programs import call, configure, metric, program, ps2daemon, ready, simulator, stop
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.times import iso
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.sqlite import SqliteStore
from tests.acceptance.served import CONFIGURED, PATIENCE, serving
from tests.elasticsearch import EACH_MAJOR, MAJORS, address, indices, needs, variable
from tests.elasticsearch_worker import assert_same, comparable
from tests.front import LOGIN_PAGE, OPENSEARCH, SEVEN, TEN, UNAUTHORIZED, Answer, answering, front
from tests.proxy import proxy

WORLDS: Final = (1, 10, 40)
DAYS: Final = 9
"""So that alerts of the last days have controls a week before."""
PEOPLE: Final = ("--seed", "5", "--scale", "0.05", "--worlds", ",".join(map(str, WORLDS)))


class History(NamedTuple):
    """A recording, and the directory of the store in SQLite that was made of it.

    Attributes:
        folder: with `recording.ndjson.gz` and `truth`.
        embedded: where `config.toml` is.
    """

    folder: Path
    embedded: Path
    start: Ms
    end: Ms


class Noted(NamedTuple):
    """A note, so long after the history's start."""

    text: str
    after: Ms
    more: tuple[str, ...] = ()


NOTES: Final = (
    Noted("Patch <b>5.3</b>", DAY),
    Noted("Double experience", 3 * DAY, ("--world", "10", "--world", "40")),
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """It ended a day ago, so that Census knows everybody in it, whenever it is asked."""
    folder = tmp_path_factory.mktemp("history")
    end = int(time.time()) * SECOND // HOUR * HOUR - DAY
    found = History(folder, folder / "embedded", end - DAYS * DAY, end)
    with program(folder, *simulator(folder, "--history-from", iso(found.start), *PEOPLE)):
        configure(folder)
        span = ("--from", iso(found.start), "--to", iso(end), "--out", "recording.ndjson.gz")
        ps2daemon(folder, "simulate", "history", *span, "--truth", "truth", *PEOPLE)
        take_in(found, found.embedded, 'path = "ps2.db"')
        yield found


@pytest.fixture(
    scope="module", params=[pytest.param(major, marks=needs(variable(major))) for major in MAJORS]
)
def settings(request: pytest.FixtureRequest, history: History) -> Iterator[ElasticsearchSettings]:
    """The same in Elasticsearch of each major version."""
    with prefix(address(request.param)) as found:
        take_in(history, on_server(history, found), store_section(found))
        yield found


def on_server(history: History, settings: ElasticsearchSettings) -> Path:
    """Where the configuration of this store is."""
    return history.folder / settings.urls[0].rpartition(":")[2]


def both(history: History, settings: ElasticsearchSettings) -> tuple[Path, Path]:
    """Where the configurations of both stores are: that in Elasticsearch, and that in SQLite."""
    return on_server(history, settings), history.embedded


def take_in(history: History, directory: Path, store: str) -> None:
    """Puts the recording through the queue into this store. The configuration is that of all stores but for `[store]`."""
    directory.mkdir()
    text = (history.folder / "config.toml").read_text()
    (directory / "config.toml").write_text(text.replace('path = "ps2.db"', store))
    ps2daemon(directory, *CONFIGURED, "queue", "import", "../recording.ndjson.gz")
    ps2daemon(directory, *CONFIGURED, "queue", "drain")
    for note in NOTES:
        at = iso(history.start + note.after)
        ps2daemon(directory, *CONFIGURED, "notes", "add", note.text, "--at", at, *note.more)


# A history


async def test_a_history_is_stored_as_it_was_and_as_in_sqlite(
    history: History, settings: ElasticsearchSettings
) -> None:
    truth = Truth.load(history.folder / "truth")
    store = await ElasticsearchStore.open(settings, read_only=True)
    sessions = await compare_sessions(store, truth)
    minutes = await compare_minutes(store, truth, history.start, history.end, WORLDS)
    found = comparable(await content(store))
    await store.aclose()
    assert sessions.wrong == []
    assert sessions.compared > 1_000
    assert minutes.wrong == []
    assert minutes.compared > 4 * len(WORLDS) * DAYS * DAY // MINUTE
    assert found.alerts
    assert found.locks
    assert_same(found, await in_sqlite(history.embedded))


async def in_sqlite(directory: Path) -> Content:
    store = await SqliteStore.open(directory / "ps2.db", read_only=True)
    try:
        return comparable(await content(store))
    finally:
        await store.aclose()


@cache
def answer_of(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """How a command ends, and what it says."""
    done = call(directory, *CONFIGURED, *arguments)
    return done.returncode, done.stdout, done.stderr


def but_for_the_place(text: str) -> str:
    """What says which store it is and how large, and when Census answered, which is at the end of a character's line."""
    text = re.sub(r"^(store  .* prefix |store  .*\.db |size  ).*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r'^{"kind".*"free_bytes":\d+,', "{", text)
    return re.sub(r'[0-9T:.-]+Z(?=("})?$)', "", text, flags=re.MULTILINE)


COMMANDS: Final = (
    ("population", "--from", "{last}", "--to", "{end}", "--step", "5m", "--json"),
    ("population", "--world", "10", "--from", "{start}", "--to", "{end}", "--step", "1h", "--format", "csv"),
    ("population", "--world", "40", "--from", "{start}", "--to", "{end}", "--overlay", "day", "--back", "1"),
    ("overlay", "--world", "10", "--from", "{last}", "--to", "{end}", "--back", "2", "--format", "csv"),
    ("trend", "--to", "{end}", "--weeks", "2", "--tz", "Europe/Berlin"),
    ("trend", "--to", "{end}", "--weeks", "2", "--json"),
    ("effect", "--from", "{start}", "--to", "{end}"),
    *(
        ("effect", "--from", "{start}", "--to", "{end}", "--by", by, "--format", kind)
        for by, kind in (("alert", "csv"), ("length", "json"), ("world", "csv"), ("ended", "table"))
    ),
    ("alerts", "--from", "{start}", "--to", "{end}"),
    ("alerts", "--world", "10", "--from", "{last}", "--to", "{end}", "--json"),
    ("coverage", "--from", "{start}", "--to", "{end}"),
    ("coverage", "--from", "{start}", "--to", "{end}", "--json"),
    ("notes", "list"),
    ("notes", "list", "--world", "1", "--json"),
    ("export", "alerts"),
    ("export", "alerts", "--format", "csv"),
    ("export", "locks"),
    ("export", "coverage"),
    ("status",),
    ("status", "--json"),
)
SAYING_MORE: Final = (
    ("export", "characters"),
    ("export", "characters", "--format", "csv"),
    ("store", "stats"),
    ("store", "stats", "--json"),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_answers_as_from_sqlite(
    history: History, settings: ElasticsearchSettings, arguments: tuple[str, ...]
) -> None:
    times = {"start": history.start, "last": history.end - 10 * HOUR, "end": history.end}
    asked = [part.format(**{name: iso(at) for name, at in times.items()}) for part in arguments]
    found, wanted = (answer_of(where, *asked) for where in both(history, settings))
    assert found == wanted
    code, out, errors = found
    assert code == (1 if "status" in arguments else 0)  # nothing records here
    assert out.count("\n") >= 3 or "json" in arguments or "--json" in arguments
    assert errors == ""


@pytest.mark.parametrize("arguments", SAYING_MORE, ids=" ".join)
def test_a_command_answers_as_from_sqlite_but_for_the_place(
    history: History, settings: ElasticsearchSettings, arguments: tuple[str, ...]
) -> None:
    found, wanted = (answer_of(where, *arguments) for where in both(history, settings))
    assert but_for_the_place(found[1]) == but_for_the_place(wanted[1])
    assert len(but_for_the_place(found[1])) > 300
    assert (found[0], found[2]) == (0, "")


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_sessions_are_exported_as_from_sqlite(
    history: History, settings: ElasticsearchSettings, kind: str
) -> None:
    """Those that began in the same second in any order."""
    asked = ("export", "sessions", "--world", "10", "--from", iso(history.start + HOUR), "--format", kind)
    found, wanted = (answer_of(where, *asked)[1].splitlines() for where in both(history, settings))
    assert sorted(found) == sorted(wanted)
    assert [first_time(line) for line in found] == [first_time(line) for line in wanted]
    assert len(found) > 500


def first_time(line: str) -> str:
    """When a session began, or ended where its beginning was not seen."""
    told = re.search(r"20\d\d-[0-9T:-]+Z", line)
    return told[0] if told else ""


WINDOW: Final = "from={start}&to={end}"
ADDRESSES: Final = (
    "worlds",
    "now",
    "population?from={last}&to={end}&step=5m",
    "overlay?world=10&from={last}&to={end}&step=15m&by=day&back=1",
    f"alerts?{WINDOW}",
    f"alerts?{WINDOW}&people=yes",
    f"locks?{WINDOW}",
    f"notes?{WINDOW}",
    f"coverage?{WINDOW}",
    f"effect?{WINDOW}",
    *(f"effect?{WINDOW}&by={by}" for by in ("world", "alert", "length", "ended")),
    "trends?to={end}&weeks=2&tz=Europe/Berlin",
    f"chart?world=10&{WINDOW}&theme=light",
    f"effect/charts?{WINDOW}&by=world&theme=light",
    "trends/charts?world=10&to={end}&weeks=2&theme=dark",
    *(
        f"{name}.{kind}?{asked}&theme=light"
        for kind in ("png", "svg")
        for name, asked in (
            ("chart", f"world=10&{WINDOW}"),
            ("effect", WINDOW),
            ("trends", "to={end}&weeks=2"),
            ("coverage", WINDOW),
        )
    ),
)


@cache
def served_of(history: History, directory: Path) -> dict[str, httpx.Response]:
    """What the page answers at each of `ADDRESSES`."""
    times = {"start": iso(history.start), "last": iso(history.end - 10 * HOUR), "end": iso(history.end)}
    with serving(directory) as url, httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        return {asked: client.get(f"/api/v1/{asked.format(**times)}") for asked in ADDRESSES}


def test_the_page_is_served_as_from_sqlite(history: History, settings: ElasticsearchSettings) -> None:
    found, wanted = (served_of(history, where) for where in both(history, settings))
    for asked, answer in wanted.items():
        assert answer.status_code == 200, answer.text
        assert len(answer.content) > 100
        assert found[asked].content == answer.content, asked
    compared = wanted[f"effect?{WINDOW}"].json()["effects"]
    assert max(row["n"] for row in compared) >= 10, "alerts have controls"
    assert "Patch <b>5.3</b>" in wanted[f"notes?{WINDOW}"].text


def test_what_the_page_says_of_the_present_is_as_from_sqlite(
    history: History, settings: ElasticsearchSettings
) -> None:
    """But for the instant itself, which alone has milliseconds; what else moves on may be as just before or as just after."""
    times = f"from={iso(history.start)}&to={iso(history.end)}"
    at_server, at_file = both(history, settings)
    with serving(at_server) as found, serving(at_file) as embedded:
        for asked in ("overview", "overview?format=csv", f"recording?{times}"):

            def answer(url: str, asked: str = asked) -> str:
                told = httpx.get(f"{url}api/v1/{asked}", trust_env=False, timeout=PATIENCE)
                assert told.status_code == 200, told.text
                return re.sub(r'"20[0-9T:-]+\.\d+Z"', "now", told.text)

            before, ours, after = answer(embedded), answer(found), answer(embedded)
            assert ours in (before, after), asked
            assert len(ours) > 150


# A live recording

RATE: Final = 200
"""Events a second."""


async def check(settings: ElasticsearchSettings, directory: Path) -> tuple[int, dict[int, float]]:
    """Compares what is stored with what happened; returns how many sessions that were, and the seconds that are vouched for by world."""
    store = await ElasticsearchStore.open(settings, read_only=True)
    try:
        result = await compare_sessions(store, Truth.load(directory / "truth"), by_sent=True)
        coverage = await coverage_of(store)
    finally:
        await store.aclose()
    assert result.wrong == []
    assert set(coverage) == set(WORLDS)
    return result.compared, {
        world_id: sum(span.end - span.start for span in covered.spans) / SECOND
        for world_id, covered in coverage.items()
    }


@EACH_MAJOR
async def test_a_server_that_comes_later_gets_everything(major: int, tmp_path: Path) -> None:
    async with indices(address(major)) as ours, proxy(address(major)) as through:
        await through.refuse()
        away = f"can't reach Elasticsearch at {through.url}: "
        with started(tmp_path, *simulator(tmp_path, "--busy", str(3 * RATE), "--truth", "truth")) as census:
            port = configure(
                tmp_path, verify_seconds=2.0, store=store_section(ours.settings(urls=(through.url,)))
            )
            with program(tmp_path, *CONFIGURED, "run") as daemon:
                await until(lambda: metric(port, "ps2_queue_appended_records_total") > 5 * RATE)
                stages = {stage["name"]: stage for stage in (await readyz(port))["stages"]}
                assert stages["subscriber"]["ready"]
                assert not stages["writer"]["ready"]
                assert stages["writer"]["state"] == "degraded"
                assert stages["writer"]["why"].startswith(away)
                status = await trio.to_thread.run_sync(call, tmp_path, *CONFIGURED, "status")
                assert (status.returncode, status.stderr) == (1, "")
                assert re.search(r"^subscriber +(working|waiting: for events)", status.stdout, re.MULTILINE)
                assert re.search(rf"^writer +degraded: {re.escape(away)}", status.stdout, re.MULTILINE)
                assert re.search(r"^queue +[1-9][0-9,]* records wait", status.stdout, re.MULTILINE)
                assert re.search(rf"^store +{re.escape(away)}", status.stdout, re.MULTILINE)
                await through.accept()
                await until(lambda: metric(port, "ps2_writer_records_total") > 30 * RATE)
                await until(lambda: ready(port))
                status = await trio.to_thread.run_sync(call, tmp_path, *CONFIGURED, "status")
                assert (status.returncode, status.stderr) == (0, "")
                await trio.to_thread.run_sync(stop, daemon)
                assert daemon.returncode == 0
            await trio.to_thread.run_sync(stop, census)
        await trio.to_thread.run_sync(ps2daemon, tmp_path, *CONFIGURED, "queue", "drain")
        compared, _ = await check(ours.settings(), tmp_path)
        assert compared > RATE


async def until(condition: Callable[[], bool]) -> None:
    """Waits until it holds; it may block."""
    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(condition):  # noqa: ASYNC110 (another process)
            await trio.sleep(0.1)


async def readyz(port: int) -> Any:
    """What `/readyz` says."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}/readyz")).json()


# What is no store


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(SEVEN, "is no Elasticsearch 8 or 9 (elasticsearch 7.17.28)", id="older"),
        pytest.param(TEN, "is no Elasticsearch 8 or 9 (elasticsearch 10.0.0)", id="newer"),
        pytest.param(OPENSEARCH, "is no Elasticsearch 8 or 9 (opensearch 2.19.1)", id="another product"),
        pytest.param(LOGIN_PAGE, "is no Elasticsearch 8 or 9", id="a page"),
        pytest.param(UNAUTHORIZED, "check store.username", id="no password"),
    ],
)
@pytest.mark.parametrize("command", ["run", "run worker", "serve --port 0", "population"])
async def test_a_server_that_is_none_for_it_is_one_clear_line(
    answer: Answer, words: str, command: str, tmp_path: Path
) -> None:
    (tmp_path / "simulator.port").write_text("1")  # nobody is there, and nobody is asked
    async with front() as found:
        found.rule = answering(answer, lambda asked: True)
        configure(tmp_path, store=store_section(ElasticsearchSettings(urls=(found.url,))))
        done = await trio.to_thread.run_sync(partial(call, tmp_path, *CONFIGURED, *command.split()))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("{"))
    assert line.startswith("ps2daemon: error: ")
    assert found.url in line
    assert words in line
