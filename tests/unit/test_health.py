"""`/healthz`, `/readyz` and `/metrics`, through the app itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from ps2daemon.health import Health
from ps2daemon.telemetry import Telemetry
from ps2daemon.web.health import health_app


async def get(health: Health, telemetry: Telemetry, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(health_app(health, telemetry.registry))
    async with httpx.AsyncClient(transport=transport, base_url="http://daemon", trust_env=False) as client:
        return await client.get(path)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(CollectorRegistry())


async def test_stage_by_stage(mock_clock: MockClock, telemetry: Telemetry) -> None:
    health = Health(stale_seconds=60)
    subscriber, writer = health.add("subscriber", telemetry), health.add("writer", telemetry)
    subscriber.waiting("for events")
    response = await get(health, telemetry, "/readyz")
    assert response.status_code == 503, "the writer still starts"
    assert response.headers["content-type"].startswith("application/json")
    writer.degraded("the store is away")
    mock_clock.jump(1_000)
    response = await get(health, telemetry, "/readyz")
    assert response.status_code == 503
    body: dict[str, Any] = response.json()
    assert (body["ready"], body["healthy"], body["ok"]) == (False, True, False)
    assert body["stages"] == [
        {
            "name": "subscriber", "state": "waiting", "why": "for events",
            "idle_seconds": 1000.0, "restarts": 0, "ready": True, "sound": True,
        },
        {
            "name": "writer", "state": "degraded", "why": "the store is away",
            "idle_seconds": 1000.0, "restarts": 0, "ready": False, "sound": True,
        },
    ]  # fmt: skip
    assert (await get(health, telemetry, "/healthz")).status_code == 200
    writer.working()
    assert (await get(health, telemetry, "/readyz")).status_code == 200
    mock_clock.jump(61)
    response = await get(health, telemetry, "/healthz")
    assert (response.status_code, response.json()["healthy"]) == (503, False)


async def test_before_there_are_stages(telemetry: Telemetry) -> None:
    health = Health()
    assert (await get(health, telemetry, "/healthz")).status_code == 200
    assert (await get(health, telemetry, "/readyz")).status_code == 503


async def test_metrics_are_what_prometheus_reads(telemetry: Telemetry) -> None:
    telemetry.batch_committed(5, 0.1, 0.2)
    response = await get(Health(), telemetry, "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["ps2_writer_records"].samples[0].value == 5
    assert families["ps2_delay_seconds"].type == "histogram"


@pytest.mark.parametrize("path", ["/", "/healthz/x", "/docs"])
async def test_nothing_else(telemetry: Telemetry, path: str) -> None:
    assert (await get(Health(), telemetry, path)).status_code == 404
