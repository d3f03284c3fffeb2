"""Counting people at many instants at once, against counting them one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ps2daemon.analysis import sittings as sittings_module
from ps2daemon.analysis.sittings import FACTIONS, Crowds
from tests.memory_reader import Sitting, columns_of

TIMES = st.integers(0, 40)
"""Few, so that logins, logouts and instants meet."""
SPANS = (1, 5, 20)


@st.composite
def crowds(draw: st.DrawFn) -> list[Sitting]:
    found = []
    for _ in range(draw(st.integers(0, 12))):
        login = draw(TIMES)
        logout = draw(st.one_of(st.none(), st.integers(login, 45)))
        found.append(Sitting(draw(st.sampled_from((1, 10))), draw(st.sampled_from(FACTIONS)), login, logout))
    return found


BRIEFEST = [Sitting(1, 1, 4, 23), Sitting(1, 1, 3, 23), Sitting(1, 1, 4, 24), Sitting(1, 1, 4, 4)]
"""Around 3: the first comes and leaves within 20, the others don't."""


@pytest.mark.parametrize("at_once", [1, 3, 1_000_000])
@example(people=BRIEFEST, instants=[3])
@given(people=crowds(), instants=st.lists(TIMES, max_size=8))
def test_they_are_counted_as_one_by_one(at_once: int, people: list[Sitting], instants: list[int]) -> None:
    at = np.array(instants, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sittings_module, "AT_ONCE", at_once)
        for world_id, columns in columns_of(people).items():
            crowds = Crowds(columns)
            online, left = crowds.online(at), crowds.leavers(at, SPANS)
            assert online.shape == (len(FACTIONS), len(at))
            assert crowds.together.online(at).tolist() == online.sum(axis=0).tolist()
            assert left.shape == (len(FACTIONS), len(SPANS), len(at))
            for row, faction in enumerate(FACTIONS):
                for place, instant in enumerate(instants):
                    there = [
                        each
                        for each in people
                        if (each.world_id, each.faction_id) == (world_id, faction)
                        and each.login <= instant
                        and (each.logout is None or instant < each.logout)
                    ]
                    assert online[row, place] == len(there)
                    for span_row, span in enumerate(SPANS):
                        gone = [
                            each
                            for each in there
                            if each.logout is not None and each.logout <= instant + span
                        ]
                        assert left[row, span_row, place] == len(gone)
