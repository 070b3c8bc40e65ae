"""The memory of one socket's connection: incomplete frames, and data that its peer has not read."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from messenger.http_connection import Connections
from messenger.http_memory import SMALL


class SocketHolder(WebSocketsSansIOProtocol):
    """Counts its memory against the worker's limits. A client whose socket is closed resumes from its cursor."""

    has_room = True
    _unread = b""
    _queued = 0
    _is_counted = False
    _bounds: Connections | None = None

    def _bind(self) -> None:
        made_by: Any = self.config.http_protocol_class
        self._bounds = made_by if isinstance(made_by, Connections) else None

    def note_waiting(self, size: int) -> None:
        """Set the number of bytes that wait to be written."""
        self._queued = size
        self._count_unsent()

    def _count_unsent(self) -> None:
        if self._bounds is not None:
            written = 0 if self.has_room else self.transport.get_write_buffer_size()
            self._bounds.unsent.change(self, self._queued + written)

    def _count_received(self) -> None:
        """Bytes of incomplete frames and messages."""
        held = len(self._unread) + len(self.conn.reader.buffer) + sum(len(piece) for piece in self.frames)
        if self._bounds is not None and (held > SMALL or self._is_counted):
            self._is_counted = held > SMALL
            self._bounds.bodies.change(self, held)

    def _let_go(self) -> None:
        """The connection has ended: release all of its memory, whatever its socket still reports."""
        if self._bounds is not None:
            self._bounds.bodies.change(self, 0)
            self._bounds.unsent.change(self, 0)
            self._bounds = None

    def give_up_request(self) -> bool:
        """Close the connection, and discard incomplete messages."""
        self.loop.call_soon(self.transport.abort)
        return True

    give_up_answer = give_up_request
