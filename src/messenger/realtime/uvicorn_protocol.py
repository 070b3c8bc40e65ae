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
from messenger.realtime.frames import RESTART, Message, ends_with_frame, pong_payload

MAX_FRAME_BYTES = 512 * 1024
_SHORTEST_SPREAD, _LONGEST_SPREAD = 1.0, 30.0
_RETURNS_A_SECOND = 200.0
_BUFFERED_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0


def retry_after(connections: int) -> float:
    """A random wait, in seconds, that spreads this many clients to some 200 a second."""
    return random.uniform(0, min(_LONGEST_SPREAD, max(_SHORTEST_SPREAD, connections / _RETURNS_A_SECOND)))  # noqa: S311


class _Inbox:
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


class _Flag:
    """What uvicorn uses of `asyncio.Event`, without its empty deque of 0.7 KB. Set to begin with."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = True
        self._waiters: list[asyncio.Future[None]] = []

    def clear(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        while not self._is_set:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter


class UvicornConnection(WebSocketsSansIOProtocol):
    """A `Connection` (`messenger.realtime.connection`), which the application finds in the ASGI scope's extensions.

    A server holds thousands of these and lets them go by the thousand. What they don't need when they are open they
    give up, and when they end they hold no circle of references, which only the garbage collector could undo.
    """

    heard = 0.0
    stalled_since: float | None = None
    closed = False
    has_room = True
    _listener: Listener | None = None
    _buffered = 0
    _open = False
    _is_between_frames = False

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.queue = _Inbox()  # type: ignore[assignment]
        self.writable = _Flag()  # type: ignore[assignment]
        self.close_timeout = _CLOSE_SECONDS
        self.heard = monotonic()
        self.transport.set_write_buffer_limits(high=_BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        self.heard = monotonic()
        if self._is_between_frames and (payload := pong_payload(data)) is not None:
            # What comes most; the parser for all kinds of frames takes eight times as long over it.
            self._on_pong(payload)
            return
        self._is_between_frames = self._is_between_frames and ends_with_frame(data)
        super().data_received(data)
        if self.conn.state is not State.OPEN:
            self._open = self._is_between_frames = False

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def handle_pong(self, event: Frame) -> None:
        self._on_pong(bytes(event.data))

    def _on_pong(self, payload: bytes) -> None:
        if self._listener is not None:
            self._listener.on_pong(payload)

    def pause_writing(self) -> None:
        self.has_room = False
        self.stalled_since = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.has_room = True
        self.stalled_since = None
        super().resume_writing()
        if self._listener is not None:
            self._listener.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.has_room = True
        self._open = self._is_between_frames = False
        self._listener = None
        super().connection_lost(exc)
        # Nothing comes any more for it to read.
        self.conn.parser.close()
        if hasattr(self, "scope"):
            self.scope["extensions"].pop(EXTENSION, None)

    def shutdown(self) -> None:
        """The server stops: tell the client to come back, not all at once (RFC 6455 section 7.4.1, 1012)."""
        if self.handshake_complete and not self.close_sent:
            self.close(RESTART, f"retry_after={retry_after(len(self.connections)):.1f}")
        else:
            super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._on_accepted()
        if self.close_sent:
            self._open = False
            # The handshake is over too when it was refused with an HTTP answer.
            self.handshake_complete = True

    def _on_accepted(self) -> None:
        self._open = self._is_between_frames = self.conn.state is State.OPEN
        # Headers, three times over, are 4 KB of an idle socket; who needed them has read them.
        self.request.headers.clear()
        self.response.headers.clear()
        self.scope["headers"] = []

    # --- Connection ---

    def measure(self, now: float) -> None:
        if self.stalled_since is None:
            return
        size = self.transport.get_write_buffer_size()
        if size < self._buffered:
            self.stalled_since = now
        self._buffered = size

    def attach(self, listener: Listener) -> None:
        self._listener = listener

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

    def write_pinged(self, message: Message, payload: bytes) -> bool:
        if self._open:
            self.transport.write(message.pinged(payload))
        return True

    def close(self, code: int, reason: str = "") -> None:
        if not self._open:
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._open = False
        # The application's next `receive` ends it; the peer has some seconds to answer the handshake.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()
