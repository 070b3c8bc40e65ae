"""The fast path: calls the handlers of hot routes directly, without the per-request work of the framework.

A route opts in with `authenticated(fast=True)`. The accepted form of its requests is computed once, at start, from
Litestar's handler. A request of exactly that form goes straight to the handler. Any other request (an unknown
parameter, an invalid number, a body that cannot be decoded, an `Origin` header) takes the framework's path, which
reports the error. The fast path therefore never rejects a request itself, and both paths give the same response:
tests/controllers/test_fast_path.py sends every request over both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, get_type_hints

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg
from litestar.routes import HTTPRoute

from messenger.actor import Bearer
from messenger.errors import MessengerError
from messenger.server.writes import FULL_RESPONSE, lines
from messenger.services import Services
from messenger.web.bodies import TRUSTED_BYTES
from messenger.web.negotiation import MSGPACK, prefers_msgpack
from messenger.web.problems import EXCEPTION_HANDLERS
from messenger.web.request import JSON_TYPES, RequestReader, WireBody, WireRequest, bearer_of
from messenger.web.response_hook import HEADERS, ResponseHook
from messenger.web.responses import WireResponse

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Encoder = Callable[[Any], bytes]

# A number in a path as clients write it; a query value without escapes.
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_NOTHING: dict[str, Any] = {}
_NO_HEADERS: list[tuple[bytes, bytes]] = []


def _encoding(encode: Encoder, media_type: str) -> tuple[Encoder, tuple[bytes, bytes], bytes]:
    """The encoder, its `Content-Type`, and the head of a plain response, up to the value of `Content-Length`."""
    kind = (b"content-type", media_type.encode())
    return encode, kind, lines((kind, *HEADERS)) + b"content-length: "


_JSON, _MSGPACK = _encoding(msgspec.json.encode, "application/json"), _encoding(msgspec.msgpack.encode, MSGPACK)


class FastRequest(RequestReader):
    """A request that the fast path handles; its body, if any, is not read yet."""

    __slots__ = ("_body", "arguments", "authorization", "caller", "route", "scope", "services", "wants_msgpack")

    services: Services
    caller: Bearer
    """Set when the request is handled: an invalid `Authorization` header is reported then."""

    def __init__(
        self, scope: Any, route: _Route, arguments: dict[str, Any], authorization: bytes, wants_msgpack: bool
    ) -> None:
        self.scope = scope
        self.route = route
        self.arguments = arguments
        self.authorization = authorization
        self.wants_msgpack = wants_msgpack
        self._body = b""

    async def body(self) -> bytes:
        return self._body

    async def read_body(self, receive: Receive) -> bytes | None:
        """Return the whole body; None if the client disconnected.

        After `TRUSTED_BYTES` of it, the token is looked up before more is read. Raises `Unauthenticated`.
        """
        message = await receive()
        parts: list[bytes] = []
        size = 0
        while message["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                self._body = parts[0] if len(parts) == 1 else b"".join(parts)
                return self._body
            was_trusted, size = size <= TRUSTED_BYTES, size + len(parts[-1])
            if was_trusted and size > TRUSTED_BYTES:
                await self.services.devices.authenticate(bearer_of(self.authorization.decode("latin-1")))
            message = await receive()
        return None


class _Route:
    """A handler, and how its arguments are read from the path, the query and the body."""

    def __init__(self, pattern: str, handler: HTTPRouteHandler) -> None:
        self.pattern = pattern
        self.handler = handler
        self.method = next(iter(handler.http_methods))
        self.status = handler.status_code
        self.call: Callable[..., Awaitable[Any]] = handler.fn
        self.segment = pattern.partition("{")[2].rstrip("}")
        parameters = dict(handler.parsed_fn_signature.parameters)
        del parameters["request"]
        self.body: msgspec.json.Decoder[Any] | None = None
        if isinstance(parameters.pop("data", None) and _kwarg(handler, "data"), BodyKwarg):
            self.body = WireBody.decoders[handler.handler_id][0]
        self.max_body = int(handler.resolve_request_max_body_size() or 0)
        self.query = {getattr(_kwarg(handler, name), "name", None) or name: name for name in parameters}
        # The types with which the framework validates them.
        types = get_type_hints(handler.signature_model, include_extras=True)
        required = {name for name, parameter in parameters.items() if parameter.is_required}
        fields: list[Any] = [
            (name, types[name]) if name in required else (name, types[name], parameter.default)
            for name, parameter in parameters.items()
        ]
        self._reader = msgspec.defstruct(f"Parameters_{handler.fn.__name__}", fields, kw_only=True)
        self.bare: dict[str, Any] | None = None if required else _NOTHING
        """The arguments of a request without path and query parameters; None if some are required."""

    def read(self, segment: str, query: bytes) -> dict[str, Any] | None:
        """Return the handler's arguments from the path and the query; None to leave the request to the framework."""
        given: dict[str, str] = {}
        if segment:
            given[self.segment] = segment
        if query:
            for part in query.decode("latin-1").split("&"):
                key, _, value = part.partition("=")
                name = self.query.get(key)
                if name is None or name == self.segment or name in given or not _PLAIN.fullmatch(value):
                    return None
                given[name] = value
        try:
            read = msgspec.convert(given, self._reader, strict=False)
        except msgspec.ValidationError:
            return None
        arguments = {name: getattr(read, name) for name in given}
        # The text `null` was decoded as an absent value.
        return None if None in arguments.values() else arguments


def _kwarg(handler: HTTPRouteHandler, name: str) -> Any:
    return handler.parsed_fn_signature.parameters[name].kwarg_definition


class FastPath:
    """The routes of the fast path."""

    def __init__(self, app: Litestar, services: Services, response_hook: ResponseHook, *, checks_origin: bool) -> None:
        self._app = app
        self._services = services
        self._response_hook = response_hook
        self._checks_origin = checks_origin
        self._routes: dict[tuple[str, str], _Route] = {}
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    if handler.opt.get("fast"):
                        made = _Route(route.path_format, handler)
                        self._routes[made.method, made.pattern.partition("{")[0]] = made

    @property
    def patterns(self) -> list[tuple[str, str]]:
        """Method and path of each route, as in the OpenAPI document."""
        return [(route.method, route.pattern) for route in self._routes.values()]

    def read(self, scope: Any) -> FastRequest | None:
        """Return the request if the fast path can handle it, otherwise None."""
        path: str = scope["path"]
        route, segment = self._routes.get((scope["method"], path)), ""
        if route is None:
            head, _, segment = path.rpartition("/")
            route = self._routes.get((scope["method"], head + "/"))
            if route is None or not _NUMBER.fullmatch(segment):
                return None
        elif route.segment:
            return None
        if scope.get("root_path"):
            return None
        length = -1
        authorization: bytes | None = None
        accept: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                # The first one counts, as in the framework.
                authorization = value if authorization is None else authorization
            elif name == b"accept":
                accept = value if accept is None else b"%b,%b" % (accept, value)
            elif name == b"content-length":
                if not _LENGTH.fullmatch(value):
                    return None
                length = int(value)
            elif name == b"content-type":
                if route.body is not None and value not in JSON_TYPES:
                    return None
            elif (name == b"origin" and self._checks_origin) or (
                name == b"content-encoding" and route.body is not None
            ):
                return None
        if authorization is None or (route.body is not None and not 0 < length <= route.max_body):
            return None
        query = scope["query_string"]
        arguments = route.read(segment, query) if segment or query else route.bare
        if arguments is None:
            return None
        return FastRequest(scope, route, arguments, authorization, accept is not None and prefers_msgpack(accept))

    async def respond(self, request: FastRequest, receive: Receive, send: Send) -> None:
        """Read the body, call the handler, and send its response."""
        scope, route, arguments = request.scope, request.route, request.arguments
        services = request.services = self._services
        started = 0.0
        try:
            if route.body is not None:
                body = await request.read_body(receive)
                if body is None:  # The client disconnected.
                    return
                try:
                    arguments = {**arguments, "data": route.body.decode(body)}
                except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
                    scope["started"] = perf_counter()
                    await Litestar.__call__(self._app, scope, _replayed(body, receive), send)
                    return
            started = perf_counter()
            scope["litestar_app"] = self._app
            caller = request.caller = bearer_of(request.authorization.decode("latin-1"))
            if not services.devices.has_lease(caller):
                await services.devices.count_request(caller)
            content = await route.call(request=request, **arguments)
            status, more = route.status, _NO_HEADERS
            if isinstance(content, WireResponse):
                status = content.status_code or status
                more = [(name.lower().encode(), value.encode()) for name, value in content.headers.items()]
                content = content.content
            encode, kind, head = _MSGPACK if request.wants_msgpack else _JSON
            body = encode(content)
            send_full = scope["extensions"].get(FULL_RESPONSE) if "extensions" in scope else None
            if send_full is not None:
                head = b"%b%d\r\n%b" % (head, len(body), lines(more) if more else b"")
        except Exception as error:
            await self._send_error(route, error, started or perf_counter(), scope, receive, send)
            return
        self._response_hook.record(route.method, route.pattern, status, started)
        if send_full is None or not send_full(send, status, head, body):
            headers = [kind, *HEADERS, (b"content-length", b"%d" % len(body)), *more]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send_error(
        self, route: _Route, error: Exception, started: float, scope: Any, receive: Any, send: Send
    ) -> None:
        """Send the error response that the framework's exception handlers would send."""
        scope["app"] = self._app
        scope["route_handler"] = route.handler
        scope["path_template"] = route.pattern
        scope.setdefault("state", {})
        scope["started"] = started
        request = WireRequest(scope, receive, send)
        handler = EXCEPTION_HANDLERS[MessengerError if isinstance(error, MessengerError) else Exception]
        response = handler(request, error).to_asgi_response(app=None, request=request)

        async def finished(message: Any) -> None:
            await self._response_hook(message, scope)
            await send(message)

        await response(scope, receive, finished)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first returns a body that was already read."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return left.pop() if left else await receive()

    return replay
