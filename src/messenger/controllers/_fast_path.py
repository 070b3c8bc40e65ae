"""The short way through hot routes: the same handlers, without what the framework does anew for each request.

A route asks for it with `answers(fast=True)`. What such a request may look like is worked out once, from the handler
that Litestar has made of it. A request that is beyond doubt goes straight to its handler; whatever is in doubt (an
unknown parameter, a number that is none, a body that can't be decoded, another page's `Origin`) goes the framework's
way, which has the words for it. So the short way refuses nothing itself, and both ways answer alike:
tests/controllers/test_fast_path.py asks each route both ways.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, get_type_hints

import msgspec
from litestar import Litestar
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg
from litestar.routes import HTTPRoute

from messenger.actor import Bearer
from messenger.controllers._finish import HEADERS, Finish
from messenger.controllers._problems import EXCEPTION_HANDLERS
from messenger.controllers._responses import WireResponse
from messenger.controllers._wire import JSON_TYPES, MSGPACK, Asked, WireBody, WireRequest, bearer_of
from messenger.errors import MessengerError
from messenger.services import Services

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# Of one segment without an escape, as clients write numbers; of a query's value that stands for itself.
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_JSON_HEADER = (b"content-type", b"application/json")
_MSGPACK_HEADER = (b"content-type", MSGPACK.encode())
_NOTHING: dict[str, Any] = {}


class Application(Litestar):
    """Litestar, with the short way before it."""

    services: Services
    fast_path: FastPath | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fast_path = self.fast_path
        if fast_path is None or scope["type"] != "http" or not await fast_path.serve(scope, receive, send):
            await super().__call__(scope, receive, send)

    @classmethod
    def get_route_handler_map(cls, value: Any) -> dict[str, Any]:
        """Without the framework's answers to OPTIONS of single handlers: it makes one for all that a path has."""
        return {
            path: {method: handler for method, handler in handlers.items() if method != HttpMethod.OPTIONS}
            for path, handlers in super().get_route_handler_map(value).items()
        }


class FastRequest(Asked):
    """A request whose body, if it may have one, was read."""

    __slots__ = ("_body", "_caller", "scope")

    def __init__(self, scope: Any, body: bytes) -> None:
        self.scope = scope
        self._body = body
        self._caller: Bearer | None = None

    @property
    def caller(self) -> Bearer:
        if self._caller is None:
            self._caller = bearer_of(self.header(b"authorization"))
        return self._caller

    async def body(self) -> bytes:
        return self._body


class _Route:
    """One handler: what it takes, and how that is read."""

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
        # The very types that the framework checks them with.
        types = get_type_hints(handler.signature_model, include_extras=True)
        required = {name for name, parameter in parameters.items() if parameter.is_required}
        fields: list[Any] = [
            (name, types[name]) if name in required else (name, types[name], parameter.default)
            for name, parameter in parameters.items()
        ]
        self._reader = msgspec.defstruct(f"Parameters_{handler.fn.__name__}", fields, kw_only=True)
        self._may_be_bare = not required

    def read(self, segment: str, query: bytes) -> dict[str, Any] | None:
        """The handler's arguments out of the path and the query; None where something about them is in doubt."""
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
        if not given and self._may_be_bare:
            return _NOTHING
        try:
            read = msgspec.convert(given, self._reader, strict=False)
        except msgspec.ValidationError:
            return None
        return {name: getattr(read, name) for name in given}


def _kwarg(handler: HTTPRouteHandler, name: str) -> Any:
    return handler.parsed_fn_signature.parameters[name].kwarg_definition


class FastPath:
    """The routes that go the short way."""

    def __init__(self, app: Litestar, finish: Finish, *, heeds_origin: bool) -> None:
        self._app = app
        self._finish = finish
        self._heeds_origin = heeds_origin
        self._routes: dict[tuple[str, str], _Route] = {}
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    if handler.opt.get("fast"):
                        made = _Route(route.path_format, handler)
                        self._routes[made.method, made.pattern.partition("{")[0]] = made

    @property
    def patterns(self) -> list[tuple[str, str]]:
        """Method and path of each, as the OpenAPI document names them."""
        return [(route.method, route.pattern) for route in self._routes.values()]

    async def serve(self, scope: Any, receive: Receive, send: Send) -> bool:
        """Answer, where the request is one of ours and beyond doubt; else touch nothing, and say so."""
        path: str = scope["path"]
        route, segment = self._routes.get((scope["method"], path)), ""
        if route is None:
            head, _, segment = path.rpartition("/")
            route = self._routes.get((scope["method"], head + "/"))
            if route is None or not _NUMBER.fullmatch(segment):
                return False
        elif route.segment:
            return False
        wants_msgpack = self._read_head(scope, route)
        if wants_msgpack is None:
            return False
        arguments = route.read(segment, scope["query_string"])
        if arguments is None:
            return False
        body = b""
        if route.body is not None:
            read = await _read_body(receive)
            if read is None:
                # Nobody waits for an answer.
                return True
            body = read
            try:
                arguments = {**arguments, "data": route.body.decode(body)}
            except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
                await Litestar.__call__(self._app, scope, _again(body, receive), send)
                return True
        await self._answer(route, arguments, body, wants_msgpack, scope, receive, send)
        return True

    def _read_head(self, scope: Any, route: _Route) -> bool | None:
        """Whether MessagePack is wanted; None where something about the headers is the framework's business."""
        if scope.get("root_path"):
            return None
        length, wants_msgpack, authorized = -1, False, False
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorized = True
            elif name == b"accept":
                wants_msgpack = wants_msgpack or b"application/msgpack" in value
            elif name == b"content-length":
                if not _LENGTH.fullmatch(value):
                    return None
                length = int(value)
            elif name == b"content-type":
                if route.body is not None and value not in JSON_TYPES:
                    return None
            elif name == b"origin" and self._heeds_origin:
                return None
        if not authorized or (route.body is not None and not 0 < length <= route.max_body):
            return None
        return wants_msgpack

    async def _answer(
        self,
        route: _Route,
        arguments: dict[str, Any],
        body: bytes,
        wants_msgpack: bool,
        scope: Any,
        receive: Receive,
        send: Send,
    ) -> None:
        started = perf_counter()
        scope["litestar_app"] = self._app
        try:
            request = FastRequest(scope, body)
            await request.services.devices.admit(request.caller)
            content = await route.call(request=request, **arguments)
            status = route.status
            headers = [_MSGPACK_HEADER if wants_msgpack else _JSON_HEADER]
            if isinstance(content, WireResponse):
                status = content.status_code or status
                for name, value in content.headers.items():
                    headers.append((name.lower().encode(), value.encode()))
                content = content.content
            answer = msgspec.msgpack.encode(content) if wants_msgpack else msgspec.json.encode(content)
        except Exception as error:
            await self._refuse(route, error, started, scope, receive, send)
            return
        headers.append((b"content-length", b"%d" % len(answer)))
        headers.extend(HEADERS)
        self._finish.note(route.method, route.pattern, status, started)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})

    async def _refuse(
        self, route: _Route, error: Exception, started: float, scope: Any, receive: Any, send: Send
    ) -> None:
        """As the framework's exception handlers do."""
        scope["app"] = self._app
        scope["route_handler"] = route.handler
        scope["path_template"] = route.pattern
        scope.setdefault("state", {})
        request = WireRequest(scope, receive, send)
        scope["started"] = started
        handler = EXCEPTION_HANDLERS[MessengerError if isinstance(error, MessengerError) else Exception]
        answer = handler(request, error).to_asgi_response(app=None, request=request)

        async def finished(message: Any) -> None:
            await self._finish(message, scope)
            await send(message)

        await answer(scope, receive, finished)


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, whose size its header has told; None when the client hung up."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return body
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return again
