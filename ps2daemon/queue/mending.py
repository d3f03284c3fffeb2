"""What stands in a queue after some of it was lost: no coverage record vouches across what is missing.

A coverage record stands behind the events that it vouches for, and a later one extends an earlier one. So one that stands behind a hole vouches for
what was lost in it. Whatever that was, it had been received when the first event behind the hole was: from the next whole second on (events carry
whole seconds) the claims are as true as before. What was claimed before the hole stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ps2daemon.model.records import SECOND, After, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.queue.frames import encode_frames

LOST: Final[After] = "disk_full"
"""Why there is no coverage where records were lost: the disk failed."""


class Mending:
    """Takes a queue's frames in order, and gives those that may stay.

    Attributes:
        lost: frames that are known to be missing.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._hole = False  # and no event has come since
        self._since: Ms | None = None
        self._latest: Ms | None = None

    def hole(self, frames: int = 0) -> None:
        """Something is missing here; so many frames, as far as that is known."""
        self.lost += frames
        self._hole = True

    def frames(self, frame: bytes, records: Sequence[Record]) -> Iterator[bytes]:
        """What stays of a frame and its records: it as it is, or as much as is still true, in one frame or two or none."""
        kept = self._kept(records)
        if kept == list(records):
            yield frame
        else:
            yield from encode_frames(kept)

    def _kept(self, records: Sequence[Record]) -> list[Record]:
        kept: list[Record] = []
        for record in records:
            if isinstance(record, EventRecord):
                self._event(record.received_at)
                kept.append(record)
            elif (claim := self._claim(record)) is not None:
                kept.append(claim)
        return kept

    def _event(self, received_at: Ms) -> None:
        # A dead letter that was put back is older than what stands around it, and says nothing of when.
        if self._latest is None or received_at >= self._latest:
            self._latest = received_at
            if self._hole:
                self._hole = False
                self._since = received_at - received_at % SECOND + SECOND

    def _claim(self, record: CoverageRecord) -> CoverageRecord | None:
        if self._hole:
            return None
        if self._since is None or record.start >= self._since:
            return record
        if record.end <= self._since:
            return None
        return msgspec.structs.replace(record, start=self._since, after=LOST)
