"""The memory of a worker's connections is bounded: the largest are released, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
import pytest_asyncio
from websockets.frames import Frame, Opcode

from messenger.realtime.connection import EXTENSION
from messenger.server.http_protocol import MAX_HEAD_BYTES, ProtocolFactory
from messenger.server.timeouts import ClientTimeouts
from messenger.server.websocket_protocol import UvicornConnection
from tests.support.served import served

MIB = 1024 * 1024
# More than the kernel's buffers of one connection hold.
LARGE = 8 * MIB


class Host:
    """Reads each body to its end, and responds with as many bytes as the path says."""

    def __init__(self) -> None:
        self.connections = ProtocolFactory(ClientTimeouts(body_bytes=MIB, unsent_bytes=3 * LARGE))
        self.asked: list[str] = []
        self.sockets: list[UvicornConnection] = []
        self.port = 0
        self.hold: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        if scope["type"] == "websocket":
            self.sockets.append(scope["extensions"][EXTENSION])
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                if self.hold is not None:
                    await self.hold.wait()
                    continue
                await send({"type": "websocket.send", "bytes": bytes(LARGE)})
            return
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
        if self.hold is not None:
            await self.hold.wait()
        size = int(scope["path"].rpartition("/")[2])
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    @asynccontextmanager
    async def dial(self, *, narrow: bool = False) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection; `narrow`: with small kernel buffers, and without reading by itself."""
        raw = socket.socket()
        if narrow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
        try:
            yield reader, writer
        finally:
            cast(asyncio.Transport, writer.transport).abort()

    async def until(self, condition: Any) -> None:
        """Wait for a condition; the server shares this event loop."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


@pytest_asyncio.fixture(loop_scope="session")
async def host() -> AsyncIterator[Host]:
    host = Host()
    options = {"ws": UvicornConnection, "ws_per_message_deflate": False, "server_header": False, "date_header": False}
    async with served(host, http=host.connections, **options) as port:
        host.port = port
        yield host


def _head(path: str, length: int = 0) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ")[1]), await reader.readexactly(length)


class TestRequestBodies:
    def _is_settled(self, host: Host, count: int, held: int) -> bool:
        return len(host.asked) == count and host.connections.bodies.total == held

    async def test_unfinished_bodies_are_bounded_together(self, host: Host) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.dial()) for _ in range(8)]
            for number, (_, writer) in enumerate(clients, start=1):
                # Bytes that arrive after a refusal would reset the connection and discard the refusal.
                writer.write(_head("/0", 400_000) + bytes(300_000))
                held = 300_000 * min(number, 3)
                await host.until(lambda held=held, number=number: self._is_settled(host, number, held))
            for reader, _ in clients[:5]:
                status, document = await _answer(reader)
                assert (status, json.loads(document)["code"]) == (503, "overloaded")
                assert await reader.read() == b""
            # The newest are served to the end.
            reader, writer = clients[-1]
            writer.write(bytes(100_000))
            assert await _answer(reader) == (200, b"")
        await host.until(lambda: host.connections.bodies.total == 0)

    async def test_small_request_is_served_beside_large_bodies(self, host: Host) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(8):
                _, writer = await stack.enter_async_context(host.dial())
                writer.write(_head("/0", MIB) + bytes(300_000))
                await writer.drain()
            reader, writer = await stack.enter_async_context(host.dial())
            writer.write(_head("/2", 10_000) + bytes(10_000))
            assert await _answer(reader) == (200, bytes(2))

    async def test_chunked_bodies_are_bounded(self, host: Host) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(8):
                _, writer = await stack.enter_async_context(host.dial())
                head = b"POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                writer.write(head + b"%x\r\n%b" % (MIB, bytes(300_000)))
                await writer.drain()
            await host.until(lambda: host.connections.bodies.total == 3 * 300_000)

    async def test_body_of_running_request_is_counted_and_kept(self, host: Host) -> None:
        host.hold = asyncio.Event()
        async with host.dial() as (reader, writer), host.dial() as (late_reader, late):
            writer.write(_head("/1", 900_000) + bytes(900_000))
            await host.until(lambda: host.connections.bodies.total == 900_000)
            late.write(_head("/1", 300_000) + bytes(200_000))
            assert (await _answer(late_reader))[0] == 503
            host.hold.set()
            assert await _answer(reader) == (200, bytes(1))
            assert host.connections.bodies.total == 0

    async def test_next_request_of_a_connection_starts_at_zero(self, host: Host) -> None:
        async with host.dial() as (reader, writer):
            for _ in range(5):
                writer.write(_head("/1", 700_000) + bytes(700_000))
                assert await _answer(reader) == (200, bytes(1))


class TestRequestHeads:
    async def test_unfinished_heads_are_bounded_together(self, host: Host) -> None:
        piece = b"X: %b\r\n" % (b"a" * 8000)
        size = len(b"GET /0 HTTP/1.1\r\nHost: x\r\n" + 3 * piece)
        count = MIB // size
        assert size < MAX_HEAD_BYTES
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.dial()) for _ in range(count + 3)]
            for _, writer in clients:
                writer.write(b"GET /0 HTTP/1.1\r\nHost: x\r\n" + 3 * piece)
                await writer.drain()
            for reader, _ in clients[:3]:
                assert (await _answer(reader))[0] == 503
            assert host.connections.bodies.total == count * size


class TestResponses:
    async def test_unread_responses_are_bounded_together(self, host: Host) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.dial(narrow=True)) for _ in range(6)]
            for number, (_, writer) in enumerate(clients, start=1):
                writer.write(_head(f"/{LARGE}"))
                await host.until(lambda number=number: len(host.asked) == number)
                assert host.connections.unsent.total <= 3 * LARGE + LARGE
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await _answer(clients[0][0])
            assert await _answer(clients[-1][0]) == (200, bytes(LARGE))
        await host.until(lambda: host.connections.unsent.total == 0)

    async def test_pipelined_request_waits_until_previous_response_is_read(self, host: Host) -> None:
        async with host.dial(narrow=True) as (reader, writer):
            writer.write(_head(f"/1/{LARGE}") + _head(f"/2/{LARGE}") + _head("/3/1"))
            await host.until(lambda: host.connections.unsent.total > 0)
            for _ in range(20):
                await asyncio.sleep(0)
            assert host.asked == [f"/1/{LARGE}"]
            answers = [await _answer(reader) for _ in range(3)]
            assert answers == [(200, bytes(LARGE)), (200, bytes(LARGE)), (200, bytes(1))]
            assert len(host.asked) == 3

    async def test_later_request_waits_until_previous_response_is_read(self, host: Host) -> None:
        async with host.dial(narrow=True) as (reader, writer):
            writer.write(_head(f"/1/{LARGE}"))
            await host.until(lambda: host.connections.unsent.total > 0)
            writer.write(_head("/2/1", 5) + b"hello")
            for _ in range(20):
                await asyncio.sleep(0)
            assert host.asked == [f"/1/{LARGE}"]
            assert [await _answer(reader) for _ in range(2)] == [(200, bytes(LARGE)), (200, bytes(1))]


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")


class TestWebSockets:
    async def test_unfinished_messages_are_bounded_together(self, host: Host) -> None:
        begun = Frame(Opcode.BINARY, bytes(300_000)).serialize(mask=True)[:-100]
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.dial()) for _ in range(5)]
            for number, (reader, writer) in enumerate(clients, start=1):
                await _shake_hands(reader, writer)
                writer.write(begun)
                held = min(number, 3) * 250_000
                await host.until(lambda held=held: held < host.connections.bodies.total <= MIB)
            async with asyncio.timeout(10):
                for reader, _ in clients[:2]:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
        await host.until(lambda: host.connections.bodies.total == 0)

    async def test_messages_are_counted_until_handled(self, host: Host) -> None:
        host.hold = asyncio.Event()
        message = Frame(Opcode.BINARY, bytes(150_000)).serialize(mask=True)
        async with host.dial() as (reader, writer):
            await _shake_hands(reader, writer)
            for number in (1, 2):
                writer.write(message)
                await host.until(lambda number=number: host.connections.bodies.total == number * 150_000)
            host.hold.set()
            await host.until(lambda: host.connections.bodies.total == 0)

    async def test_unhandled_messages_are_bounded_together(self, host: Host) -> None:
        host.hold = asyncio.Event()
        message = Frame(Opcode.BINARY, bytes(300_000)).serialize(mask=True)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(host.dial()) for _ in range(5)]
            for number, (reader, writer) in enumerate(clients, start=1):
                await _shake_hands(reader, writer)
                writer.write(message)
                await host.until(lambda number=number: host.connections.bodies.total == min(number, 3) * 300_000)
            async with asyncio.timeout(10):
                for reader, _ in clients[:2]:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
            host.hold.set()
        await host.until(lambda: host.connections.bodies.total == 0)

    async def test_handshake_behind_an_unread_answer_is_refused(self, host: Host) -> None:
        async with host.dial(narrow=True) as (reader, writer):
            writer.write(_head(f"/1/{LARGE}"))
            await host.until(lambda: host.connections.unsent.total > 0)
            writer.write(HANDSHAKE)
            assert await _answer(reader) == (200, bytes(LARGE))
            assert (await _answer(reader))[0] == 400
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        assert host.asked == [f"/1/{LARGE}"]
        await host.until(lambda: host.connections.unsent.total == 0)

    async def test_pending_bytes_of_an_ended_connection_are_not_counted(self, host: Host) -> None:
        async with host.dial() as (reader, writer):
            await _shake_hands(reader, writer)
            await host.until(lambda: host.sockets)
        socket = host.sockets[0]
        await host.until(lambda: socket.closed)
        # Like a socket whose page of events arrives from the database after its connection has ended.
        socket.report_queued(LARGE)
        assert host.connections.unsent.total == 0

    async def test_unread_messages_are_bounded_together(self, host: Host) -> None:
        ask = Frame(Opcode.TEXT, b"?").serialize(mask=True)
        async with AsyncExitStack() as stack:
            for number in range(1, 7):
                reader, writer = await stack.enter_async_context(host.dial(narrow=True))
                await _shake_hands(reader, writer)
                writer.write(ask)
                held = min(number, 3) * (LARGE // 2)
                await host.until(lambda held=held: held < host.connections.unsent.total <= 3 * LARGE)
        await host.until(lambda: host.connections.unsent.total == 0)
