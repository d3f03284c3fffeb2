"""Two years of history, asked of SQLite and of Elasticsearch alike: the answers must be the same, bucket by bucket.

What is asked is all that the analysis and the page ask. The store in SQLite is filled with made-up documents, and copied.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from secrets import token_hex
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
import trio

from ps2daemon.analysis.overlay import Period, overlay
from ps2daemon.analysis.population import Population, PopulationQuery, population
from ps2daemon.config import ElasticsearchSettings
from ps2daemon.errors import StoreUnavailable
from ps2daemon.model.alerts import Alert, Lock
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.model.times import iso, to_ms
from ps2daemon.store.base import Commit, Count, SessionDocument
from ps2daemon.store.copying import copy_store
from ps2daemon.store.elasticsearch import ElasticsearchStore, searching
from ps2daemon.store.elasticsearch.keeping import remove_store
from ps2daemon.store.sqlite import SqliteStore
from tests.elasticsearch import EACH_MAJOR, address, indices
from tests.front import Answer, Asked, Upstream, front
from tests.memory_reader import MemoryReader, changed, rows_of, session
from tests.synthetic import fortnight

END: Final[Ms] = 1_772_323_200_000  # 2026-03-01T00:00Z
DAYS: Final = 730
START: Final[Ms] = END - DAYS * DAY
PEOPLE: Final = {1: 4.8, 10: 5.4, 13: 3.0, 17: 2.5, 19: 1.5, 40: 2.6, 1000: 0.5}
"""Online at the busiest hour, by world: some 200,000 sessions in all."""
WORLDS: Final = tuple(PEOPLE)
CHARACTERS: Final = 20_000
EVENT_DAYS: Final = 60
"""Alerts and locks are only of these last days: each takes as long to copy as ten sessions."""
STEP: Final = 5 * MINUTE
SERVERS_BUCKETS: Final = 65_536
"""More in one answer is an error."""
PAGE: Final = 2000
DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "elasticsearch.md"


class Pair(NamedTuple):
    """The same history twice, and as it was made up."""

    made: MemoryReader
    sqlite: SqliteStore
    elasticsearch: ElasticsearchStore


class History(NamedTuple):
    """What was made up, and the file that it is in."""

    made: MemoryReader
    path: Path


def made_up() -> MemoryReader:
    """The history: sessions of every kind, on the edges of buckets and months and between them."""
    rng = Random(1)
    sessions: list[SessionDocument] = []
    spans: list[Span] = []
    alerts: list[Alert] = []
    locks: list[Lock] = []
    for place, (world, people) in enumerate(PEOPLE.items()):
        gaps = (
            (400 * DAY + place * HOUR, 5 * HOUR),
            (90 * DAY + place * 1_003, 3 * MINUTE + 7),  # around the first moment of a month
            (3 * DAY, 20 * HOUR),
            (8 * HOUR, 3 * MINUTE),
        )
        part = fortnight(END, worlds=(world,), days=DAYS, people=people, gaps=gaps, seed=world)
        sessions += (_varied(rng, each, len(sessions) + number) for number, each in enumerate(part.sessions))
        spans += part.stored_spans
        alerts += (alert for alert in part.stored_alerts if alert.changes[0].at >= END - EVENT_DAYS * DAY)
        locks += (lock for lock in part.stored_locks if lock.at >= END - EVENT_DAYS * DAY)
        sessions += _on_edges(world)
    return MemoryReader(sessions, spans, alerts, locks)


def _varied(rng: Random, made: SessionDocument, number: int) -> SessionDocument:
    """Makes some of the kinds that the simple history has not."""
    login, logout = made.login_ts, made.logout_ts
    assert login is not None
    fate = rng.random()
    faction = 0 if rng.random() < 0.03 else made.faction_id
    ended_by = made.ended_by
    after = before = not_before = None
    start: Ms | None = login
    if logout is None:
        pass
    elif fate < 0.01:
        start, not_before = None, rng.choice([None, login - DAY, logout - MINUTE])
    elif fate < 0.02:
        logout = login
    elif fate < 0.05:
        start, logout = login // STEP * STEP, (logout // STEP + 1) * STEP
    elif fate < 0.09:
        ended_by, after, before = "offline_check", login, 2 * logout - login
    elif fate < 0.6:
        start, logout = login + rng.randrange(500), logout + rng.randrange(500, 1000)
    found = session(
        f"5428{number % CHARACTERS:015d}",
        start,
        logout,
        world_id=made.world_id,
        faction_id=faction,
        not_before=not_before,
    )
    return msgspec.structs.replace(found, ended_by=ended_by, ended_after=after, ended_before=before)


def _on_edges(world: int) -> Iterator[SessionDocument]:
    """Across the edge of each month, up to it and from it on; and some that last for days."""
    for number, edge in enumerate(_months()):
        for kind, (before, behind) in enumerate(((HOUR, HOUR), (HOUR, 0), (0, HOUR), (1, 1), (3 * DAY, DAY))):
            key = f"5429{world:06d}{kind}{number:08d}"
            yield session(key, edge - before, edge + behind, world_id=world, faction_id=1 + kind % 4)


def _months() -> list[Ms]:
    """The first moments of the months."""
    edges = (
        to_ms(datetime(year, month, 1, tzinfo=UTC)) for year in (2024, 2025, 2026) for month in range(1, 13)
    )
    return [edge for edge in edges if START < edge < END]


async def _write(made: MemoryReader, path: Path) -> None:
    store = await SqliteStore.open(path)
    try:
        for first in range(0, len(made.sessions), PAGE):
            await store.commit(Commit(sessions=made.sessions[first : first + PAGE]))
        await store.commit(
            Commit(
                alerts=made.stored_alerts,
                locks=made.stored_locks,
                spans=made.stored_spans,
                records_until=END,
            )
        )
    finally:
        await store.aclose()


async def _copy(path: Path, settings: ElasticsearchSettings) -> None:
    source = await SqliteStore.open(path, read_only=True)
    target = await ElasticsearchStore.open(settings)
    try:
        await copy_store(source, target, lambda _: None)
    finally:
        await source.aclose()
        await target.aclose()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Made once."""
    found = History(made_up(), tmp_path_factory.mktemp("history") / "ps2.db")
    trio.run(_write, *found)
    return found


@pytest.fixture(scope="module", params=EACH_MAJOR.args[1])
def settings(request: pytest.FixtureRequest, history: History) -> Iterator[ElasticsearchSettings]:
    """Where a copy of the history is, once for each server."""
    found = ElasticsearchSettings(urls=(address(request.param),), index_prefix=f"test-{token_hex(6)}")
    try:
        trio.run(_copy, history.path, found)
        yield found
    finally:
        trio.run(remove_store, found)


async def _opened(history: History, settings: ElasticsearchSettings) -> Pair:
    return Pair(
        history.made,
        await SqliteStore.open(history.path, read_only=True),
        await ElasticsearchStore.open(settings, read_only=True),
    )


@pytest.fixture
async def pair(history: History, settings: ElasticsearchSettings) -> Any:
    """Both, open for reading."""
    found = await _opened(history, settings)
    yield found
    await found.sqlite.aclose()
    await found.elasticsearch.aclose()


async def test_what_both_hold_is_the_same(pair: Pair) -> None:
    made, sqlite, elastic = pair
    counts = await elastic.counts()
    assert counts == await sqlite.counts()
    assert counts["sessions"] == len(made.sessions) >= 200_000
    assert counts["open"] == sum(each.logout_ts is None for each in made.sessions) > 0
    assert min(counts["alerts"], counts["locks"]) > 0
    assert counts["spans"] == 5 * len(WORLDS)
    assert await elastic.worlds() == await sqlite.worlds() == sorted(WORLDS)
    months = await elastic.months()
    assert months == await sqlite.months()
    assert len(months) == 25
    assert await elastic.records_until() == await sqlite.records_until() == END
    assert await elastic.stored_spans() == await sqlite.stored_spans()
    for before in (*_months(), END):
        reached = await elastic.latest_end(before)
        assert reached is not None
        known = await sqlite.latest_end(before)
        assert known is not None
        # What ended before may be left out.
        assert max(reached, before) == max(known, before)


async def test_who_is_online_at_any_instant(pair: Pair) -> None:
    made, sqlite, elastic = pair
    rng = Random(2)
    edges = [at for each in rng.sample(made.sessions, 5) for at in (each.login_ts, each.logout_ts) if at]
    instants = [at + by for at in (*edges, *rng.sample(_months(), 3), START) for by in (-1, 0, 1)]
    for at in (*instants, START - 7 * HOUR, END - 1, END + DAY):
        wanted = _counted(await made.online_at(at, WORLDS))
        assert _counted(await sqlite.online_at(at, WORLDS)) == wanted
        assert _counted(await elastic.online_at(at, WORLDS)) == wanted
    assert _counted(await elastic.online_at(END, [10])) == _counted(await sqlite.online_at(END, [10])) != {}
    assert await elastic.online_at(END, []) == []


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        pytest.param(END - 30 * HOUR, END - 29 * HOUR, MINUTE, id="an hour by the minute"),
        pytest.param(END - 28 * DAY, END, STEP, id="28 days"),
        pytest.param(START, END, HOUR, id="two years by the hour"),
        pytest.param(END - 9 * DAY + 1, END - 2 * DAY - 123, STEP, id="odd milliseconds"),
        pytest.param(END - 91 * DAY - 7, END - 89 * DAY, 7 * SECOND, id="odd steps over a month's edge"),
        pytest.param(END - 12 * HOUR, END + 6 * HOUR, MINUTE, id="beyond the end"),
        pytest.param(START - DAY, START + DAY, MINUTE, id="before the beginning"),
        pytest.param(END - DAY, END - DAY + 1, DAY, id="one instant"),
    ],
)
async def test_the_population_bucket_by_bucket(pair: Pair, start: Ms, end: Ms, step: Ms) -> None:
    query = PopulationQuery(start=start, end=end, step=step, worlds=WORLDS)
    wanted = await population(pair.sqlite, query)
    _same(await population(pair.elasticsearch, query), wanted)
    assert any(any(series.online) for series in wanted.series)


async def test_one_empire_of_some_worlds(pair: Pair) -> None:
    query = PopulationQuery(start=END - 3 * DAY, end=END, step=MINUTE, worlds=(1000, 10), factions=(3, 0))
    wanted = await population(pair.sqlite, query)
    assert [(series.world_id, series.faction_id) for series in wanted.series] == [
        (1000, 3),
        (1000, 0),
        (10, 3),
        (10, 0),
    ]
    _same(await population(pair.elasticsearch, query), wanted)


@pytest.mark.parametrize(
    ("by", "back", "start", "days"),
    [
        pytest.param("week", 4, END - 7 * DAY, 7, id="weeks"),
        # Clocks were put back on 2025-10-26 and forward on 2025-03-30.
        pytest.param("day", 3, to_ms(datetime(2025, 10, 26, 22, tzinfo=UTC)), 2, id="a day of 25 hours"),
        pytest.param("day", 2, to_ms(datetime(2025, 3, 29, 23, tzinfo=UTC)), 2, id="a day of 23 hours"),
    ],
)
async def test_the_overlay(pair: Pair, by: Period, back: int, start: Ms, days: int) -> None:
    query = PopulationQuery(start=start, end=start + days * DAY, step=15 * MINUTE, worlds=(1, 10))
    zone = ZoneInfo("Europe/Berlin")
    wanted = await overlay(pair.sqlite, query, by, back, zone)
    found = await overlay(pair.elasticsearch, query, by, back, zone)
    _same(found.current, wanted.current)
    assert found.earlier == wanted.earlier
    assert found.comparisons == wanted.comparisons
    assert found.trends == wanted.trends
    assert any(any(series.online) for each in wanted.earlier for series in each.series)


async def test_spans_alerts_locks_and_starts_that_were_not_seen(pair: Pair) -> None:
    made, sqlite, elastic = pair
    edge = made.stored_spans[0].end
    alert, lock = made.stored_alerts[100], made.stored_locks[50]
    assert alert.end is not None
    windows = [
        (START, END),
        (END - 14 * DAY, END - 13 * DAY),
        (END, END + DAY),
        (edge, edge),
        (edge + 1, edge + 2),
    ]
    windows += [(alert.end, alert.end + 1), (alert.end - 1, alert.end), (lock.at, lock.at + 1)]
    for start, end in windows:
        for worlds in (WORLDS, (10, 1000), ()):
            assert await elastic.spans(worlds, start, end) == await sqlite.spans(worlds, start, end)
            assert _by_id(await elastic.alerts(start, end, worlds)) == _by_id(
                await sqlite.alerts(start, end, worlds)
            )
            assert _by_id(await elastic.locks(start, end, worlds)) == _by_id(
                await sqlite.locks(start, end, worlds)
            )
            sittings = await elastic.sittings(start, end, worlds)
            assert rows_of(sittings) == rows_of(await sqlite.sittings(start, end, worlds))
            found = await elastic.unknown_starts(start, end, worlds)
            assert sorted(found, key=repr) == sorted(
                await sqlite.unknown_starts(start, end, worlds), key=repr
            )
    assert alert in await elastic.alerts(alert.end - 1, alert.end, [alert.world_id])
    assert alert not in await elastic.alerts(alert.end, alert.end + 1, [alert.world_id])
    assert lock in await elastic.locks(lock.at, lock.at + 1, None)
    assert any(each.not_before is None for each in await elastic.unknown_starts(START, END, WORLDS))


async def test_what_fits_into_no_answer_comes_in_several(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sqlite, elastic = pair
    start = END - 30 * DAY
    monkeypatch.setattr(searching, "ROWS", 300)
    monkeypatch.setattr(searching, "PAGE", 3)
    sittings = await sqlite.sittings(start, END, WORLDS)
    assert max(len(each.logins) for each in sittings.values()) > 3 * 300
    assert rows_of(await elastic.sittings(start, END, WORLDS)) == rows_of(sittings)
    starts = await sqlite.unknown_starts(start, END, WORLDS)
    assert len(starts) > 3
    assert sorted(await elastic.unknown_starts(start, END, WORLDS), key=repr) == sorted(starts, key=repr)


async def test_versions_and_what_is_kept_by_them_are_of_the_same_copy(
    settings: ElasticsearchSettings, pair: Pair
) -> None:
    copies: list[str | None] = []

    async def remembered(asked: Asked, upstream: Upstream) -> Answer:
        if asked.path.endswith("/_msearch"):
            copies.extend(
                msgspec.json.decode(head).get("preference") for head in asked.body.splitlines()[::2]
            )
        else:
            copies.append(parse_qs(asked.query).get("preference", [None])[0])
        return await upstream(asked)

    async with front(settings.urls[0]) as proxy:
        elastic = await ElasticsearchStore.open(
            msgspec.structs.replace(settings, urls=(proxy.url,)), read_only=True
        )
        try:
            await elastic.worlds()
            proxy.rule = remembered
            days = range(END // DAY - 1, END // DAY)
            await elastic.day_versions(days, WORLDS)
            await elastic.ended(days.start * DAY, days.stop * DAY, 10)
            await elastic.lasting(days, END, 10)
            await elastic.change_versions(days, WORLDS)
            await elastic.ending_versions(days, WORLDS)
            await elastic.endings(days.start * DAY, days.stop * DAY, 10)
            await elastic.endless(END, WORLDS)
            await elastic.changes(days.start * DAY, days.stop * DAY, HOUR, WORLDS)
        finally:
            await elastic.aclose()
    assert len(copies) == 1 + 1 + 1 + 2 + 3 + 3 + 1 + 2
    assert len(set(copies)) == 1
    assert copies[0]


async def test_a_window_that_no_answer_has_room_for_is_split(
    history: History, settings: ElasticsearchSettings, pair: Pair
) -> None:
    asked: list[int] = []

    async def counting(request: Asked, upstream: Upstream) -> Answer:
        if request.path == "/_msearch":
            asked.extend(_buckets(msgspec.json.decode(line)) for line in request.body.splitlines()[1::2])
        return await upstream(request)

    # The first instant is odd, so that no bucket of the server begins where one of its own would.
    start, end = START + 1, END + 1
    async with front(settings.urls[0]) as proxy:
        proxy.rule = counting
        elastic = await ElasticsearchStore.open(
            msgspec.structs.replace(settings, urls=(proxy.url,)), read_only=True
        )
        try:
            found = await elastic.changes(start, end, STEP, WORLDS)
        finally:
            await elastic.aclose()
    assert len(asked) > 2
    assert max(asked) <= SERVERS_BUCKETS
    # Logins and logouts, each of all buckets but the first.
    assert sum(asked) > 2 * (DAYS * DAY // STEP - 1) * len(WORLDS)
    wanted = changed(await history.made.changes(start, end, STEP, WORLDS))
    assert changed(found) == wanted
    assert changed(await pair.sqlite.changes(start, end, STEP, WORLDS)) == wanted


def _buckets(body: dict[str, Any]) -> int:
    """How many buckets an answer could have, if people of all empires came and went in each."""
    (worlds,) = (each for each in body["query"]["bool"]["filter"] if "terms" in each)
    (times,) = (
        bounds
        for each in body["query"]["bool"]["filter"]
        if "range" in each
        for bounds in each["range"].values()
    )
    histogram = body["aggs"]["worlds"]["aggs"]["factions"]["aggs"]["times"]["date_histogram"]
    step = int(histogram["fixed_interval"].removesuffix("ms"))
    empires = body["aggs"]["worlds"]["aggs"]["factions"]["terms"]["size"]
    buckets = -((times["gt"] - times["lte"]) // step)
    return int(len(worlds["terms"]["world_id"]) * (1 + empires * (1 + buckets)))


@EACH_MAJOR
async def test_an_index_that_was_made_anew_lives_another_life(major: int) -> None:
    """As one does that was restored: both count their documents from where others were before."""
    async with indices(address(major)) as found:
        store = await ElasticsearchStore.open(found.settings())
        try:
            month = f"{found.prefix}-sessions-2026.02"
            written = []
            for number in ("1", "2"):
                await store.commit(Commit(sessions=[session(number, END - DAY, END - HOUR)]))
                await store.refresh()
                days = range(END // DAY - 1, END // DAY)
                written.append((await store.day_versions(days, (10,)), await store.lives()))
                await found.ask("DELETE", f"/{month}")
            (version, lives), (same, others) = written
            assert version == same
            assert (
                set(lives)
                == set(others)
                == {f"{found.prefix}-{kind}/0" for kind in ("alerts", "locks", "sessions-2026.02")}
            )
            assert {part for part in lives if lives[part] != others[part]} == {f"{month}/0"}
            for kind in ("alerts", "locks"):
                await found.ask("DELETE", f"/{found.prefix}-{kind}")
            with pytest.raises(StoreUnavailable):
                await store.lives()
        finally:
            await store.aclose()


# The request that people are told to copy


def test_the_documentation_has_one_such_request() -> None:
    assert len(_requests()) == 1


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param(END - 30 * DAY, END - 30 * DAY, id="an instant"),
        pytest.param(END - 30 * DAY, END - 30 * DAY + 90 * MINUTE + 1, id="an hour and a half"),
        pytest.param(END - 90 * DAY - HOUR, END - 90 * DAY + HOUR, id="over a month's edge"),
    ],
)
async def test_the_documented_request_says_who_was_online(
    settings: ElasticsearchSettings, pair: Pair, first: Ms, last: Ms
) -> None:
    url, body = _request(settings, first, last)
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
        answer = await client.post(url, content=body, headers={"content-type": "application/json"})
    assert answer.is_success, answer.text
    worlds = answer.json()["aggregations"]["worlds"]["buckets"]
    sessions = {
        (int(world["key"]), int(empire["key"])): (empire["doc_count"], empire["people"]["value"])
        for world in worlds
        for empire in world["empires"]["buckets"]
    }
    wanted: dict[tuple[int, int], list[str]] = {}
    async for each in pair.sqlite.all_sessions(None, last + 1, None):
        login, logout = each.login_ts, each.logout_ts
        if login is not None and (logout is None or (logout > first and logout > login)):
            wanted.setdefault((each.world_id, each.faction_id), []).append(each.character_id)
    assert sessions == {key: (len(found), len(set(found))) for key, found in wanted.items()}
    if first == last:
        online = _counted(await pair.sqlite.online_at(first, WORLDS))
        assert {key: number for key, (number, _) in sessions.items()} == online


def _requests() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```", DOCUMENTATION.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "/_search" in block and '"online"' in block]


def _request(settings: ElasticsearchSettings, first: Ms, last: Ms) -> tuple[str, str]:
    """Address and body of what is documented, for this server and these times."""
    (command,) = _requests()
    words = shlex.split(command)
    assert words[0] == "curl"
    (url,) = (word for word in words if word.startswith("http://127.0.0.1:9200/ps2-sessions-"))
    (body,) = (word for word in words if word.lstrip().startswith("{"))
    url = url.replace("http://127.0.0.1:9200/ps2", f"{settings.urls[0]}/{settings.index_prefix}")
    for bound, at in (("gte", first), ("lte", last)):
        body, times = re.subn(rf'"{bound}": "[^"]+"', f'"{bound}": "{_with_milliseconds(at)}"', body)
        assert times == 1
    return url, body


def _with_milliseconds(at: Ms) -> str:
    text = iso(at)
    return text if "." in text else text.replace("Z", ".000Z")


# What is compared


def _counted(counts: Sequence[Count]) -> dict[tuple[int, int], int]:
    assert len({count[:2] for count in counts}) == len(counts)
    return {(count.world_id, count.faction_id): count.online for count in counts if count.online}


def _by_id(found: Sequence[Alert] | Sequence[Lock]) -> dict[str, Alert | Lock]:
    """In order of time in both; what is of one moment may come in any order."""
    times = [each.changes[0].at if isinstance(each, Alert) else each.at for each in found]
    assert times == sorted(times)
    return {each.alert_id if isinstance(each, Alert) else each.lock_id: each for each in found}


def _same(found: Population, wanted: Population) -> None:
    assert found.times == wanted.times
    assert found.spans == wanted.spans
    for one, other in zip(found.series, wanted.series, strict=True):
        assert (one.world_id, one.faction_id) == (other.world_id, other.faction_id)
        differing = [
            (iso(at), got, expected)
            for at, got, expected in zip(found.times, one.online, other.online, strict=True)
            if got != expected
        ]
        assert not differing[:5]
