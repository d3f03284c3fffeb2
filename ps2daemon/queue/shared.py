"""The queue's file as its users share it, each with connections of its own.

Each call looks whether the file is still the one that is open: another process may have replaced it because it was damaged (`rescue.py`), or a person
may have moved it away. Then it is opened anew, and so it is when this call finds the damage.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from ps2daemon.errors import QueueDamaged
from ps2daemon.queue.files import Gate, prepare, translated
from ps2daemon.queue.rescue import Damage, finish, rescue
from ps2daemon.queue.table import QUEUE_FORMAT, FrameTable

RENEWALS: Final = 3
"""So often a call tries again with a new file; a disk that damages each is no help."""

Result = TypeVar("Result")
OnDamage: TypeAlias = Callable[[Damage], None]
"""Told of a damaged file that was replaced, in a worker thread."""


def ignored(damage: Damage) -> None:
    """For whoever has nobody to tell; it is said in `damages`."""


class QueueFile:
    """See the module. One thread at a time.

    Args:
        set_up: called with each table that is opened, under the gate.
    """

    def __init__(self, path: Path, set_up: Callable[[FrameTable], None], on_damage: OnDamage) -> None:
        self._path = path
        self._set_up = set_up
        self._on_damage = on_damage
        with translated(path):
            self._gate = Gate(path.parent)
            try:
                with self._gate.alone():
                    self.frames = self._open()
            except BaseException:
                self._gate.close()
                raise

    def call(self, function: Callable[[FrameTable], Result]) -> Result:
        """What `function` returns.

        Raises:
            QueueDamaged: again and again.
            QueueUnavailable: the file can't be read or written, or be replaced.
        """
        for _ in range(RENEWALS):
            reason: str | None = None
            with translated(self._path), self._gate.shared():
                if self._is_current():
                    try:
                        with translated(self._path):
                            return function(self.frames)
                    except QueueDamaged as error:
                        reason = str(error)
            self._renew(reason)
        with translated(self._path), self._gate.shared():
            return function(self.frames)

    def replace(self, reason: str, acked: int) -> None:
        """Replaces the file though SQLite takes it for sound: something up to `acked` could not be read. Nothing if it was replaced meanwhile."""
        self._renew(reason, acked)

    def close(self) -> None:
        """Releases the file."""
        with translated(self._path):
            try:
                with self._gate.shared():
                    self.frames.close()
            finally:
                self._gate.close()

    def _renew(self, reason: str | None, acked: int | None = None) -> None:
        with translated(self._path), self._gate.alone():
            if self._is_current():
                if reason is None:
                    return
                self._on_damage(rescue(self._path, reason, acked=acked))
            # A file that was moved is neither written back nor are others of its name deleted by closing it (sqlite3_close, "unmoved").
            self.frames.close()
            self.frames = self._open()

    def _open(self) -> FrameTable:
        finish(self._path)
        try:
            return self._opened()
        except QueueDamaged as error:
            self._on_damage(rescue(self._path, str(error)))
            return self._opened()

    def _opened(self) -> FrameTable:
        prepare(self._path, QUEUE_FORMAT)
        with translated(self._path):
            frames = FrameTable(self._path)
            try:
                frames.statistics()
                self._set_up(frames)
            except BaseException:
                frames.close()
                raise
            self._identity = self._identity_now()
        return frames

    def _is_current(self) -> bool:
        return self._identity_now() == self._identity

    def _identity_now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino
