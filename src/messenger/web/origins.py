"""The origins that may open a socket: the server's own, and those in the settings."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from messenger.errors import OriginNotAllowed
from messenger.web.request import header

_AUTHORITY = r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\]+)(?::(?P<port>[0-9]{0,5}))?"
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}", re.IGNORECASE)
_HOST = re.compile(_AUTHORITY, re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """RFC 6454 section 4: two origins are equal if scheme, host and port are equal."""

    scheme: str
    host: str
    port: int


def ensure_origin(scope: Any, allowed: tuple[str, ...]) -> None:
    """Refuse sockets from other sites' pages (RFC 6455 section 10.2); clients that are not browsers send no `Origin`.

    Raises `OriginNotAllowed`.
    """
    text = header(scope, b"origin")
    if text is None or text in allowed:
        return
    origin = _parse(text)
    if origin is None:
        raise OriginNotAllowed
    # A proxy may terminate TLS: the scheme of the page decides which default port `Host` omits.
    host = _HOST.fullmatch(header(scope, b"host") or "")
    own = host and _of(origin.scheme, host)
    if origin != own and origin not in map(_parse, allowed):
        raise OriginNotAllowed


def _parse(text: str) -> Origin | None:
    found = _ORIGIN.fullmatch(text)
    return found and _of(found["scheme"].lower(), found)


def _of(scheme: str, found: re.Match[str]) -> Origin:
    return Origin(scheme, found["host"].lower(), int(found["port"] or _DEFAULT_PORTS[scheme]))
