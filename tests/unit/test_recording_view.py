"""What the view Recording is told: of the coverage, of a daemon that runs or does not, and nothing that is private."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from ps2daemon.analysis.documents import Document
from ps2daemon.config import Settings, load_settings
from ps2daemon.errors import QueueDamaged
from ps2daemon.health import Health
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR, MINUTE, CoverageRecord
from ps2daemon.model.times import iso, parse_iso
from ps2daemon.probe import STAGES, queue_of, stages_of
from ps2daemon.queue.deadletters import SqliteDeadLetters, summarize_dead_letters
from ps2daemon.queue.frames import encode_frame
from ps2daemon.queue.sqlite import SqliteProducer
from ps2daemon.telemetry import Telemetry
from ps2daemon.web import openapi, recording
from ps2daemon.web.app import page_app
from ps2daemon.web.health import health_app
from ps2daemon.web.recording import Daemon, public
from ps2daemon.web.server import serve_app
from tests.memory_reader import MemoryReader
from tests.pages import FixedClock

NOW = parse_iso("2026-03-15T18:00:00Z")
RECORD = CoverageRecord(world_id=10, start=NOW - HOUR, end=NOW, after="start")
SPANS = [
    Span(10, NOW - 30 * DAY, NOW - 12 * HOUR, "start"),
    Span(10, NOW - 6 * HOUR, NOW - MINUTE, "connection"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "service-id").write_text("s:secretive\n")
    file = tmp_path / "config.toml"
    file.write_text(
        '[census]\nservice_id_file = "service-id"\n[[stream]]\nworlds = [10]\n'
        f'[queue]\ndirectory = "{tmp_path}/private queue"\n[store]\npath = "{tmp_path}/store.db"\n[web]\nmetrics_port = 1\n'
    )
    return load_settings(file, {})


async def ask(reader: MemoryReader, probe: recording.Probe | None, **params: str) -> httpx.Response:
    app = page_app(reader, FixedClock(NOW), daemon=probe)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://page.test"
    ) as client:
        return await client.get("/api/v1/recording", params=params)


async def test_the_coverage_of_a_window() -> None:
    body = (await ask(MemoryReader(spans=SPANS), None, **{"from": "-24h"})).json()
    (world,) = body["worlds"]
    assert world["share"] == pytest.approx(0.75, abs=0.002)
    assert [gap["reason"] for gap in world["unrecorded"]] == ["the connection was lost"]
    assert world["unrecorded"][0]["from"] == iso(NOW - 12 * HOUR)
    assert [span["to"] for span in world["covered"]] == [iso(NOW - 12 * HOUR), iso(NOW - MINUTE)]
    assert body["daemon"] is None
    assert body["store"] == {"records_until": iso(NOW - MINUTE), "behind_s": None}


async def test_a_window_that_cannot_be_is_refused() -> None:
    answer = await ask(MemoryReader(spans=SPANS), None, **{"from": "2026-03-14", "to": "2026-03-13"})
    assert answer.status_code == 400
    assert "reversed" in answer.json()["error"]


async def test_only_the_latest_gaps_are_listed_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_GAPS", 3)
    spans = [Span(10, NOW - (n + 1) * HOUR, NOW - n * HOUR - MINUTE, "connection") for n in range(10)]
    (world,) = (await ask(MemoryReader(spans=spans), None, **{"from": "-10h"})).json()["worlds"]
    assert world["gaps"] == 9
    assert [gap["to"] for gap in world["unrecorded"]] == [iso(NOW - n * HOUR) for n in (3, 2, 1)]


async def test_no_daemon_is_said_plainly_and_nothing_private(settings: Settings, tmp_path: Path) -> None:
    answer = await ask(MemoryReader(spans=SPANS), Daemon(settings).facts)
    daemon = answer.json()["daemon"]
    assert [stage["state"] for stage in daemon["stages"]] == ["not running"] * len(STAGES)
    assert daemon["queue"] == {"error": "it can't be read, or there is none yet"}
    assert daemon["dead_letters"] == {"count": 0, "latest": []}
    assert str(tmp_path) in queue_of(settings.queue.directory)["error"], "what is hidden is there to hide"
    assert str(tmp_path) not in answer.text


async def test_what_waits_and_what_died(settings: Settings, tmp_path: Path) -> None:
    directory = settings.queue.directory
    producer = await SqliteProducer.open(directory, max_bytes=2**20)
    await producer.append(encode_frame([RECORD]))
    letters = await SqliteDeadLetters.open(directory)
    for number in range(7):
        other = CoverageRecord(world_id=10, start=NOW - HOUR, end=NOW + number, after="start")
        await letters.put(encode_frame([other]), f"reason {number} in {directory}/queue.db", 1, NOW + number)
    answer = await ask(MemoryReader(spans=SPANS), Daemon(settings).facts)
    await letters.aclose()
    await producer.aclose()
    daemon = answer.json()["daemon"]
    assert daemon["queue"]["records"] == 1
    assert daemon["dead_letters"]["count"] == 7
    assert [each["reason"] for each in daemon["dead_letters"]["latest"]] == [
        f"reason {number} in …" for number in (6, 5, 4, 3, 2)
    ]
    assert answer.json()["store"]["behind_s"] is not None
    assert str(tmp_path) not in answer.text


async def test_all_of_it_is_as_described_and_in_rows(settings: Settings) -> None:
    producer = await SqliteProducer.open(settings.queue.directory, max_bytes=2**20)
    await producer.append(encode_frame([RECORD]))
    letters = await SqliteDeadLetters.open(settings.queue.directory)
    await letters.put(encode_frame([RECORD]), "nobody can read it", 1, NOW)
    for facts in (Daemon(settings).facts, _without_queue):
        reader = MemoryReader(spans=SPANS)
        body = (await ask(reader, facts, **{"from": "-24h"})).json()
        described = openapi.schema()
        answer = {"$ref": "#/components/schemas/RecordingAnswer", "components": described["components"]}
        assert not [error.message for error in Draft202012Validator(answer).iter_errors(body)]
        text = (await ask(reader, facts, **{"from": "-24h", "format": "csv"})).text
        rows: dict[str, list[dict[str, str]]] = {}
        for row in csv.DictReader(io.StringIO(text)):
            rows.setdefault(row["kind"], []).append(row)
        (world,), daemon = body["worlds"], body["daemon"]
        assert [(row["world_id"], float(row["share"]), int(row["count"])) for row in rows["world"]] == [
            (str(world["world_id"]), world["share"], world["gaps"])
        ]
        assert [(row["from"], row["to"], row["reason"]) for row in rows["gap"]] == [
            (gap["from"], gap["to"], gap["reason"]) for gap in world["unrecorded"]
        ]
        assert [(row["name"], row["state"], row["ready"]) for row in rows["stage"]] == [
            (stage["name"], stage["state"], str(stage["ready"]).lower()) for stage in daemon["stages"]
        ]
        (store,), (queue,), (dead,) = rows["store"], rows["queue"], rows["dead letters"]
        assert store["to"] == body["store"]["records_until"]
        for cell, fact in (
            ("count", "records"),
            ("bytes", "bytes"),
            ("reason", "error"),
            ("from", "oldest_at"),
        ):
            assert queue[cell] == str(daemon["queue"].get(fact, ""))
        for cell, fact in (("count", "count"), ("reason", "error")):
            assert dead[cell] == str(daemon["dead_letters"].get(fact, ""))
        assert [(row["from"], row["reason"]) for row in rows.get("dead letter", [])] == [
            (each["at"], each["reason"]) for each in daemon["dead_letters"].get("latest", [])
        ]
    await letters.aclose()
    await producer.aclose()


async def _without_queue() -> Document:
    return {
        "stages": recording._stages({}, ()),
        "queue": {"error": "it is gone"},
        "dead_letters": {"error": "they can't be read"},
    }


async def test_dead_letters_that_cannot_be_read(settings: Settings) -> None:
    settings.queue.directory.mkdir()
    (settings.queue.directory / "dead-letters.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(QueueDamaged):
        summarize_dead_letters(settings.queue.directory, 5)
    body = (await ask(MemoryReader(), Daemon(settings).facts)).json()
    assert body["daemon"]["dead_letters"] == {"error": "they can't be read"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the disk of /srv/ps2/queue has 3 MiB left", "the disk of … has 3 MiB left"),
        ("can't reach http://user:word@10.0.0.1:9200: refused", "can't reach … refused"),
        ("asked s:abc123 for\nit", "asked … for it"),
        ("service-id=abc123 is refused", "… is refused"),
        ("Census answers 503; waiting", "Census answers 503; waiting"),
        ("my queue is full", "… is full"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_what_the_public_sees(text: str, seen: str) -> None:
    assert public(text, ["my queue"]) == seen


@pytest.fixture
async def answering(nursery: trio.Nursery) -> AsyncIterator[tuple[int, Health]]:
    health, stopping = Health(), trio.Event()
    app: Starlette = health_app(health, CollectorRegistry())

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve_app(app, host="127.0.0.1", port=0, stopping=stopping, task_status=task_status)

    yield await nursery.start(run), health
    stopping.set()


async def test_a_daemon_that_runs_says_how_it_is(answering: tuple[int, Health], settings: Settings) -> None:
    port, health = answering
    web = type(settings.web)(host="127.0.0.1", port=0, metrics_port=port, cache_directory=Path("cache"))
    control = health.add("subscriber", Telemetry())
    control.degraded("no room in /srv/queue")
    said: dict[str, Any] = await trio.to_thread.run_sync(stages_of, web)
    assert said["subscriber"]["state"] == "degraded"
    stages = recording._stages(said, ())
    assert stages[0] | {"idle_s": 0} == {
        "name": "subscriber",
        "state": "degraded",
        "why": "no room in …",
        "restarts": 0,
        "idle_s": 0,
        "ready": False,
    }
    assert [stage["state"] for stage in stages[1:]] == ["not running"] * 3


async def test_however_many_look_the_daemon_is_asked_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def facts(of: Settings) -> dict[str, Any]:
        asked.append(of)
        return {}

    monkeypatch.setattr(recording, "_facts", facts)
    daemon = Daemon(settings)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(daemon.facts)
    assert asked == [settings]
