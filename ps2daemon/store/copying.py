"""Copying one store into another, of whatever kind.

Both are walked through side by side in one order, and what the target lacks, has otherwise or has too much is set right. So a copy that
was broken off goes on by being made again: what is there already costs its reading, nothing is there twice, and what became of the source
in between is followed. Memory stays flat.

The target is marked as a copy until it is complete, and only an empty store or one with this mark is written to: what goes into
another's data can't be got out again. Coverage comes last, when the counts of all else have been found equal, so that no reader sees time
vouched for whose sessions are not there.

Nobody else may write to either meanwhile; who did is found out by the counts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from ps2daemon.errors import StoreConflict, StoreMismatch, StoreUnavailable
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.records import Ms
from ps2daemon.model.times import next_month
from ps2daemon.store.base import (
    CharacterDocument,
    Commit,
    SessionDocument,
    Store,
    Stored,
    StoreDescription,
    StoreSource,
    first_known,
)

PAGE: Final = 2000
"""Documents written with one commit: some 10 MB of characters."""
ATTEMPTS: Final = 8
FIRST_WAIT: Final = 0.25
"""Seconds; doubled each time, so that an outage of half a minute is waited out."""

T = TypeVar("T")
K = TypeVar("K", int, str)


class Copied(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        counts: of the documents that are in both now, as `StoreReader.counts`.
        written, deleted: documents of this call; none if everything was there.
    """

    counts: dict[str, int]
    written: int
    deleted: int


def place_of(description: StoreDescription) -> str:
    """A store's kind and place, which tell it from any other."""
    return f"{description.kind} {description.place}"


async def copy_store(source: StoreSource, target: Store, tell: Callable[[int], None]) -> Copied:
    """Makes `target` the same as `source`.

    Args:
        tell: is told how many documents of the source are in the target by now.

    Raises:
        StoreMismatch: the target holds something else, or the source is no complete store, or a document can't be taken.
        StoreConflict: somebody else writes into one of the two.
        StoreUnavailable: an outage that lasts.
    """
    copying = _Copying(source, target, tell)
    if not await copying.begin():
        return Copied(await source.counts(), 0, 0)
    await copying.sessions()
    await copying.characters()
    await copying.events()
    return await copying.finish()


class _Copying:
    """One copying, step by step."""

    def __init__(self, source: StoreSource, target: Store, tell: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._tell = tell
        self._done = 0
        self._written = 0
        self._deleted = 0

    async def begin(self) -> bool:
        """Marks the target; returns False if it is a complete copy already."""
        source, target = self._source, self._target
        place, other = place_of(await source.describe()), place_of(await target.describe())
        unfinished = await source.copying()
        if unfinished is not None:
            raise StoreMismatch(
                f"{place} is itself a copy of {unfinished} that is not complete: complete it first"
            )
        marked = await target.copying()
        if marked is None:
            await target.refresh()
            if await _same(source, target):
                return False
            if not await _empty(target):
                held = _listed(await target.counts())
                raise StoreMismatch(
                    f"{other} holds data of its own already ({held}), and a copy would mix the two: copy to another place, or remove that "
                    "one first"
                )
        elif marked != place:
            raise StoreMismatch(
                f"{other} holds a part of a copy of {marked}: complete that, or remove it first, or copy to another place"
            )
        await target.mark_copying(place)
        await self._commit(Commit(pruned_until=await source.pruned_until()))
        await target.refresh()
        return True

    async def sessions(self) -> None:
        """All sessions, in the order of their first known time."""
        new: list[SessionDocument] = []
        gone: list[str] = []

        async def flush() -> None:
            await self._commit(Commit(sessions=tuple(new), gone_sessions=tuple(gone)))
            self._count(len(new), len(new), len(gone))
            new.clear()
            gone.clear()

        async with (
            _closing(self._source.all_sessions(None, None, None)) as wanted,
            _closing(self._target.all_sessions(None, None, None)) as present,
            _closing(_side_by_side(wanted, present, first_known)) as pairs,
        ):
            async for want, have in pairs:
                if want == have:
                    self._count(len(want))
                    continue
                there, ids = set(have), {document.session_id for document in want}
                missing = [document for document in want if document not in there]
                new += missing
                gone += (document.session_id for document in have if document.session_id not in ids)
                self._count(len(want) - len(missing))
                if len(new) + len(gone) >= PAGE:
                    await flush()
        await flush()

    async def characters(self) -> None:
        """All characters, by id."""
        new: list[CharacterDocument] = []
        gone: list[str] = []

        async def flush() -> None:
            await self._characters(new, gone)
            self._count(len(new), len(new), len(gone))
            new.clear()
            gone.clear()

        async with (
            _closing(self._source.all_characters()) as wanted,
            _closing(self._target.all_characters()) as present,
            _closing(_side_by_side(wanted, present, lambda document: document.character_id)) as pairs,
        ):
            async for want, have in pairs:
                if want == have:
                    self._count(len(want))
                    continue
                new += want
                if not want:
                    gone += (document.character_id for document in have)
                if len(new) + len(gone) >= PAGE:
                    await flush()
        await flush()

    async def _characters(self, new: Sequence[CharacterDocument], gone: Sequence[str]) -> None:
        """Writes them with the versions that they have now."""

        async def attempt() -> dict[str, str]:
            ids = [*(document.character_id for document in new), *gone]
            known = {key: stored.version for key, stored in (await self._target.load_characters(ids)).items()}
            commit = Commit(
                characters=[Stored(document, known.get(document.character_id, 0)) for document in new],
                gone_characters={key: known[key] for key in gone if key in known},
            )
            return dict((await self._target.commit(commit)).refused)

        refused = await _patiently(attempt)
        if refused:
            key, why = next(iter(refused.items()))
            raise StoreMismatch(
                f"{len(refused)} characters can't be taken by the target, {key} among them: {why}"
            )

    async def events(self) -> None:
        """Alerts and locks, month by month, notes, and what is unsettled."""
        starts = {month.start for month in await self._source.months()}
        starts |= {month.start for month in await self._target.months()}
        for start in sorted(starts):
            await self._alerts(start, next_month(start))
            await self._locks(start, next_month(start))
        await self._notes()
        unsettled, known = await self._source.unsettled(), await self._target.unsettled()
        ids = {entry.id for entry in unsettled}
        await self._commit(
            Commit(unsettled=unsettled, settled=[entry.id for entry in known if entry.id not in ids])
        )

    async def _alerts(self, start: Ms, end: Ms) -> None:
        async def of(store: StoreSource) -> dict[str, Alert]:
            # One that is over as soon as it began has no moment in which it ran.
            found = await store.alerts(start - 1, end, None)
            return {alert.alert_id: alert for alert in found if start <= alert.changes[0].at}

        wanted, present = await of(self._source), await of(self._target)
        new = [alert for key, alert in wanted.items() if present.get(key) != alert]
        gone = [key for key in present if key not in wanted]
        await self._commit(Commit(alerts=new, gone_alerts=gone))
        self._count(len(wanted), len(new), len(gone))

    async def _locks(self, start: Ms, end: Ms) -> None:
        async def of(store: StoreSource) -> dict[str, Lock]:
            return {lock.lock_id: lock for lock in await store.locks(start, end, None)}

        wanted, present = await of(self._source), await of(self._target)
        new = [lock for key, lock in wanted.items() if present.get(key) != lock]
        gone = [key for key in present if key not in wanted]
        await self._commit(Commit(locks=new, gone_locks=gone))
        self._count(len(wanted), len(new), len(gone))

    async def _notes(self) -> None:
        wanted = await self._source.notes(None, None, None)
        present = await self._target.notes(None, None, None)
        new = [note for note in wanted if note not in present]
        gone = [note for note in present if note not in wanted]
        for note in new:
            await _patiently(partial(self._target.write_note, note))
        for note in gone:
            await _patiently(partial(self._target.remove_note, note.note_id))
        self._count(len(wanted), len(new), len(gone))

    async def finish(self) -> Copied:
        """Compares the counts, writes the coverage, and takes the mark away."""
        source, target = self._source, self._target
        await target.refresh()
        await self._check(await source.counts(), await target.counts(), but="spans")
        spans, known = await source.stored_spans(), await target.stored_spans()
        starts = {(span.world_id, span.start) for span in spans}
        had = {(span.world_id, span.start): span for span in known}
        new = [span for span in spans if had.get((span.world_id, span.start)) != span]
        gone = [key for key in had if key not in starts]
        for first in range(0, len(new), PAGE):
            await self._commit(Commit(spans=new[first : first + PAGE]))
        await self._commit(
            Commit(
                gone_spans=gone,
                records_until=await source.records_until(),
                pruned_until=await source.pruned_until(),
            )
        )
        await target.refresh()
        self._count(len(spans), len(new), len(gone))
        counts = await source.counts()
        await self._check(counts, await target.counts())
        if not await _same(source, target):
            raise StoreConflict("coverage is not the same in both: somebody else writes into one of them")
        await target.mark_copying(None)
        return Copied(counts, self._written, self._deleted)

    async def _check(self, wanted: dict[str, int], found: dict[str, int], but: str = "") -> None:
        for name, number in wanted.items():
            if name != but and found.get(name) != number:
                raise StoreConflict(
                    f"the source has {number:,} {name} and the copy {found.get(name, 0):,}: somebody else writes into one of them; "
                    "stop that, and copy again"
                )

    async def _commit(self, commit: Commit) -> None:
        if commit != _NOTHING:
            await _patiently(lambda: self._target.commit(commit))

    def _count(self, done: int, written: int = 0, deleted: int = 0) -> None:
        self._done += done
        self._written += written
        self._deleted += deleted
        self._tell(self._done)


_NOTHING: Final = Commit()


async def _empty(store: Store) -> bool:
    return (
        not any((await store.counts()).values())
        and await store.records_until() is None
        and await store.pruned_until() is None
    )


async def _same(source: StoreSource, target: Store) -> bool:
    """Whether all that says how far a store reaches, and how many documents it has, is the same in both."""
    return (
        await source.records_until() == await target.records_until()
        and await source.pruned_until() == await target.pruned_until()
        and await source.counts() == await target.counts()
        and await source.stored_spans() == await target.stored_spans()
        and await source.notes(None, None, None) == await target.notes(None, None, None)
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or "pruned before"


async def _patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns. An answer that was lost makes the next one a conflict, so that both mean: decide again."""
    for number in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except (StoreUnavailable, StoreConflict):
            await trio.sleep(FIRST_WAIT * 2**number)
    return await attempt()


@asynccontextmanager
async def _closing(documents: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Ends an iterator that is a generator in the task that used it, wherever that stopped."""
    try:
        yield documents
    finally:
        if isinstance(documents, AsyncGenerator):
            with trio.CancelScope(shield=True):
                await documents.aclose()


async def _side_by_side(
    wanted: AsyncIterator[T], present: AsyncIterator[T], key: Callable[[T], K]
) -> AsyncGenerator[tuple[list[T], list[T]], None]:
    """What each of two has at each key, in the order of the keys; both are in that order already."""
    async with _closing(_groups(wanted, key)) as ours, _closing(_groups(present, key)) as theirs:
        want, have = await anext(ours, None), await anext(theirs, None)
        while want is not None or have is not None:
            if want is not None and (have is None or want[0] < have[0]):
                yield want[1], []
                want = await anext(ours, None)
            elif have is not None and (want is None or have[0] < want[0]):
                yield [], have[1]
                have = await anext(theirs, None)
            elif want is not None and have is not None:
                yield want[1], have[1]
                want, have = await anext(ours, None), await anext(theirs, None)


async def _groups(
    documents: AsyncIterator[T], key: Callable[[T], K]
) -> AsyncGenerator[tuple[K, list[T]], None]:
    """Those of one key together."""
    group: list[T] = []
    async for document in documents:
        if group and key(document) != key(group[0]):
            yield key(group[0]), group
            group = []
        group.append(document)
    if group:
        yield key(group[0]), group
