"""The session fold: what a character's events say about when it was online.

The sessions are a function of the *set* of a character's events and checks, of its world's coverage, and of how far the
records reach. Neither order nor repetition matters:

- Sorted by time; at equal times the logout comes first if a session is open, otherwise the login.
- A login opens a session, and ends one that is open (`next_login`).
- A logout ends the open session, however late it is told (`logout`), unless more than `MAX_SESSION` passed since the last
  evidence of being online: a logout and a login must have been lost between the two, and the pair would weigh days. Such
  a session is not open any more for a login and a logout at one second either.
- A logout without a session is a session of its own whose start is unknown (`login_ts` None).
- An end that no logout tells is an estimate between two known times, `ended_after` and `ended_before`: the last evidence of
  being online (login or check) and the first against it (next login, offline check, or the cap: `CAP` without evidence,
  reached by the time of the records). If coverage has a gap in between, the logout fell into the gap, into the longest one
  if there are several, and the gap's ends are the two times. `logout_ts` is their middle, at most `MEAN_SESSION` after the first.

Events of one kind at one second are one event. Should they name different worlds, which a character can't do, the
lowest counts.

Sessions of one character never overlap: each ends before or when the next one begins.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from ps2daemon.model.coverage import Gap
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import HOUR, MINUTE, Ms

CAP: Final = 12 * HOUR
"""So long after the last evidence of being online, an open session counts as over."""
MAX_SESSION: Final = 24 * HOUR
"""A logout that comes later than this after the last evidence of being online belongs to another session."""
MEAN_SESSION: Final = 60 * MINUTE
"""About a mean session: an estimated end is at most so much later than the last evidence."""
KEPT_SESSIONS: Final = 50
"""So many sessions stay with the character; older ones are in the session documents alone."""

StartedBy: TypeAlias = Literal["login", "online_check", "unknown"]
EndedBy: TypeAlias = Literal["logout", "next_login", "offline_check", "cap"]


class Check(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Census said whether the character was online. One from before the first login is of no session, and is forgotten.

    Attributes:
        offline_at: when it was asked and said that it was not; None where it only ever said that it was.
        online_at: the last time before at which a check found it online, or None if none did.
    """

    offline_at: Ms | None
    online_at: Ms | None = None

    @property
    def at(self) -> Ms:
        """Its place in time."""
        at = self.offline_at if self.offline_at is not None else self.online_at
        assert at is not None
        return at


class Session(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One session, with what it is derived from.

    Attributes:
        world_id: of the login, or of the logout where there is no login.
        login_ts: None where the login was not seen.
        logout_ts: the logout, or the estimate of the end; None while open.
        ended_after, ended_before: between which times it ended, where no logout told it.
        logout_world_id: where the logout named another world than the login.
        checks: evidence that it was over, or of how long it was not, in order; kept even where an event knows better.
    """

    world_id: int
    login_ts: Ms | None = None
    logout_ts: Ms | None = None
    started_by: StartedBy = "login"
    ended_by: EndedBy | None = None
    ended_after: Ms | None = None
    ended_before: Ms | None = None
    logout_world_id: int | None = None
    checks: tuple[Check, ...] = ()

    @property
    def start(self) -> Ms:
        """Its place in time: the login, or the logout where that is all there is."""
        at = self.login_ts if self.login_ts is not None else self.logout_ts
        assert at is not None
        return at


class Character(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest sessions of one character, in order.

    Attributes:
        pruned_before: older sessions fell off here; None while none did.
        pruned_logout: when the last one of those ended.
    """

    sessions: tuple[Session, ...] = ()
    pruned_before: Ms | None = None
    pruned_logout: Ms | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What the fold must know beside a character's own events.

    Attributes:
        as_of: how far the records reach; sessions without evidence for `CAP` by then are over.
        gaps: the gaps in a world's coverage that overlap a window (see `WorldCoverage.gaps`).
    """

    as_of: Ms
    gaps: Callable[[int, Ms, Ms], Sequence[Gap]]


class Folded(msgspec.Struct, frozen=True):
    """The result of a fold.

    Attributes:
        old: events from before what the character still holds; the store has to tell whether they are repetitions.
        dropped: sessions that fell off just now, in their final form.
    """

    character: Character
    old: tuple[Login | Logout, ...] = ()
    dropped: tuple[Session, ...] = ()


NO_GAPS: Final[Callable[[int, Ms, Ms], Sequence[Gap]]] = lambda world_id, start, end: ()  # noqa: E731


def fold(
    character: Character, events: Iterable[Login | Logout], evidence: Evidence, seen_at: Ms | None = None
) -> Folded:
    """The character after `events`, whatever their order and however often they were told before.

    Args:
        seen_at: the last time at which a check found it online. It is kept with a session that ends by it.
    """
    sessions = character.sessions
    old = []
    new = []
    for event in events:
        if _beyond(character, event):
            if not _known(sessions, event):
                old.append(event)
        elif not _known(sessions, event):
            new.append(event)
    if not new:
        return Folded(character, tuple(old))
    # What lies before the latest session that began before the first new event can't change by it.
    first = min(event.at for event in new)
    index = max(0, bisect_left(sessions, first, key=_start) - 1)
    while index > 0 and sessions[index].login_ts is None:
        index -= 1  # checks from behind a session without a login are kept with the latest one that has one
    facts = _Facts(seen_at)
    for session in sessions[index:]:
        facts.take(session)
    for event in new:
        facts.add(event)
    whole = sessions[:index] + tuple(facts.sessions(evidence))
    surplus = max(0, len(whole) - KEPT_SESSIONS)
    return Folded(_pruned(character, whole), tuple(old), whole[:surplus])


def settle(
    character: Character, evidence: Evidence, checks: Iterable[Check] = (), seen_at: Ms | None = None
) -> Character:
    """The character after `checks`, with every end estimated anew from the present coverage and time.

    Args:
        seen_at: as for `fold`.
    """
    facts = _Facts(seen_at)
    for session in character.sessions:
        facts.take(session)
    facts.checks.update(checks)
    return _pruned(character, tuple(facts.sessions(evidence)))


def _start(session: Session) -> Ms:
    return session.start


def _check_order(check: Check) -> tuple[Ms, Ms]:
    return check.at, -1 if check.online_at is None else check.online_at


def _also(checks: Iterable[Check], online_at: Ms) -> tuple[Check, ...]:
    return tuple(sorted({*checks, Check(None, online_at)}, key=_check_order))


def _beyond(character: Character, event: Login | Logout) -> bool:
    """Whether the event is from before the kept sessions; one at their very edge may belong to the session that fell off."""
    edge = character.pruned_before
    return edge is not None and (event.at < edge or (event.at == edge and type(event) is Logout))


def _known(sessions: Sequence[Session], event: Login | Logout) -> bool:
    """Whether the sessions hold this event, and with no higher world."""
    at = event.at
    if type(event) is Login:
        index = bisect_left(sessions, at, key=_start)
        while index < len(sessions) and sessions[index].start == at:
            if sessions[index].login_ts == at:
                return sessions[index].world_id <= event.world_id
            index += 1
        return False
    for session in reversed(sessions):
        if session.ended_by == "logout" and session.logout_ts == at:
            world_id = session.logout_world_id if session.logout_world_id is not None else session.world_id
            return world_id <= event.world_id
        if session.logout_ts is not None and session.logout_ts < at:
            return False
    return False


def _pruned(character: Character, sessions: tuple[Session, ...]) -> Character:
    surplus = len(sessions) - KEPT_SESSIONS
    if surplus <= 0:
        return Character(sessions, character.pruned_before, character.pruned_logout)
    return Character(sessions[surplus:], sessions[surplus].start, sessions[surplus - 1].logout_ts)


class _Facts:
    """A set of events and checks, and the sessions that it says."""

    __slots__ = ("_seen_at", "_times", "checks", "logins", "logouts")

    def __init__(self, seen_at: Ms | None = None) -> None:
        self.logins: dict[Ms, int] = {}  # the world by time
        self.logouts: dict[Ms, int] = {}
        self.checks: set[Check] = set()
        self._times: list[Ms] = []
        self._seen_at = seen_at

    def take(self, session: Session) -> None:
        """The facts that a session was derived from."""
        self.checks.update(session.checks)
        if session.login_ts is not None:
            self._put(self.logins, session.login_ts, session.world_id)
        if session.ended_by == "logout":
            assert session.logout_ts is not None
            other = session.logout_world_id
            self._put(self.logouts, session.logout_ts, session.world_id if other is None else other)

    def add(self, event: Login | Logout) -> None:
        self._put(self.logins if type(event) is Login else self.logouts, event.at, event.world_id)

    def _put(self, events: dict[Ms, int], at: Ms, world_id: int) -> None:
        if at not in self.logins and at not in self.logouts:
            insort(self._times, at)
        events[at] = min(world_id, events.get(at, world_id))

    def sessions(self, evidence: Evidence) -> list[Session]:
        logins, logouts = self.logins, self.logouts
        found: list[Session] = []
        opened: Ms | None = None  # the login of the session that is open
        for at in self._times:
            login, logout = logins.get(at), logouts.get(at)
            if logout is not None:
                if opened is not None and at - self._online(opened, at) > MAX_SESSION:
                    found.append(self._estimated(opened, at, None, evidence))
                    opened = None
                if opened is None and login is not None:
                    found.append(self._ended(at, at))
                    continue
                if opened is not None:
                    found.append(self._ended(opened, at))
                    opened = None
                else:
                    found.append(
                        Session(world_id=logout, logout_ts=at, started_by="unknown", ended_by="logout")
                    )
            if login is not None:
                if opened is not None:
                    found.append(self._estimated(opened, at, at, evidence))
                opened = at
        if opened is not None:
            found.append(self._estimated(opened, None, None, evidence))
        return found

    def _checks(self, start: Ms, end: Ms | None) -> tuple[Check, ...]:
        """The checks of a session that began at `start`, when the next one begins at `end`."""
        if not self.checks:
            return ()
        return tuple(
            check
            for check in sorted(self.checks, key=_check_order)
            if start <= check.at and (end is None or check.at < end)
        )

    def _online(self, login: Ms, before: Ms) -> Ms:
        """The last evidence of being online in a session, known before `before`."""
        if not self.checks and self._seen_at is None:
            return login
        times = (self._seen_at, *(check.online_at for check in self.checks))
        return max((at for at in times if at is not None and login <= at < before), default=login)

    def _next_start(self, login: Ms) -> Ms | None:
        """When the next session begins."""
        return min((at for at in self.logins if at > login), default=None) if self.checks else None

    def _ended(self, login: Ms, logout: Ms) -> Session:
        world_id, other = self.logins[login], self.logouts[logout]
        checks = self._checks(login, self._next_start(login))
        if logout - login > MAX_SESSION and self._online(login, logout) == self._seen_at:
            checks = _also(checks, self._seen_at)
        return Session(
            world_id=world_id,
            login_ts=login,
            logout_ts=logout,
            ended_by="logout",
            logout_world_id=None if other == world_id else other,
            checks=checks,
        )

    def _estimated(self, login: Ms, until: Ms | None, next_login: Ms | None, evidence: Evidence) -> Session:
        """A session that no logout ends; `until` is the next thing that is known of the character."""
        world_id = self.logins[login]
        checks = self._checks(login, self._next_start(login))
        against: list[tuple[Ms, int, EndedBy]] = []  # the number settles a tie
        if next_login is not None:
            against.append((next_login, 0, "next_login"))
        offline = next((check.offline_at for check in checks if check.offline_at is not None), None)
        if offline is not None and (until is None or offline < until):
            against.append((offline, 1, "offline_check"))
        online = self._online(login, min((at for at, _, _ in against), default=until or evidence.as_of + 1))
        cap = online + CAP
        # The records reach at least as far as what is known of the character, whatever `as_of` says.
        if cap <= evidence.as_of or any(
            cap < at for at in (until, *(at for at, _, _ in against)) if at is not None
        ):
            against.append((cap, 2, "cap"))
        if not against:
            return Session(world_id=world_id, login_ts=login, checks=checks)
        before, _, ended_by = min(against)
        if online == self._seen_at and ended_by != "offline_check":
            checks = _also(checks, online)
        after, before = _within_gap(online, before, evidence.gaps(world_id, online, before))
        return Session(
            world_id=world_id,
            login_ts=login,
            logout_ts=min((after + before) // 2, after + MEAN_SESSION),
            ended_by=ended_by,
            ended_after=after,
            ended_before=before,
            checks=checks,
        )


def _within_gap(online: Ms, against: Ms, gaps: Sequence[Gap]) -> tuple[Ms, Ms]:
    """The longest gap between two times, or the two times if there is none."""
    longest = (online, against)
    length = 0
    for gap in gaps:
        start, end = max(gap.start, online), min(gap.end, against)
        if end - start > length:
            longest, length = (start, end), end - start
    return longest
