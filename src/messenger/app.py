"""create_app: routes and handlers over a container. Nothing else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.types import Message, Scope

from messenger import __version__
from messenger.config import Settings
from messenger.container import Container
from messenger.controllers import CONTROLLERS
from messenger.controllers._problems import EXCEPTION_HANDLERS
from messenger.controllers._wire import WireBody, WireRequest, WireResponse, read_body
from messenger.draining import draining
from messenger.errors import NotFound

logger = logging.getLogger("messenger.access")

MAX_BODY_BYTES = 1024 * 1024

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"referrer-policy", b"no-referrer"),
    # JSON or MessagePack, as the client asks.
    (b"vary", b"accept"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_NO_STORE = (b"cache-control", b"no-store")
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


def create_app(container: Container) -> Litestar:
    """The ASGI application over a container."""
    settings = container.settings

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with container.running():
            with draining(container.drain):
                yield

    return Litestar(
        route_handlers=CONTROLLERS,
        request_class=WireRequest,
        response_class=WireResponse,
        dto=WireBody,
        return_dto=None,
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        before_request=read_body,
        before_send=[_finish(container)],
        cors_config=_cors(settings),
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=_openapi(),
        state=State(
            {
                "services": container.services,
                "realtime": container.realtime,
                "metrics": container.metrics,
                "metrics_token": settings.metrics_token,
                "cors_origins": settings.cors_origins,
                "demo": settings.serves_demo,
            }
        ),
    )


def _cors(settings: Settings) -> CORSConfig | None:
    """The exact origins of the settings; a page may read the headers that the contract tells clients to heed."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After"],
    )


def _finish(container: Container) -> Any:
    """The last touch on every answer, those that no route made included: safe headers, a metric, a line of log."""
    access_log = container.settings.access_log == "on"

    async def finish(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        headers = list(message.get("headers", ()))
        present = {name.lower() for name, _ in headers}
        headers.extend(_SECURITY_HEADERS)
        for name, value in (_NO_STORE, _NO_CONTENT):
            if name not in present:
                headers.append((name, value))
        message["headers"] = headers
        told: dict[str, Any] = scope  # type: ignore[assignment]
        # Some server programs pass on any word as a method: no client makes labels.
        method = told["method"] if told["method"] in _METHODS else "OTHER"
        route = told.get("path_template") or "unknown"
        seconds = perf_counter() - told["started"] if "started" in told else 0.0
        container.metrics.request(method, route, message["status"], seconds)
        if access_log:
            logger.info("%s %s %d %.1fms", method, route, message["status"], seconds * 1000)

    return finish


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Messenger",
        version=__version__,
        description="Accounts, consent-based contacts, presence, messages, events, avatars, the safe, TURN.",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", description="An access token")}
        ),
        security=[{"bearer": []}],
        create_examples=False,
        openapi_router=Router("/openapi-unused", route_handlers=[], guards=[_hide], include_in_schema=False),
    )


def _hide(_: Any, __: Any) -> None:
    # Litestar serves its own pages beside the document, with scripts from elsewhere; `/docs` is ours.
    raise NotFound
