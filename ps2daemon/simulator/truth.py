"""What really happened in a simulation, for tests and benchmarks to compare with.

A truth grows as things happen and can be asked at any time. As a file it is JSON lines, one object with a `kind` a line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from ps2daemon.model.coverage import Span
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import Ms

Shares: TypeAlias = tuple[float, float, float]
"""Of VS, NC and TR, in percent."""


class TrueCharacter(msgspec.Struct, tag="character", tag_field="kind", omit_defaults=True):
    """Attributes:
    first_end: when its first session ended, before which REST does not know it; None while that has not
        happened, and 0 for a character older than the simulation.
    created: when it was made.
    logins: how often it has logged in since the simulation began.
    """

    character_id: str
    name: str
    faction_id: int
    world_id: int
    created: Ms
    first_end: Ms | None = None
    logins: int = 0


class TrueSession(msgspec.Struct, tag="session", tag_field="kind", omit_defaults=True, gc=False):
    """Online for `login <= t < logout`.

    Attributes:
        logout: None while it goes on.
        login_sent, logout_sent: when the event went out to at least one connection; None if it never did.
    """

    character_id: str
    world_id: int
    faction_id: int
    login: Ms
    logout: Ms | None = None
    login_sent: Ms | None = None
    logout_sent: Ms | None = None


class TrueAlert(msgspec.Struct, tag="alert", tag_field="kind", frozen=True):
    """One alert, by its whole life even if it is not over yet.

    Attributes:
        winner: None where there is none, as when it was canceled.
        dominated: it ended early because one empire took everything.
        lock_at: when its continent locked; None if it did not.
    """

    world_id: int
    instance_id: int
    metagame_event_id: int
    zone_id: int
    start: Ms
    end: Ms
    canceled: bool
    dominated: bool
    winner: int | None
    territory_start: Shares
    territory_end: Shares
    lock_at: Ms | None


class TrueLock(msgspec.Struct, tag="lock", tag_field="kind", frozen=True):
    """`instance_id`: the alert that it ended, or None."""

    world_id: int
    zone_id: int
    at: Ms
    winner: int
    previous_winner: int
    population: Shares
    instance_id: int | None


class _TrueSpan(msgspec.Struct, tag="coverage", tag_field="kind", frozen=True):
    span: Span


_Line: TypeAlias = TrueCharacter | TrueSession | TrueAlert | TrueLock | _TrueSpan


class Truth:
    """The whole story.

    Attributes:
        characters: by id, those who were ever online.
        sessions: in the order of login, running ones among them.
        alerts, locks: in the order of their start.
        coverage: the spans that a recording vouches for; empty for a live simulation, which can't know.
        thrown_out: who went offline with their world, and whose leaving the story has yet to tell.
    """

    def __init__(self) -> None:
        self.characters: dict[str, TrueCharacter] = {}
        self.sessions: list[TrueSession] = []
        self.alerts: list[TrueAlert] = []
        self.locks: list[TrueLock] = []
        self.coverage: list[Span] = []
        self.thrown_out: set[str] = set()
        self._running: dict[str, TrueSession] = {}
        self._last: dict[str, TrueSession] = {}
        self._changes = 0
        self._counted: tuple[int, dict[int, dict[int, tuple[list[Ms], list[Ms]]]]] = (-1, {})

    def login(self, character: TrueCharacter, at: Ms, sent: Ms | None = None) -> None:
        """A character, offline until now, comes online on its world."""
        self.thrown_out.discard(character.character_id)
        self.characters[character.character_id] = character
        character.logins += 1
        session = TrueSession(
            character.character_id, character.world_id, character.faction_id, at, login_sent=sent
        )
        self.sessions.append(session)
        self._running[character.character_id] = session
        self._changes += 1

    def logout(self, character_id: str, at: Ms, sent: Ms | None = None) -> None:
        """A character that is online leaves; one that was thrown out has left."""
        if character_id in self.thrown_out:
            self.thrown_out.discard(character_id)
            return
        session = self._running.pop(character_id)
        session.logout = at
        session.logout_sent = sent
        self._last[character_id] = session
        character = self.characters[character_id]
        if character.first_end is None:
            character.first_end = at
        self._changes += 1

    def throw_out(self, world_id: int, at: Ms) -> list[TrueCharacter]:
        """Everybody on a world leaves, which nobody is told; returns who that is."""
        gone = [session for session in self._running.values() if session.world_id == world_id]
        for session in gone:
            self.logout(session.character_id, max(at, session.login))
            self.thrown_out.add(session.character_id)
        return [self.characters[session.character_id] for session in gone]

    def mark_sent(self, event: Login | Logout, sent: Ms | None) -> None:
        """An event that is known went out later, or never (None)."""
        for session in reversed(self.sessions):
            if session.character_id != event.character_id:
                continue
            if isinstance(event, Login) and session.login == event.at:
                session.login_sent = sent
                return
            if isinstance(event, Logout) and session.logout == event.at:
                session.logout_sent = sent
                return

    def alert(self, world_id: int, instance_id: int) -> TrueAlert | None:
        """The latest alert with that id, if there is one."""
        ids = (world_id, instance_id)
        return next(
            (each for each in reversed(self.alerts) if (each.world_id, each.instance_id) == ids), None
        )

    def amend_alert(self, world_id: int, instance_id: int, **changes: Any) -> None:
        """An alert's life turned out otherwise; one that is not known stays so."""
        for place, alert in enumerate(self.alerts):
            if (alert.world_id, alert.instance_id) == (world_id, instance_id):
                self.alerts[place] = replace(alert, **changes)

    def forget(self, before: Ms) -> None:
        """Drops the sessions, alerts and locks that were over by `before`."""
        self.sessions = [
            session for session in self.sessions if session.logout is None or session.logout > before
        ]
        self.alerts = [alert for alert in self.alerts if alert.end > before]
        self.locks = [lock for lock in self.locks if lock.at >= before]
        self._changes += 1

    def running(self, character_id: str) -> TrueSession | None:
        """The session that a character is in, as far as was told."""
        return self._running.get(character_id)

    def last_session(self, character_id: str) -> TrueSession | None:
        """The latest session of a character that is over, even if it was dropped."""
        return self._last.get(character_id)

    def online_count(self) -> int:
        """How many are online, as far as was told."""
        return len(self._running)

    def online(self, at: Ms, world_id: int) -> dict[int, int]:
        """How many of each faction have `login <= at < logout`; factions that were never there are absent."""
        if self._counted[0] != self._changes:
            self._counted = (self._changes, self._edges())
        return {
            faction_id: bisect_right(logins, at) - bisect_right(logouts, at)
            for faction_id, (logins, logouts) in sorted(self._counted[1].get(world_id, {}).items())
        }

    def _edges(self) -> dict[int, dict[int, tuple[list[Ms], list[Ms]]]]:
        edges: dict[int, dict[int, tuple[list[Ms], list[Ms]]]] = {}
        for session in self.sessions:
            logins, logouts = edges.setdefault(session.world_id, {}).setdefault(session.faction_id, ([], []))
            logins.append(session.login)
            if session.logout is not None:
                logouts.append(session.logout)
        for factions in edges.values():
            for logins, logouts in factions.values():
                logins.sort()
                logouts.sort()
        return edges

    def save(self, path: Path) -> None:
        """Writes it as JSON lines, through a temporary file beside it, so that a reader sees all or nothing."""
        encoder = msgspec.json.Encoder()
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            for line in self._lines():
                file.write(encoder.encode(line) + b"\n")
        part.replace(path)

    def _lines(self) -> Iterator[_Line]:
        yield from self.characters.values()
        yield from self.sessions
        yield from self.alerts
        yield from self.locks
        yield from map(_TrueSpan, self.coverage)

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Reads what `save` wrote.

        Raises:
            msgspec.DecodeError: it is no such file.
        """
        truth = cls()
        decoder = msgspec.json.Decoder(_Line)
        with path.open("rb") as file:
            for text in file:
                line = decoder.decode(text)
                match line:
                    case TrueCharacter():
                        truth.characters[line.character_id] = line
                    case TrueSession():
                        truth.sessions.append(line)
                        kept = truth._running if line.logout is None else truth._last
                        kept[line.character_id] = line
                    case TrueAlert():
                        truth.alerts.append(line)
                    case TrueLock():
                        truth.locks.append(line)
                    case _TrueSpan():
                        truth.coverage.append(line.span)
        return truth
