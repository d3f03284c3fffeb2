"""What may have happened, by chance: characters' sessions as a store is told them, and as the fold leaves them."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

from ps2daemon.model.coverage import Span, WorldCoverage
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.sessions import Character, Check, Evidence, Session, fold, settle
from ps2daemon.store.base import CharacterDocument
from tests.contract.stores import T0

WORLDS = (1, 10, 2**32 - 1)
GRID = 6 * HOUR
"""Coarse, so that events fall on the same moment and sessions are exactly a day."""


History: TypeAlias = list[list[CharacterDocument]]
"""Characters, in the states that they pass through."""
KINDS: tuple[type[Login | Logout], ...] = (Login, Logout)


def finals(history: History) -> list[CharacterDocument]:
    return [states[-1] for states in history]


def moments() -> st.SearchStrategy[Ms]:
    return st.builds(
        lambda number, rest: T0 + number * GRID + rest,
        st.integers(0, 20),
        st.sampled_from([0, 0, SECOND, 50 * MINUTE]),
    )


@st.composite
def lives(draw: st.DrawFn) -> tuple[Session, ...]:
    """Sessions of one character as a store may be told them, some longer than a day, the last one maybe open."""
    at = draw(moments())
    found: dict[tuple[Ms, bool], Session] = {}
    for _ in range(draw(st.integers(0, 5))):
        world_id = draw(st.sampled_from(WORLDS))
        length = draw(st.sampled_from([0, SECOND, 50 * MINUTE, GRID, DAY, DAY + 1, 3 * DAY]))
        kind = draw(st.sampled_from(["logout", "logout", "estimate", "out"]))
        if kind == "out":
            new = Session(world_id=world_id, logout_ts=at, started_by="unknown", ended_by="logout")
            length = 0
        elif kind == "logout":
            new = Session(world_id=world_id, login_ts=at, logout_ts=at + length, ended_by="logout")
        else:
            new = Session(
                world_id=world_id,
                login_ts=at,
                logout_ts=at + length,
                ended_by="cap",
                ended_after=at,
                ended_before=at + 2 * length,
            )
        found.setdefault((at, kind == "out"), new)
        at += length + draw(st.sampled_from([0, SECOND, GRID]))
    if draw(st.booleans()):
        found.setdefault((at, False), Session(world_id=draw(st.sampled_from(WORLDS)), login_ts=at))
    return tuple(found.values())


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = []
    for number in range(draw(st.integers(0, 5))):
        faction_id = draw(st.sampled_from([0, 2, 2, 4]))
        history.append(
            [
                CharacterDocument(str(10 - number), None, faction_id, faction_id or None, Character(sessions))
                for sessions in draw(st.lists(lives(), min_size=1, max_size=3))
            ]
        )
    return history


@st.composite
def folded(draw: st.DrawFn) -> tuple[CharacterDocument, WorldCoverage, Ms]:
    """A character as the fold leaves it, the coverage of its worlds, and how far the records reach."""
    coverage = WorldCoverage(
        Span(1, start, start + length * HOUR, "connection")
        for start, length in draw(st.lists(st.tuples(moments(), st.integers(1, 20)), max_size=5))
    )
    events = [
        kind("1", world_id, at)
        for kind, world_id, at in draw(
            st.lists(
                st.tuples(st.sampled_from(KINDS), st.sampled_from(WORLDS), moments()), min_size=1, max_size=6
            )
        )
    ]
    checks = [
        Check(None, at) if before == 0 else Check(at, None if before is None else at - before * HOUR)
        for at, before in draw(st.lists(st.tuples(moments(), st.none() | st.integers(0, 20)), max_size=3))
    ]
    as_of = max([draw(moments()), *(event.at for event in events), *(check.at for check in checks)])
    evidence = Evidence(as_of, lambda world_id, start, end: coverage.gaps(start, end))
    state = settle(fold(Character(), events, evidence).character, evidence, checks)
    state = settle(state, evidence)  # from what it keeps of the checks
    return CharacterDocument("1", None, 0, None, state), coverage, as_of
