"""`ps2daemon demo`: two weeks of history and a live recording on this machine, without Census.

Nothing here is a shortcut: the programs that it starts are the ones that record for real, only that the stream they listen to is the
simulator's. What it makes is in one directory, and is made anew at each start.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn
from zlib import crc32

import click
import msgspec
import trio

from ps2daemon.analysis.asking import parse_worlds
from ps2daemon.cli import epilog
from ps2daemon.cli.store_copy import configuration_of, is_address, parse_target
from ps2daemon.config import ElasticsearchSettings, StoreSettings
from ps2daemon.errors import Ps2Error, StoreError, UsageError
from ps2daemon.model.records import DAY, SECOND, Ms
from ps2daemon.model.times import iso

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 12.0
"""SIGTERM ends each program in under 10 s."""
ANSWER_SECONDS: Final = 20.0
"""To remove an earlier demo: each of its indices takes some tenths of a second."""
USUAL_ADDRESS: Final = "http://127.0.0.1:9200"
PORT_FILE: Final = "simulator.port"
_FOR_A_CONFIGURATION: Final = re.compile(r": (set|check) store\..*")
"""What an error of the store advises; the demo's configuration is not a person's to change."""
MARK: Final = ".ps2daemon-demo"
"""The file that says that a directory is a demo's and may be emptied."""

CONFIG: Final = """\
# Made by `ps2daemon demo`: the simulator of this machine in place of Census.
[census]
service_id = "demo"
rest_url = "http://127.0.0.1:{simulator}"
requests_per_minute = 6000

[[stream]]
url = "ws://127.0.0.1:{simulator}/streaming"
environment = "ps2"
worlds = [{worlds}]
verify_seconds = 15

[queue]
directory = "queue"

{store}

[web]
port = {web}
metrics_port = {metrics}
"""


@click.command(
    epilog=epilog("ps2daemon demo", "ps2daemon demo --days 60 --scale 0.3 --directory /tmp/ps2-demo")
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Where to keep what it makes; what an earlier demo made there is replaced.",
)
@click.option(
    "--days", type=click.IntRange(1, 400), default=14, show_default=True, metavar="N", help="Days of history."
)
@click.option(
    "--worlds", default="1,10,40", show_default=True, metavar="IDS", help="Which worlds to simulate."
)
@click.option(
    "--scale", type=float, default=0.5, show_default=True, metavar="X", help="Multiplies the worlds' people."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, metavar="N", help="Another seed, another history."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8020,
    show_default=True,
    metavar="PORT",
    help="Where to serve the page; 0 for any free one.",
)
@click.option(
    "--store",
    "where",
    default="sqlite",
    show_default=True,
    metavar="STORE",
    help=f"sqlite, elasticsearch (at {USUAL_ADDRESS}), or the address of an Elasticsearch.",
)
@click.option("--once", is_flag=True, help="Stop as soon as the page is up, for tests.")
def demo(
    directory: Path, days: int, worlds: str, scale: float, seed: int, port: int, where: str, once: bool
) -> None:
    """Show all of it on this machine: fill in a history, record live from a simulator, and serve the page.

    Ctrl-C stops everything.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    worlds = ",".join(map(str, parse_worlds(worlds.split(","))))
    _check_port(port)
    store = _parse_store(where, directory)
    _empty(directory)
    if store.kind == "elasticsearch":
        _remove(store)
    began = time.monotonic()
    now: Ms = int(time.time()) * SECOND
    start = now - days * DAY
    simulated = ["--worlds", worlds, "--scale", str(scale), "--seed", str(seed)]
    with ExitStack() as stack:
        live = ("--history-from", iso(start), "--port", "0", "--port-file", PORT_FILE)
        stack.enter_context(_program(directory, "simulator", ["simulate", "live", *live, *simulated]))
        span = ("--from", iso(start), "--to", iso(now), "--out", "recording.ndjson")
        _run(["simulate", "history", *span, *simulated], directory)
        web = port or _free_port()
        config = CONFIG.format(
            simulator=_simulator_port(directory),
            worlds=worlds.replace(",", ", "),
            store="\n".join(configuration_of(store)),
            web=web,
            metrics=_free_port(),
        )
        (directory / "config.toml").write_text(config)
        configured = ("--config", "config.toml")
        _run([*configured, "queue", "import", "recording.ndjson"], directory)
        _run([*configured, "queue", "drain"], directory)
        stack.enter_context(_program(directory, "daemon", [*configured, "run"]))
        stack.enter_context(_program(directory, "page", [*configured, "serve"]))
        _await_port(directory, "page", web)
        _say(
            directory,
            web,
            store,
            f"{days} days of history are on the page after {time.monotonic() - began:.0f} s",
        )
        if not once:
            try:
                _watch(directory)
            except KeyboardInterrupt:
                click.echo("\nStopping.", err=True)


_PROGRAMS: Final[dict[str, subprocess.Popen[bytes]]] = {}
"""What is running now, by name."""


def _say(directory: Path, port: int, store: StoreSettings, done: str) -> None:
    """Tells the person what there is now; only the address goes to stdout."""
    click.echo(f"\n{done}, and it records on:\n", err=True)
    click.echo(f"    http://127.0.0.1:{port}/")
    data = (
        f"; the data is in {store.elasticsearch.index_prefix}-* at {store.elasticsearch.urls[0]}"
        if store.kind == "elasticsearch"
        else " and the data"
    )
    click.echo(f"\nCtrl-C stops everything. {directory}/ has the configuration, the logs{data}:", err=True)
    click.echo(f"    {sys.argv[0]} --config {directory}/config.toml status", err=True)
    simulator = _PROGRAMS["simulator"].pid
    click.echo("To see a gap come into being, stop the simulator for three minutes:", err=True)
    click.echo(f"    kill -STOP {simulator}; sleep 180; kill -CONT {simulator}", err=True)


def _watch(directory: Path) -> NoReturn:
    """Until Ctrl-C, or until a program ends that should not."""
    while True:
        for name, program in _PROGRAMS.items():
            if program.poll() is not None:
                raise Ps2Error(f"the {name} ended by itself: {directory / (name + '.log')} says why")
        time.sleep(0.5)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parse_store(where: str, directory: Path) -> StoreSettings:
    """The demo's store: in its directory, or on a server, under a prefix that no other directory has.

    Raises:
        UsageError: it is none of these.
    """
    if where == "sqlite":
        return StoreSettings(kind="sqlite", path=Path("ps2.db"), elasticsearch=ElasticsearchSettings(urls=()))
    address = USUAL_ADDRESS if where == "elasticsearch" else where
    if not is_address(address):
        raise UsageError(
            f"--store: {where!r} is not accepted; accepted is sqlite, elasticsearch, or an address such as {USUAL_ADDRESS}"
        )
    prefix = f"ps2-demo-{crc32(str(directory.absolute()).encode()):08x}"
    return parse_target(address, prefix, None, option="--store")


def _remove(store: StoreSettings) -> None:
    """Removes what an earlier demo left on the server."""
    # Here, since the client takes long to load.
    from ps2daemon.store.elasticsearch.keeping import remove_store

    server = store.elasticsearch
    try:
        trio.run(remove_store, msgspec.structs.replace(server, timeout_seconds=ANSWER_SECONDS))
    except StoreError as error:
        what = _FOR_A_CONFIGURATION.sub("", str(error))
        raise UsageError(
            f"{what}; the demo needs a server that runs, without a password: start one, or choose another --store (make demo STORE=…)"
        ) from None


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"can't serve on port {port}: {error.strerror}; choose another --port (make demo PORT=…)"
            ) from None


def _empty(directory: Path) -> None:
    """Makes the directory new, and marks it with the process that uses it.

    Raises:
        UsageError: it is somebody else's, or a running demo's.
    """
    mark = directory / MARK
    if directory.exists() and any(directory.iterdir()) and not mark.exists():
        raise UsageError(f"{directory} holds something that is no demo: choose another --directory")
    user = mark.read_text().strip() if mark.exists() else ""
    if user.isdigit() and Path(f"/proc/{user}").exists():
        raise UsageError(
            f"a demo runs in {directory} already (process {user}): stop it, or choose another --directory"
        )
    try:
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        mark.write_text(str(os.getpid()))
    except OSError as error:
        raise UsageError(f"can't use {directory}: {error.strerror}; choose another --directory") from None


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "ps2daemon", *arguments]


def _environment() -> dict[str, str]:
    """Nothing of the person's own configuration reaches the demo."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PS2DAEMON_")}


def _run(arguments: Sequence[str], directory: Path) -> None:
    """One step, on the person's terminal."""
    done = subprocess.run(_command(arguments), cwd=directory, env=_environment(), check=False)
    if done.returncode != 0:
        raise Ps2Error(f"the step `ps2daemon {' '.join(arguments)}` failed with {done.returncode}")


@contextmanager
def _program(directory: Path, name: str, arguments: Sequence[str]) -> Iterator[None]:
    """A program in the background, its log in the directory; stopped at the end."""
    with (directory / f"{name}.log").open("wb") as log:
        program = subprocess.Popen(
            _command(arguments),
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to pass on, in order
        )
    _PROGRAMS[name] = program
    try:
        yield
    finally:
        del _PROGRAMS[name]
        program.terminate()
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            click.echo(f"The {name} did not stop within {STOP_SECONDS:g} s and was ended.", err=True)


def _simulator_port(directory: Path) -> int:
    """The port that the simulator wrote down."""
    file = directory / PORT_FILE
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = file.read_text() if file.exists() else ""
        if text.strip().isdigit():
            return int(text)
        if _PROGRAMS["simulator"].poll() is not None:
            break
        time.sleep(0.05)
    raise Ps2Error(f"the simulator did not start: {directory / 'simulator.log'} says why")


def _await_port(directory: Path, name: str, port: int) -> None:
    """Waits until the program listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and _PROGRAMS[name].poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Ps2Error(f"the {name} did not start: {directory / (name + '.log')} says why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
