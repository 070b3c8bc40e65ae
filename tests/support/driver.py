"""A minimal server program, which adds hardly any calls to those of the application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from messenger.realtime.connection import EXTENSION
from messenger.testing import Person
from messenger.testing.connections import HeldConnection


def _scope(kind: str, path: str, person: Person, **more: Any) -> dict[str, Any]:
    """The scope as uvicorn creates it."""
    path, _, query = path.partition("?")
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (b"host", b"messenger.test"),
            (b"accept", b"*/*"),
            (b"authorization", person.headers["Authorization"].encode()),
            *more.pop("headers", ()),
        ],
        "state": {},
        **more,
    }


class Request:
    """A prepared request: `answered` only runs the application's work."""

    def __init__(self, app: Any, method: str, path: str, person: Person, body: object = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        self._app = app
        self._scope = _scope(
            "http", path, person, method=method, scheme="http", headers=headers if body is not None else []
        )
        self._event = {"type": "http.request", "body": content, "more_body": False}
        self.sent: list[Any] = []

    async def answered(self) -> None:
        """Call the application."""
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Any:
        return self._event

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self.sent[0]["status"])

    @property
    def body(self) -> Any:
        """The body of the response."""
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))


class Socket:
    """A socket over a connection that tests control; the caller drives `converse` and counts its work."""

    def __init__(self, app: Any, person: Person, cursor: str) -> None:
        self.connection = HeldConnection()
        self._app = app
        extensions = {EXTENSION: self.connection}
        self._scope = _scope(
            "websocket", f"/ws?cursor={cursor}", person, scheme="ws", subprotocols=[], extensions=extensions
        )
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})

    async def converse(self) -> None:
        """Run the socket from its handshake to its end."""
        await self._app(self._scope, self._incoming.get, self._send)

    async def _send(self, message: Any) -> None:
        pass

    def say(self, frame: object) -> None:
        """The device sends this frame."""
        self._incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def leave(self) -> None:
        """The device disconnects."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def receive(self, kind: str) -> dict[str, Any]:
        """Wait for the first frame of this kind, and drop everything up to it."""
        while True:
            frames = self.connection.frames
            for index, frame in enumerate(frames):
                if frame["type"] == kind:
                    del self.connection.written[: index + 1]
                    return frame
            await asyncio.sleep(0.001)
