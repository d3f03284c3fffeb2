"""`store check|init|stats|copy|prune` as a person calls them, on files and on real servers."""

from __future__ import annotations

import os
import re
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from bench.content import content
from ps2daemon.cli import main
from ps2daemon.config import StoreSettings, load_settings
from ps2daemon.daemon import open_reader, open_store
from ps2daemon.errors import StoreConflict, StoreMismatch, StoreUnavailable
from ps2daemon.model.alerts import derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR, Ms
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import Store
from ps2daemon.store.sqlite import schema
from tests.commands import write_config
from tests.contract.stores import all_of, change, character, continent_lock, session
from tests.elasticsearch import MAJORS, Indices, address, needs, variable
from tests.front import LOGIN_PAGE, OPENSEARCH, UNAUTHORIZED, Answer, answering, front

JANUARY: Ms = parse_iso("2025-01-01")
FEBRUARY: Ms = parse_iso("2025-02-01")
MARCH: Ms = parse_iso("2025-03-01")
END: Ms = parse_iso("2025-03-16")
ANSWER_SECONDS = 120


class Place(NamedTuple):
    """Where a store is or may be.

    Attributes:
        kind: "sqlite", or the major version of a server.
        config: the file that says so.
        to: what `store copy` is told to copy there.
    """

    kind: str | int
    config: Path
    to: tuple[str, ...]

    @property
    def settings(self) -> StoreSettings:
        return load_settings(self.config, {}).store


def server_lines(url: str, prefix: str = "ps2") -> str:
    return f'kind = "elasticsearch"\nurl = "{url}"\nindex_prefix = "{prefix}"'


@contextmanager
def a_place(kind: str | int, folder: Path, name: str) -> Iterator[Place]:
    """One with nothing in it."""
    if isinstance(kind, str):
        yield Place(
            kind, write_config(folder, f'path = "{name}.db"', name), ("--to", str(folder / f"{name}.db"))
        )
        return
    prefix = f"test-{token_hex(6)}"
    to = ("--to", address(kind), "--to-prefix", prefix)
    try:
        yield Place(kind, write_config(folder, server_lines(address(kind), prefix), name), to)
    finally:
        ask(address(kind), prefix, lambda found: found.delete())


def ask(url: str, prefix: str, what: Callable[[Indices], Any]) -> Any:
    """What a server answers, past all that is tested."""

    async def asked() -> Any:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60.0) as client:
            return await what(Indices(url, prefix, client))

    return trio.run(asked)


def ask_at(place: Place, what: Callable[[Indices], Any]) -> Any:
    server = place.settings.elasticsearch
    return ask(server.urls[0], server.index_prefix, what)


KINDS = [
    pytest.param("sqlite", id="sqlite"),
    *(pytest.param(major, id=f"elasticsearch-{major}", marks=needs(variable(major))) for major in MAJORS),
]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with a_place(request.param, tmp_path, "first") as found:
        yield found


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Place]:
    with a_place("sqlite", tmp_path, "embedded") as found:
        yield found


async def fill(store: Store) -> None:
    """Three months: 18 sessions in January, one of which reaches into February, 1 in February, 13 in March."""
    alerts, locks = derive(
        [
            change(JANUARY + DAY, STARTED),
            change(JANUARY + DAY + HOUR, ENDED),
            change(MARCH + DAY, STARTED, 2),
            change(MARCH + DAY + HOUR, ENDED, 2),
        ],
        [continent_lock(JANUARY + 3 * DAY), continent_lock(MARCH + DAY + HOUR)],
        END,
    )
    stay = [
        character(
            str(100 + number),
            session(JANUARY + number * DAY, JANUARY + number * DAY + HOUR),
            session(MARCH + number * DAY, MARCH + number * DAY + HOUR),
            name=f"Stays{number}",
            faction_id=2,
            enriched_at=END,
        )
        for number in range(12)
    ]
    go = [
        character(
            str(200 + number),
            session(FEBRUARY - HOUR - number, FEBRUARY + (5 - number) * HOUR),
            name=f"Goes{number}",
            faction_id=3,
            enriched_at=END,
        )
        for number in range(6)
    ]
    late = character("300", session(MARCH + 14 * DAY))
    middle = character("301", session(FEBRUARY + 9 * DAY, FEBRUARY + 9 * DAY + HOUR))
    await store.commit(
        msgspec.structs.replace(
            all_of(*stay, *go, late, middle),
            alerts=list(alerts.values()),
            locks=list(locks.values()),
            spans=[
                Span(10, JANUARY, JANUARY + 31 * DAY // 2, "start"),
                Span(10, FEBRUARY, END, "connection"),
            ],
            records_until=END,
        )
    )
    await store.write_note(make_note(MARCH, (10,), "Patch 5.3"))
    await store.refresh()


def filled(place: Place) -> Place:
    """The same, with a store in it."""

    async def make() -> None:
        store = await open_store(place.settings)
        try:
            await fill(store)
        finally:
            await store.aclose()

    trio.run(make)
    return place


def everything(place: Place) -> Any:
    """All that a store holds."""

    async def read() -> Any:
        store = await open_reader(place.settings)
        try:
            return (
                await content(store),
                await store.stored_spans(),
                await store.pruned_until(),
                await store.copying(),
            )
        finally:
            await store.aclose()

    return trio.run(read)


def call(place: Place | Path, *arguments: str) -> Result:
    config = place if isinstance(place, Path) else place.config
    return CliRunner().invoke(main, ["--config", str(config), "store", *arguments])


def facts(result: Result) -> Any:
    return msgspec.json.decode(result.stdout)


def the_error(result: Result) -> str:
    """The one line that says what is wrong; nothing may have gone to stdout."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("ps2daemon: error: ")
    return result.stderr


def age() -> str:
    """So old that January 2025 goes, and February does not."""
    return f"{(time.time_ns() // 1_000_000 - FEBRUARY - 14 * DAY) // DAY}d"


BREAKING = """
import os, signal, sys
import trio
from ps2daemon.store import copying, pruning
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.sqlite import SqliteStore

number, kind = int(sys.argv.pop(1)), signal.Signals[sys.argv.pop(1)]
copying.PAGE = pruning.PAGE = 4
begun = 0

def breaking(commit):
    async def broken(self, changes):
        global begun
        begun += 1
        if begun == number:
            os.kill(os.getpid(), kind)
            await trio.sleep_forever()
        return await commit(self, changes)
    return broken

for store in (ElasticsearchStore, SqliteStore):
    store.commit = breaking(store.commit)

from ps2daemon.__main__ import main
main()
"""


def broken_off(place: Place, kind: str, number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Calls it in a process that gets a signal at its commit of this number."""
    command = [
        sys.executable,
        "-c",
        BREAKING,
        str(number),
        kind,
        "--config",
        str(place.config),
        "store",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)


# check and init


def test_where_there_is_none(place: Place) -> None:
    for command in ("check", "stats"):
        result = call(place, command)
        assert result.exit_code == 2
        assert "there is no store at" in the_error(result)
        assert "`ps2daemon store init`" in result.stderr
        assert "`ps2daemon run`" in result.stderr
    if place.kind == "sqlite":
        assert not place.settings.path.exists()
    else:
        assert ask_at(place, lambda found: found.names()) == []


def test_a_store_is_made_once_and_keeps_what_it_holds(place: Place) -> None:
    made = call(place, "init")
    assert made.exit_code == 0
    assert "It is made. It holds nothing yet.\n" in made.stderr
    assert re.search(r"^writable +yes$", made.stdout, re.MULTILINE)
    assert re.search(r"^records +none yet$", made.stdout, re.MULTILINE)
    again = call(place, "init")
    assert (again.exit_code, again.stdout) == (0, made.stdout)
    assert "It was there, and is up to date. It holds nothing yet.\n" in again.stderr
    before = everything(filled(place))
    again = call(place, "init")
    assert again.exit_code == 0
    assert (
        "It holds 20 characters, 32 sessions, 2 alerts, 2 locks, 2 spans of coverage, 1 note.\n"
        in again.stderr
    )
    assert everything(place) == before


@pytest.mark.parametrize("place", KINDS[1:], indirect=True)
def test_what_was_removed_of_a_store_is_made_again(place: Place) -> None:
    assert call(place, "init").exit_code == 0
    before = ask_at(place, lambda found: found.names())
    ask_at(place, lambda found: found.ask("DELETE", f"/{found.prefix}-locks"))
    assert call(place, "check").exit_code == 0  # the worker would make it as it is needed
    assert call(place, "init").exit_code == 0
    assert ask_at(place, lambda found: found.names()) == before


def test_an_older_file_is_brought_up_to_date(embedded: Place) -> None:
    filled(embedded)
    with closing(sqlite3.connect(embedded.settings.path)) as connection, connection:
        connection.execute("DELETE FROM notes")
    before = everything(embedded)
    with closing(sqlite3.connect(embedded.settings.path)) as connection, connection:
        later = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE '%ending_days%'"
        for (name,) in connection.execute(later).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE ending_days")
        connection.execute("DROP TABLE notes")
        connection.execute("PRAGMA user_version = 5")
    result = call(embedded, "check")
    assert result.exit_code == 2
    assert "is of version 5" in the_error(result)
    assert "`ps2daemon store init`" in result.stderr
    result = call(embedded, "init")
    assert result.exit_code == 0
    assert "It was there, and was brought up to date. It holds 20 characters" in result.stderr
    assert everything(embedded) == before


def test_check(place: Place) -> None:
    filled(place)
    result = call(place, "check")
    assert (result.exit_code, result.stderr) == (0, "")
    found = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(found) == ["store", "size", "schema", "writable", "records"]
    assert found["writable"] == "yes"
    assert found["records"] == "until 2025-03-16T00:00:00Z"
    answer = facts(call(place, "check", "--json"))
    assert answer["usable"] is True
    if place.kind == "sqlite":
        assert found["store"].startswith(f"{place.settings.path} (SQLite 3")
        assert (answer["kind"], answer["place"]) == ("sqlite", str(place.settings.path))
    else:
        assert f"(Elasticsearch {place.kind}." in found["store"]
        assert answer["kind"] == "elasticsearch"
        assert answer["server"].startswith(f"Elasticsearch {place.kind}.")
    assert (answer["unwritable"], answer["copying"], answer["unsettled"]) == (None, None, 0)
    assert (answer["records_until"], answer["pruned_until"]) == ("2025-03-16T00:00:00Z", None)
    assert isinstance(answer["size_bytes"], int)


def test_a_store_that_cant_be_written_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(filled(place))
    if place.kind == "sqlite":
        # Tests may run as root, who may write everywhere.
        monkeypatch.setattr("ps2daemon.store.sqlite.keeping._unwritable", lambda path: "a reason")
        reason = "a reason"
    else:
        block = {"index.blocks.write": True}
        ask_at(place, lambda found: found.ask("PUT", f"/{found.prefix}-characters/_settings", block))
        reason = "characters is blocked: somebody set index.blocks.write"
    result = call(place, "check")
    assert (result.exit_code, result.stderr) == (1, "")
    assert re.search(rf"^writable +NO: .*{reason}$", result.stdout, re.MULTILINE)
    result = call(place, "check", "--json")
    assert (result.exit_code, facts(result)["usable"]) == (1, False)
    result = call(place, "prune", "--older-than", age(), "--yes")
    assert result.exit_code == 1
    assert f"can't be written now: {'a reason' if place.kind == 'sqlite' else ''}" in the_error(result)
    assert everything(place) == before


def test_a_newer_store_is_left_alone(place: Place) -> None:
    before = everything(filled(place))
    if place.kind == "sqlite":
        with closing(sqlite3.connect(place.settings.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        body = {"_meta": {"owner": "ps2daemon", "version": 99}}
        ask_at(place, lambda found: found.ask("PUT", f"/{found.prefix}-locks/_mapping", body))
    for arguments in (("check",), ("init",), ("stats",), ("prune", "--older-than", age(), "--yes")):
        result = call(place, *arguments)
        assert result.exit_code == 2
        assert re.search(r"of version 99, .*use the newer program", the_error(result))
    if place.kind == "sqlite":
        with closing(sqlite3.connect(place.settings.path)) as connection:
            connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    else:
        body = {"_meta": {"owner": "ps2daemon", "version": 1}}
        ask_at(place, lambda found: found.ask("PUT", f"/{found.prefix}-locks/_mapping", body))
    assert everything(place) == before


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """A configuration with a server that isn't there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and never listens
        yield write_config(tmp_path, server_lines(f"http://127.0.0.1:{held.getsockname()[1]}"), "nobody")


def test_a_server_that_isnt_there_is_an_error(nobody: Path, tmp_path: Path) -> None:
    for arguments in (
        ("check",),
        ("check", "--json"),
        ("init",),
        ("stats",),
        ("copy", "--to", str(tmp_path / "x.db")),
        ("prune", "--older-than", "400d", "--yes"),
    ):
        result = call(nobody, *arguments)
        assert result.exit_code == 1
        assert "can't reach Elasticsearch at http://127.0.0.1:" in the_error(result)
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(OPENSEARCH, "is no Elasticsearch 8 or 9", id="another server"),
        pytest.param(LOGIN_PAGE, "is no Elasticsearch 8 or 9", id="a page"),
        pytest.param(UNAUTHORIZED, "check store.username", id="no password"),
    ],
)
async def test_a_server_that_is_none_for_it(
    answer: Answer, words: str, tmp_path: Path, embedded: Place
) -> None:
    async with front() as found:
        found.rule = answering(answer, lambda asked: True)
        config = write_config(tmp_path, server_lines(found.url), "other")
        for arguments in (("check",), ("init",), ("stats",)):
            result = await in_a_process(config, *arguments)
            assert result.returncode == 2
            assert words in result.stderr.decode()
        await in_a_process(embedded.config, "init")
        result = await in_a_process(embedded.config, "copy", "--to", found.url)
        assert result.returncode == 2
        assert result.stderr.decode().startswith("ps2daemon: error: the target: ")
        assert words in result.stderr.decode()


async def in_a_process(config: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ps2daemon", "--config", str(config), "store", *arguments]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


# stats


def test_stats(place: Place) -> None:
    filled(place)
    answer = facts(call(place, "stats", "--json"))
    assert answer["counts"] == {
        "characters": 20,
        "unnamed": 2,
        "sessions": 32,
        "open": 1,
        "alerts": 2,
        "locks": 2,
        "spans": 2,
        "notes": 1,
    }
    assert answer["worlds"] == [
        {"world_id": 10, "from": "2025-01-01T00:00:00Z", "to": "2025-03-16T00:00:00Z", "recorded": 0.7905}
    ]
    assert answer["months"] == [
        {"month": "2025-01", "sessions": 18, "alerts": 1, "locks": 1, "recorded": 0.5},
        {"month": "2025-02", "sessions": 1, "alerts": 0, "locks": 0, "recorded": 1.0},
        {"month": "2025-03", "sessions": 13, "alerts": 1, "locks": 1, "recorded": 1.0},
    ]
    assert answer["records_until"] == "2025-03-16T00:00:00Z"
    result = call(place, "stats")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [re.sub(" +", " ", line) for line in result.stdout.splitlines()]
    assert "characters 20, 2 of them without a name yet" in lines
    assert "sessions 32, 1 of them open" in lines
    assert "Wainwright (10) 2025-01-01T00:00:00Z 2025-03-16T00:00:00Z 79.1%" in lines
    assert "2025-01 18 1 1 50.0%" in lines


# copy


def test_copy_there_and_back(place: Place, embedded: Place, tmp_path: Path) -> None:
    before = everything(filled(embedded))
    result = call(embedded, "copy", *place.to)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (
        "The copy is complete: 20 characters, 32 sessions, 2 alerts, 2 locks, 2 spans of coverage, 1 note. 59 documents written in "
        in result.stderr
    )
    assert ", 0 were there already.\n" in result.stderr
    assert everything(place) == before
    suggested = result.stderr[result.stderr.index("[store]") :].replace("    ", "")
    again = tmp_path / "suggested.toml"
    again.write_text(suggested)
    assert load_settings(again, {}).store.kind == place.settings.kind
    assert call(again, "check").exit_code == 0
    result = call(embedded, "copy", "--to-config", str(place.config))
    assert result.exit_code == 0
    assert "It is a complete copy already: 20 characters" in result.stderr
    assert f"use --config {place.config}.\n" in result.stderr
    with a_place("sqlite", tmp_path, "back") as back:
        assert call(place, "copy", *back.to).exit_code == 0
        assert everything(back) == before


@pytest.mark.parametrize(("kind", "code"), [("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 130)])
def test_a_copy_that_is_broken_off_goes_on(place: Place, embedded: Place, kind: str, code: int) -> None:
    before = everything(filled(embedded))
    done = broken_off(embedded, kind, 5, "copy", *place.to)
    assert (done.returncode, done.stdout) == (code, "")
    told = re.sub(
        r"^Copying: [\d,]+ documents, \d+%\n", "", done.stderr, flags=re.M
    )  # how far it is, where it takes seconds
    assert told == (
        ""
        if kind == "SIGKILL"
        else "Stopped. What was copied so far stays, marked as unfinished; the same command goes on from there.\n"
    )
    result = call(place, "check")
    assert result.exit_code == 1
    assert re.search(
        r"^copy +UNFINISHED: this is a part of a copy of sqlite .*embedded\.db;", result.stdout, re.M
    )
    assert facts(call(place, "check", "--json"))["copying"] == f"sqlite {embedded.settings.path}"
    for arguments in (
        ("prune", "--older-than", age(), "--yes"),
        ("copy", "--to", f"{embedded.settings.path}2.db"),
    ):
        result = call(place, *arguments)
        assert result.exit_code == 2
        assert "complete" in result.stderr
    result = call(embedded, "copy", *place.to)
    assert result.exit_code == 0
    written, there = (
        int(number) for number in re.findall(r"(\d+) (?:documents written|were there)", result.stderr)
    )
    assert written + there == 59
    assert written > 0
    assert there > 0
    assert everything(place) == before
    assert call(place, "check").exit_code == 0


def test_a_copy_does_not_mix_two_stores(place: Place, embedded: Place, tmp_path: Path) -> None:
    before = everything(filled(place))
    assert call(embedded, "init").exit_code == 0
    with a_place("sqlite", tmp_path, "other") as other:
        assert call(other, "init").exit_code == 0
        with closing(sqlite3.connect(other.settings.path)) as connection:
            connection.execute("INSERT INTO copying (place) VALUES ('sqlite /elsewhere.db')")
            connection.commit()
        result = call(place, "copy", *other.to)
        assert result.exit_code == 2
        assert "holds a part of a copy of sqlite /elsewhere.db" in the_error(result)
    result = call(embedded, "copy", *place.to)
    assert result.exit_code == 2
    assert re.search(r"holds data of its own already \(20 characters, .*32 sessions", the_error(result))
    assert everything(place) == before


def test_a_store_is_not_copied_into_itself(place: Place, tmp_path: Path) -> None:
    before = everything(filled(place))
    targets = [place.to, ("--to-config", str(place.config))]
    if place.kind == "sqlite":
        (tmp_path / "link.db").symlink_to(place.settings.path)
        targets.append(("--to", str(tmp_path / "link.db")))
    else:
        targets.append(("--to", f"{address(int(place.kind))}/", *place.to[2:]))
    for target in targets:
        result = call(place, "copy", *target)
        assert result.exit_code == 2
        assert "the target is the store itself" in the_error(result)
    assert everything(place) == before


def test_the_environment_says_where_from_and_not_where_to(
    embedded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(filled(embedded))
    with a_place("sqlite", tmp_path, "other") as other:
        monkeypatch.setenv("PS2DAEMON_STORE_PATH", str(embedded.settings.path))
        assert call(other, "copy", "--to-config", str(other.config)).exit_code == 0
        monkeypatch.delenv("PS2DAEMON_STORE_PATH")
        assert everything(other) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --to or --to-config, and only one of them"),
        (("--to", "x.db", "--to-config", "x.toml"), "give --to or --to-config, and only one of them"),
        (("--to", "127.0.0.1:9200"), "--to: '127.0.0.1:9200' is not accepted; accepted is the path of a file that ends in .db"),
        (("--to", "ftp://host/x"), "an address that begins with http:// or https://"),
        (("--to", "https://u:secret@host:9200"), "give --to-config"),
        (("--to", "http://host:notaport"), "is not accepted"),
        (("--to", "http://host:9200", "--to-prefix", "A B"), "--to-prefix: 'A B' is not accepted; accepted is lower-case"),
        (("--to", "x.db", "--to-prefix", "a"), "--to-prefix goes with an address"),
        (("--to-config", "nowhere.toml"), "can't read the configuration nowhere.toml"),
        (("--to", "{folder}"), "is a folder: name a file in it"),
        (("--to", "{folder}/embedded.toml"), "the target: {folder}/embedded.toml is no store of this program"),
        (("--to", "/proc/nowhere/x.db"), "the target: /proc/nowhere/x.db can't be written"),
    ],
)  # fmt: skip
def test_a_wrong_target_is_one_clear_line(
    embedded: Place, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert call(embedded, "init").exit_code == 0
    before = sorted(tmp_path.iterdir())
    result = call(embedded, "copy", *(each.format(folder=tmp_path) for each in arguments))
    assert result.exit_code == 2
    assert message.format(folder=tmp_path) in the_error(result)
    assert "secret" not in result.stderr.replace("a secret does not", "")
    assert sorted(tmp_path.iterdir()) == before


def test_a_target_that_isnt_there_is_an_error(embedded: Place, nobody: Path) -> None:
    assert call(embedded, "init").exit_code == 0
    result = call(embedded, "copy", "--to-config", str(nobody))
    assert result.exit_code == 1
    assert "error: the target: can't reach Elasticsearch" in the_error(result)


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), StoreConflict("somebody else writes")])
def test_a_copy_that_fails_says_that_it_can_go_on(
    embedded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert call(embedded, "init").exit_code == 0

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ps2daemon.cli.store_copy.copy_store", fail)
    result = call(embedded, "copy", "--to", str(tmp_path / "x.db"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "What was copied so far stays, marked as unfinished; the same command goes on from there.\n"
        f"ps2daemon: error: {error}\n"
    )


def test_a_worker_that_runs_is_named_before_copying(embedded: Place, tmp_path: Path) -> None:
    filled(embedded)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait(ANSWER_SECONDS)
    (tmp_path / "queue").mkdir()
    for pid, told in ((os.getpid(), True), (ended.pid, False), ("", False)):
        (tmp_path / "queue" / "consumer.lock").write_text(f"{pid}\n")
        result = call(embedded, "copy", "--to", str(tmp_path / "x.db"))
        assert result.exit_code == 0
        assert (f"Process {pid} seems to write into the store: stop it" in result.stderr) == told


# prune


def check_pruned(place: Place) -> None:
    answer = facts(call(place, "stats", "--json"))
    assert {name: answer["counts"][name] for name in ("characters", "sessions", "alerts", "locks")} == {
        "characters": 14,
        "sessions": 14,
        "alerts": 1,
        "locks": 1,
    }
    assert [month["month"] for month in answer["months"]] == ["2025-02", "2025-03"]
    assert answer["pruned_until"] == "2025-02-01T05:00:00Z"
    assert answer["worlds"][0]["from"] == "2025-02-01T05:00:00Z"
    result = call(place, "prune", "--older-than", age(), "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.search(
        r"There is nothing to drop: nothing in the store .* began before 2025-02-01T00:00:00Z", result.stderr
    )
    result = call(place, "check")
    assert "what was recorded before 2025-02-01T05:00:00Z was dropped" in result.stdout


def test_prune_tells_and_then_drops(place: Place) -> None:
    before = everything(filled(place))
    result = call(place, "prune", "--older-than", age(), "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [re.sub(" +", " ", line) for line in result.stdout.splitlines()]
    assert lines[0].endswith(", this drops what began before 2025-02-01 (UTC):")
    assert lines[2:] == [
        "month (UTC) sessions alerts locks",
        "2025-01 18 1 1",
        "",
        "Characters without a session since then go, with their names: 6.",
        "Characters that stay and lose their older sessions: 12.",
        "No time before 2025-02-01T05:00:00Z will count as recorded any more.",
        "2 months stay: 2025-02 to 2025-03, with 14 sessions.",
    ]
    assert everything(place) == before
    dropped = call(place, "prune", "--older-than", age(), "--yes")
    assert (dropped.exit_code, dropped.stdout) == (0, "")
    assert dropped.stderr.startswith(result.stdout)
    assert "\nDropped: 38 documents in " in dropped.stderr
    check_pruned(place)


def test_without_a_terminal_it_wants_to_be_told(embedded: Place) -> None:
    before = everything(filled(embedded))
    result = call(embedded, "prune", "--older-than", age())
    assert result.exit_code == 2
    assert "give --yes to drop it, or --dry-run" in the_error(result)
    assert everything(embedded) == before


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("n\n", 1, "Nothing was dropped."),
        ("\n", 1, "Nothing was dropped."),
        ("\x03", 1, "Aborted!"),
        ("y\n", 0, "Dropped: 38 documents"),
    ],
)
def test_on_a_terminal_it_asks(embedded: Place, answer: str, code: int, words: str) -> None:
    before = everything(filled(embedded))
    text, returned = on_a_terminal(embedded, answer, "prune", "--older-than", age())
    assert returned == code
    assert "There is no way back. Drop it? [y/N]:" in text
    assert words in text
    if code:
        assert everything(embedded) == before
    else:
        check_pruned(embedded)


def on_a_terminal(place: Place, answer: str, *arguments: str) -> tuple[str, int]:
    """Calls it on a terminal, and types `answer` once it asks; again each second, since a Ctrl-C just before it reads is lost."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ps2daemon", "--config", str(place.config), "store", *arguments]
    text = ""
    deadline = time.monotonic() + ANSWER_SECONDS
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            typed = 0.0
            while (part := read_terminal(ours)) is not None:
                text += part
                assert time.monotonic() < deadline, f"it does not end: {text}"
                if "[y/N]:" in text and time.monotonic() - typed > 1:
                    os.write(ours, answer.encode())
                    typed = time.monotonic()
            return text, process.wait(ANSWER_SECONDS)
        finally:
            process.kill()
            os.close(ours)


def read_terminal(terminal: int) -> str | None:
    """What comes within a moment; None once the other side is closed."""
    ready, _, _ = select.select([terminal], [], [], 0.1)
    if not ready:
        return ""
    try:
        return os.read(terminal, 65536).decode(errors="replace") or None
    except OSError:
        return None


@pytest.mark.parametrize(("kind", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_what_was_dropped_in_part_is_dropped_by_the_same_command(place: Place, kind: str, code: int) -> None:
    filled(place)
    done = broken_off(place, kind, 4, "prune", "--older-than", age(), "--yes")
    assert (done.returncode, done.stdout) == (code, "")
    if kind == "SIGINT":
        assert done.stderr.endswith(
            "Stopped. A part of it may be dropped already; the same command drops the rest.\n"
        )
    assert facts(call(place, "check", "--json"))["pruned_until"] == "2025-02-01T05:00:00Z"
    assert facts(call(place, "stats", "--json"))["counts"]["sessions"] == 32
    assert call(place, "prune", "--older-than", age(), "--yes").exit_code == 0
    check_pruned(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30d", "30d is too short: it takes at least 31d"),
        ("4w", "4w is too short"),
        ("0y", "0y is too short"),
        ("400", "'400' is no age; it takes days, weeks or years, such as 400d, 60w or 2y"),
        ("13m", "'13m' is no age"),
        ("-400d", "'-400d' is no age"),
        ("9999999d", "'9999999d' is no age"),
    ],
)
def test_a_wrong_age_is_one_clear_line(embedded: Place, text: str, message: str) -> None:
    result = call(embedded, "prune", f"--older-than={text}", "--yes")
    assert result.exit_code == 2
    assert message in the_error(result)
    with pytest.raises(StoreMismatch):
        everything(embedded)
