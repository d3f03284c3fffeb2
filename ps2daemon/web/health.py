"""`/healthz`, `/readyz` and `/metrics` of a running daemon.

`/healthz` is the process's own life: 200 while no stage hangs, 503 otherwise. `/readyz` says stage by stage what works: 200 if all of it
does, 503 otherwise; an outage that is waited out is not ready but sound. Both answer with the same JSON. Serving reads only, and must
happen in the event loop of the stages, so that no answer is an answer too.
"""

from __future__ import annotations

from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ps2daemon.health import Health
from ps2daemon.web.responses import AsciiQueries

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def health_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """The ASGI app."""

    def report(ok: bool) -> Response:
        stages = health.stages()
        body = {
            "ok": ok,
            "healthy": all(stage.sound for stage in stages),
            "ready": health.ready(),
            "stages": stages,
        }
        return Response(
            msgspec.json.format(msgspec.json.encode(body)) + b"\n",
            status_code=200 if ok else 503,
            media_type="application/json",
            headers=_HEADERS,
        )

    async def healthz(request: Request) -> Response:
        return report(health.sound())

    async def readyz(request: Request) -> Response:
        return report(health.ready())

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), headers=_HEADERS | {"Content-Type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
        middleware=[Middleware(AsciiQueries)],
    )
