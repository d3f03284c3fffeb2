"""Events are counted before somebody asks for them."""

from __future__ import annotations

import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trio

from ps2daemon.analysis import counting
from ps2daemon.analysis import effect as effects
from ps2daemon.analysis.documents import effect_document
from ps2daemon.analysis.leaving import Answer, EffectQuery, Facts, effect, gather
from ps2daemon.analysis.sittings import Times
from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.alerts import Alert
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE
from ps2daemon.model.sittings import Part
from ps2daemon.store.base import Commit, StoreReader
from ps2daemon.store.kept import QUIET_SECONDS, KeptReader
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.web import api
from ps2daemon.web.ahead import count_ahead
from tests.contract.stores import continent_lock
from tests.memory_reader import session
from tests.pages import client_of

D = 20_000 * DAY
DAYS = 50
LOCKS = [continent_lock(D + day * (DAY + 35 * MINUTE) + HOUR) for day in range(DAYS - 2)]
"""Each at another time of day, so that every control lies on a day of its own."""


async def asked(reader: StoreReader, days: int, zone: str) -> Answer:
    end = D + DAYS * DAY
    query = EffectQuery(start=end - days * DAY, end=end, worlds=(10,), zone=ZoneInfo(zone))
    return effect(query, await gather(reader, query))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/Chicago"])
async def test_what_was_counted_ahead_is_not_counted_again(
    zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history has the end of summer time in it."""
    store = await SqliteStore.open(tmp_path / "ps2.db")
    people = [
        session(f"{number}-{day}", D + day * DAY + number * HOUR, D + day * DAY + (number + 3) * HOUR)
        for day in range(DAYS)
        for number in range(21)
    ]
    await store.commit(Commit(sessions=people, locks=LOCKS, spans=[Span(10, D, D + DAYS * DAY, "start")]))
    kept = KeptReader(store)
    effects._weights.cache_clear()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.keep_warm)
            await count_ahead(kept)
            nursery.cancel_scope.cancel()
    counted: list[int] = []
    counts = counting._counts

    def told(part: Part, at: Times) -> counting.Small:
        counted.append(len(part))
        return counts(part, at)

    monkeypatch.setattr(counting, "_counts", told)
    drawn = effects._weights.cache_info().misses
    await asked(kept, DAYS, zone)
    assert effects._weights.cache_info().misses == drawn > 0
    for days in (DAYS, 14):
        found = await asked(kept, days, zone)
        assert sum(row.n for row in found.whole.effects) > 20
        assert counted == []
        assert effect_document(found) == effect_document(await asked(store, days, zone))
        assert counted != []
        counted.clear()
    await store.aclose()


async def test_who_waits_for_an_answer_is_waited_for_until_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it is counted, after all is read."""
    store = await SqliteStore.open(tmp_path / "ps2.db")
    await store.commit(Commit(spans=[Span(10, D, D + DAYS * DAY, "start")]))
    kept = KeptReader(store)
    may_end, begun = threading.Event(), trio.Event()

    def slow(query: EffectQuery, facts: Facts) -> Answer:
        trio.from_thread.run_sync(begun.set)
        assert may_end.wait(10)
        return effect(query, facts)

    monkeypatch.setattr(api, "effect", slow)
    async with client_of(kept, D + DAYS * DAY) as client, trio.open_nursery() as nursery:
        await kept.quiet()
        nursery.start_soon(client.get, "/api/v1/effect?world=10")
        with trio.fail_after(10):
            await begun.wait()
        with trio.move_on_after(3 * QUIET_SECONDS) as waited:
            await kept.quiet()
        assert waited.cancelled_caught
        may_end.set()
        with trio.fail_after(10):
            await kept.quiet()
    await store.aclose()


@pytest.mark.parametrize("spans", [[], [Span(10, D, D, "start")]])
async def test_a_store_of_which_nothing_is_left_has_nothing_to_count(
    spans: list[Span], tmp_path: Path
) -> None:
    """As after everything was pruned."""
    store = await SqliteStore.open(tmp_path / "ps2.db")
    await store.commit(Commit(spans=spans))
    kept = KeptReader(store)
    await kept.warm()
    kept.warmed.set()
    await count_ahead(kept)
    await store.aclose()


async def test_a_store_that_cannot_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqliteStore.open(tmp_path / "ps2.db")
    kept = KeptReader(store)
    kept.warmed.set()

    async def refuses(*args: object) -> list[Alert]:
        raise StoreUnavailable("gone")

    await store.commit(Commit(spans=[Span(10, D, D + DAYS * DAY, "start")]))
    monkeypatch.setattr(store, "alerts", refuses)
    monkeypatch.setattr(store, "endless", refuses)
    await count_ahead(kept)
    await store.aclose()
