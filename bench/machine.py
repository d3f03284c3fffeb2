"""The program as processes on a machine that goes wrong: disks that fill up or fail, files that are locked."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from bench.kills import started
from bench.outcomes import Outcome, held_against
from bench.programs import configure, free_port, metric, ps2daemon, ready, simulator, stop
from ps2daemon.model.records import SECOND, Ms, Record
from ps2daemon.queue.frames import encode_frames
from ps2daemon.queue.sqlite import SqliteProducer, read_statistics
from ps2daemon.simulator.truth import Truth
from ps2daemon.store.sqlite import SqliteStore

RATE: Final = 100
"""Events a second."""
WORLDS: Final = (1, 10, 40)
VERIFY_SECONDS: Final = 1.0
PATIENCE: Final = 30.0
"""Until somebody gives up on what should take a few seconds."""
QUEUE: Final = "queue"
STORE: Final = "store"


class NoDisk(Exception):
    """No disk can be mounted here."""


class Machine:
    """A folder, and what is started there.

    Attributes:
        port: where the metrics of `run`, and of `run subscriber`, are; a worker of its own has the next.
    """

    def __init__(self, folder: Path, port: int, census: subprocess.Popen[bytes] | None = None) -> None:
        self.folder = folder
        self.port = port
        self._census = census

    @contextmanager
    def running(self, *part: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs the daemon or a part of it; stopped in order at the end, which must go well."""
        with started(self.folder, "--config", "config.toml", "run", *part) as process:
            yield process
            stop(process)
            assert process.returncode == 0, self.log

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def value(self, name: str, *, worker: bool = False) -> float:
        return metric(self.port + worker, name)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came about:\n{self.log}"
            await trio.sleep(0.1)

    async def until_ready(self, *, worker: bool = False) -> None:
        await self.until(lambda: ready(self.port + worker), "readiness")

    async def until_stage(self, stage: str, state: str, *words: str, worker: bool = False) -> None:
        """Waits until a stage says that it is in this state, for a reason with these words."""

        def says() -> bool:
            found = stages(self.port + worker).get(stage, {})
            return found.get("state") == state and all(word in (found["why"] or "") for word in words)

        await self.until(says, f"{stage} {state} {words}")

    async def until_covered(self) -> Ms:
        """Waits until it records, and then for three verifications more: up to a second before what is returned all is vouched for.

        Of the first two, where no heartbeat came yet, the span between may be too short to be told (see `stages/intake.py`).
        """
        await self.until_ready()
        await trio.sleep(3 * VERIFY_SECONDS + 0.3)
        return now() - round(VERIFY_SECONDS * SECOND)

    def filled(self, disk: str) -> Path:
        """Fills a disk with a file, to be removed again."""
        filler = self.folder / disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                for size in (1 << 20, 1 << 12, 1):
                    while file.write(bytes(size)) == size:
                        pass
            except OSError:
                pass
        return filler

    async def until_empty(self) -> None:
        """Waits until a worker has taken everything out of the queue."""
        await self.until(lambda: read_statistics(self.folder / QUEUE).frames == 0, "an empty queue")

    async def taken_in(self, records: Iterable[Record]) -> int:
        """Puts records into the queue; returns how many wait in it."""
        producer = await SqliteProducer.open(self.folder / QUEUE, max_bytes=1 << 28)
        for frame in encode_frames(records):
            await producer.append(frame)
        await producer.aclose()
        return read_statistics(self.folder / QUEUE).records

    def damage(self, disk: str, name: str, start: float, end: float) -> None:
        """Overwrites a part of a file, from one share of it to another."""
        with (self.folder / disk / name).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(int(start * size))
            file.write(os.urandom(int((end - start) * size)))

    async def outcome(self) -> Outcome:
        """What is stored when the queue is empty, against what its Census knows, which is stopped."""
        assert self._census is not None
        ps2daemon(self.folder, "--config", "config.toml", "queue", "drain")
        stop(self._census)
        async with self.store() as store:
            return await held_against(store, Truth.load(self.folder / "truth"))

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqliteStore]:
        """To be read, whatever else goes on."""
        store = await SqliteStore.open(self.folder / STORE / "ps2.db", read_only=True)
        try:
            yield store
        finally:
            await store.aclose()


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Where a simulated Census sends events."""
    busy = ("--busy", str(RATE), "--truth", "truth")
    with started(folder, *simulator(folder, *busy)) as census:
        yield Machine(folder, _configured(folder), census)


def lonely_machine(folder: Path) -> Machine:
    """Where there is no Census: whoever is in a recording stays without a name, however long anything takes."""
    (folder / "simulator.port").write_text(str(free_port()))
    return Machine(folder, _configured(folder))


def _configured(folder: Path) -> int:
    (folder / STORE).mkdir(parents=True, exist_ok=True)
    return configure(folder, verify_seconds=VERIFY_SECONDS, store=f'path = "{STORE}/ps2.db"')


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own under a folder.

    Raises:
        NoDisk: it can't be made here.
    """
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "ps2daemon-test", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise NoDisk(f"no disk can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def why_no_disk() -> str | None:
    """Why a disk can't be mounted here; None if it can."""
    with tempfile.TemporaryDirectory(prefix="ps2-bench-") as folder:
        try:
            with small_disk(Path(folder) / "disk", 1):
                return None
        except (NoDisk, FileNotFoundError) as error:
            return str(error)


@contextmanager
def failing_writes(process: subprocess.Popen[bytes], size: int) -> Iterator[None]:
    """Whatever a process writes beyond so many bytes of a file fails, as on a disk that has an error there."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program keeps everybody from writing to a database."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=PATIENCE)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def stages(port: int) -> dict[str, dict[str, Any]]:
    """What the stages say of themselves, by name; none while nobody answers."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return {}
    return {stage["name"]: stage for stage in answer.json()["stages"]}


def now() -> Ms:
    return time.time_ns() // 1_000_000
