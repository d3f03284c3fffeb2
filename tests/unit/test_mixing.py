"""Shares of all, and NSO folded."""

from __future__ import annotations

import pytest

from ps2daemon.analysis.mixing import Nso, Unit, mixed
from ps2daemon.analysis.population import FACTIONS, Series
from ps2daemon.model.tables import NC, NSO, TR, UNKNOWN_FACTION, VS

SERIES = (
    Series(10, UNKNOWN_FACTION, (0, 0, None, 10)),
    Series(10, VS, (30, 0, None, 30)),
    Series(10, NC, (33, 0, None, 20)),
    Series(10, TR, (31, 0, None, 10)),
    Series(10, NSO, (6, 0, None, 30)),
)
Line = tuple[float | None, ...]


def lines(unit: Unit, nso: Nso, shown: tuple[int, ...] = FACTIONS) -> dict[int, Line]:
    return {each.faction_id: each.online for each in mixed(SERIES, unit, nso, shown)}


def test_people_apart_are_what_they_are() -> None:
    assert lines("people", "apart") == {each.faction_id: each.online for each in SERIES}
    assert list(lines("people", "apart", (TR, VS))) == [VS, TR]


def test_nso_are_folded_by_thirds_and_nobody_is_lost() -> None:
    found = lines("people", "folded")
    assert found == {
        UNKNOWN_FACTION: (0, 0, None, 10),
        VS: (32, 0, None, 40),
        NC: (35, 0, None, 30),
        TR: (33, 0, None, 20),
    }
    assert lines("people", "folded", (NSO,)) == {}


@pytest.mark.parametrize("nso", ["apart", "folded"])
def test_shares_are_of_all_and_none_of_nobody(nso: Nso) -> None:
    found = lines("share", nso)
    assert sum(line[0] or 0 for line in found.values()) == pytest.approx(100)
    assert sum(line[3] or 0 for line in found.values()) == pytest.approx(100)
    assert {line[1:3] for line in found.values()} == {(None, None)}, "of nobody there is no share"
    assert lines("share", nso, (VS,)) == {VS: found[VS]}, "of all, whoever is shown"
    assert found[VS][0] == pytest.approx(30 if nso == "apart" else 32)


def test_nso_that_were_not_read_are_not_folded() -> None:
    (line,) = mixed(SERIES[1:2], "people", "folded", FACTIONS)
    assert line.online == (30, 0, None, 30)
