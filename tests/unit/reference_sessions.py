"""A slow, obvious reference of the session fold: keeps every fact ever told, and answers each question by looking through all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ps2daemon.model.coverage import Gap
from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import HOUR, MINUTE, Ms
from ps2daemon.model.sessions import Check, Session

Gaps = Callable[[int, Ms, Ms], Sequence[Gap]]


@dataclass
class Spans:
    """Coverage of several worlds as the plain list of what was told."""

    told: list[tuple[int, Ms, Ms]] = field(default_factory=list)

    def gaps(self, world_id: int, start: Ms, end: Ms) -> list[Gap]:
        """What lies between two spans, by looking at every edge of every span."""
        spans = [(a, b) for world, a, b in self.told if world == world_id and a < b]
        found = []
        for _, gap_start in spans:
            if any(a <= gap_start < b for a, b in spans):
                continue
            later = [a for a, _ in spans if a > gap_start]
            if later and min(later) > start and gap_start < end:
                found.append(Gap(gap_start, min(later), "start"))
        return sorted(set(found))


@dataclass
class Reference:
    """Every fact of one character."""

    logins: dict[Ms, int] = field(default_factory=dict)
    logouts: dict[Ms, int] = field(default_factory=dict)
    checks: set[Check] = field(default_factory=set)

    def tell(self, events: Iterable[Login | Logout]) -> None:
        for event in events:
            of_kind = self.logins if isinstance(event, Login) else self.logouts
            of_kind[event.at] = min(event.world_id, of_kind.get(event.at, event.world_id))

    def check(self, check: Check) -> None:
        """A check counts only where there is a login that it can speak of."""
        if any(login <= check.at for login in self.logins):
            self.checks.add(check)

    def sessions(self, gaps: Gaps, as_of: Ms) -> tuple[Session, ...]:
        found = []
        owned = set()
        for login in sorted(self.logins):
            logout = self._logout_of(login)
            if logout is not None and logout - self._online(login, logout) <= 24 * HOUR:
                owned.add(logout)
                found.append(self._told(login, logout))
            else:
                found.append(self._estimated(login, logout, gaps, as_of))
        for logout in set(self.logouts) - owned:
            found.append(
                Session(
                    world_id=self.logouts[logout],
                    logout_ts=logout,
                    started_by="unknown",
                    ended_by="logout",
                )
            )
        return tuple(sorted(found, key=lambda session: (session.start, session.login_ts is not None)))

    def _before(self, login: Ms) -> Ms | None:
        return max((at for at in self.logins if at < login), default=None)

    def _behind(self, login: Ms) -> Ms | None:
        return min((at for at in self.logins if at > login), default=None)

    def _open_just_before(self, login: Ms) -> bool:
        """Whether nothing ended the session before this login."""
        previous = self._before(login)
        if previous is None or any(previous < at < login for at in self.logouts):
            return False
        if login - self._online(previous, login) > 24 * HOUR:
            return False
        return not (previous in self.logouts and not self._open_just_before(previous))

    def _logout_of(self, login: Ms) -> Ms | None:
        """The first logout behind the login, not behind the next login."""
        if login in self.logouts and not self._open_just_before(login):
            return login
        behind = self._behind(login)
        return min(
            (at for at in self.logouts if at > login and (behind is None or at <= behind)), default=None
        )

    def _online(self, login: Ms, before: Ms) -> Ms:
        evidence = [login]
        for check in self.checks:
            if check.online_at is not None and login < check.online_at < before:
                evidence.append(check.online_at)
        return max(evidence)

    def _checks_of(self, login: Ms) -> tuple[Check, ...]:
        behind = self._behind(login)
        return tuple(
            sorted(
                (
                    check
                    for check in self.checks
                    if check.at >= login and (behind is None or check.at < behind)
                ),
                key=lambda check: (check.at, check.online_at is not None, check.online_at or 0),
            )
        )

    def _told(self, login: Ms, logout: Ms) -> Session:
        world, other = self.logins[login], self.logouts[logout]
        return Session(
            world_id=world,
            login_ts=login,
            logout_ts=logout,
            ended_by="logout",
            logout_world_id=other if other != world else None,
            checks=self._checks_of(login),
        )

    def _estimated(self, login: Ms, foreign_logout: Ms | None, gaps: Gaps, as_of: Ms) -> Session:
        world = self.logins[login]
        checks = self._checks_of(login)
        behind = self._behind(login)
        known_next = [at for at in (foreign_logout, behind) if at is not None]
        offline = [
            check.offline_at
            for check in checks
            if check.offline_at is not None and all(check.offline_at < at for at in known_next)
        ]
        first_against = min([*known_next, *offline], default=None)
        online = self._online(login, as_of + 1 if first_against is None else first_against)
        cap = online + 12 * HOUR
        if cap <= as_of or any(cap < at for at in [*known_next, *offline]):
            first_against = cap if first_against is None else min(first_against, cap)
        if first_against is None:
            return Session(world_id=world, login_ts=login, checks=checks)
        if first_against == behind:
            ended_by = "next_login"
        elif first_against in offline:
            ended_by = "offline_check"
        else:
            ended_by = "cap"
        after, before = online, first_against
        lengths = {}
        for gap in gaps(world, online, first_against):
            clipped = max(gap.start, online), min(gap.end, first_against)
            if clipped[0] < clipped[1]:
                lengths[clipped] = clipped[1] - clipped[0]
        if lengths:
            longest = max(lengths.values())
            after, before = min(clipped for clipped in lengths if lengths[clipped] == longest)
        return Session(
            world_id=world,
            login_ts=login,
            logout_ts=min((after + before) // 2, after + 60 * MINUTE),
            ended_by=ended_by,  # type: ignore[arg-type]
            ended_after=after,
            ended_before=before,
            checks=checks,
        )
