"""A reader over documents in memory, as slow and obvious as can be, for tests of what reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.differences import Differences, differences_of
from ps2daemon.model.notes import Note
from ps2daemon.model.records import Ms
from ps2daemon.model.sittings import Sittings, sittings_of
from ps2daemon.store.base import CharacterDocument, Count, SessionDocument, UnknownStart


def session(
    character_id: str,
    login_ts: Ms | None,
    logout_ts: Ms | None,
    *,
    world_id: int = 10,
    faction_id: int = 1,
    not_before: Ms | None = None,
) -> SessionDocument:
    """A session as the fold would say it."""
    return SessionDocument(
        session_id=f"{character_id}-{login_ts}"
        if login_ts is not None
        else f"{character_id}-{logout_ts}-out",
        character_id=character_id,
        world_id=world_id,
        faction_id=faction_id,
        login_ts=login_ts,
        logout_ts=logout_ts,
        started_by="unknown" if login_ts is None else "login",
        ended_by=None if logout_ts is None else "logout",
        ended_after=None,
        ended_before=None,
        not_before=not_before,
    )


class Sitting(NamedTuple):
    """One of `Sittings`; `logout` is None while it goes on."""

    world_id: int
    faction_id: int
    login: Ms
    logout: Ms | None


def columns_of(people: Iterable[Sitting]) -> dict[int, Sittings]:
    """The same by world."""
    found: dict[int, list[tuple[int, Ms, Ms | None]]] = {}
    for each in people:
        found.setdefault(each.world_id, []).append((each.faction_id, each.login, each.logout))
    return {world_id: sittings_of(rows) for world_id, rows in found.items()}


def rows_of(sittings: Mapping[int, Sittings]) -> list[tuple[int, int, Ms, Ms]]:
    """World, faction, login and logout of each, in order."""
    return sorted(
        (world_id, *row)
        for world_id, columns in sittings.items()
        for row in zip(*(column.tolist() for column in columns), strict=True)
    )


def changed(differences: Differences) -> list[tuple[int, int, int, int]]:
    """World, faction, number of the instant, and by how many, of all that is not 0, in order."""
    return sorted(
        (*key, number, by) for key, row in differences.items() for number, by in enumerate(row.tolist()) if by
    )


class MemoryReader:
    """Keeps the promises of `StoreReader`."""

    def __init__(
        self,
        sessions: Iterable[SessionDocument] = (),
        spans: Iterable[Span] = (),
        alerts: Iterable[Alert] = (),
        locks: Iterable[Lock] = (),
        characters: Iterable[CharacterDocument] = (),
        notes: Iterable[Note] = (),
    ) -> None:
        self.sessions: Sequence[SessionDocument] = tuple(sessions)
        self.stored_spans = sorted(spans, key=lambda span: (span.world_id, span.start))
        self.stored_alerts = sorted(alerts, key=lambda alert: alert.changes[0].at)
        self.stored_locks = sorted(locks, key=lambda lock: lock.at)
        self.stored_notes = sorted(notes, key=lambda note: (note.at, note.note_id))
        self.characters = sorted(characters, key=lambda character: character.character_id)

    async def online_at(self, at: Ms, worlds: Collection[int]) -> list[Count]:
        people = Counter(
            (each.world_id, each.faction_id)
            for each in self.sessions
            if each.world_id in worlds
            and each.login_ts is not None
            and each.login_ts <= at
            and (each.logout_ts is None or at < each.logout_ts)
        )
        return [Count(*key, online) for key, online in people.items()]

    async def changes(self, start: Ms, end: Ms, step: Ms, worlds: Collection[int]) -> Differences:
        last = start + (end - start - 1) // step * step
        found = []
        for each in self.sessions:
            if each.world_id in worlds and each.login_ts is not None:
                for at, by in ((each.login_ts, 1), (each.logout_ts, -1)):
                    if at is not None and start < at <= last:
                        found.append((each.world_id, each.faction_id, -((start - at) // step), by))
        return differences_of(-((start - end) // step), found)

    async def sittings(self, start: Ms, end: Ms, worlds: Collection[int]) -> dict[int, Sittings]:
        return {
            world_id: sittings_of(
                (each.faction_id, each.login_ts, each.logout_ts)
                for each in self.sessions
                if each.login_ts is not None
                and each.login_ts < end
                and each.ended_by in (None, "logout")
                and (each.logout_ts is None or each.logout_ts > start)
                and each.world_id == world_id
            )
            for world_id in worlds
        }

    async def unknown_starts(self, start: Ms, end: Ms, worlds: Collection[int]) -> list[UnknownStart]:
        return [
            UnknownStart(each.world_id, each.faction_id, each.logout_ts, each.not_before)
            for each in self.sessions
            if each.login_ts is None
            and each.logout_ts is not None
            and each.world_id in worlds
            and start < each.logout_ts <= end
        ]

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        return [
            span
            for span in self.stored_spans
            if (worlds is None or span.world_id in worlds)
            and (end is None or span.start <= end)
            and (start is None or span.end >= start)
        ]

    async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
        return [
            alert
            for alert in self.stored_alerts
            if (worlds is None or alert.world_id in worlds)
            and alert.changes[0].at < end
            and (alert.end is None or alert.end > start)
        ]

    async def locks(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Lock]:
        return [
            lock
            for lock in self.stored_locks
            if (worlds is None or lock.world_id in worlds) and start <= lock.at < end
        ]

    async def notes(self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None) -> list[Note]:
        return [
            note
            for note in self.stored_notes
            if (start is None or start <= note.at)
            and (end is None or note.at < end)
            and (worlds is None or not note.world_ids or set(worlds) & set(note.world_ids))
        ]

    async def worlds(self) -> list[int]:
        played = {each.world_id for each in self.sessions}
        return sorted(played | {span.world_id for span in self.stored_spans})

    async def records_until(self) -> Ms | None:
        return max((span.end for span in self.stored_spans), default=None)

    async def counts(self) -> dict[str, int]:
        return {
            "characters": len(self.characters),
            "unnamed": sum(each.character_name is None for each in self.characters),
            "sessions": len(self.sessions),
            "open": sum(each.logout_ts is None for each in self.sessions),
            "alerts": len(self.stored_alerts),
            "locks": len(self.stored_locks),
            "spans": len(self.stored_spans),
            "notes": len(self.stored_notes),
        }

    async def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        def first(each: SessionDocument) -> Ms:
            at = each.login_ts if each.login_ts is not None else each.logout_ts
            assert at is not None
            return at

        for each in sorted(self.sessions, key=first):
            if (
                (start is None or first(each) >= start)
                and (end is None or first(each) < end)
                and (worlds is None or each.world_id in worlds)
            ):
                yield each

    async def all_characters(self) -> AsyncIterator[CharacterDocument]:
        for each in self.characters:
            yield each

    async def aclose(self) -> None:
        pass
