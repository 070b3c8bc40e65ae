"""Which pages may open a socket: the server's own, and those of the settings."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from messenger.controllers._wire import header
from messenger.errors import OriginNotAllowed

_AUTHORITY = r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\]+)(?::(?P<port>[0-9]{0,5}))?"
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}", re.IGNORECASE)
_HOST = re.compile(_AUTHORITY, re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """RFC 6454 section 4: two of them are the same if all three parts are."""

    scheme: str
    host: str
    port: int


def ensure_origin(scope: Any, allowed: tuple[str, ...]) -> None:
    """Another page's script may not ride on a browser's trust (RFC 6455 section 10.2); no browser, no `Origin`.

    Raises `OriginNotAllowed`.
    """
    text = header(scope, b"origin")
    if text is None or text in allowed:
        return
    origin = _parse(text)
    if origin is None:
        raise OriginNotAllowed
    # TLS may end before this server: the scheme that the page was loaded by says which port `Host` leaves out.
    host = _HOST.fullmatch(header(scope, b"host") or "")
    own = host and _of(origin.scheme, host)
    if origin != own and origin not in map(_parse, allowed):
        raise OriginNotAllowed


def _parse(text: str) -> Origin | None:
    found = _ORIGIN.fullmatch(text)
    return found and _of(found["scheme"].lower(), found)


def _of(scheme: str, found: re.Match[str]) -> Origin:
    return Origin(scheme, found["host"].lower(), int(found["port"] or _DEFAULT_PORTS[scheme]))
