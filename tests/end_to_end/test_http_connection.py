"""The head and the body of a response are sent together, responses keep their order, and ended
connections are freed.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
import uvicorn
from uvicorn.server import ServerState

from messenger.config import Settings
from messenger.server.http_protocol import HttpConnection
from messenger.server.timeouts import ClientTimeouts
from messenger.server.websocket_protocol import UvicornConnection
from messenger.server.writes import FULL_RESPONSE, CoalescedWrites, lines
from tests.support.served import served
from tests.support.uncollected import uncollected


class Kernel:
    """The writes that a transport received."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str) -> Any:
        return None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The buffer never fills."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing arrives without being requested."""

    resume_reading = pause_reading


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def joined(kernel: Kernel) -> CoalescedWrites:
    return CoalescedWrites(cast(asyncio.Transport, kernel))


class TestCoalescedWrites:
    async def test_head_and_body_are_written_together(self, joined: CoalescedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.write(b"body")
        assert kernel.writes == [b"headbody"]

    async def test_head_is_written_alone_without_following_body(self, joined: CoalescedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        assert kernel.writes == []
        await asyncio.sleep(0)
        joined.write(b"body")
        assert kernel.writes == [b"head", b"body"]

    async def test_later_writes_are_never_held(self, joined: CoalescedWrites, kernel: Kernel) -> None:
        for piece in (b"head", b"one", b"two", b"three"):
            joined.write(piece)
        assert kernel.writes == [b"headone", b"two", b"three"]

    async def test_empty_body_releases_head(self, joined: CoalescedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.write(b"")
        assert kernel.writes == [b"head"]

    async def test_closing_flushes_held_head(self, joined: CoalescedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.close()
        assert (kernel.writes, kernel.closed, joined.is_closing()) == ([b"head"], True, True)
        await asyncio.sleep(0)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the path: in pieces, or in one message if the path asks for that."""
    body: bytes = scope["path"].encode()
    if scope["type"] == "websocket":
        return
    assert (await receive())["type"] == "http.request"
    if body == b"/for-ever":
        await asyncio.Event().wait()
    if body.startswith(b"/whole") and _whole(scope, send, body):
        return
    streamed = body.startswith(b"/stream")
    headers = [] if streamed else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if streamed:
        for piece in (body[:3], body[3:]):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


def _whole(scope: Any, send: Any, body: bytes) -> bool:
    answer = scope.get("extensions", {}).get(FULL_RESPONSE)
    if answer is None:
        return False
    fields = lines([(b"content-length", b"%d" % len(body)), (b"x-whole", b"yes")])
    # A middleware between the server and the application inspects the response.
    assert not answer(_answer, 200, fields, body)
    done: bool = answer(send, 200, fields, body)
    # Only once.
    assert not (done and answer(send, 200, fields, body))
    return done


@pytest_asyncio.fixture(loop_scope="session")
async def port() -> AsyncIterator[int]:
    async with served(_answer, server_header=False, date_header=False) as port:
        yield port


async def _said(port: int, request: bytes) -> bytes:
    """Everything that the server sends in response to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said


def _request(path: str, method: str = "GET", *more: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


_UPGRADE = _request(
    "/ws",
    "GET",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class TestResponseOrder:
    async def test_pipelined_requests_are_answered_in_order(self, port: int) -> None:
        paths = ["/a", "/stream/b", "/c", "/stream/d"]
        said = await _said(port, b"".join(map(_request, paths)) + _request("/last", "GET", "Connection: close"))
        places = [said.index(text) for text in (b"/a", b"eam/b", b"/c", b"eam/d", b"/last")]
        assert places == sorted(places)
        assert said.count(b"HTTP/1.1 200 OK") == 5

    async def test_head_request_gets_no_body(self, port: int) -> None:
        said = await _said(port, _request("/a", "HEAD") + _request("/b", "GET", "Connection: close"))
        assert said == (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/b"
        )

    @pytest.mark.parametrize("path", ["/a", "/whole"])
    async def test_body_follows_100_continue(self, port: int, path: str) -> None:
        head = _request(path, "POST", "Content-Length: 2", "Expect: 100-continue")
        said = await _said(port, head + b"hi" + _request("/last", "GET", "Connection: close"))
        assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert (said.count(b" 200 OK"), said.count(b" 100 Continue")) == (2, 1)

    async def test_complete_answers_keep_order(self, port: int) -> None:
        paths = ["/whole/a", "/b", "/whole/c", "/stream/d", "/whole/e"]
        said = await _said(port, b"".join(map(_request, paths)) + _request("/last", "GET", "Connection: close"))
        places = [said.index(text) for text in (b"ole/a", b"/b", b"ole/c", b"eam/d", b"ole/e", b"/last")]
        assert places == sorted(places)
        assert (said.count(b"HTTP/1.1 200 OK"), said.count(b"x-whole: yes")) == (6, 3)

    async def test_complete_answer_equals_answer_sent_in_messages(self, port: int) -> None:
        said = await _said(
            port, _request("/whole") + _request("/apart") + _request("/last", "GET", "Connection: close")
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n"
        assert said.startswith(b"%bx-whole: yes\r\n\r\n/whole%b\r\n/apart" % (head, head))

    @pytest.mark.parametrize(("method", "more"), [("HEAD", ()), ("GET", ("Connection: close",))])
    async def test_complete_answer_is_not_used_for_head_or_closing_connection(
        self, port: int, method: str, more: tuple[str, ...]
    ) -> None:
        said = await _said(port, _request("/whole", method, *more) + _request("/last", "GET", "Connection: close"))
        assert (b"x-whole" in said, said.count(b"HTTP/1.1 200 OK")) == (False, 1 if more else 2)

    async def test_complete_answer_before_request_body_discards_body(self, port: int) -> None:
        """The rest of the body is read, and does not become part of another request."""
        said = await _said(
            port,
            _request("/whole/a", "POST", "Content-Length: 200000")
            + b"GET /smuggled HTTP/1.1\r\n" * 8333
            + b"12345678"
            + _request("/last", "GET", "Connection: close"),
        )
        assert said.count(b"HTTP/1.1 200 OK") == 2
        assert b"smuggled" not in said


class TestHttpConnectionLifetime:
    """Ended connections are freed at once: garbage collection runs rarely (`gc_tuning.py`)."""

    @pytest.mark.parametrize(
        "requests",
        [
            b"",
            _request("/a"),
            _request("/whole"),
            _request("/stream"),
            _request("/for-ever") + _request("/a") + _request("/a"),
            _request("/whole") + _UPGRADE,
        ],
        ids=["nothing", "by messages", "whole", "in pieces", "others wait behind it", "then a socket"],
    )
    async def test_ended_http_connection_leaves_no_reference_cycles(self, kernel: Kernel, requests: bytes) -> None:
        with uncollected():
            left, tasks = await self._ended(kernel, requests)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            del tasks
            await asyncio.sleep(0)
            assert left() is None

    async def _ended(
        self, kernel: Kernel, requests: bytes
    ) -> tuple[weakref.ref[HttpConnection], set[asyncio.Task[Any]]]:
        config = uvicorn.Config(cast(Any, _answer), ws=UvicornConnection, ws_per_message_deflate=False, log_config=None)
        config.load()
        state = ServerState()
        connection = HttpConnection(config, state, {})
        connection.connection_made(cast(asyncio.Transport, kernel))
        connection.data_received(requests)
        for _ in range(10):
            await asyncio.sleep(0)
        # Another protocol may have taken over.
        (kernel.protocol or connection).connection_lost(None)
        kernel.protocol = None
        return weakref.ref(connection), set(state.tasks)


def test_header_value_with_line_break_is_refused() -> None:
    for value in (b"a\r\nb: c", b"a\nb", b"a\rb"):
        with pytest.raises(ValueError, match="break"):
            lines([(b"etag", value)])


class TestIdleConnections:
    def test_keep_alive_exceeds_proxy_timeouts(self) -> None:
        """Proxies close idle connections after 60 s; if the server closes one first, a request may fail."""
        assert Settings().keep_alive_timeout > 60
        assert ClientTimeouts().idle == Settings().keep_alive_timeout
