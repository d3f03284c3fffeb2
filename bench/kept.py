"""What is in a store of a simulated time, and what is to be said about that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from bench.content import Content
from bench.recorded import LATENCY, START, WORLDS
from ps2daemon.model.coverage import WorldCoverage
from ps2daemon.model.records import Ms
from ps2daemon.simulator.truth import TrueSession, Truth
from ps2daemon.store.base import SessionDocument


class Kept(NamedTuple):
    """What is in the store, and what is true.

    Attributes:
        letters: reasons of dead letters.
    """

    content: Content
    truth: Truth
    end: Ms
    letters: list[str]

    def newly_seen(self) -> Kept:
        """The same, without those who were online at the start."""
        ids = self.truth.characters.keys() - {
            each.character_id for each in self.truth.sessions if each.login < START
        }
        truth = Truth()
        truth.sessions = [each for each in self.truth.sessions if each.character_id in ids]
        truth.characters = {who: each for who, each in self.truth.characters.items() if who in ids}
        sessions = {key: each for key, each in self.content.sessions.items() if each.character_id in ids}
        return self._replace(truth=truth, content=msgspec.structs.replace(self.content, sessions=sessions))

    def true_sessions(self) -> list[TrueSession]:
        """Those of whom anything happened in the time."""
        return [
            each
            for each in self.truth.sessions
            if START <= each.login < self.end or (each.logout is not None and START <= each.logout < self.end)
        ]

    def true_of(self, session: SessionDocument) -> TrueSession | None:
        """What a stored session is of: by its login, or by the logout where that is all there is."""
        for each in self.truth.sessions:
            if each.character_id == session.character_id and (
                each.login == session.login_ts
                or (session.login_ts is None and each.logout == session.logout_ts)
            ):
                return each
        return None

    def by_end(self) -> dict[str | None, list[SessionDocument]]:
        """The stored sessions by how they ended."""
        found: dict[str | None, list[SessionDocument]] = {}
        for each in self.content.sessions.values():
            found.setdefault(each.ended_by, []).append(each)
        return found

    def invented(self) -> list[SessionDocument]:
        """Sessions that nobody had, with a login or logout that did not happen, or an end outside of the times that are stated."""
        return [each for each in self.content.sessions.values() if not self._is_true(each)]

    def _is_true(self, session: SessionDocument) -> bool:
        true = self.true_of(session)
        if true is None or true.world_id != session.world_id:
            return False
        if session.faction_id not in (0, true.faction_id):
            return False
        if session.ended_by == "logout":
            return session.logout_ts == self._left(true)
        if session.ended_by is None:
            return True
        assert session.ended_after is not None
        assert session.ended_before is not None
        # What happens is told, and true for Census, up to a second later.
        return true.logout is not None and (
            session.ended_after - LATENCY <= true.logout <= session.ended_before
        )

    def _left(self, true: TrueSession) -> Ms | None:
        """When somebody left who was there since a login, as far as anybody can know: who left and came back untold was there all the time."""
        later = [
            each
            for each in self.truth.sessions
            if each.character_id == true.character_id and each.login > true.login
        ]
        for each in sorted(later, key=lambda each: each.login):
            if true.logout_sent is not None or each.login_sent is not None:
                break
            true = each
        return true.logout

    def lost(self) -> list[TrueSession]:
        """Sessions of which something was told in covered time and nothing is stored."""
        logins = {(each.character_id, each.login_ts) for each in self.content.sessions.values()}
        logouts = {(each.character_id, each.logout_ts) for each in self.content.sessions.values()}
        coverage = {world_id: self.coverage(world_id) for world_id in WORLDS}

        def told(world_id: int, at: Ms | None, sent: Ms | None) -> bool:
            return (
                at is not None
                and sent is not None
                and coverage[world_id].covers(at)
                and coverage[world_id].covers(sent)
            )

        return [
            each
            for each in self.truth.sessions
            if (
                told(each.world_id, each.login, each.login_sent)
                or told(each.world_id, each.logout, each.logout_sent)
            )
            and (each.character_id, each.login) not in logins
            and (each.character_id, each.logout) not in logouts
        ]

    def coverage(self, world_id: int) -> WorldCoverage:
        """When a world was recorded."""
        return WorldCoverage(each for each in self.content.spans if each.world_id == world_id)

    def misnamed(self) -> list[str]:
        """Characters with another name or empire than their own."""
        wrong = []
        for each in self.content.characters.values():
            true = self.truth.characters.get(each.character_id)
            if true is not None and (
                each.character_name not in (None, true.name) or each.faction_id not in (0, true.faction_id)
            ):
                wrong.append(each.character_id)
        return wrong

    def unnamed(self) -> list[str]:
        """Characters without a name or an empire."""
        return [
            each.character_id
            for each in self.content.characters.values()
            if each.character_name is None or each.faction_id == 0
        ]


class Known(NamedTuple):
    """A true session, as far as it can be known."""

    character_id: str
    faction_id: int
    since: Ms
    until: Ms | None


def knowable(kept: Kept, world_id: int) -> list[Known]:
    """When those of a world were there of whom anybody can know it.

    Of whom only the logout was told, it is known as far back as the recording before that is unbroken. Who left and came back untold is taken for
    there all the time, and was.
    """
    coverage = kept.coverage(world_id)
    found = []
    untold: set[str] = set()
    for each in kept.truth.sessions:
        since: Ms | None = each.login
        if each.login_sent is None and each.character_id not in untold:
            since = None
            if each.logout_sent is not None and each.logout is not None:
                since = coverage.covered_from(each.logout)
        if since is not None and each.logout_sent is None:
            untold.add(each.character_id)
        else:
            untold.discard(each.character_id)
        if each.world_id == world_id and since is not None:
            found.append(Known(each.character_id, each.faction_id, max(since, each.login), each.logout))
    return found


def online(known: Iterable[Known], at: Ms) -> dict[int, int]:
    """How many of each empire were there."""
    found = {1: 0, 2: 0, 3: 0, 4: 0}
    for _, faction_id, since, until in known:
        if since <= at and (until is None or at < until):
            found[faction_id] += 1
    return found
