"""What a batch does to its characters, some of them at a time: those of the next batch can be decided while the store writes the one before.

That is only for what the batch in between can't change: a character that it does not write, and sessions that no gap in the coverage has a say in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from ps2daemon.census.rest import Identity
from ps2daemon.model.batch import Batch
from ps2daemon.model.coverage import Gap
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import Ms
from ps2daemon.model.sessions import Evidence, fold
from ps2daemon.store.base import Stored
from ps2daemon.store.changes import Changes, named

DECIDED: Final = 50
"""Characters decided before anything else has its turn: some half a millisecond."""

Told: TypeAlias = tuple[Batch, Mapping[str, Identity]]
"""A batch, and who some of its characters are."""


class _CoverageMatters(Exception):
    """A gap may have a say in where a session ended."""


class Deciding:
    """A batch, and what has been decided of it so far.

    Args:
        at: the present, when who a character is becomes known.
        seen_at: when checks last found characters online.

    Attributes:
        stored: characters as they are in the store before this batch, as far as they were loaded.
        changes: what the commit has to write and to delete.
        too_old: events from before what their character still holds, unless they are repetitions.
    """

    def __init__(self, told: Told, at: Ms, seen_at: Mapping[str, Ms]) -> None:
        self.batch, self._identities = told
        self._at = at
        self._seen_at = seen_at
        self.stored: dict[str, Stored] = {}
        self.changes = Changes()
        self.too_old: list[Login | Logout] = []
        self._decided: set[str] = set()

    @property
    def unloaded(self) -> list[str]:
        """The characters that are not in `stored`."""
        return [character_id for character_id in self.batch.events if character_id not in self.stored]

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The characters that nobody has named yet."""
        return tuple(
            character_id
            for character_id in self.batch.events
            if self.stored[character_id].document.enriched_at is None and character_id not in self._identities
        )

    def decide(self, evidence: Evidence) -> None:
        """Decides what is left; all characters must be loaded."""
        for character_id, events in self.batch.events.items():
            if character_id not in self._decided:
                self._decide(character_id, events, evidence)

    def decide_ahead(self, as_of: Ms) -> Iterator[None]:
        """Decides, of the characters that are loaded, those of which coverage decides nothing; pauses after each `DECIDED`.

        Args:
            as_of: how far the records will reach.
        """
        evidence = Evidence(as_of, _no_coverage_yet)
        for number, character_id in enumerate(self.stored, 1):
            with suppress(_CoverageMatters):  # it has to wait for its turn
                self._decide(character_id, self.batch.events[character_id], evidence)
            if number % DECIDED == 0:
                yield

    def _decide(self, character_id: str, events: Sequence[Login | Logout], evidence: Evidence) -> None:
        before = self.stored[character_id]
        folded = fold(before.document.state, events, evidence, self._seen_at.get(character_id))
        self.too_old.extend(folded.old)
        after = named(before.document, self._identities.get(character_id), self._at)
        self.changes.take(before, msgspec.structs.replace(after, state=folded.character), folded)
        self._decided.add(character_id)


def _no_coverage_yet(world_id: int, start: Ms, end: Ms) -> Sequence[Gap]:
    raise _CoverageMatters
