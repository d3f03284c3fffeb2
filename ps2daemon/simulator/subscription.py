"""What one connection is subscribed to, and which events it therefore gets.

Calls add to the lists and `clearSubscribe` takes from them; both answer with what the subscription is now. An event name that does
not exist is left out of the answer without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

WORLD_EVENTS: Final = frozenset({"MetagameEvent", "ContinentLock", "ContinentUnlock", "FacilityControl"})
CHARACTER_WORLD_EVENTS: Final = frozenset({"PlayerLogin", "PlayerLogout"})
CHARACTER_EVENTS: Final = frozenset(
    {
        "Death", "GainExperience", "VehicleDestroy", "BattleRankUp", "AchievementEarned", "ItemAdded", "SkillAdded",
        "PlayerFacilityCapture", "PlayerFacilityDefend", "FishScan",
    }
)  # fmt: skip
_ONE_EXPERIENCE: Final = "GainExperience_experience_id_"
_ALL: Final = "all"


class Subscription:
    """Empty at first."""

    def __init__(self) -> None:
        self._characters: dict[str, None] = {}
        self._worlds: dict[str, None] = {}
        self._events: dict[str, None] = {}
        self._both = False

    def subscribe(self, command: dict[str, Any]) -> bytes:
        """Adds what a command lists, which may be nothing; returns the answering frame."""
        for ids, key in self._lists():
            ids.update(dict.fromkeys(_accepted(key, _texts(command.get(key)))))
        both = _boolean(command.get("logicalAndCharactersWithWorlds"))
        if both is not None:
            self._both = both
        return self._answer(list_characters=_boolean(command.get("list_characters")) or False)

    def clear(self, command: dict[str, Any]) -> bytes:
        """Takes away what a command lists, or everything; returns the answering frame."""
        if _boolean(command.get("all")):
            self._both = False
            for ids, _ in self._lists():
                ids.clear()
        for ids, key in self._lists():
            texts = _texts(command.get(key))
            for text in list(ids) if _ALL in texts else texts:
                ids.pop(text, None)
        return self._answer(list_characters=False)

    def wants(self, event_name: str, world_id: str, character_id: str | None) -> bool:
        """Whether an event is delivered."""
        if character_id is None or event_name in WORLD_EVENTS:
            return self._named(event_name) and self._at(world_id)
        if not self._named(event_name):
            return False
        here = self._at(world_id)
        if self._both:
            return here and self._about(character_id)
        return here or self._about(character_id)

    @property
    def event_names(self) -> frozenset[str]:
        """As they were asked for; `all` may be among them."""
        return frozenset(self._events)

    @property
    def worlds(self) -> tuple[str, ...]:
        """In the order in which they were asked for; `all` may be among them."""
        return tuple(self._worlds)

    def _lists(self) -> tuple[tuple[dict[str, None], str], ...]:
        return (self._characters, "characters"), (self._worlds, "worlds"), (self._events, "eventNames")

    def _named(self, event_name: str) -> bool:
        return event_name in self._events or _ALL in self._events

    def _at(self, world_id: str) -> bool:
        return world_id in self._worlds or _ALL in self._worlds

    def _about(self, character_id: str) -> bool:
        return character_id in self._characters or _ALL in self._characters

    def _answer(self, *, list_characters: bool) -> bytes:
        answer: dict[str, object] = {}
        if _ALL in self._characters:
            answer["characters"] = [_ALL]
        elif list_characters:
            answer["characters"] = list(self._characters)
        else:
            answer["characterCount"] = len(self._characters)
        answer["eventNames"] = [_ALL] if _ALL in self._events else list(self._events)
        answer["logicalAndCharactersWithWorlds"] = self._both
        answer["worlds"] = [_ALL] if _ALL in self._worlds else list(self._worlds)
        return msgspec.json.encode({"subscription": answer})


def _accepted(key: str, texts: Iterable[str]) -> Iterable[str]:
    if key != "eventNames":
        return texts
    known = WORLD_EVENTS | CHARACTER_WORLD_EVENTS | CHARACTER_EVENTS | {_ALL}
    return (name for name in texts if name in known or name.startswith(_ONE_EXPERIENCE))


def _texts(value: object) -> list[str]:
    """A list of strings, of which numbers are accepted too; anything else is as good as nothing."""
    if isinstance(value, str):
        return [part for part in value.split(",") if part]
    if not isinstance(value, list):
        return []
    return [str(item) for item in value if isinstance(item, str | int) and not isinstance(item, bool)]


def _boolean(value: object) -> bool | None:
    if value is True or value == "true" or value == "1":
        return True
    if value is False or value == "false" or value == "0":
        return False
    return None
