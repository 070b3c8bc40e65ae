"""Parts of a request head that concern the connection: host, framing, `Upgrade`."""

from __future__ import annotations

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

# RFC 3986 section 3.2: an IP literal or a registered name, and a port. Empty where the target has no authority.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")


def fault_of(version: str, headers: Headers) -> int:
    """The status with which this head is refused (RFC 9112 sections 3.2 and 6.1); 0 if it is valid."""
    hosts = 0
    codings: list[bytes] | None = None
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                return 400
        elif name == b"transfer-encoding":
            codings = [*(codings or ()), *_tokens(value)]
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return 400
    return 0 if codings is None else _fault_of_codings(version, codings)


def _fault_of_codings(version: str, codings: list[bytes]) -> int:
    if version != "1.1" or codings[-1:] != [b"chunked"] or codings.count(b"chunked") > 1:
        # The end of the body is undefined.
        return 400
    return 0 if codings == [b"chunked"] else 501


def is_handshake(method: bytes, version: str, headers: Headers) -> bool:
    """Whether a head with `Upgrade` opens a WebSocket (RFC 6455 section 4.1); others are plain requests."""
    if method != b"GET" or version != "1.1":
        return False
    offered: list[bytes] = []
    for name, value in headers:
        if name == b"upgrade":
            offered += _tokens(value)
        elif name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return False
    return offered == [b"websocket"]


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """The head without `Upgrade` (RFC 9110 section 7.8: a server may ignore it)."""
    fields = b"".join([b"%b: %b\r\n" % (name, value) for name, value in headers if name != b"upgrade"])
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), fields)


def _tokens(value: bytes) -> list[bytes]:
    return [token for part in value.split(b",") if (token := part.strip(b" \t").lower())]
