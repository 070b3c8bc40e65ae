"""The OpenAPI document, and a page that displays it without network access."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

import msgspec
from litestar import Controller, Litestar, Response, get
from litestar.params import FromPath

from messenger.errors import NotFound
from messenger.web.openapi.document import openapi_document
from messenger.web.pages import relative_to
from messenger.web.queries import ANY_QUERY
from messenger.web.request import WireRequest

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# The API is relative to this page, whatever prefix a proxy adds.
_START = """const base = new URL("..", document.currentScript.src);
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
window.onload = async () => {
  const spec = await (await fetch(new URL("openapi.json", base))).json();
  spec.servers = [{ url: base.href.replace(/\\/$/, "") }];
  SwaggerUIBundle({
    spec, dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, persistAuthorization: true
  });
};
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Messenger API</title>
<script src="docs/start.js"></script>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
</body>
</html>
"""
# Swagger UI is designed for wide windows: on a phone its gaps and single-line rows leave no room for content.
_STYLE = """body { margin: 0; }
@media (max-width: 719px) {
  .swagger-ui .wrapper { padding: 0 12px; }
  .swagger-ui .info { margin: 24px 0 12px; }
  .swagger-ui .info .title { font-size: 28px; }
  .swagger-ui .scheme-container { padding: 12px 0; margin: 0; }
  .swagger-ui .opblock-tag { flex-wrap: wrap; padding: 10px 0; font-size: 20px; }
  .swagger-ui .opblock-tag small { flex-basis: 100%; order: 1; padding: 0; }
  .swagger-ui .opblock .opblock-summary-method { min-width: 64px; padding: 6px 0; font-size: 12px; }
  .swagger-ui .opblock .opblock-summary-path { max-width: none; flex: 1; word-break: break-word; font-size: 14px; }
  .swagger-ui .opblock .opblock-summary-path-description-wrapper { flex-wrap: wrap; gap: 0 8px; }
  .swagger-ui .opblock .opblock-summary-description { flex-basis: 100%; padding: 2px 0 4px; }
  .swagger-ui .opblock-body, .swagger-ui .table-container, .swagger-ui .model-box { overflow-x: auto; }
}
"""
_OWN = {"start.js": (_START, "text/javascript"), "page.css": (_STYLE, "text/css")}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


class DocumentController(Controller):
    """The API documentation."""

    include_in_schema = False
    # Pages may be requested with a cache-busting query.
    opt = ANY_QUERY

    @get("/openapi.json", media_type="application/json")
    async def document(self, request: WireRequest) -> Response[bytes]:
        state = request.app.state
        if getattr(state, "openapi", None) is None:
            # Building it takes a tenth of a second and must not block other requests.
            state.openapi = asyncio.create_task(asyncio.to_thread(_encoded_document, request.app))
        return Response(
            await asyncio.shield(state.openapi), media_type="application/json", headers={"Cache-Control": "no-cache"}
        )

    @get("/docs", media_type="text/html")
    async def page(self, request: WireRequest) -> Response[str]:
        return Response(
            relative_to(request.scope, _PAGE, "docs"),
            media_type="text/html",
            headers={"Content-Security-Policy": PAGE_POLICY},
        )

    @get("/docs/{name:str}")
    async def asset(self, name: FromPath[str]) -> Response[bytes]:
        if name in _OWN:
            content, media_type = _OWN[name]
            return Response(content.encode(), media_type=media_type)
        if name not in _ASSETS:
            raise NotFound
        return Response(_asset_path(name).read_bytes(), media_type=_ASSETS[name])


def _encoded_document(app: Litestar) -> bytes:
    return msgspec.json.encode(openapi_document(app))


def _asset_path(name: str) -> Path:
    spec = find_spec("drf_spectacular_sidecar")
    if spec is None or spec.origin is None:
        raise NotFound
    return Path(spec.origin).parent / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist" / name
