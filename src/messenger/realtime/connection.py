"""The connection of a socket: an interface for server programs, and an implementation for any ASGI server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any, Protocol

from messenger.realtime.frames import Message

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EXTENSION = "messenger.connection"
"""The extension of the ASGI scope in which our own server protocol passes itself."""


class ConnectionClosed(Exception):
    """The connection has ended."""


class ConnectionListener(Protocol):
    """Receives the events of a connection."""

    def on_writable(self) -> None:
        """The connection is writable again."""
        ...

    def on_pong(self, payload: bytes) -> None:
        """The peer has received everything that was written before the ping with this payload."""
        ...


class SocketConnection(Protocol):
    """Writes whole messages without waiting. Messages written while it is not `is_writable` are buffered in memory."""

    last_received: float
    """When the peer last sent anything (`time.monotonic()`)."""
    stalled_since: float | None
    """Since when the peer has read nothing, as of the last `check_progress`; None while the connection is writable."""
    closed: bool

    def check_progress(self, now: float) -> None:
        """Update `stalled_since`: a peer that reads slowly is not stalled."""
        ...

    @property
    def is_writable(self) -> bool:
        """Whether a message would be sent at once, without buffering."""
        ...

    def attach(self, listener: ConnectionListener) -> None:
        """Set the listener; there is only one."""
        ...

    def write(self, message: Message) -> None:
        """Send or buffer a message; does nothing after the connection is closed."""
        ...

    def report_queued(self, size: int) -> None:
        """Report the bytes that wait to be written; the worker's limit may close the connection."""
        ...

    async def drain(self) -> None:
        """Wait until the connection is writable. Raises `ConnectionClosed`."""
        ...

    def ping(self, payload: bytes) -> bool:
        """Send a WebSocket ping (RFC 6455 section 5.5.2); False where the server program offers none."""
        ...

    def write_with_ping(self, message: Message, payload: bytes) -> bool:
        """`write` and `ping` in one system call, which is half of the cost of a socket in a fan-out."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, after all buffered messages."""
        ...

    def abort(self) -> None:
        """Close at once, and discard buffered messages."""
        ...


class AsgiConnection:
    """Uses the `send` of any ASGI server: it has no pings, and a peer is stalled while a `send` does not return."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._outbox: deque[MutableMapping[str, Any]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._listener: ConnectionListener | None = None
        self.last_received = monotonic()
        self.stalled_since: float | None = None
        self.closed = False

    @property
    def is_writable(self) -> bool:
        return self._room.is_set()

    def check_progress(self, now: float) -> None:
        """Does nothing: `stalled_since` is updated after each message."""

    def attach(self, listener: ConnectionListener) -> None:
        self._listener = listener

    def report_queued(self, size: int) -> None:
        """Does nothing: other server programs have no memory limit for all connections."""

    def write(self, message: Message) -> None:
        if message.binary:
            self._post({"type": "websocket.send", "bytes": message.payload})
        else:
            self._post({"type": "websocket.send", "text": message.payload.decode()})

    async def drain(self) -> None:
        await self._room.wait()
        if self.closed:
            raise ConnectionClosed

    def ping(self, payload: bytes) -> bool:
        return False

    def write_with_ping(self, message: Message, payload: bytes) -> bool:
        self.write(message)
        return False

    def close(self, code: int, reason: str = "") -> None:
        self._post({"type": "websocket.close", "code": code, "reason": reason})
        self._end()

    def abort(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
        self._end()

    def _end(self) -> None:
        self.closed = True
        self._room.set()

    def _post(self, message: MutableMapping[str, Any]) -> None:
        if self.closed:
            return
        self._outbox.append(message)
        if self._sender is None:
            self._room.clear()
            self.stalled_since = monotonic()
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._outbox:
                await self._send(self._outbox.popleft())
                self.stalled_since = monotonic()
        except Exception:
            # The peer has disconnected; the task that reads from it is notified, and ends the socket.
            self._end()
        finally:
            self._sender = None
            self.stalled_since = None
            self._room.set()
        if self._listener is not None and not self.closed:
            self._listener.on_writable()
