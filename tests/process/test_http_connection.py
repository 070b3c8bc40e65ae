"""An answer's head and body leave together; nothing of an answer stays behind, and none overtakes another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
import uvicorn

from messenger.http_connection import HttpConnection, JoinedWrites


class Kernel:
    """What a transport was given, write by write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def joined(kernel: Kernel) -> JoinedWrites:
    return JoinedWrites(cast(asyncio.Transport, kernel))


class TestWrites:
    async def test_two_become_one(self, joined: JoinedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.write(b"body")
        assert kernel.writes == [b"headbody"]

    async def test_first_one_goes_alone_when_none_follows(self, joined: JoinedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        assert kernel.writes == []
        await asyncio.sleep(0)
        joined.write(b"body")
        assert kernel.writes == [b"head", b"body"]

    async def test_later_ones_are_never_held(self, joined: JoinedWrites, kernel: Kernel) -> None:
        for piece in (b"head", b"one", b"two", b"three"):
            joined.write(piece)
        assert kernel.writes == [b"headone", b"two", b"three"]

    async def test_empty_body_lets_the_head_go(self, joined: JoinedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.write(b"")
        assert kernel.writes == [b"head"]

    async def test_closing_loses_nothing(self, joined: JoinedWrites, kernel: Kernel) -> None:
        joined.write(b"head")
        joined.close()
        assert (kernel.writes, kernel.closed, joined.is_closing()) == ([b"head"], True, True)
        await asyncio.sleep(0)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the path, in pieces where it asks for that."""
    body: bytes = scope["path"].encode()
    assert (await receive())["type"] == "http.request"
    streamed = body.startswith(b"/stream")
    headers = [] if streamed else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if streamed:
        for piece in (body[:3], body[3:]):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


@pytest_asyncio.fixture(loop_scope="session")
async def port() -> AsyncIterator[int]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        cast(Any, _answer), http=HttpConnection, lifespan="off", log_config=None, server_header=False, date_header=False
    )
    server = uvicorn.Server(config)
    # pytest's own handlers of signals stay.
    task = asyncio.create_task(server._serve([listening]))
    while not server.started:
        await asyncio.sleep(0)
    yield listening.getsockname()[1]
    server.should_exit = True
    await task


async def _said(port: int, request: bytes) -> bytes:
    """All that the server says to these bytes until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said


def _request(path: str, method: str = "GET", *more: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


class TestServer:
    async def test_requests_sent_at_once_are_answered_in_order(self, port: int) -> None:
        paths = ["/a", "/stream/b", "/c", "/stream/d"]
        said = await _said(port, b"".join(map(_request, paths)) + _request("/last", "GET", "Connection: close"))
        places = [said.index(text) for text in (b"/a", b"eam/b", b"/c", b"eam/d", b"/last")]
        assert places == sorted(places)
        assert said.count(b"HTTP/1.1 200 OK") == 5

    async def test_head_has_a_head_alone(self, port: int) -> None:
        said = await _said(port, _request("/a", "HEAD") + _request("/b", "GET", "Connection: close"))
        assert said == (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/b"
        )

    async def test_body_after_100_continue(self, port: int) -> None:
        head = _request("/a", "POST", "Content-Length: 2", "Expect: 100-continue", "Connection: close")
        said = await _said(port, head + b"hi")
        assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") or said.startswith(
            b"HTTP/1.1 200 OK\r\n"
        )
        assert said.endswith(b"\r\n\r\n/a")
