"""A device on a real socket, as tests see it: frames sorted by kind, awaited without sleeping."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from messenger.testing import Person
from tests.support.http import DOCUMENT, OPERATION, document_faults
from tests.support.openapi_schema import faults

SECONDS = 10.0
SERVER_FRAME = {"$ref": "#/components/schemas/ServerFrame"}


class Wire:
    """One socket. `next` searches the received frames; skipped frames stay for later."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    async def receive(self) -> dict[str, Any]:
        """The next received frame."""
        async with asyncio.timeout(SECONDS):
            payload = await self.connection.recv()
        frame: dict[str, Any] = json.loads(payload) if isinstance(payload, str) else msgspec.msgpack.decode(payload)
        assert list(faults(DOCUMENT, SERVER_FRAME, frame)) == []
        return frame

    async def next(self, kind: str, event: str | None = None, **wanted: Any) -> dict[str, Any]:
        """The first frame of this kind whose data matches."""

        def fits(frame: dict[str, Any]) -> bool:
            data = frame.get("data") or {}
            return (
                frame["type"] == kind
                and (event is None or frame.get("event") == event)
                and all(data.get(key) == value for key, value in wanted.items())
            )

        for index, frame in enumerate(self.frames):
            if fits(frame):
                return self.frames.pop(index)
        while True:
            frame = await self.receive()
            if fits(frame):
                return frame
            self.frames.append(frame)

    async def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The data of the next event of this name."""
        data: dict[str, Any] = (await self.next("event", name, **wanted))["data"]
        return data

    async def signal(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The data of the next signal of this name."""
        data: dict[str, Any] = (await self.next("signal", name, **wanted))["data"]
        return data

    async def send(self, frame: Any) -> None:
        """Send a frame as JSON, or bytes and text unchanged."""
        await self.connection.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))

    async def ask(self, method: str, **data: Any) -> dict[str, Any]:
        """Send a request; return its reply."""
        number = next(self._ids)
        await self.send({"type": "request", "id": number, "method": method, "data": data})
        while True:
            frame = await self.receive()
            if frame["type"] == "reply" and frame["id"] == number:
                return frame
            self.frames.append(frame)

    async def settled(self) -> list[dict[str, Any]]:
        """All frames received so far: the reply to a request comes after them."""
        await self.ask("ping")
        frames, self.frames = self.frames, []
        return frames

    async def _receive_all(self) -> None:
        while True:
            self.frames.append(await self.receive())

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes; return its code and reason."""
        with pytest.raises(ConnectionClosed) as ended:
            await self._receive_all()
        received = ended.value.rcvd
        assert received is not None, "cut without a close frame"
        return received.code, received.reason


class Realtime:
    """A server on a real port, and its sockets. `settle`: send all pending presence signals first. Without it a new
    socket may receive signals from the time when its contact was made.
    """

    def __init__(self, port: int, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        self.url = f"ws://127.0.0.1:{port}/ws"
        self.http = f"http://127.0.0.1:{port}"
        self._settle = settle

    @asynccontextmanager
    async def wire(
        self, person: Person | None = None, *, cursor: str | None = None, live: bool = True, **options: Any
    ) -> AsyncIterator[Wire]:
        """A socket of this user's device; `live`: past its replay."""
        headers = {**(person.headers if person else {}), **options.pop("headers", {})}
        query = options.pop("query", f"?cursor={cursor}" if cursor is not None else "")
        if self._settle is not None:
            await self._settle()
        async with connect(
            self.url + query, additional_headers=headers, **{"compression": None, **options}
        ) as connection:
            wire = Wire(connection)
            if live:
                await wire.next("caught_up")
            yield wire

    async def sync(self, person: Person, **query: Any) -> Any:
        """`GET /sync`; the response must be as documented."""
        async with httpx.AsyncClient(base_url=self.http, timeout=40) as client:
            answer = await client.get("/sync", headers=person.headers, params=query)
        assert document_faults(OPERATION["sync"], answer) == []
        return answer
