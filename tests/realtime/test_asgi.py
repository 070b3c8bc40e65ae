"""Under any ASGI server: without the extension of our own protocol, with what the specification provides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from messenger.app import create_app
from messenger.container import Container
from messenger.realtime.connection import AsgiConnection, ConnectionClosed
from messenger.realtime.frames import Message
from messenger.testing import Factory, Person


class Server:
    """What an application sees of a server program: two queues."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        await self.outgoing.put(message)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return await self.outgoing.get()

    async def frame(self, kind: str) -> dict[str, Any]:
        while True:
            message = await self.next()
            frame: dict[str, Any] = json.loads(message["text"])
            if frame["type"] == kind:
                return frame


@contextlib.asynccontextmanager
async def serving(container: Container, person: Person | None) -> AsyncIterator[Server]:
    server = Server()
    token = [(b"authorization", person.headers["Authorization"].encode())] if person else []
    scope: Any = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/ws",
        "raw_path": b"/ws",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"test"), *token],
        "client": ("192.0.2.1", 1),
        "server": ("test", 80),
        "subprotocols": [],
        "extensions": {},
    }
    server.incoming.put_nowait({"type": "websocket.connect"})
    app: Any = create_app(container)
    task = asyncio.create_task(app(scope, server.incoming.get, server.send))
    yield server
    server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await task


async def test_socket_sends_and_receives_frames(hosted: Container, people: Factory) -> None:
    ada, bob = await people.friends()
    async with serving(hosted, bob) as server:
        assert (await server.next())["type"] == "websocket.accept"
        await server.frame("caught_up")
        server.incoming.put_nowait(
            {"type": "websocket.receive", "text": '{"type": "request", "id": 1, "method": "ping"}'}
        )
        assert await server.frame("reply") == {"type": "reply", "id": 1, "data": None}
        await people.message(ada, bob, "Hello")
        assert (await server.frame("event"))["data"]["body"] == "Hello"
        # Without pings, writing counts as delivery.
        assert (await server.frame("event"))["event"] == "receipt.updated"


async def test_refused_handshake_closes_socket(hosted: Container) -> None:
    async with serving(hosted, None) as server:
        assert await server.next() == {"type": "websocket.close", "code": 4401, "reason": "unauthenticated"}


async def test_newer_socket_closes_the_older(hosted: Container, people: Factory) -> None:
    ada = await people.person()
    async with serving(hosted, ada) as older:
        await older.next()
        await older.frame("caught_up")
        async with serving(hosted, ada) as newer:
            await newer.next()
            await newer.frame("caught_up")
            while (message := await older.next())["type"] != "websocket.close":
                pass
            assert message["code"] == 4409


class TestAsgiConnection:
    async def test_peer_not_reading_leaves_no_room(self) -> None:
        taken: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        connection = AsgiConnection(taken.put)
        for _ in range(3):
            connection.write(Message(b"x", False))
        await asyncio.sleep(0)
        assert (connection.is_writable, connection.stalled_since is not None) == (False, True)
        for _ in range(3):
            await taken.get()
        await connection.drain()
        assert (connection.is_writable, connection.stalled_since) == (True, None)

    async def test_abort_ends_connection(self) -> None:
        taken: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        connection = AsgiConnection(taken.put)
        for _ in range(3):
            connection.write(Message(b"x", False))
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(ConnectionClosed):
            await connection.drain()

    async def test_lost_peer_ends_connection(self) -> None:
        async def gone(_: Any) -> None:
            raise OSError

        connection = AsgiConnection(gone)
        connection.write(Message(b"x", True))
        with pytest.raises(ConnectionClosed):
            await connection.drain()
        connection.write(Message(b"x", True))
        assert connection.closed
