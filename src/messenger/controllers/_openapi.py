"""The OpenAPI document: the framework's, with what it can't know or says in Python's own terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from messenger.controllers._links import LINKS
from messenger.controllers._wire import MSGPACK, WireBody
from messenger.errors import IdempotencyKeyReused, VersionConflict
from messenger.schemas.realtime import EVENT_STRUCTS

_REFERENCE = "#/components/schemas/{name}"


def openapi_document(app: Litestar) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document: dict[str, Any] = _portable(app.openapi_schema.to_schema())
    # The router takes either path; the contract names this one.
    document["paths"]["/avatar/"] = document["paths"].pop("/avatar")
    schemas = document["components"]["schemas"]
    _describe_events(schemas)
    _describe_bodies(app, schemas)
    # The framework knows of HTTP alone, and promises a 200.
    socket = document["paths"]["/ws"]["get"]["responses"]
    socket["101"] = {**socket.pop("200"), "description": "Switching to WebSocket"}
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation)
    return document


def _describe_events(schemas: dict[str, Any]) -> None:
    """What `data` may be, which a union of untagged structs can't say to the framework."""
    kinds = sorted({kind.__name__: kind for kind in EVENT_STRUCTS}.items())
    _, described = msgspec.json.schema_components([kind for _, kind in kinds], ref_template=_REFERENCE)
    for name, schema in described.items():
        schemas.setdefault(name, _portable(schema))
    schemas["EventFrame"]["properties"]["data"] |= {"anyOf": [{"$ref": _REFERENCE.format(name=n)} for n, _ in kinds]}


def _describe_bodies(app: Litestar, schemas: dict[str, Any]) -> None:
    """Bodies in the words of their decoder: the framework leaves out that unknown fields are refused, and more."""
    ours: list[Any] = []
    forms: list[Any] = []
    for handler_id, body in _bodies(app):
        (ours if handler_id in WireBody.decoders else forms).append(body)
    _, described = msgspec.json.schema_components(ours, ref_template=_REFERENCE)
    for name, schema in described.items():
        schemas[name] = _portable(schema)
    for form in forms:
        schemas[form.__name__]["additionalProperties"] = False


def _bodies(app: Litestar) -> Iterator[tuple[str, Any]]:
    """Each handler that takes a body, and what that is."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                body = handler.parsed_fn_signature.parameters.get("data")
                if body is not None:
                    yield handler.handler_id, body.annotation


def _complete(operation: dict[str, Any]) -> None:
    """MessagePack beside JSON wherever a body is of our schemas, the headers that a request may have, and links."""
    responses = operation["responses"].values()
    for body in (operation.get("requestBody", {}), *responses):
        content = body.get("content", {})
        if "application/json" in content:
            content[MSGPACK] = content["application/json"]
    problems = " ".join(response["description"] for response in responses)
    for code, headers in _REQUEST_HEADERS.items():
        if f"`{code}`" in problems:
            operation["parameters"] = [*operation.get("parameters", ()), *headers]
    links = LINKS.get(operation["operationId"])
    for status, response in operation["responses"].items():
        if links and status.startswith("2"):
            response["links"] = {
                name: {"operationId": name, "parameters": dict(parameters)} for name, parameters in links.items()
            }


def _portable(node: Any) -> Any:
    """The same with patterns as ECMA-262 writes them, which has no `\\A` and no `\\Z`."""
    if isinstance(node, dict):
        return {
            key: value.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _portable(value)
            for key, value in node.items()
        }
    return [_portable(item) for item in node] if isinstance(node, list) else node


def _header(name: str, description: str, **limits: Any) -> dict[str, Any]:
    schema = {"type": "string", **limits}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


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
