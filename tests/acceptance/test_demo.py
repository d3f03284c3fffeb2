"""`ps2daemon demo`, small: it fills, records, serves, and ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from ps2daemon.config import load_settings
from ps2daemon.store.elasticsearch.keeping import remove_store
from tests.elasticsearch import MAJORS, needs, variable
from tests.front import LOGIN_PAGE, OPENSEARCH, UNAUTHORIZED, Answer, answering, front

PATIENCE = 60.0


STORES = [
    "sqlite",
    *(
        pytest.param(variable(major), id=f"elasticsearch-{major}", marks=needs(variable(major)))
        for major in MAJORS
    ),
]
"""What `--store` says, or the variable that holds it."""


@pytest.mark.parametrize("store", STORES)
def test_it_fills_records_serves_and_ends_cleanly(store: str, tmp_path: Path) -> None:
    where = os.environ.get(store, store)
    command = ["demo", "--days", "2", "--scale", "0.1", "--port", "0", "--store", where]
    command += ["--directory", str(tmp_path / "demo")]
    with (tmp_path / "stderr").open("wb") as stderr:
        demo = subprocess.Popen(
            [sys.executable, "-m", "ps2daemon", *command], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert demo.stdout is not None
    address = demo.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), (tmp_path / "stderr").read_text()
    page = httpx.get(address, trust_env=False)
    assert page.status_code == 200
    worlds = httpx.get(f"{address}api/v1/worlds", trust_env=False).json()
    assert {world["world_id"] for world in worlds["worlds"]} == {1, 10, 40}
    mine = {
        pid for pid in running() if str(tmp_path) in working_folder(pid) and "ps2daemon" in command_of(pid)
    }
    assert len(mine) == 3  # simulator, daemon, page; and for a while what makes the page's chart library
    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE) == 0
    demo.stdout.close()
    assert not any(str(tmp_path) in working_folder(pid) for pid in running())
    assert "Traceback" not in "".join(log.read_text() for log in (tmp_path / "demo").glob("*.log"))
    again = [*command, "--days", "1", "--worlds", "10", "--once"]
    subprocess.run([sys.executable, "-m", "ps2daemon", *again], check=True, capture_output=True)
    assert recorded(tmp_path / "demo") == [10]
    if where != store:
        settings = load_settings(tmp_path / "demo" / "config.toml", {}, secret=False).store.elasticsearch
        names = f"{where}/{settings.index_prefix}-*/_alias"
        assert len(httpx.get(names, trust_env=False).json()) >= 7
        trio.run(remove_store, settings)
        assert httpx.get(names, trust_env=False).json() == {}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("postgres", "accepted is sqlite, elasticsearch, or an address such as http://127.0.0.1:9200"),
        ("http://127.0.0.1:9", "the demo needs a server that runs"),
    ],
)
def test_a_store_that_can_not_be_used_is_one_clear_line(where: str, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ps2daemon",
            "demo",
            "--port",
            "0",
            "--store",
            where,
            "--directory",
            str(tmp_path / "demo"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(OPENSEARCH, "is no Elasticsearch 8 or 9 (opensearch 2.19.1)", id="another product"),
        pytest.param(LOGIN_PAGE, "is no Elasticsearch 8 or 9", id="a page"),
        pytest.param(UNAUTHORIZED, "does not let this user do that", id="a password"),
    ],
)
async def test_a_server_that_is_none_for_it_is_one_clear_line(
    answer: Answer, words: str, tmp_path: Path
) -> None:
    async with front() as found:
        found.rule = answering(answer, lambda asked: True)
        command = ["demo", "--port", "0", "--store", found.url, "--directory", str(tmp_path / "demo")]
        done = await trio.run_process(
            [sys.executable, "-m", "ps2daemon", *command],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert found.url in line
    assert words in line
    assert "the demo needs a server that runs" in line
    assert "store.url" not in line  # there is no configuration that a person could change


def recorded(directory: Path) -> list[int]:
    """The worlds that the store of the demo there has anything of."""
    command = ["--config", str(directory / "config.toml"), "store", "stats", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "ps2daemon", *command], check=True, capture_output=True, text=True
    )
    return [world["world_id"] for world in json.loads(done.stdout)["worlds"]]


def running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def working_folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""  # gone, or not ours to know


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def test_it_leaves_a_folder_of_somebody_else_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "ps2daemon", "demo", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds something that is no demo" in done.stderr
    assert precious.read_text() == "mine"
