"""A progress bar on a terminal, and one line now and then where there is none; always on stderr."""

from __future__ import annotations

import sys
import time
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS: Final = 5.0


class _Rate(ProgressColumn):
    """Records per second over the whole time.

    Args:
        noun: what is counted.
    """

    def __init__(self, noun: str) -> None:
        super().__init__()
        self._noun = noun

    def render(self, task: Task) -> Text:
        seconds = task.elapsed or 0.0
        done = task.fields.get("records", 0)
        return Text(
            f"{done / seconds:,.0f} {self._noun}/s" if seconds > 0.2 else "", style="progress.data.speed"
        )


class Bar:
    """Shows how far one thing is; used as a context manager.

    Args:
        label: what is done, as "Importing".
        total: in whatever unit `update` is told, or None if it isn't known.
        noun: what is counted.
    """

    def __init__(self, label: str, total: float | None, noun: str = "records") -> None:
        self._label = label
        self._noun = noun
        self._total = total
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(f"{{task.fields[records]:,}} {noun}"),
            _Rate(noun),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=total, records=0)
        self._began = self._said = time.monotonic()
        self._records = 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, done: float, records: int, total: float | None = None) -> None:
        """It is `done` of the total, which is `records` records."""
        self._records = records
        if total is not None:
            self._total = total
        self._progress.update(self._task, completed=done, total=self._total, records=records)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= LINE_SECONDS:
            self._said = now
            share = f", {done / self._total:.0%}" if self._total else ""
            print(f"{self._label}: {records:,} {self._noun}{share}", file=sys.stderr)

    def seconds(self) -> float:
        """Since it began; more than nothing."""
        return max(1e-3, time.monotonic() - self._began)

    def summary(self) -> str:
        """`173,000 records in 21.3 s (8,122/s)`."""
        seconds = self.seconds()
        return f"{self._records:,} {self._noun} in {seconds:.1f} s ({self._records / seconds:,.0f}/s)"
