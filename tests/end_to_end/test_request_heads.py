"""Request heads: `Host`, `Transfer-Encoding`, `Upgrade`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from messenger.server.http_protocol import MAX_HEADERS
from messenger.server.websocket_protocol import UvicornConnection
from tests.support.served import served

BODY = b'{"text":"hello"}'
SIZED = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
KEY = b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the method, the path and the body; close every handshake except that of `/ws`."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept" if scope["path"] == "/ws" else "websocket.close"})
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    said = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body)
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@pytest_asyncio.fixture(loop_scope="session")
async def port() -> AsyncIterator[int]:
    options = {"ws": UvicornConnection, "ws_per_message_deflate": False, "server_header": False, "date_header": False}
    async with served(_echo, **options) as port:
        yield port


def _request(*headers: bytes, line: bytes = b"POST /a HTTP/1.1", host: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(headers) + b"\r\n"


LAST = _request(b"Connection: close\r\n", line=b"GET /last HTTP/1.1")


class Answer:
    """A status, its header lines in lower case, and a body."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status, self.head, self.body = status, head.lower(), body

    @property
    def problem(self) -> str:
        """The code of a problem document."""
        assert b"content-type: application/problem+json\r\n" in self.head
        document = json.loads(self.body)
        assert document["status"] == self.status
        code: str = document["code"]
        return code


async def _answers(port: int, pieces: Sequence[bytes]) -> list[Answer]:
    """All responses until the server closes the connection. The pieces are sent in packets of their own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        said = b""
        while not said.startswith(b"HTTP/1.1 101 ") and (data := await reader.read(65536)):
            said += data
    writer.transport.abort()
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        length = int((head.lower() + b"\r\n").partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        found.append(Answer(int(head.split(b" ")[1]), head + b"\r\n", said[:length]))
        said = said[length:]
    return found


async def _bodies(port: int, *pieces: bytes) -> list[bytes]:
    return [answer.body for answer in await _answers(port, pieces)]


class TestIgnoredUpgrade:
    """RFC 9110 section 7.8: a server that ignores `Upgrade` responds as if it were absent."""

    @pytest.mark.parametrize(
        "offer",
        [
            H2C,
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nConnection: upgrade, http2-settings\r\n",
            b"Connection: Upgrade\r\nConnection: HTTP2-Settings\r\nUpgrade: h2c\r\n",
            b"Connection: UPGRADE\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n",
            b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n",
            WEBSOCKET + KEY + b"Sec-WebSocket-Version: 13\r\n",
        ],
        ids=["curl", "JDK", "two fields", "TLS", "h2c before websocket", "websocket by POST"],
    )
    @pytest.mark.parametrize(("framing", "body"), [(SIZED, BODY), (CHUNKED, CHUNKS)], ids=["sized", "chunked"])
    async def test_body_reaches_application(self, port: int, offer: bytes, framing: bytes, body: bytes) -> None:
        wanted = [b"POST /a " + BODY, b"GET /last "]
        assert await _bodies(port, _request(offer, framing) + body + LAST) == wanted
        assert await _bodies(port, _request(framing, offer), body[:5], body[5:] + LAST) == wanted

    async def test_pipelined_requests_with_upgrade_keep_order(self, port: int) -> None:
        one = _request(H2C, SIZED) + BODY
        bare = _request(H2C, line=b"GET /bare HTTP/1.1")
        said = await _bodies(port, one + bare + one + _request(SIZED) + BODY + LAST)
        echoed = b"POST /a " + BODY
        assert said == [echoed, b"GET /bare ", echoed, echoed, b"GET /last "]

    async def test_expectation_is_answered(self, port: int) -> None:
        head = _request(H2C, SIZED, b"Expect: 100-continue\r\n")
        answers = await _answers(port, [head, BODY + LAST])
        assert [(answer.status, answer.body) for answer in answers] == [
            (100, b""),
            (200, b"POST /a " + BODY),
            (200, b"GET /last "),
        ]

    async def test_http_1_0_request_is_not_upgraded(self, port: int) -> None:
        line = b"GET /ws HTTP/1.0"
        assert await _bodies(port, _request(WEBSOCKET, KEY, b"Sec-WebSocket-Version: 13\r\n", line=line)) == [
            b"GET /ws "
        ]

    async def test_handshake_with_a_body_is_a_plain_request(self, port: int) -> None:
        head = _request(WEBSOCKET, KEY, b"Sec-WebSocket-Version: 13\r\n", SIZED, line=b"GET /ws HTTP/1.1")
        assert await _bodies(port, head + BODY + LAST) == [b"GET /ws " + BODY, b"GET /last "]

    async def test_body_with_upgrade_stays_within_framing(self, port: int) -> None:
        """No bytes of a body become a request."""
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        head = _request(H2C, b"Content-Length: %d\r\n" % len(smuggled))
        assert await _bodies(port, head + smuggled + LAST) == [b"POST /a " + smuggled, b"GET /last "]

    async def test_broken_body_is_refused(self, port: int) -> None:
        answers = await _answers(port, [_request(H2C, CHUNKED) + b"x\r\n{}"])
        assert [(answer.status, answer.problem) for answer in answers] == [(400, "malformed_request")]


class TestHostHeader:
    @pytest.mark.parametrize(
        "host",
        [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a b\r\n", b"Host: http://a/\r\n"],
        ids=["none", "twice", "two", "a space", "a URL"],
    )
    @pytest.mark.parametrize("more", [b"", H2C], ids=["plain", "with an offer"])
    async def test_missing_or_ambiguous_host_is_refused(self, port: int, host: bytes, more: bytes) -> None:
        answers = await _answers(port, [_request(more, line=b"GET / HTTP/1.1", host=host) + LAST])
        assert [(answer.status, answer.problem) for answer in answers] == [(400, "malformed_request")]

    @pytest.mark.parametrize(
        "host", [b"Host:\r\n", b"Host: chat.example:8443\r\n", b"Host: [2001:db8::1]:80\r\n", b"hOST: 10.0.0.1\r\n"]
    )
    async def test_valid_host_is_accepted(self, port: int, host: bytes) -> None:
        assert await _bodies(port, _request(SIZED, host=host) + BODY + LAST) == [b"POST /a " + BODY, b"GET /last "]

    async def test_http_1_0_needs_no_host(self, port: int) -> None:
        assert await _bodies(port, _request(line=b"GET /old HTTP/1.0", host=b"")) == [b"GET /old "]


class TestTransferEncoding:
    """RFC 9112 section 6.1."""

    @pytest.mark.parametrize(
        "codings",
        [
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: identity, chunked\r\n",
        ],
    )
    async def test_unknown_coding_is_not_implemented(self, port: int, codings: bytes) -> None:
        answers = await _answers(port, [_request(codings) + CHUNKS + LAST])
        assert [(answer.status, answer.problem) for answer in answers] == [(501, "transfer_coding_unsupported")]

    @pytest.mark.parametrize(
        ("line", "codings"),
        [
            (b"POST /a HTTP/1.1", b"Transfer-Encoding: chunked, chunked\r\n"),
            (b"POST /a HTTP/1.1", b"Transfer-Encoding: chunked, gzip\r\n"),
            (b"POST /a HTTP/1.0", b"Transfer-Encoding: chunked\r\n"),
        ],
        ids=["chunked twice", "chunked not last", "HTTP/1.0"],
    )
    async def test_faulty_framing_is_refused(self, port: int, line: bytes, codings: bytes) -> None:
        answers = await _answers(port, [_request(codings, line=line) + CHUNKS + LAST])
        assert [(answer.status, answer.problem) for answer in answers] == [(400, "malformed_request")]

    async def test_chunked_is_accepted_in_any_case(self, port: int) -> None:
        said = await _bodies(port, _request(b"Transfer-Encoding: CHUNKED\r\n") + CHUNKS + LAST)
        assert said == [b"POST /a " + BODY, b"GET /last "]


class TestHeaderCount:
    async def test_too_many_headers_are_refused_before_head_ends(self, port: int) -> None:
        answers = await _answers(port, [_request(b"a:\r\n" * (MAX_HEADERS + 1))[:-2]])
        assert [(answer.status, answer.problem) for answer in answers] == [(431, "headers_too_large")]


class TestWebSocketHandshake:
    async def _one(self, port: int, *headers: bytes, path: bytes = b"/ws") -> Answer:
        (answer,) = await _answers(port, [_request(WEBSOCKET, *headers, line=b"GET %b HTTP/1.1" % path)])
        return answer

    async def test_valid_handshake_opens_socket(self, port: int) -> None:
        assert (await self._one(port, KEY, b"Sec-WebSocket-Version: 13\r\n")).status == 101

    @pytest.mark.parametrize("version", [b"Sec-WebSocket-Version: 8\r\n", b""])
    async def test_wrong_version_gets_supported_version(self, port: int, version: bytes) -> None:
        answer = await self._one(port, KEY, version)
        assert (answer.status, answer.problem) == (426, "upgrade_required")
        assert b"sec-websocket-version: 13\r\n" in answer.head
        assert b"upgrade: websocket\r\n" in answer.head

    async def test_handshake_without_key_is_refused(self, port: int) -> None:
        answer = await self._one(port, b"Sec-WebSocket-Version: 13\r\n")
        assert (answer.status, answer.problem) == (400, "malformed_request")

    async def test_handshake_on_other_path_is_refused(self, port: int) -> None:
        answer = await self._one(port, KEY, b"Sec-WebSocket-Version: 13\r\n", path=b"/other")
        assert (answer.status, answer.problem) == (403, "forbidden")
