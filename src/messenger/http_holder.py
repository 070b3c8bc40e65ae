"""What one HTTP connection holds in memory: requests that are not answered, an answer that is not read."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from messenger.http_memory import SMALL
from messenger.http_refusals import refusal


class Holder(HttpToolsProtocol):
    """Counts what it holds against the bounds of its worker, and gives it up when they ask for that."""

    _all: Any
    # The request whose answer is due next; requests behind it wait in the pipeline.
    _running: Any = None
    # Bytes read since the last whole request.
    _read = 0
    # Of all requests that are not answered yet: bytes of their bodies.
    _held = 0
    _is_counted = False

    def _refuse(self, status: int) -> None:
        raise NotImplementedError

    @property
    def _is_in_head(self) -> bool:
        """Whether some of a head has come, and not all of it."""
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
        """Bytes that this connection holds: of bodies, and of a head that is not complete."""
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

    def give_up_request(self) -> bool:
        """Refuse the request that came last, for want of memory; False where the application has all of its body."""
        cycle = self.cycle
        if self._is_in_head or cycle is None or cycle.more_body:
            self._refuse(503)
        elif not cycle.body:
            return False
        else:
            # It is complete, and the application has not read it yet.
            if cycle is self._running and not cycle.response_started:
                self.transport.write(refusal(503))
            cycle.body = bytearray()
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()
        return True

    def give_up_answer(self) -> bool:
        """Cut the client off, and drop what it has not read."""
        self.loop.call_soon(self.transport.abort)
        return True
