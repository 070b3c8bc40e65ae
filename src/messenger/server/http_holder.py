"""The memory of one HTTP connection: unanswered requests and unread responses."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from messenger.server.error_responses import error_response
from messenger.server.memory import SMALL


class Holder(HttpToolsProtocol):
    """Counts its memory against the worker's limits, and releases it when they are exceeded."""

    _all: Any
    # The request that is being answered; pipelined requests wait for it.
    _running: Any = None
    # Bytes read since the last complete request.
    _read = 0
    # Body bytes of all unanswered requests.
    _held = 0
    _is_counted = False

    def _refuse(self, status: int) -> None:
        raise NotImplementedError

    @property
    def _is_in_head(self) -> bool:
        """Whether a head has arrived partially."""
        return self.scope is not None and "method" not in self.scope

    def _hold(self, size: int) -> None:
        cycle: Any = self.cycle
        if not cycle.response_complete:
            cycle.held = getattr(cycle, "held", 0) + size
            self._held += size

    def _release(self) -> None:
        self._held -= getattr(self._running, "held", 0)
        if self._is_counted:
            self._count()

    def _count(self) -> None:
        """Bytes of bodies and of an incomplete head on this connection."""
        held = self._held + (self._read if self._is_in_head else 0)
        self._is_counted = held > SMALL
        self._all.bodies.change(self, held)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._all.unsent.change(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._all.unsent.change(self, 0)
        is_free = self._running is None or self._running.response_complete
        if self.pipeline and is_free and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def discard_request(self) -> bool:
        """Refuse the latest request to release memory; False if the application already has all of its body."""
        cycle = self.cycle
        if self._is_in_head or cycle is None or cycle.more_body:
            self._refuse(503)
        elif not cycle.body:
            return False
        else:
            # The body is complete, but the application has not read it yet.
            if cycle is self._running and not cycle.response_started:
                self.transport.write(error_response(503))
            cycle.body = bytearray()
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()
        return True

    def discard_response(self) -> bool:
        """Close the connection, and discard the unread response."""
        self.loop.call_soon(self.transport.abort)
        return True
