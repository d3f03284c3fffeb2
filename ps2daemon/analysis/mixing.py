"""People of the empires in other terms: NSO counted with the other three, and shares of all instead of numbers.

For whom NSO fight is in no login, only in what they do later, which is not recorded. Folded, each of the three gets a third of them: an estimate
that moves no empire against the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.analysis.population import Series, total
from ps2daemon.model import tables

Unit: TypeAlias = Literal["people", "share"]
Nso: TypeAlias = Literal["apart", "folded"]

SIDES: Final = (tables.VS, tables.NC, tables.TR)


class Mixed(msgspec.Struct, frozen=True):
    """One line of one world: people, or percent of all; None where it is not covered."""

    world_id: int
    faction_id: int
    online: tuple[float | None, ...]


def mixed(series: Sequence[Series], unit: Unit, nso: Nso, shown: Collection[int]) -> tuple[Mixed, ...]:
    """The series of one world in these terms, of the empires that are shown.

    Args:
        series: of all empires that have anyone there; of the same buckets.
    """
    rows = {each.faction_id: each.online for each in series}
    lines: dict[int, tuple[float | None, ...]] = dict(rows)
    if nso == "folded" and tables.NSO in rows:
        spread = rows[tables.NSO]
        lines = {
            faction: _added(online, spread) if faction in SIDES else online
            for faction, online in rows.items()
            if faction != tables.NSO
        }
    if unit == "share":
        together = total(series)
        lines = {faction: _shares(online, together) for faction, online in lines.items()}
    worlds = {each.faction_id: each.world_id for each in series}
    return tuple(Mixed(worlds[faction], faction, line) for faction, line in lines.items() if faction in shown)


def _added(online: Sequence[int | None], spread: Sequence[int | None]) -> tuple[float | None, ...]:
    return tuple(
        None if one is None or other is None else one + other / len(SIDES)
        for one, other in zip(online, spread, strict=True)
    )


def _shares(online: Sequence[float | None], together: Sequence[int | None]) -> tuple[float | None, ...]:
    """In percent; none where nobody was there, of whom there could be a share."""
    return tuple(
        None if one is None or not every else 100 * one / every
        for one, every in zip(online, together, strict=True)
    )
