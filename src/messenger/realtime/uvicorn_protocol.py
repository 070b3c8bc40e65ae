"""uvicorn's WebSocket protocol with what ASGI leaves out: writing without a task, pings, a way to cut the line."""

from __future__ import annotations

import asyncio
import random
from asyncio.transports import BaseTransport
from time import monotonic
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from messenger.realtime.connection import EXTENSION, Gone, Listener
from messenger.realtime.frames import RESTART, Message

MAX_FRAME_BYTES = 512 * 1024
_SHORTEST_SPREAD, _LONGEST_SPREAD = 1.0, 30.0
_RETURNS_A_SECOND = 200.0
_BUFFERED_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0


def retry_after(connections: int) -> float:
    """A random wait, in seconds, that spreads this many clients to some 200 a second."""
    return random.uniform(0, min(_LONGEST_SPREAD, max(_SHORTEST_SPREAD, connections / _RETURNS_A_SECOND)))  # noqa: S311


class _Inbox(asyncio.Queue[Any]):
    """What came and was not asked for yet, for one reader; an `asyncio.Queue` takes 3 KB when it is empty."""

    __slots__ = ("_items", "_reader")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, item: Any) -> None:
        self._items.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def empty(self) -> bool:
        return not self._items

    async def get(self) -> Any:
        while not self._items:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._items.pop(0)


class UvicornConnection(WebSocketsSansIOProtocol):
    """A `Connection` (`messenger.realtime.connection`), which the application finds in the ASGI scope's extensions."""

    heard = 0.0
    stalled_since: float | None = None
    closed = False
    _listener: Listener | None = None
    _buffered = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.queue = _Inbox()
        self.close_timeout = _CLOSE_SECONDS
        self.heard = monotonic()
        self.transport.set_write_buffer_limits(high=_BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        self.heard = monotonic()
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def handle_pong(self, event: Frame) -> None:
        if self._listener is not None:
            self._listener.on_pong(bytes(event.data))

    def pause_writing(self) -> None:
        self.stalled_since = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stalled_since = None
        super().resume_writing()
        if self._listener is not None:
            self._listener.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._listener = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: tell the client to come back, not all at once (RFC 6455 section 7.4.1, 1012)."""
        if self.handshake_complete and not self.close_sent:
            self.close(RESTART, f"retry_after={retry_after(len(self.connections)):.1f}")
        else:
            super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.close_sent:
            # The handshake is over too when it was refused with an HTTP answer.
            self.handshake_complete = True

    # --- Connection ---

    @property
    def has_room(self) -> bool:
        return self.writable.is_set()

    def measure(self, now: float) -> None:
        if self.stalled_since is None:
            return
        size = self.transport.get_write_buffer_size()
        if size < self._buffered:
            self.stalled_since = now
        self._buffered = size

    def attach(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def _open(self) -> bool:
        return not self.closed and self.conn.state is State.OPEN

    def write(self, message: Message) -> None:
        # There are no extensions (no compression), so the bytes of a frame are the same for every connection, and the
        # protocol object, which would make them anew each time, has nothing to keep count of.
        if self._open:
            self.transport.write(message.framed)

    async def drain(self) -> None:
        await self.writable.wait()
        if not self._open:
            raise Gone

    def ping(self, payload: bytes) -> bool:
        if self._open:
            self.conn.send_ping(payload)
            self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def close(self, code: int, reason: str = "") -> None:
        if not self._open or self.close_sent:
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        # The application's next `receive` ends it; the peer has some seconds to answer the handshake.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()
