"""What the operator writes beside the record: a patch, a double-experience weekend, a move to another machine.

A note is about a moment, on some worlds or on all. No number depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from ps2daemon.model.records import Ms

MAX_TEXT: Final = 200
"""Characters of a note: it is read under a pointer."""
_ID_DIGITS: Final = 12
"""48 bits: of a thousand notes, two have the same id once in a billion stores."""


class Note(msgspec.Struct, frozen=True):
    """One note; made by `make_note`.

    Attributes:
        note_id: a digest of all the rest, so that a note that is added twice is one.
        world_ids: ascending; none for all worlds.
    """

    note_id: str
    at: Ms
    world_ids: tuple[int, ...]
    text: str

    def concerns(self, world_ids: Iterable[int]) -> bool:
        """Whether it is about any of these worlds."""
        return not self.world_ids or not set(self.world_ids).isdisjoint(world_ids)


def make_note(at: Ms, world_ids: Iterable[int], text: str) -> Note:
    """A note.

    Raises:
        ValueError: the text is empty, longer than `MAX_TEXT`, or more than a line; the message says which.
    """
    text = text.strip()
    if not text:
        raise ValueError("a note needs a text")
    if len(text) > MAX_TEXT:
        raise ValueError(f"a note has up to {MAX_TEXT} characters, and this one {len(text)}")
    if not text.isprintable():
        raise ValueError("a note is one line of printable text")
    worlds = tuple(sorted(set(world_ids)))
    digest = hashlib.sha256(msgspec.json.encode((at, worlds, text))).hexdigest()
    return Note(digest[:_ID_DIGITS], at, worlds, text)
