"""The OpenAPI document: the framework's, with msgspec's schemas and what the framework cannot express."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from messenger.errors import IdempotencyKeyReused, VersionConflict
from messenger.schemas.realtime import EVENT_STRUCTS
from messenger.web.negotiation import MSGPACK
from messenger.web.openapi.events import describe_events
from messenger.web.openapi.links import LINKS
from messenger.web.openapi.order import put_in_order
from messenger.web.openapi.responses import describe_headers, describe_responses, share_responses
from messenger.web.openapi.schemas import never_null, portable, schemas_of
from messenger.web.openapi.socket import describe_socket
from messenger.web.problems import Problem
from messenger.web.request import WireBody


def openapi_document(app: Litestar) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document: dict[str, Any] = portable(app.openapi_schema.to_schema())
    # The router accepts the path with and without a slash; the API documents this form.
    document["paths"]["/avatar/"] = document["paths"].pop("/avatar")
    handlers = {handler.operation_id: handler for handler in _handlers(app)}
    schemas = document["components"]["schemas"]
    _describe_schemas(list(handlers.values()), schemas)
    describe_events(schemas)
    describe_socket(document)
    for operation in (each for path in document["paths"].values() for each in path.values()):
        describe_responses(operation, handlers[operation["operationId"]].responses or {}, schemas)
        _complete_request(operation)
        _complete_responses(operation)
    document["components"]["headers"] = describe_headers()
    share_responses(document)
    put_in_order(document)
    return document


def _handlers(app: Litestar) -> Iterator[HTTPRouteHandler]:
    """The handlers that the document includes."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from (handler for handler in route.route_handlers if handler.include_in_schema is not False)


def _describe_schemas(handlers: list[HTTPRouteHandler], schemas: dict[str, Any]) -> None:
    """Use msgspec's schemas: the framework omits formats, bounds of items, and `additionalProperties`."""
    kinds: list[Any] = [*EVENT_STRUCTS, Problem]
    for handler in handlers:
        signature = handler.parsed_fn_signature
        answer = signature.return_type.annotation
        kinds += [answer, *get_args(answer), *(spec.data_container for spec in (handler.responses or {}).values())]
        body = signature.parameters.get("data")
        if body is not None and handler.handler_id in WireBody.decoders:
            kinds.append(body.annotation)
        elif body is not None:
            schemas[body.annotation.__name__]["additionalProperties"] = False
    structs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    schemas.update(portable(schemas_of(structs)))
    schemas["Problem"]["properties"] |= {name: portable(schema) for name, schema in _PROBLEM_EXTENSIONS.items()}


def _complete_request(operation: dict[str, Any]) -> None:
    """Make parameters optional but never null, and add the request headers."""
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = never_null(parameter["schema"])
    problems = " ".join(response["description"] for response in operation["responses"].values())
    for code, headers in _REQUEST_HEADERS.items():
        if f"`{code}`" in problems:
            operation["parameters"] = [*operation.get("parameters", ()), *headers]


def _complete_responses(operation: dict[str, Any]) -> None:
    """Add MessagePack to every body with one of our schemas, and links."""
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        content = body.get("content", {})
        if "application/json" in content:
            content[MSGPACK] = content["application/json"]
    links = LINKS.get(operation["operationId"])
    for status, response in operation["responses"].items():
        if links and status.startswith("2"):
            response["links"] = {
                name: {"operationId": name, "parameters": dict(parameters)} for name, parameters in links.items()
            }


def _header(name: str, description: str, **limits: Any) -> dict[str, Any]:
    schema = {"type": "string", **limits}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_PROBLEM_EXTENSIONS = {
    "retry_after": {
        "type": "integer",
        "description": "On a WebSocket, where there is no `Retry-After`: seconds to wait",
    },
    "current_version": {
        "type": ["integer", "null"],
        "description": "With `version_conflict`: the latest version; null if the secret does not exist",
    },
    "permission": {"type": "string", "description": "With `not_permitted`: what your rank in the group lacks"},
    "until": {"type": "string", "format": "date-time", "description": "With `muted`: when the mute ends"},
}
_REQUEST_HEADERS = {
    IdempotencyKeyReused.code: [
        _header(
            "Idempotency-Key",
            "1 to 128 visible ASCII characters; for 24 hours, the same key returns the first response again",
            minLength=1,
            maxLength=128,
            pattern=r"^[\x21-\x7e]+$",
        )
    ],
    VersionConflict.code: [_header("If-Match", "Apply the change only if this `ETag` still matches; `*`: any version")],
}
