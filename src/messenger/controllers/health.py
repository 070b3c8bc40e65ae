"""Health and metrics."""

from __future__ import annotations

import hmac

from litestar import Controller, Response, get
from prometheus_client import CONTENT_TYPE_LATEST

from messenger.errors import NotFound, Unauthenticated
from messenger.schemas.health import ReadyView
from messenger.web.request import WireRequest
from messenger.web.responses import WireResponse
from messenger.web.route_options import probe, public


class HealthController(Controller):
    """Health checks and metrics."""

    tags = ("Health",)

    @get("/health/live", operation_id="getLiveness", summary="Liveness check: the process responds", **probe())
    async def live(self) -> dict[str, str]:
        return {"status": "ok"}

    @get(
        "/health/ready",
        operation_id="getReadiness",
        summary="Readiness check: database and migrations",
        **probe(also={503: ReadyView}),
    )
    async def ready(self, request: WireRequest) -> WireResponse[ReadyView]:
        ready = await request.services.health.ready()
        if ready.status == "ok":
            return WireResponse(ready)
        return WireResponse(ready, status_code=503, headers={"Retry-After": "1"})

    @get(
        "/metrics",
        operation_id="getMetrics",
        summary="Prometheus metrics (requires the metrics token)",
        media_type="text/plain",
        **public(NotFound, Unauthenticated),
    )
    async def metrics(self, request: WireRequest) -> Response[bytes]:
        expected = request.app.state.metrics_token
        if not expected:
            raise NotFound
        given = (request.header(b"authorization") or "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {expected}".encode()):
            raise Unauthenticated
        return Response(
            request.app.state.metrics.render(), media_type=CONTENT_TYPE_LATEST.replace("; charset=utf-8", "")
        )
