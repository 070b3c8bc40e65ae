"""`GET /`: a page that describes the server and links to its documentation."""

from __future__ import annotations

import base64
import hashlib

from litestar import Controller, Response, get

from messenger.web.request import WireRequest

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
body { max-width: 34rem; margin: 12vh auto; padding: 0 1.25rem; color: #171a24; background: #fff; }
h1 { margin: 0 0 .25rem; font-size: 1.75rem; letter-spacing: -.02em; }
p { margin: 0 0 1.5rem; color: #5d6679; }
ul { margin: 0; padding: 0; list-style: none; }
li { padding: .75rem 0; border-top: 1px solid #e1e5ee; }
a { color: #4338ca; font-weight: 600; }
span { display: block; color: #5d6679; }
@media (prefers-color-scheme: dark) {
  body { color: #e8eaf2; background: #0d0f15; }
  p, span { color: #98a1b6; }
  li { border-color: #272d3d; }
  a { color: #a5a1ff; }
}
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Messenger</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>Messenger</h1>
<p>A self-hosted messaging server for mobile apps: accounts, contacts, messages and live events over HTTP and
WebSocket.</p>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""
_LINK = '<li><a href="{href}">{name}</a><span>{purpose}</span></li>'
# Relative, so that they work under any path prefix.
_LINKS = (
    ("docs", "API reference", "All endpoints, with a form to try each of them."),
    ("openapi.json", "OpenAPI document", "The same in machine-readable form, for client generators."),
)
_DEMO = ("demo", "Demo", "A chat in the browser. Open it in two windows.")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class HomeController(Controller):
    """The page at the root."""

    include_in_schema = False

    @get("/", media_type="text/html")
    async def page(self, request: WireRequest) -> Response[str]:
        links = (*_LINKS, _DEMO) if request.app.state.get("demo", True) else _LINKS
        items = "\n".join(_LINK.format(href=href, name=name, purpose=purpose) for href, name, purpose in links)
        content = _PAGE.format(style=_STYLE, links=items)
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})
