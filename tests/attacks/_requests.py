"""Attacks on the parser of requests: heads, targets, chunks, and false lengths (request smuggling)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks._cost import MIB
from tests.attacks._raw import KEY, UPGRADE, Attack, request, saying, signed, sized

_HEALTH = "GET /health/live"
_LOGIN = "POST /login"
_JSON = b"Content-Type: application/json\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
# The server may refuse a head before all of it arrived: whether the response is received depends on timing.
_TOO_MUCH = ("431 closed", "closed")


def _endless(start: bytes, more: bytes, size: int) -> Iterator[bytes]:
    yield start
    piece = more * (65536 // len(more))
    for _ in range(size // len(piece)):
        yield piece


def _chunked(*chunks: bytes, line: str = _LOGIN) -> bytes:
    return request(line, _JSON, _CHUNKED, body=b"".join(chunks))


HEADS = (
    Attack("a header of 1 MiB", saying(request(_HEALTH, b"X: %b\r\n" % (b"a" * MIB))), _TOO_MUCH),
    Attack("a header of 40 KB", saying(request(_HEALTH, b"X: %b\r\n" % (b"a" * 40_000))), ("431 closed",)),
    Attack("10,000 headers", saying(request(_HEALTH, b"a: b\r\n" * 10_000)), _TOO_MUCH),
    Attack("101 headers and more", saying(request(_HEALTH, b"a: b\r\n" * 120)), ("431 closed",)),
    Attack("a head without an end", saying(*_endless(request(_HEALTH)[:-2], b"a: b\r\n", 32 * MIB)), _TOO_MUCH),
    Attack("a header without an end", saying(*_endless(request(_HEALTH)[:-2] + b"X: ", b"a", 32 * MIB)), _TOO_MUCH),
    Attack("an address of 1 MiB", saying(request("GET /" + "a" * MIB)), ("414 closed", "closed")),
    Attack("an address of 9 KB", saying(request("GET /" + "a" * 9000)), ("414 closed",)),
    Attack("an address without an end", saying(*_endless(b"GET /", b"a", 32 * MIB)), ("414 closed", "closed")),
    Attack(
        "8 KB of query parameters", signed(lambda who: request("GET /contacts?" + "a=1&" * 1900, who)), ("400 open",)
    ),
    Attack("8 KB of escapes", signed(lambda who: request("GET /users?username=" + "%41" * 2600, who)), ("400 open",)),
    Attack(
        "an id of 8,000 digits", signed(lambda who: request("GET /users/" + "9" * 8000, who)), ("400 open", "404 open")
    ),
    Attack("a folder above, escaped", saying(request("GET /avatars/..%2f..%2f..%2fetc%2fpasswd")), ("404 open",)),
    Attack("a folder above, escaped twice", saying(request("GET /avatars/%252e%252e%252f")), ("404 open",)),
    Attack("escapes that are no UTF-8", saying(request("GET /avatars/%c0%ae%c0%ae%ff")), ("404 open",)),
    Attack("escaped NULs", saying(request("GET /avatars/%00%00.png")), ("404 open",)),
    Attack("a bad escape", saying(request("GET /avatars/%zz%")), ("404 open",)),
    Attack(
        "an Authorization of 30 KB",
        saying(request("GET /profile", b"Authorization: Bearer %b\r\n" % (b"a " * 15_000))),
        ("401 open",),
    ),
    Attack(
        "1,500 entity tags",
        signed(lambda who: sized("PUT /profile", b"{}", _JSON, who, b"If-Match: %b\r\n" % (b'"1", W/"2",' * 1500))),
        ("200 open", "412 open"),
    ),
)

PIPELINES = (
    Attack("5,000 requests in one write", saying(request(_HEALTH) * 5000), ("200 closed", "closed")),
    Attack("17 requests in one write", saying(request(_HEALTH) * 17), ("200 open",)),
    Attack("a request, then bytes that are none", saying(request(_HEALTH) + b"\0\1\2\r\n\r\n"), ("200 closed",)),
    Attack(
        "a handshake behind a request that waits",
        saying(sized(_LOGIN, b"{}", _JSON) + request("GET /ws", UPGRADE, KEY)),
        ("400 closed",),
    ),
    Attack("HTTP/2 with prior knowledge", saying(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("400 closed",)),
    Attack(
        "h2c by upgrade",
        saying(request(_HEALTH, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")),
        ("200 open",),
    ),
    Attack("CONNECT", saying(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n"), ("400 closed",)),
    Attack(
        "TLS where none is spoken",
        saying(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
        ("400 closed",),
    ),
)

CHUNKS = (
    Attack("4,000 chunks of one byte", saying(_chunked(b"1\r\n \r\n" * 4000, b"0\r\n\r\n")), ("400 open",)),
    Attack("2,000,000 chunks of one byte", saying(_chunked(b"1\r\n \r\n" * 2_000_000)), ("400 closed", "closed")),
    Attack(
        "50,000 chunks of 200 bytes",
        saying(_chunked(b"c8\r\n%b\r\n" % (b" " * 200) * 50_000)),
        ("413 closed", "413 open", "closed"),
    ),
    Attack(
        "a chunk's extension without an end",
        saying(*_endless(_chunked(b"1;"), b"a", 32 * MIB)),
        ("400 closed", "closed"),
    ),
    Attack(
        "endless trailers",
        saying(*_endless(_chunked(b"2\r\n{}\r\n0\r\n"), b"a: b\r\n", 32 * MIB)),
        ("431 closed", "closed"),
    ),
    Attack(
        "a trailer that signs in",
        signed(lambda who: request("PUT /profile", _JSON, _CHUNKED, body=b"2\r\n{}\r\n0\r\n" + who + b"\r\n")),
        ("401 open",),
    ),
    Attack("a chunk's size of 17 digits", saying(_chunked(b"1" * 17 + b"\r\n{}")), ("400 closed",)),
    Attack("an invalid chunk size", saying(_chunked(b"x\r\n{}")), ("400 closed",)),
    Attack("a chunk's size below zero", saying(_chunked(b"-2\r\n{}")), ("400 closed",)),
    Attack("a chunk's size with 0x", saying(_chunked(b"0x2\r\n{}\r\n0\r\n\r\n")), ("400 closed",)),
    Attack("a chunk longer than its size", saying(_chunked(b"1\r\n{}\r\n0\r\n\r\n")), ("400 closed",)),
    Attack("a chunk's size ended by LF", saying(_chunked(b"2\n{}\n0\n\n")), ("400 closed",)),
)

_SMUGGLED = request("GET /smuggled")

LENGTHS = tuple(
    Attack(name, saying(request(_LOGIN, _JSON, *headers, body=b"0\r\n\r\n" + _SMUGGLED)), ("400 closed",))
    for name, headers in (
        ("Content-Length and Transfer-Encoding", (b"Content-Length: 5\r\n", _CHUNKED)),
        ("Transfer-Encoding and Content-Length", (_CHUNKED, b"Content-Length: 5\r\n")),
        ("two lengths", (b"Content-Length: 5\r\n", b"Content-Length: 6\r\n")),
        ("two lengths in one", (b"Content-Length: 5, 6\r\n",)),
        ("a length with a sign", (b"Content-Length: +5\r\n",)),
        ("a length below zero", (b"Content-Length: -5\r\n",)),
        ("a length of 30 digits", (b"Content-Length: " + b"9" * 30 + b"\r\n",)),
        ("a length in hexadecimal", (b"Content-Length: 0x5\r\n",)),
        ("an unknown transfer encoding", (b"Transfer-Encoding: xchunked\r\n",)),
        ("chunked, then another encoding", (b"Transfer-Encoding: chunked, identity\r\n",)),
        ("a space before the colon", (b"Transfer-Encoding : chunked\r\n",)),
        ("a folded header", (b"Transfer-Encoding:\r\n chunked, x\r\n",)),
        ("a vertical tab in an encoding", (b"Transfer-Encoding: \x0bchunked\r\n",)),
        ("a header's line ended by CR", (b"X: y\rContent-Length: 5\r\n",)),
        ("a NUL in a header", (b"X: a\0b\r\n",)),
        ("a header without a name", (b": x\r\n",)),
        ("a header without a colon", (b"Content-Length\r\n",)),
    )
)

REQUESTS = (*HEADS, *PIPELINES, *CHUNKS, *LENGTHS)
