"""All routes and socket methods, as the application and the socket define them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute, WebSocketRoute

from messenger.web.socket_methods import METHODS

# The framework mounts its own pages there, and `messenger.app` hides them.
HIDDEN = "/openapi-unused"

Route = tuple[str, str]


def handlers(app: Litestar) -> Iterator[tuple[Route, HTTPRouteHandler]]:
    """Every HTTP route that is not hidden, with its handler."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and not route.path_format.startswith(HIDDEN):
            for handler in route.route_handlers:
                # The framework answers OPTIONS with the allowed methods.
                for method in sorted(set(handler.http_methods) - {"OPTIONS"}):
                    yield (method, route.path_format), handler


def inventory(app: Litestar, methods: Iterable[str] = METHODS) -> set[Route]:
    """Every route and method of this server."""
    sockets = {("OPEN", route.path_format) for route in app.routes if isinstance(route, WebSocketRoute)}
    return {route for route, _ in handlers(app)} | sockets | {("SOCKET", name) for name in methods}
