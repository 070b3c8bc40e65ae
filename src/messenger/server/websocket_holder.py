"""The memory of one socket's connection: incomplete frames, and data that its peer has not read."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from messenger.server.http_protocol import ProtocolFactory
from messenger.server.memory import SMALL


class SocketHolder(WebSocketsSansIOProtocol):
    """Counts its memory against the worker's limits. A client whose socket is closed resumes from its cursor."""

    is_writable = True
    _unread = b""
    # Bytes of messages that wait for the application, and of the message that it is handling.
    _waiting = _handled = 0
    _queued = 0
    _is_counted = False
    _bounds: ProtocolFactory | None = None

    def _bind(self) -> None:
        made_by: Any = self.config.http_protocol_class
        self._bounds = made_by if isinstance(made_by, ProtocolFactory) else None

    def report_queued(self, size: int) -> None:
        """Set the number of bytes that wait to be written."""
        self._queued = size
        self._count_unsent()

    def _count_unsent(self) -> None:
        if self._bounds is not None:
            written = 0 if self.is_writable else self.transport.get_write_buffer_size()
            self._bounds.unsent.change(self, self._queued + written)

    def _begin_message(self) -> None:
        """The application receives a message; if others wait, it stays counted with them."""
        if self._waiting and self.queue.empty():
            self._handled, self._waiting = self._waiting, 0

    def _end_message(self) -> None:
        """The application requests the next message, so it has handled the last one."""
        if self._handled:
            self._handled = 0
            self._count_received()

    def _note_received(self) -> None:
        """Count the received bytes, unless they are few and complete."""
        if self._is_counted or self.frames or self._unread or self.conn.reader.buffer or self._waiting > SMALL:
            self._count_received()

    def _count_received(self) -> None:
        """Count the bytes of frames and messages that are incomplete or not handled yet."""
        held = len(self._unread) + len(self.conn.reader.buffer) + sum(len(piece) for piece in self.frames)
        held += self._waiting + self._handled
        if self._bounds is not None and (held > SMALL or self._is_counted):
            self._is_counted = held > SMALL
            self._bounds.bodies.change(self, held)

    def _let_go(self) -> None:
        """The connection has ended: release all of its memory, whatever its socket still reports."""
        if self._bounds is not None:
            self._bounds.bodies.change(self, 0)
            self._bounds.unsent.change(self, 0)
            self._bounds = None

    def discard_request(self) -> bool:
        """Close the connection, and discard incomplete messages."""
        self.loop.call_soon(self.transport.abort)
        return True

    discard_response = discard_request
