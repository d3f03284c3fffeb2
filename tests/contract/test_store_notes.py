"""The operator's notes in any `Store`."""

from __future__ import annotations

import pytest

from ps2daemon.model.notes import make_note
from ps2daemon.model.records import HOUR, MINUTE
from ps2daemon.store.base import Commit
from tests.contract.stores import BACKENDS, T0, Backend, all_of, character, session

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

PATCH = make_note(T0, (), "Patch 5.3")
MERGE = make_note(T0 + HOUR, (13, 10), 'Merge "of two", <b>worlds</b>')
ELSEWHERE = make_note(T0 + 2 * HOUR, (40,), "Événement 🎉")


async def test_a_note_is_there_when_it_was_written(backend: Backend) -> None:
    async with backend() as (store, reader):
        for note in (ELSEWHERE, PATCH, MERGE):
            await store.write_note(note)
        async with reader() as other:
            for each in (store, other):
                assert await each.notes(None, None, None) == [PATCH, MERGE, ELSEWHERE]
                assert (await each.counts())["notes"] == 3


async def test_a_window_and_worlds_choose_notes(backend: Backend) -> None:
    async with backend() as (store, _):
        for note in (PATCH, MERGE, ELSEWHERE):
            await store.write_note(note)
        assert await store.notes(T0, T0 + HOUR, None) == [PATCH], "the end is left out"
        assert await store.notes(T0 + 1, None, None) == [MERGE, ELSEWHERE]
        assert await store.notes(None, T0, None) == []
        assert await store.notes(None, None, [10]) == [PATCH, MERGE], "one about all is about each"
        assert await store.notes(None, None, [1]) == [PATCH]
        assert await store.notes(None, None, []) == [PATCH]


async def test_a_note_that_is_written_twice_is_one(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.write_note(MERGE)
        await store.write_note(make_note(MERGE.at, (10, 13, 10), f" {MERGE.text} "))
        assert await store.notes(None, None, None) == [MERGE]


async def test_a_note_can_be_removed_once(backend: Backend) -> None:
    async with backend() as (store, _):
        await store.write_note(PATCH)
        await store.write_note(MERGE)
        assert await store.remove_note(PATCH.note_id)
        assert await store.notes(None, None, None) == [MERGE]
        assert not await store.remove_note(PATCH.note_id)
        for none in (
            "nothing-of-the-kind",
            "..",
            "../_doc/" + MERGE.note_id,
            MERGE.note_id + "?refresh=true",
            "*",
        ):
            assert not await store.remove_note(none)
        assert await store.notes(None, None, None) == [MERGE]


async def test_a_reader_writes_none(backend: Backend) -> None:
    async with backend() as (store, reader):
        await store.write_note(PATCH)
        async with reader() as other:
            with pytest.raises(ValueError, match="for reading"):
                await other.write_note(MERGE)  # type: ignore[attr-defined]
            with pytest.raises(ValueError, match="for reading"):
                await other.remove_note(PATCH.note_id)  # type: ignore[attr-defined]
        assert await store.notes(None, None, None) == [PATCH]


async def test_pruning_leaves_notes_and_whoever_notes_leaves_what_is_recorded(backend: Backend) -> None:
    played = character("1", session(T0, T0 + MINUTE))
    async with backend() as (store, _):
        await store.commit(all_of(played))
        before = await store.load_characters(["1"])
        await store.write_note(PATCH)
        await store.commit(Commit(pruned_until=T0 + HOUR))
        assert await store.notes(None, None, None) == [PATCH]
        assert await store.load_characters(["1"]) == before
