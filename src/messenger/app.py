"""The ASGI application: routes and handlers over a container."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, License, SecurityScheme, Server

from messenger import __version__
from messenger.config import Settings
from messenger.container import Container
from messenger.controllers import CONTROLLERS
from messenger.errors import NotFound
from messenger.server.draining import draining
from messenger.web.application import Application
from messenger.web.fast_path import FastPath
from messenger.web.parameters import read_request
from messenger.web.problems import EXCEPTION_HANDLERS
from messenger.web.request import WireBody, WireRequest
from messenger.web.response_hook import ResponseHook
from messenger.web.responses import WireResponse

MAX_BODY_BYTES = 1024 * 1024


def create_app(container: Container) -> Litestar:
    """Build the application over a container."""
    settings = container.settings

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with container.running():
            with draining(container.drain):
                yield

    response_hook = ResponseHook(container.metrics, access_log=settings.access_log == "on")
    app = Application(
        route_handlers=CONTROLLERS,
        request_class=WireRequest,
        response_class=WireResponse,
        dto=WireBody,
        return_dto=None,
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        before_request=read_request,
        before_send=[response_hook],
        cors_config=_cors(settings),
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=_openapi(settings),
        state=_state(container),
    )
    app.services = container.services
    app.fast_path = FastPath(app, container.services, response_hook, checks_origin=bool(settings.cors_origins))
    return app


def _state(container: Container) -> State:
    settings = container.settings
    return State(
        {
            "services": container.services,
            "realtime": container.realtime,
            "metrics": container.metrics,
            "metrics_token": settings.metrics_token,
            "socket_origins": (*settings.cors_origins, *filter(None, [settings.public_origin])),
            "demo": settings.serves_demo,
            "password_min_length": settings.password_min_length,
            "public_origin": settings.public_origin,
        }
    )


def _cors(settings: Settings) -> CORSConfig | None:
    """Allow exactly the configured origins, and expose the headers that the API documents to pages."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After"],
    )


_DESCRIPTION = """\
Accounts, contacts, presence, messages, events, avatars, encrypted secrets and calls.

A refused request is answered with a problem (RFC 9457), whose `code` is stable. Besides the codes that each operation
lists, an unknown path is answered with 404 `not_found`, and an unsupported method with 405 `method_not_allowed` and the
`Allow` header. After 429, 503 and 507, wait for `Retry-After` seconds before the next attempt.
"""


def _openapi(settings: Settings) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Messenger",
        version=__version__,
        description=_DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", description="An access token")}
        ),
        security=[{"bearer": []}],
        servers=[Server(url=settings.public_base or "/")],
        create_examples=False,
        openapi_router=Router("/openapi-unused", route_handlers=[], guards=[_hide], include_in_schema=False),
    )


def _hide(_: Any, __: Any) -> None:
    # Litestar's own documentation pages load scripts from other hosts; `/docs` replaces them.
    raise NotFound
