"""Ten weeks of two worlds, with gaps, sessions that go on, and ends that are estimates: who leaves is the same from SQLite and from Elasticsearch."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from bench import year
from ps2daemon.analysis.answers import EffectAnswer
from ps2daemon.analysis.documents import effect_document
from ps2daemon.analysis.leaving import By, EffectQuery, effect, gather
from ps2daemon.model.records import DAY, MINUTE, Ms
from ps2daemon.model.sittings import NEVER
from ps2daemon.store.base import Store, StoreReader
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.sqlite import SqliteStore
from tests.elasticsearch import EACH_MAJOR, address, indices
from tests.memory_reader import rows_of

END: Final[Ms] = 1_775_001_600_000 + 17 * MINUTE
"""Two days after the clocks were put forward in Berlin."""
YEAR: Final = year.Year(END, scale=0.02, days=70, worlds=(10, 40))


async def answers(reader: StoreReader) -> list[EffectAnswer]:
    found = []
    kinds: tuple[By | None, ...] = (None, "world", "ended")
    for by in kinds:
        query = EffectQuery(
            start=END - 30 * DAY, end=END, worlds=YEAR.worlds, zone=ZoneInfo("Europe/Berlin"), by=by
        )
        found.append(effect_document(effect(query, await gather(reader, query))))
    return found


async def filled(store: Store) -> list[EffectAnswer]:
    assert await year.fill(store, YEAR) > 10_000
    return await answers(store)


@EACH_MAJOR
async def test_the_answer_is_that_of_sqlite(major: int, tmp_path: Path) -> None:
    async with aclosing(await SqliteStore.open(tmp_path / "ps2.db")) as store:
        expected = await filled(store)
        sittings = await store.sittings(0, END, YEAR.worlds)
    assert any(NEVER in columns.logouts for columns in sittings.values())
    used = [row for row in expected[0]["effects"] if row["n"]]
    assert {row["event"] for row in used} >= {"alert_end", "alert_end_and_lock"}
    assert all(row["share"] and row["control_share"] for row in used if row["minutes"] == 30)
    async with (
        indices(address(major)) as here,
        aclosing(await ElasticsearchStore.open(here.settings())) as other,
    ):
        assert await filled(other) == expected
        assert rows_of(await other.sittings(0, END, YEAR.worlds)) == rows_of(sittings)
