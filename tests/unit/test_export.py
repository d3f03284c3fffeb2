"""Exports: what is selected, as NDJSON and as CSV, and how much memory it takes."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import AsyncIterator, Collection

import msgspec
import pytest

from ps2daemon.analysis import documents
from ps2daemon.cli.export import SLICE, Selection, export_documents
from ps2daemon.model.alerts import Alert, derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import STARTED, Metagame
from ps2daemon.model.notes import make_note
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.sessions import Character, Session
from ps2daemon.model.times import parse_iso
from ps2daemon.store.base import CharacterDocument, SessionDocument, StoreReader
from tests.memory_reader import MemoryReader, session
from tests.unit.test_documents import LOCK

T = parse_iso("2026-03-01T12:00:00Z")


def an_alert(start: Ms, world_id: int = 10) -> Alert:
    change = Metagame(world_id, start // MINUTE, 147, STARTED, start, 2, 30.0, 30.0, 40.0)
    (alert,) = derive([change], [], start + DAY)[0].values()
    return alert


READER = MemoryReader(
    sessions=[
        session("1", T, T + HOUR),
        session("2", T + DAY, None, world_id=40, faction_id=0),
        session("3", None, T + 2 * DAY),
    ],
    spans=[Span(10, T, T + HOUR, "start"), Span(10, T + 2 * HOUR, T + 40 * DAY, "connection")],
    alerts=[an_alert(T + day * DAY) for day in range(40)] + [an_alert(T, 40)],
    locks=[msgspec.structs.replace(LOCK, lock_id=f"10-2-{day}", at=T + day * DAY) for day in range(40)],
    characters=[
        CharacterDocument(
            "1",
            'A "quoted", <b>name</b>',
            1,
            T,
            Character((Session(world_id=10, login_ts=T, logout_ts=T + HOUR, ended_by="logout"),)),
        ),
        CharacterDocument("2", None, 0, None, Character((Session(world_id=40, login_ts=T + DAY),))),
    ],
    notes=[make_note(T, (), "Patch"), make_note(T + DAY, (40, 10), "A merge")],
)


async def exported(
    what: str,
    kind: str = "ndjson",
    start: Ms | None = None,
    end: Ms | None = None,
    worlds: tuple[int, ...] = (),
) -> bytes:
    file = io.BytesIO()
    await export_documents(READER, Selection(what, start, end, worlds), file, kind)
    return file.getvalue()


async def test_sessions_to_the_letter() -> None:
    assert (await exported("sessions")).decode().splitlines() == [
        '{"character_id":"1","world_id":10,"faction_id":1,"login_ts":"2026-03-01T12:00:00Z","logout_ts":"2026-03-01T13:00:00Z",'
        '"online":{"gte":"2026-03-01T12:00:00Z","lte":"2026-03-01T13:00:00Z"},"started_by":"login","ended_by":"logout"}',
        '{"character_id":"2","world_id":40,"faction_id":0,"login_ts":"2026-03-02T12:00:00Z",'
        '"online":{"gte":"2026-03-02T12:00:00Z"},"started_by":"login","ended_by":null}',
        '{"character_id":"3","world_id":10,"faction_id":1,"logout_ts":"2026-03-03T12:00:00Z","started_by":"unknown","ended_by":"logout"}',
    ]


async def test_sessions_as_csv() -> None:
    assert (await exported("sessions", "csv")).decode().splitlines() == [
        "character_id,world_id,faction_id,login_ts,logout_ts,online.gte,online.lte,started_by,ended_by,ended_after,ended_before",
        "1,10,1,2026-03-01T12:00:00Z,2026-03-01T13:00:00Z,2026-03-01T12:00:00Z,2026-03-01T13:00:00Z,login,logout,,",
        "2,40,0,2026-03-02T12:00:00Z,,2026-03-02T12:00:00Z,,login,,,",
        "3,10,1,,2026-03-03T12:00:00Z,,,unknown,logout,,",
    ]


async def test_sessions_of_a_window_and_a_world() -> None:
    lines = (await exported("sessions", start=T + 1, end=T + 2 * DAY)).splitlines()
    assert [msgspec.json.decode(line)["character_id"] for line in lines] == ["2"]
    lines = (await exported("sessions", worlds=(10,))).splitlines()
    assert [msgspec.json.decode(line)["character_id"] for line in lines] == ["1", "3"]


async def test_characters() -> None:
    lines = [msgspec.json.decode(line) for line in (await exported("characters")).splitlines()]
    assert lines == [documents.character_document(each) for each in READER.characters]
    rows = list(csv.DictReader(io.StringIO((await exported("characters", "csv")).decode())))
    assert tuple(rows[0]) == documents.CHARACTER_FIELDS
    assert rows[0]["character_name"] == 'A "quoted", <b>name</b>'
    assert msgspec.json.decode(rows[0]["login_logout_events"])[0]["world_id"] == 10
    assert rows[1]["character_name"] == ""


@pytest.mark.parametrize(
    ("selected", "ids"),
    [
        ({"worlds": (40,)}, ["2"]),
        ({"end": T + HOUR}, ["1"]),
        ({"start": T + HOUR}, ["2"]),  # an open session reaches into any later window
        ({"start": T + 2 * DAY, "worlds": (10,)}, []),
    ],
)
async def test_characters_that_were_there(selected: dict[str, int], ids: list[str]) -> None:
    lines = (await exported("characters", **selected)).splitlines()  # type: ignore[arg-type]
    assert [msgspec.json.decode(line)["character_id"] for line in lines] == ids


async def test_alerts_each_once_though_read_in_slices() -> None:
    lines = [msgspec.json.decode(line) for line in (await exported("alerts")).splitlines()]
    assert len(lines) == 41
    assert len({line["alert_id"] for line in lines}) == 41
    assert [line["start"] for line in lines] == sorted(line["start"] for line in lines)
    assert set(documents.ALERT_FIELDS) >= set(lines[0])
    # One that began before the window and ran into it counts; it ends after 90 minutes.
    lines = [
        msgspec.json.decode(line)
        for line in (await exported("alerts", start=T + HOUR, end=T + DAY + HOUR)).splitlines()
    ]
    assert [line["world_id"] for line in lines] == [10, 40, 10]


async def test_an_alert_across_two_slices_comes_once() -> None:
    start = T + SLICE - 30 * MINUTE
    reader = MemoryReader((), [Span(10, T, T + 3 * SLICE, "start")], [an_alert(start)])
    file = io.BytesIO()
    await export_documents(reader, Selection("alerts", None, None, ()), file, "ndjson")
    assert file.getvalue().count(b"\n") == 1


async def test_alerts_as_csv() -> None:
    lines = (await exported("alerts", "csv", end=T + 1, worlds=(10,))).decode().splitlines()
    assert lines == [
        "alert_id,world_id,instance_id,metagame_event_id,name,type,zone_id,start,end,ended_by,canceled,"
        "territory_start.vs,territory_start.nc,territory_start.tr,territory_end.vs,territory_end.nc,territory_end.tr,winner,lock_id",
        f"10-{T // MINUTE}-2026-03-01,10,{T // MINUTE},147,Indar Superiority,9,2,"
        "2026-03-01T12:00:00Z,2026-03-01T13:30:00Z,duration,false,30.0,30.0,40.0,,,,,",
    ]


async def test_locks() -> None:
    lines = [msgspec.json.decode(line) for line in (await exported("locks")).splitlines()]
    assert [line["lock_id"] for line in lines] == [f"10-2-{day}" for day in range(40)]
    assert tuple(lines[0]) == documents.LOCK_FIELDS
    lines = (await exported("locks", "csv", start=T, end=T + 1)).decode().splitlines()
    assert lines[0] == ",".join(documents.LOCK_FIELDS)
    assert lines[1:] == ["10-2-0,10,2,2026-03-01T12:00:00Z,3,0,147,30.0,,40.0,10-5-2026-03-01"]


async def test_coverage() -> None:
    assert (await exported("coverage")).decode().splitlines() == [
        '{"world_id":10,"from":"2026-03-01T12:00:00Z","to":"2026-03-01T13:00:00Z","after":"start"}',
        '{"world_id":10,"from":"2026-03-01T14:00:00Z","to":"2026-04-10T12:00:00Z","after":"connection"}',
    ]
    # Spans that only touch the window are not of it.
    assert (
        await exported("coverage", "csv", start=T + HOUR, end=T + 2 * HOUR)
    ).decode() == "world_id,from,to,after\n"


class Endless(MemoryReader):
    """Many sessions that exist only while they are looked at."""

    async def all_sessions(
        self, start: Ms | None, end: Ms | None, worlds: Collection[int] | None
    ) -> AsyncIterator[SessionDocument]:
        for number in range(5_000):
            yield session(str(number), T + number, T + number + HOUR)


class Nowhere(io.RawIOBase):
    written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        size = len(data)  # type: ignore[arg-type]
        self.written += size
        return size


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
async def test_memory_stays_flat(kind: str) -> None:
    reader: StoreReader = Endless()
    target = Nowhere()
    tracemalloc.start()
    try:
        await export_documents(reader, Selection("sessions", None, None, ()), io.BufferedWriter(target), kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert target.written > 500_000
    assert peak < 250_000


async def test_notes() -> None:
    first, second = (msgspec.json.decode(line) for line in (await exported("notes")).splitlines())
    assert (first["at"], first["world_ids"], first["text"]) == ("2026-03-01T12:00:00Z", [], "Patch")
    assert second["world_ids"] == [10, 40]
    assert (await exported("notes", "csv", T, T + DAY, (1,))).decode().splitlines()[1:] == [
        f"{first['note_id']},2026-03-01T12:00:00Z,[],Patch"
    ]
