"""The demo: a web chat that uses only the public API (`docs/demo.md`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from litestar import Controller, Response, get
from litestar.params import FromPath

import messenger
from messenger.errors import NotFound
from messenger.web.pages import relative_to
from messenger.web.queries import ANY_QUERY
from messenger.web.request import WireRequest

_FOLDER = Path(messenger.__file__).parent / "demo"
_PAGE = "index.html"
# Only these files are served: no name from a request becomes a path.
_SCRIPT = "text/javascript"
_FILES = {
    "api.js": _SCRIPT,
    "bans.js": _SCRIPT,
    "bubbles.js": _SCRIPT,
    "chat.css": "text/css",
    "chat.js": _SCRIPT,
    "composer.js": _SCRIPT,
    "connection.js": _SCRIPT,
    "creation.js": _SCRIPT,
    "dom.js": _SCRIPT,
    "durations.js": _SCRIPT,
    "expiry.js": _SCRIPT,
    "forms.js": _SCRIPT,
    "group.css": "text/css",
    "group.js": _SCRIPT,
    "groups.css": "text/css",
    "groups.js": _SCRIPT,
    "head.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
    "invitations.js": _SCRIPT,
    "inviting.js": _SCRIPT,
    "joining.js": _SCRIPT,
    "leaving.js": _SCRIPT,
    "links.js": _SCRIPT,
    "loading.js": _SCRIPT,
    "main.js": _SCRIPT,
    "member.js": _SCRIPT,
    "members.js": _SCRIPT,
    "menu.js": _SCRIPT,
    "merge.js": _SCRIPT,
    "names.js": _SCRIPT,
    "notices.js": _SCRIPT,
    "outbox.js": _SCRIPT,
    "people.js": _SCRIPT,
    "picker.js": _SCRIPT,
    "ranks.js": _SCRIPT,
    "readers.js": _SCRIPT,
    "realtime.js": _SCRIPT,
    "refusals.js": _SCRIPT,
    "requests.js": _SCRIPT,
    "restrictions.js": _SCRIPT,
    "rules.js": _SCRIPT,
    "scroller.js": _SCRIPT,
    "session.js": _SCRIPT,
    "settings.js": _SCRIPT,
    "sidebar.js": _SCRIPT,
    "store.js": _SCRIPT,
    "style.css": "text/css",
    "threads.js": _SCRIPT,
    "transcript.js": _SCRIPT,
    "typing.js": _SCRIPT,
    "watch.js": _SCRIPT,
    "welcome.js": _SCRIPT,
    "words.js": _SCRIPT,
}
# Trusted types prevent markup from strings. `form-action` stops a form that no script handles from sending a password
# as part of a URL.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def ensure_enabled(connection: Any, _: Any) -> None:
    """A guard: the demo is served unless it is switched off. Raises `NotFound`."""
    if not connection.app.state.get("demo", True):
        raise NotFound


class DemoController(Controller):
    """A chat in the browser."""

    include_in_schema = False
    # Pages may be requested with a cache-busting query.
    opt = ANY_QUERY
    guards = (ensure_enabled,)

    @get("/demo", media_type="text/html")
    async def page(self, request: WireRequest) -> Response[bytes]:
        page = relative_to(request.scope, (_FOLDER / _PAGE).read_text(encoding="utf-8"), "demo")
        page = page.replace("{password_min_length}", str(request.app.state.password_min_length))
        policy = page_policy(request.app.state.get("public_origin", ""))
        return _answer(request, page.encode(), "text/html", {"Content-Security-Policy": policy})

    @get("/demo/{name:str}")
    async def file(self, request: WireRequest, name: FromPath[str]) -> Response[bytes]:
        if name not in _FILES:
            raise NotFound
        return _answer(request, (_FOLDER / name).read_bytes(), _FILES[name], {})


def page_policy(public_origin: str) -> str:
    """The page's content security policy; images may also come from `MESSENGER_PUBLIC_URL`."""
    return PAGE_POLICY.replace("img-src 'self'", f"img-src 'self' {public_origin}") if public_origin else PAGE_POLICY


def _answer(request: WireRequest, content: bytes, media_type: str, headers: dict[str, str]) -> Response[bytes]:
    """The content, or 304 if the browser already has it (RFC 9110 section 13.1.2)."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag, **headers}
    if tag in (request.header(b"if-none-match") or ""):
        return Response(b"", status_code=304, media_type=media_type, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
