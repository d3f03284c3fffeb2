"""Inputs, given to one surface after the other: what came of them, and what should not have."""

from __future__ import annotations

import io
import resource
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, redirect_stdout
from itertools import count, islice
from typing import Final, NamedTuple

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bench.recorded import without_threads
from tests.fuzz.mutation import mutated

Take = Callable[[bytes], Awaitable[str]]
"""Gives one input to what is opened and says in a word what came of it. Whatever it raises is a finding."""
HANGS_SECONDS: Final = 600.0
"""By the surface's own clock; the longest wait that a promise allows is a minute."""
MAX_FINDINGS: Final = 20


class Surface(NamedTuple):
    """A side from which inputs come.

    Attributes:
        open: what takes them; opened again after a finding.
        seeds: right inputs.
        virtual: it runs by a clock that jumps, and without threads and sockets.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Take]]
    seeds: tuple[bytes, ...]
    virtual: bool = True

    def inputs(self, run: int) -> Iterator[bytes]:
        """Without end, the seeds first."""
        yield from self.seeds
        for number in count():
            yield mutated(self.seeds, run, number)


class Finding(NamedTuple):
    """An input, and what it brought about."""

    data: bytes
    error: str


class Report(msgspec.Struct):
    """What came of the inputs of one surface.

    Attributes:
        outcomes: how often each.
        peak_mb: by how much the process's largest resident set grew.
    """

    name: str
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    findings: list[Finding] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0

    def __str__(self) -> str:
        outcomes = ", ".join(f"{number:,} {word}" for word, number in self.outcomes.most_common())
        return (
            f"{self.name}: {self.outcomes.total():,} inputs in {self.seconds:.1f} s, {len(self.findings)} findings, "
            f"+{self.peak_mb:.0f} MB ({outcomes})"
        )


def one_line(error: Exception, word: str) -> str:
    """`word`, where what a person is told is one line that fits a log."""
    text = str(error)
    assert 0 < len(text) < 500, text
    assert text.isprintable(), text
    return word


def fuzz(surface: Surface, inputs: Iterable[bytes], *, seconds: float | None = None) -> Report:
    """Gives the inputs to the surface.

    Args:
        seconds: after so long no more are given.
    """
    began, before = time.monotonic(), _resident()
    report = Report(surface.name)

    def in_time() -> Iterator[bytes]:
        for data in inputs:
            if seconds is not None and time.monotonic() - began > seconds:
                return
            yield data

    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(action="error"),
        redirect_stdout(io.StringIO()),  # the log
    ):
        if surface.virtual:
            without_threads(patch)
        trio.run(
            _run,
            surface,
            in_time(),
            report,
            clock=MockClock(autojump_threshold=0) if surface.virtual else None,
        )
    report.seconds = time.monotonic() - began
    report.peak_mb = _resident() - before
    return report


def mutations(surface: Surface, number: int, run: int = 1) -> Report:
    """The seeds, and so many mutations of them."""
    return fuzz(surface, islice(surface.inputs(run), len(surface.seeds) + number))


async def _run(surface: Surface, inputs: Iterator[bytes], report: Report) -> None:
    data = b""
    while len(report.findings) < MAX_FINDINGS:
        try:
            async with surface.open() as take:
                for data in inputs:
                    with trio.fail_after(HANGS_SECONDS):
                        report.outcomes[await take(data)] += 1
                return
        except* Exception as group:  # this is what is looked for
            report.outcomes["finding"] += 1
            report.findings.append(Finding(data, _text(group)))


def _text(error: BaseException) -> str:
    """The innermost error and where it was raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "".join(traceback.format_exception(error, limit=-6))


def _resident() -> float:
    """The largest resident set so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
