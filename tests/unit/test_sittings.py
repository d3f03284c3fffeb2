"""Counting people at many instants at once, against counting them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ps2daemon.analysis import sittings as sittings_module
from ps2daemon.analysis.sittings import FACTIONS, Crowds
from tests.memory_reader import Sitting, columns_of

T = 1_000
TIMES = st.integers(T, T + 40)
"""Few, so that logins, logouts and instants meet."""
SPANS = (1, 5, 20)
AGES = (3, 15)


@st.composite
def crowds(draw: st.DrawFn) -> list[Sitting]:
    found = []
    for _ in range(draw(st.integers(0, 12))):
        login = draw(TIMES)
        logout = draw(st.one_of(st.none(), st.integers(login, T + 45)))
        found.append(Sitting(draw(st.sampled_from((1, 10))), draw(st.sampled_from(FACTIONS)), login, logout))
    return found


BRIEFEST = [Sitting(1, 1, T + login, T + logout) for login, logout in ((4, 23), (3, 23), (4, 24), (4, 4))]
"""Around 3: the first comes and leaves within 20, the others don't."""


@pytest.mark.parametrize("at_once", [1, 3, 1_000_000])
@example(people=BRIEFEST, instants=[T + 3])
@given(people=crowds(), instants=st.lists(TIMES, max_size=8))
def test_they_are_counted_as_one_by_one(at_once: int, people: list[Sitting], instants: list[int]) -> None:
    at = np.array(instants, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sittings_module, "AT_ONCE", at_once)
        for world_id, columns in columns_of(people).items():
            crowds = Crowds(columns)
            online, left = crowds.at(at, SPANS, AGES)
            assert online.shape == (len(FACTIONS), len(AGES) + 1, len(at))
            assert crowds.together.online(at).tolist() == online.sum(axis=(0, 1)).tolist()
            assert left.shape == (len(FACTIONS), len(AGES) + 1, len(SPANS), len(at))
            for row, age, place in np.ndindex(online.shape):
                instant = instants[place]
                there = [
                    each
                    for each in people
                    if (each.world_id, each.faction_id) == (world_id, FACTIONS[row])
                    and each.login <= instant
                    and (each.logout is None or instant < each.logout)
                    and sum(instant - each.login >= least for least in AGES) == age
                ]
                assert online[row, age, place] == len(there)
                gone = [
                    sum(each.logout is not None and each.logout <= instant + span for each in there)
                    for span in SPANS
                ]
                assert left[row, age, :, place].tolist() == gone
