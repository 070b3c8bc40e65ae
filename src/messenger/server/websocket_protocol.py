"""uvicorn's WebSocket protocol with features that ASGI lacks: writing without a task, pings, aborting."""

from __future__ import annotations

import random
from asyncio.transports import BaseTransport
from time import monotonic
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from messenger.realtime.connection import EXTENSION, ConnectionClosed, ConnectionListener
from messenger.realtime.frames import RESTART, TOO_MANY_FRAMES, Message, ends_with_frame, pong_payload
from messenger.server.compact import CompactEvent, CompactQueue
from messenger.server.error_responses import error_response
from messenger.server.websocket_handshake import HandshakeProtocol
from messenger.server.websocket_holder import SocketHolder

MAX_FRAME_BYTES = 512 * 1024
NOT_TEXT = 1007
_SHORTEST_SPREAD, _LONGEST_SPREAD = 1.0, 30.0
_RETURNS_A_SECOND = 200.0
_BUFFERED_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0
# Bytes that are parsed in one iteration of the loop: 256 KiB can contain 40,000 frames, which take a third of a second.
_AT_ONCE = 8 * 1024
MAX_ODD_FRAMES = 1000
"""Pings, unsolicited pongs and message fragments that a client may send in a minute; also fragments of one message."""
_ODD_SECONDS = 60.0


def retry_after(connections: int) -> float:
    """A random delay in seconds, so that about 200 of these clients reconnect per second."""
    return random.uniform(0, min(_LONGEST_SPREAD, max(_SHORTEST_SPREAD, connections / _RETURNS_A_SECOND)))  # noqa: S311


class UvicornConnection(SocketHolder):
    """A `Connection` (`messenger.realtime.connection`), which the application finds in the ASGI scope's extensions.

    A server has thousands of connections, which may all end at once. An open connection drops objects that it no longer
    needs, and a closed one is in no reference cycle, which only the garbage collector could free.
    """

    last_received = 0.0
    stalled_since: float | None = None
    closed = False
    _listener: ConnectionListener | None = None
    _buffered = 0
    _open = False
    _is_between_frames = False
    _is_deaf = False
    _pings = _odd_frames = 0
    _odd_since = 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._bind()
        self.conn = HandshakeProtocol(max_size=self.config.ws_max_size, logger=self.logger)
        self.queue = CompactQueue()  # type: ignore[assignment]
        self.writable = CompactEvent()  # type: ignore[assignment]
        self.close_timeout = _CLOSE_SECONDS
        self.last_received = monotonic()
        self.transport.set_write_buffer_limits(high=_BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        self.last_received = monotonic()
        if self._unread or len(data) > _AT_ONCE:
            if not self._unread:
                self.loop.call_soon(self._read_on)
            self._unread += data
            self.transport.pause_reading()
        elif self._is_between_frames and (payload := pong_payload(data)) is not None:
            # The most frequent frame; the general parser takes eight times as long.
            self._on_pong(payload)
        else:
            self._read(data)

    def _read_on(self) -> None:
        """Read the next part of a large amount of data, so that other connections are served between the parts."""
        data, self._unread = self._unread[:_AT_ONCE], self._unread[_AT_ONCE:]
        if self.transport.is_closing():
            self._unread = b""
            return
        self._read(data)
        # While a message waits for the application, reading is paused; `receive` resumes it.
        if not self.read_paused:
            self._go_on()

    def _go_on(self) -> None:
        if self._unread:
            self.loop.call_soon(self._read_on)
        else:
            self.transport.resume_reading()

    def _read(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._is_between_frames = self._is_between_frames and ends_with_frame(data)
        super().data_received(data)
        self._note_received()
        if self.conn.state is State.OPEN:
            return
        self._open = self._is_between_frames = False
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The parser of handshakes is stricter than that of requests.
            self.transport.write(b"".join(self.conn.data_to_send()) or error_response(400))
            self.transport.close()
        if self.transport.is_closing() and not self.closed and self.close_timer is None:
            # A client that violates the protocol may not read the last bytes either.
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    async def receive(self) -> ASGIReceiveEvent:
        self._end_message()
        message: ASGIReceiveEvent = await self.queue.get()
        self._begin_message()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._go_on()
        return message

    def send_receive_event_to_app(self) -> None:
        """Like uvicorn's method, but invalid UTF-8 is a client error, which is not logged."""
        data = b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                if self.conn.state is State.OPEN:
                    self.conn.send_close(NOT_TEXT)
                self.handle_parser_exception()
                return
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        self._waiting += len(data)
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            return
        # The invalid data precedes the response to the handshake, or follows the client's close frame: send nothing.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.close_sent = True
        self.transport.close()

    def handle_ping(self) -> None:
        pongs = self.conn.data_to_send()
        if self.is_writable:
            # RFC 6455 section 5.5.3: a pong for the newest ping is enough.
            self.transport.write(b"".join(pongs))
        self._count_odd()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if not event.fin:
            self._count_odd()

    def _count_odd(self) -> None:
        """Count a frame that is not a message: reading it costs as much, but the limits of requests do not count it."""
        if self.last_received - self._odd_since > _ODD_SECONDS:
            self._odd_since, self._odd_frames = self.last_received, 0
        self._odd_frames += 1
        if max(self._odd_frames, len(self.frames)) > MAX_ODD_FRAMES:
            self.frames = []
            self._is_deaf = True
            self.close(TOO_MANY_FRAMES, "too many frames")

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self

    def handle_pong(self, event: Frame) -> None:
        self._on_pong(bytes(event.data))
        if self._pings:
            self._pings -= 1
        else:
            self._count_odd()

    def _on_pong(self, payload: bytes) -> None:
        if self._listener is not None:
            self._listener.on_pong(payload)

    def pause_writing(self) -> None:
        self.is_writable = False
        self.stalled_since = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        super().pause_writing()
        self._count_unsent()

    def resume_writing(self) -> None:
        self.is_writable = True
        self.stalled_since = None
        super().resume_writing()
        self._count_unsent()
        if self._listener is not None:
            self._listener.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.is_writable = True
        self._open = self._is_between_frames = False
        self._listener = None
        self._let_go()
        super().connection_lost(exc)
        # No more data will arrive, so end the parser, a suspended generator.
        self.conn.parser.close()
        if hasattr(self, "scope"):
            self.scope["extensions"].pop(EXTENSION, None)

    def shutdown(self) -> None:
        """Close with code 1012 (RFC 6455 section 7.4.1) and a random delay after which the client reconnects."""
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
            # A handshake that was refused with an HTTP response is complete, too.
            self.handshake_complete = True

    def _on_accepted(self) -> None:
        self._open = self._is_between_frames = self.conn.state is State.OPEN
        # Three copies of the headers take 4 KB of an idle socket, and are not needed any more.
        self.request.headers.clear()
        self.response.headers.clear()
        self.scope["headers"] = []

    # --- Connection ---

    def check_progress(self, now: float) -> None:
        if self.stalled_since is None:
            return
        size = self.transport.get_write_buffer_size()
        if size < self._buffered:
            self.stalled_since = now
        self._buffered = size
        self._count_unsent()

    def attach(self, listener: ConnectionListener) -> None:
        self._listener = listener

    def write(self, message: Message) -> None:
        # Without extensions such as compression, a frame has the same bytes on each connection. The protocol object,
        # which would encode it each time, has no state to update.
        if self._open:
            self.transport.write(message.framed)

    async def drain(self) -> None:
        await self.writable.wait()
        if not self._open:
            raise ConnectionClosed

    def ping(self, payload: bytes) -> bool:
        if self._open:
            self._pings += 1
            self.conn.send_ping(payload)
            self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def write_with_ping(self, message: Message, payload: bytes) -> bool:
        if self._open:
            self._pings += 1
            self.transport.write(message.with_ping(payload))
        return True

    def close(self, code: int, reason: str = "") -> None:
        if not self._open:
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._open = False
        # The application's next `receive` ends the socket; the peer has some seconds to return the close frame.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self._go_on()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()
