"""The program as a process: started, watched, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ASKED_SECONDS: Final = 0.25
"""Between two looks at the metrics of what is measured: fifty a second would take a fifth of its time."""
START_SECONDS: Final = 60.0
ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "1"}
"""As the systemd units set it."""
TICKS: Final = os.sysconf("SC_CLK_TCK")
CONFIG: Final = """\
[census]
service_id = "bench"
rest_url = "http://127.0.0.1:{simulator}"
requests_per_minute = {requests}

[[stream]]
url = "ws://127.0.0.1:{simulator}/streaming"
environment = "ps2"
worlds = [{worlds}]
verify_seconds = {verify}
reconnect_seconds = 0.5

[queue]
directory = "queue"

[store]
{store}

[web]
port = 0
metrics_port = {metrics}
"""
_random = SystemRandom()
_open = build_opener(ProxyHandler({})).open


def call(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `ps2daemon` to its end, however that is."""
    return subprocess.run(
        [sys.executable, "-m", "ps2daemon", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def ps2daemon(directory: Path, *arguments: str) -> str:
    """Runs `ps2daemon` to its end, which must be a good one; returns what it wrote to stdout."""
    done = call(directory, *arguments)
    if done.returncode != 0:
        raise RuntimeError(f"ps2daemon {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@contextmanager
def program(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ps2daemon` with these arguments, in the background; stopped at the end."""
    with (directory / "bench.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ps2daemon", *arguments],
            cwd=directory,
            stdout=log,
            stderr=log,
            env=os.environ | ENVIRONMENT,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> float:
    """Asks a program to end, as systemd does; returns the seconds that it took."""
    began = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    return time.monotonic() - began


def simulator(directory: Path, *arguments: str) -> Sequence[str]:
    """The arguments of a simulator that writes its port to `simulator.port`."""
    (directory / "simulator.port").unlink(missing_ok=True)
    return ("simulate", "live", "--port", "0", "--port-file", "simulator.port", *arguments)


def configure(
    directory: Path,
    *,
    verify_seconds: float = 60.0,
    worlds: str = "1, 10, 40",
    store: str = 'path = "ps2.db"',
    requests_per_minute: int = 60_000,
) -> int:
    """Writes a configuration for the simulator that was started; returns the port of the metrics."""
    file = directory / "simulator.port"
    deadline = time.monotonic() + START_SECONDS
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    metrics = free_port(1)  # the next is a worker's own
    text = CONFIG.format(
        simulator=file.read_text().strip(),
        metrics=metrics,
        verify=verify_seconds,
        worlds=worlds,
        store=store,
        requests=requests_per_minute,
    )
    (directory / "config.toml").write_text(text)
    return metrics


def free_port(*further: int) -> int:
    """A port that nobody uses, as are those so much further; none of those that the system gives to whoever asks for any."""
    while True:
        port = _random.randrange(20_000, 32_000)
        if all(_is_free(port + more) for more in (0, *further)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels; 0 while nobody answers."""
    try:
        with _open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except (URLError, OSError):
        return 0.0
    lines = (line.rpartition(" ") for line in text.splitlines())
    return sum(float(value) for key, _, value in lines if key == name or key.startswith(name + "{"))


def ready(port: int) -> bool:
    """Whether every stage does what it is for."""
    try:
        with _open(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def until_ready(port: int, seconds: float = START_SECONDS, every: float = 0.1) -> None:
    """Waits until every stage does what it is for, with a look every so many seconds.

    Raises:
        TimeoutError: it is not so after so long.
    """
    began = time.monotonic()
    while not ready(port):
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not ready within {seconds:g} s")
        time.sleep(every)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """CPU time so far, in user and system mode."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_megabytes(process: subprocess.Popen[bytes]) -> float:
    """The largest resident set so far."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell VmHWM")
