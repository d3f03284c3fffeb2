"""What a person can get wrong: one clear line that says what to do, exit code 2, no traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.kills import started
from bench.programs import free_port

CONFIG = """\
[census]
service_id = "sEcReTiD"
rest_url = "http://127.0.0.1:9"

[[stream]]
url = "ws://127.0.0.1:9/streaming"
worlds = [10]

[queue]
directory = "state/queue"

[store]
path = "state/ps2.db"

[web]
port = 0
metrics_port = 0
"""


def fail(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> str:
    """The one line that a call says; it must end with 2."""
    done = subprocess.run(
        [sys.executable, "-m", "ps2daemon", *arguments],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = [
        line for line in done.stderr.splitlines() if not line.startswith("{")
    ]  # the log of what went before
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "sEcReTiD" not in done.stderr + done.stdout
    if lines[0].startswith("Usage:"):  # click's own way, for a word on the command line
        lines = lines[-1:]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def changed(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.toml").read_text()
    assert old in text
    (folder / "config.toml").write_text(text.replace(old, new))


def test_no_configuration_at_all(folder: Path) -> None:
    assert "there is no configuration: copy config.example.toml" in fail(folder, "run")


def test_a_configuration_that_is_not_there(folder: Path) -> None:
    assert "nowhere.toml" in fail(folder, "--config", "nowhere.toml", "run")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rest_url", "rest_ulr", ["census.rest_ulr", "rest_url"]),
        ("[web]", "[wbe]", ["wbe", "web"]),
        ("worlds = [10]", 'worlds = "ten"', ["worlds", "ten"]),
        ("worlds = [10]", "worlds = [12345]", ["worlds", "12345"]),
        ("port = 0\n", "port = 70000\n", ["web.port", "70000", "65535"]),
        ('service_id = "sEcReTiD"', 'service_id_file = "nowhere"', ["census.service_id_file", "nowhere"]),
        ('service_id = "sEcReTiD"', 'service_id_file = "."', ["census.service_id_file"]),
        ("[census]", "[census", ["config.toml", "line 1"]),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "run"])
def test_a_configuration_at_fault(folder: Path, old: str, new: str, said: list[str], command: str) -> None:
    changed(folder, old, new)
    line = fail(folder, "--config", "config.toml", command)
    for word in said:
        assert word in line


def test_an_environment_variable_at_fault(folder: Path) -> None:
    line = fail(folder, "--config", "config.toml", "run", environ={"PS2DAEMON_WEB_PORT": "many"})
    assert "PS2DAEMON_WEB_PORT" in line
    assert "many" in line


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield somebody.getsockname()[1]


def test_a_port_in_use(folder: Path, taken: int) -> None:
    changed(folder, "metrics_port = 0", f"metrics_port = {taken}")
    line = fail(folder, "--config", "config.toml", "run")
    assert f"port {taken}" in line
    assert "web.metrics_port" in line


def not_writable(folder: Path) -> str:
    (folder / "state").write_text("a file, where a folder should be made")
    return "state"


def newer_queue(folder: Path) -> str:
    return _version(folder / "state/queue", "version 999")


def newer_store(folder: Path) -> str:
    return _version(folder / "state/ps2.db", "version 999")


def make_files(folder: Path) -> None:
    """A queue and a store, as the program itself makes them."""
    (folder / "empty.ndjson").touch()
    for arguments in (("queue", "import", "empty.ndjson"), ("queue", "drain")):
        subprocess.run(
            [sys.executable, "-m", "ps2daemon", "--config", "config.toml", *arguments], cwd=folder, check=True
        )


def _version(path: Path, word: str) -> str:
    """Raises the version of a database that the program made itself."""
    make_files(path.parent.parent)
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix == ".db"]
    assert files
    for file in files:
        database = sqlite3.connect(file)
        database.execute("PRAGMA user_version = 999")
        database.commit()
        database.close()
    return word


def no_database(folder: Path) -> str:
    make_files(folder)
    (folder / "state/ps2.db").write_bytes(b"no database at all" * 1000)
    return "state/ps2.db"


@pytest.mark.parametrize("broken", [not_writable, newer_queue, newer_store, no_database])
def test_files_that_can_not_be_used(folder: Path, broken: Callable[[Path], str]) -> None:
    word = broken(folder)
    assert word in fail(folder, "--config", "config.toml", "run")


def test_a_second_daemon_is_told_who_was_first(folder: Path) -> None:
    """Whichever half of it; and the first ones go on."""
    changed(folder, "metrics_port = 0", f"metrics_port = {free_port(1)}")
    locks = folder / "state/queue"
    with (
        started(folder, "--config", "config.toml", "run", "subscriber") as subscriber,
        started(folder, "--config", "config.toml", "run", "worker") as worker,
    ):
        firsts = {"producer.lock": subscriber, "consumer.lock": worker}
        while any(not (locks / name).exists() or not (locks / name).read_text() for name in firsts):
            assert [first.poll() for first in firsts.values()] == [None, None]
            time.sleep(0.05)
        for arguments, first in (
            (("run",), subscriber),
            (("run", "subscriber"), subscriber),
            (("run", "worker"), worker),
            (("queue", "drain"), worker),
            (("queue", "import", "empty.ndjson"), subscriber),
        ):
            (folder / "empty.ndjson").touch()
            line = fail(folder, "--config", "config.toml", *arguments)
            assert f"process {first.pid} is" in line
            assert "stop it first" in line
        assert [first.poll() for first in firsts.values()] == [None, None]


def test_a_bad_line_of_a_recording_is_named(folder: Path) -> None:
    good = '{"kind": "coverage", "world_id": 10, "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z", "after": "start"}\n'
    (folder / "recording.ndjson").write_text(good * 2 + '{"kind": "covrage"}\n' + good)
    line = fail(folder, "--config", "config.toml", "queue", "import", "recording.ndjson")
    assert "line 3" in line
    assert "2 records before it are in the queue" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2026-03-02", "--to", "2026-03-01"), "reversed: let --to be later"),
        (("--from", "2026-03-02", "--to", "2026-03-02"), "empty: let --to be later"),
        (("--from", "1990-01-01", "--step", "1s"), "100,000"),
        (("--tz", "Mars/Olympus"), "Mars/Olympus"),
        (("--world", "12345"), "12345"),
        (("--step", "soon"), "soon"),
    ],
)
def test_a_window_that_can_not_be(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    make_files(folder)
    assert said in fail(folder, "--config", "config.toml", "population", "--world", "10", *arguments)


def test_who_only_reads_needs_no_service_id(folder: Path) -> None:
    make_files(folder)
    changed(folder, 'service_id = "sEcReTiD"', 'service_id_file = "nowhere"')
    command = [
        sys.executable,
        "-m",
        "ps2daemon",
        "--config",
        "config.toml",
        "population",
        "--world",
        "10",
        "--json",
    ]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout.startswith(b"{")
