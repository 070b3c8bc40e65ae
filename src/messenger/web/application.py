"""The application: Litestar, behind the handling of hot routes, HEAD and refused handshakes."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from litestar import Litestar
from litestar.enums import HttpMethod
from litestar.routes import HTTPRoute

from messenger.services import Services
from messenger.web.fast_path import FastPath
from messenger.web.handshakes import SOCKET_PATH, refusing
from messenger.web.head import as_get, without_body


class Application(Litestar):
    """Litestar behind `FastPath`."""

    services: Services
    fast_path: FastPath | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for route in self.routes:
            # For `Allow` in responses to OPTIONS.
            if isinstance(route, HTTPRoute) and HttpMethod.GET in route.methods:
                route.methods.add(HttpMethod.HEAD)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket" and scope["path"] != SOCKET_PATH:
                send = refusing(scope, send)
            await super().__call__(scope, receive, send)
            return
        fast_path = self.fast_path
        request = fast_path.read(scope) if fast_path is not None else None
        if fast_path is None or request is None:
            scope["started"] = perf_counter()
            if scope["method"] == "HEAD":
                scope, send = as_get(scope), without_body(send)
            await super().__call__(scope, receive, send)
        else:
            await fast_path.respond(request, receive, send)

    @classmethod
    def get_route_handler_map(cls, value: Any) -> dict[str, Any]:
        """Skip the framework's OPTIONS responses of single handlers: there is one response for each path."""
        return {
            path: {method: handler for method, handler in handlers.items() if method != HttpMethod.OPTIONS}
            for path, handlers in super().get_route_handler_map(value).items()
        }
