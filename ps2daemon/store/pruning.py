"""Pruning: dropping whole calendar months, and never taking their time for covered afterwards.

What began before the first moment of a month goes: sessions by their first known time, alerts by their first change, locks, characters
that had no session since, and from the others what they still hold of it. A session that reaches into the months that stay is missed there
too: nothing is vouched for up to the latest end of those that go (`pruned_until`).

That number is written first and only grows, and the sessions are deleted last. So whatever breaks it off leaves time that reads as not
covered, never one that reads as empty, and pruning again completes it. A worker may run meanwhile: it is told by a conflict of a
character that changed, and decides again. What it writes late of a dropped time lies in the time that is not covered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from ps2daemon.errors import StoreConflict
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, Ms
from ps2daemon.model.sessions import Character
from ps2daemon.model.times import next_month
from ps2daemon.store.base import CharacterDocument, Commit, Month, Store, Stored, StoreSource

PAGE: Final = 500
"""Documents deleted with one commit: in SQLite some 20 ms in which nobody else can write."""
CONFLICTS: Final = 20

T = TypeVar("T")


class Plan(msgspec.Struct, frozen=True):
    """What would go.

    Attributes:
        before: the first moment of the month that stays.
        months, kept: those with documents that go, and that stay.
        characters: without a session since.
        shortened: that stay, and lose their older sessions.
        until: up to where nothing will be vouched for.
    """

    before: Ms
    months: tuple[Month, ...]
    kept: tuple[Month, ...]
    characters: int
    shortened: int
    until: Ms

    @property
    def sessions(self) -> int:
        """How many go."""
        return sum(month.sessions for month in self.months)

    @property
    def alerts(self) -> int:
        """How many go."""
        return sum(month.alerts for month in self.months)

    @property
    def locks(self) -> int:
        """How many go."""
        return sum(month.locks for month in self.months)

    @property
    def documents(self) -> int:
        """How many are deleted or changed."""
        return self.sessions + self.alerts + self.locks + self.characters + self.shortened


async def plan(store: StoreSource, before: Ms) -> Plan:
    """What there is to drop before `before`, the first moment of a month. Reads every character."""
    months = await store.months()
    characters = shortened = 0
    async for document in store.all_characters():
        left = without(document, before)
        if left is None:
            characters += 1
        elif left is not document:
            shortened += 1
    return Plan(
        before=before,
        months=tuple(month for month in months if month.start < before),
        kept=tuple(month for month in months if month.start >= before),
        characters=characters,
        shortened=shortened,
        until=await _until(store, before),
    )


async def prune(store: Store, before: Ms, tell: Callable[[int], None]) -> None:
    """Drops everything before `before`, the first moment of a month.

    Args:
        tell: is told how many documents were deleted or changed by now.

    Raises:
        StoreUnavailable: an outage; prune again.
        StoreConflict: others write so much that it finds no moment for it.
    """
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        tell(done)

    await store.refresh()
    months = [month.start for month in await store.months() if month.start < before]
    until = Commit(pruned_until=await _until(store, before))
    await _again(lambda: store.commit(until))
    await _characters(store, before, count)
    for start in months:
        await _world_events(store, start, next_month(start), count)
    gone = superseded(await store.stored_spans(), before - DAY)
    for first in range(0, len(gone), PAGE):
        spans = Commit(gone_spans=gone[first : first + PAGE])
        await _again(lambda spans=spans: store.commit(spans))  # type: ignore[misc]
    while dropped := await _again(lambda: store.drop_sessions(before, PAGE)):
        count(dropped)
    await store.refresh()


async def _until(store: StoreSource, before: Ms) -> Ms:
    """Up to where the sessions reach that began before `before`; no less than that."""
    latest = await store.latest_end(before)
    return before if latest is None else max(before, latest)


async def _characters(store: Store, before: Ms, count: Callable[[int], None]) -> None:
    page: list[str] = []
    async for document in store.all_characters():
        if without(document, before) is not document:
            page.append(document.character_id)
        if len(page) == PAGE:
            count(await _page_of_characters(store, page, before))
            page.clear()
    count(await _page_of_characters(store, page, before))


async def _page_of_characters(store: Store, character_ids: Sequence[str], before: Ms) -> int:
    """Shortens or deletes them as they are now; returns how many that were."""

    async def attempt() -> int:
        changed: list[Stored] = []
        gone: dict[str, int] = {}
        for key, (document, version) in (await store.load_characters(character_ids)).items():
            left = without(document, before)
            if left is None:
                gone[key] = version
            elif left is not document:
                changed.append(Stored(left, version))
        if changed or gone:
            await store.commit(Commit(characters=changed, gone_characters=gone))
        return len(changed) + len(gone)

    return await _again(attempt)


async def _again(attempt: Callable[[], Awaitable[T]]) -> T:
    """What it returns once no other writer came in between."""
    for _ in range(CONFLICTS):
        try:
            return await attempt()
        except StoreConflict:
            continue
    return await attempt()


async def _world_events(store: Store, start: Ms, end: Ms, count: Callable[[int], None]) -> None:
    # An alert that is over as soon as it began has no moment in which it ran.
    alerts = [
        alert.alert_id for alert in await store.alerts(start - 1, end, None) if alert.changes[0].at >= start
    ]
    locks = [lock.lock_id for lock in await store.locks(start, end, None)]
    for first in range(0, max(len(alerts), len(locks)), PAGE):
        commit = Commit(gone_alerts=alerts[first : first + PAGE], gone_locks=locks[first : first + PAGE])
        await _again(lambda commit=commit: store.commit(commit))  # type: ignore[misc]
        count(len(commit.gone_alerts) + len(commit.gone_locks))


def without(document: CharacterDocument, before: Ms) -> CharacterDocument | None:
    """A character without its sessions from before: itself if it has none, None if it has no others.

    An event from before, or from before its last dropped session ended, is too old for it from then on: the sessions that it would change are
    not known any more.
    """
    sessions = document.state.sessions
    kept = tuple(session for session in sessions if session.start >= before)
    if len(kept) == len(sessions):
        return document
    if not kept:
        return None
    last = sessions[-len(kept) - 1]
    edge = before if last.logout_ts is None else max(before, last.logout_ts)
    return msgspec.structs.replace(document, state=Character(kept, edge, last.logout_ts))


def superseded(spans: Sequence[Span], before: Ms) -> list[tuple[int, Ms]]:
    """World and start of the spans that ended before `before`, but for the last one of each world, behind which a gap may begin."""
    ended: dict[int, Span] = {}
    gone = []
    for span in spans:
        if span.end < before:
            known = ended.get(span.world_id)
            ended[span.world_id] = span if known is None or span.end > known.end else known
            if known is not None:
                other = known if ended[span.world_id] is span else span
                gone.append((other.world_id, other.start))
    return gone
