"""Real Elasticsearch servers for tests: those that `.ci/run` started, and one of a test's own that may be killed.

Tests that need one are marked by `EACH_MAJOR` or `needs`, and skip where there is none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import Any, Final

import httpx
import pytest
import trio

from bench.programs import free_port
from ps2daemon.config import ElasticsearchSettings

MAJORS: Final = (9, 8)
TOOL: Final = "PS2DAEMON_TEST_ELASTICSEARCH_TOOL"
HEAP: Final = "512m"
START_SECONDS: Final = 300.0
"""The program that starts a server gives up long before that."""
DEATH_SECONDS: Final = 30.0
CLEANUP_SECONDS: Final = 30.0


def variable(major: int) -> str:
    """The name of the environment variable that holds the address of the server of this version."""
    return f"PS2DAEMON_TEST_ELASTICSEARCH_{major}"


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test where one of these variables is not set."""
    missing = [name for name in names if name not in os.environ]
    return pytest.mark.skipif(
        bool(missing), reason=f"needs an Elasticsearch: {', '.join(missing)} not set; .ci/run does that"
    )


EACH_MAJOR: Final = pytest.mark.parametrize(
    "major", [pytest.param(major, marks=needs(variable(major))) for major in MAJORS]
)
NEEDS_TOOL: Final = needs(TOOL)


def address(major: int) -> str:
    """The URL of the server of this version, which other tests use too."""
    return os.environ[variable(major)]


class Indices:
    """What a server has under a prefix that nobody else uses.

    Args:
        url: the server's.
    """

    def __init__(self, url: str, prefix: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.prefix = prefix
        self._client = client

    def settings(self, **more: Any) -> ElasticsearchSettings:
        """A store's settings."""
        return ElasticsearchSettings(**{"urls": (self.url,), "index_prefix": self.prefix} | more)

    async def ask(self, method: str, path: str, body: object = None, **params: str) -> Any:
        """One request, past all that is tested; its answer's JSON.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        answer = await self._client.request(method, path, json=body, params=params)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()

    async def names(self) -> list[str]:
        """The indices that there are."""
        return sorted(await self.ask("GET", f"/{self.prefix}-*/_alias"))

    async def empty(self) -> None:
        """Removes all documents; the indices stay, which takes a fifth of the time of making them anew (80 to 200 ms)."""
        await self.ask("POST", f"/{self.prefix}-*/_refresh")
        await self.ask(
            "POST",
            f"/{self.prefix}-*/_delete_by_query",
            {"query": {"match_all": {}}},
            conflicts="proceed",
            refresh="true",
        )

    async def delete(self) -> None:
        """Removes indices and templates."""
        names = await self.names()
        if names:
            await self.ask("DELETE", f"/{','.join(names)}")
        templates = (await self.ask("GET", "/_index_template"))["index_templates"]
        if any(template["name"].startswith(f"{self.prefix}-") for template in templates):
            await self.ask("DELETE", f"/_index_template/{self.prefix}-*")


@asynccontextmanager
async def indices(url: str) -> AsyncIterator[Indices]:
    """A prefix of one's own; what is there at the end is deleted."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60.0) as client:
        found = Indices(url, f"test-{token_hex(6)}", client)
        try:
            yield found
        finally:
            with trio.CancelScope(deadline=trio.current_time() + CLEANUP_SECONDS, shield=True):
                await found.delete()


class PrivateServer:
    """A server process that a test may do anything to. All methods wait, in the calling thread.

    Attributes:
        url: the same after each start.
    """

    def __init__(self, tool: str, major: int) -> None:
        self._tool = tool
        self._major = major
        self._port = free_port(100)  # others of its cluster would look for it there
        self._pid: int | None = None
        self._folder: Path | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it, with the data that it had before, and waits until it answers."""
        self._run("start", "--heap", HEAP)
        self._pid = int(self._run("pid"))
        nodes = httpx.get(f"{self.url}/_nodes/_local/settings", trust_env=False).raise_for_status().json()
        (node,) = nodes["nodes"].values()
        self._folder = Path(node["settings"]["path"]["data"]).parent

    def stop(self) -> None:
        """Stops it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would, but that what it gave to the kernel is on the disk."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """From here on it answers nothing; connections stay."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Ends it for good, with all its data."""
        if self._pid is not None:
            self.kill()
        if self._folder is not None:
            rmtree(self._folder)

    def _signal(self, number: signal.Signals) -> None:
        assert self._pid is not None, "it does not run"
        os.kill(self._pid, number)

    def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        assert self._pid is not None
        deadline = time.monotonic() + DEATH_SECONDS
        while _runs(self._pid):
            assert time.monotonic() < deadline, f"process {self._pid} does not end"
            time.sleep(0.01)
        self._pid = None
        assert self._folder is not None
        # Nobody may be there to collect the dead process, which would look alive to the next start.
        (self._folder / "pid").unlink(missing_ok=True)

    def _run(self, command: str, *options: str) -> str:
        arguments = [
            self._tool,
            command,
            "--major",
            str(self._major),
            "--port",
            str(self._port),
            *options,
        ]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=START_SECONDS)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()


@contextmanager
def private_server(major: int) -> Iterator[PrivateServer]:
    """A server of one's own that has started; see `NEEDS_TOOL`."""
    server = PrivateServer(os.environ[TOOL], major)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _runs(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
