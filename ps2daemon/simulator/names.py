"""Ids and names of simulated characters: unique within a world, and a function of a running number alone."""

from __future__ import annotations

from typing import Final

HOSTILE_NAME: Final = "<b>Bold</b><img src=x onerror=alert(1)>"
"""A player may call himself anything; whatever shows names must survive this one."""

_FIRST_ID: Final = 5_428_010_000_000_000_001  # real ids have 19 digits, and most begin like this
_WORLD_STEP: Final = 10**14
_ID_STEP: Final = 48

_FRONT: Final = (
    "Dark", "Iron", "Red", "Mad", "Silent", "Star", "Lone", "Grim", "Void", "Blue", "Swift", "Old", "Night", "Steel",
    "Frost", "Sir", "Major", "Tiny", "Hex", "Nova", "Zeb", "Kor", "Val", "Rax", "Mor", "Ely", "Tor", "Nyx", "Jag", "Ash",
)  # fmt: skip
_MIDDLE: Final = (
    "fox", "hawk", "blade", "wolf", "shot", "runner", "smith", "bear", "rider", "storm", "snipe", "medic", "tank", "ghost",
    "pilot", "hound", "spark", "crow", "dan", "ika", "ron", "ven", "dor", "mir", "zak", "lia", "gar", "tex", "bane", "moon",
)  # fmt: skip
_BACK: Final = (
    "",
    "X",
    "TV",
    "88",
    "HD",
    "xd",
    "Jr",
    "42",
    "Actual",
    "VII",
    "PS",
    "007",
    "Prime",
    "QQ",
    "3",
    "Zed",
)
_COMBINATIONS: Final = len(_FRONT) * len(_MIDDLE) * len(_BACK)
_STRIDE: Final = 7_919  # prime to the number of combinations, so that each comes up once before any repeats


def character_id(world_id: int, number: int) -> str:
    """19 digits."""
    return str(_FIRST_ID + world_id * _WORLD_STEP + number * _ID_STEP)


def character_name(number: int) -> str:
    """What the `number`th character of a world is called."""
    lap, place = divmod(number, _COMBINATIONS)
    place = place * _STRIDE % _COMBINATIONS
    place, front = divmod(place, len(_FRONT))
    back, middle = divmod(place, len(_MIDDLE))
    return f"{_FRONT[front]}{_MIDDLE[middle]}{_BACK[back]}{f'x{lap}' if lap else ''}"
