"""A connection under a socket: what is asked of a server program, and what any ASGI server can give."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any, Protocol

from messenger.realtime.frames import Message

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EXTENSION = "messenger.connection"
"""The ASGI scope's extension under which our own server protocol offers itself."""


class ConnectionClosed(Exception):
    """The connection has ended."""


class ConnectionListener(Protocol):
    """Who uses a connection."""

    def on_writable(self) -> None:
        """There is room again after `is_writable` was false."""
        ...

    def on_pong(self, payload: bytes) -> None:
        """The peer has all that was written before the ping with this payload."""
        ...


class SocketConnection(Protocol):
    """Writes whole messages without waiting; who writes on when it is not `is_writable` fills memory."""

    last_received: float
    """When anything last came from the peer (`time.monotonic()`)."""
    stalled_since: float | None
    """Since when the peer takes nothing, as of the last `check_progress`; None while there is room."""
    closed: bool

    def check_progress(self, now: float) -> None:
        """See whether the peer has taken anything since the last time: who reads slowly does read."""
        ...

    @property
    def is_writable(self) -> bool:
        """Whether what is written goes on its way at once."""
        ...

    def attach(self, listener: ConnectionListener) -> None:
        """Tell this one; it is the only one."""
        ...

    def write(self, message: Message) -> None:
        """Send, or buffer; nothing where it is closed."""
        ...

    def report_queued(self, size: int) -> None:
        """Report the bytes that wait to be written; the worker's limit may close the connection."""
        ...

    async def drain(self) -> None:
        """Wait until there is room. Raises `ConnectionClosed`."""
        ...

    def ping(self, payload: bytes) -> bool:
        """Send a WebSocket ping (RFC 6455 section 5.5.2); False where the server program offers none."""
        ...

    def write_with_ping(self, message: Message, payload: bytes) -> bool:
        """`write`, then `ping`, in one go: a system call is half of what a socket costs in a fan-out."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; what is buffered goes first."""
        ...

    def abort(self) -> None:
        """End it now, whatever is buffered."""
        ...


class AsgiConnection:
    """Over the `send` of any ASGI server: without pings, and a stalled peer is seen by a send that doesn't return."""

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
        """Each message that was sent moves `stalled_since` already."""

    def attach(self, listener: ConnectionListener) -> None:
        self._listener = listener

    def report_queued(self, size: int) -> None:
        """Other servers have no limit for all connections."""

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
            # The peer went away; who reads from it hears of that, and ends the socket.
            self._end()
        finally:
            self._sender = None
            self.stalled_since = None
            self._room.set()
        if self._listener is not None and not self.closed:
            self._listener.on_writable()
