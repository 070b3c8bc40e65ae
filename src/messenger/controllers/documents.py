"""The OpenAPI document, and a page to read it with that needs no network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import Controller, Litestar, Response, get
from litestar.params import FromPath

from messenger.controllers._wire import MSGPACK, WireRequest
from messenger.errors import IdempotencyKeyReused, NotFound, VersionConflict
from messenger.schemas.realtime import EVENT_STRUCTS

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_START = """window.onload = () => {
  SwaggerUIBundle({
    url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, persistAuthorization: true
  });
};
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Messenger API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


def openapi_document(app: Litestar) -> dict[str, Any]:
    """The app's OpenAPI document, with what the framework can't know or says in Python's own terms."""
    document: dict[str, Any] = _portable(app.openapi_schema.to_schema())
    # The router takes either path; the contract names this one.
    document["paths"]["/avatar/"] = document["paths"].pop("/avatar")
    _describe_events(document["components"]["schemas"])
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


def _complete(operation: dict[str, Any]) -> None:
    """MessagePack beside JSON wherever a body is of our schemas, and the headers that a request may have."""
    responses = operation["responses"].values()
    for body in (operation.get("requestBody", {}), *responses):
        content = body.get("content", {})
        if "application/json" in content:
            content[MSGPACK] = content["application/json"]
    problems = " ".join(response["description"] for response in responses)
    for code, headers in _REQUEST_HEADERS.items():
        if f"`{code}`" in problems:
            operation["parameters"] = [*operation.get("parameters", ()), *headers]


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


_REFERENCE = "#/components/schemas/{name}"


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


_REQUEST_HEADERS = {
    IdempotencyKeyReused.code: [
        _header("Idempotency-Key", "1 to 128 visible ASCII characters; the same request again gets the same answer")
    ],
    VersionConflict.code: [_header("If-Match", "The `ETag` that the change builds upon, or `*`")],
}


class DocumentController(Controller):
    """How to talk to this server."""

    include_in_schema = False

    @get("/openapi.json", media_type="application/json")
    async def document(self, request: WireRequest) -> Response[bytes]:
        state = request.app.state
        if getattr(state, "openapi", None) is None:
            state.openapi = msgspec.json.encode(openapi_document(request.app))
        return Response(state.openapi, media_type="application/json", headers={"Cache-Control": "no-cache"})

    @get("/docs", media_type="text/html")
    async def page(self) -> Response[str]:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    @get("/docs/{name:str}")
    async def asset(self, name: FromPath[str]) -> Response[bytes]:
        if name == "start.js":
            return Response(_START.encode(), media_type="text/javascript")
        if name not in _ASSETS:
            raise NotFound
        return Response(_asset_path(name).read_bytes(), media_type=_ASSETS[name])


def _asset_path(name: str) -> Path:
    spec = find_spec("drf_spectacular_sidecar")
    if spec is None or spec.origin is None:
        raise NotFound
    return Path(spec.origin).parent / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist" / name
