"""A socket connection that is controlled by the test."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import msgspec

from messenger.realtime.connection import ConnectionClosed, ConnectionListener
from messenger.realtime.frames import Message


class HeldConnection:
    """Records written frames. `hold` and `let_go` simulate a peer that stops reading and resumes."""

    def __init__(self, *, pings: bool = True) -> None:
        self.last_received = monotonic()
        self.stalled_since: float | None = None
        self.closed = False
        self.close_code: int | None = None
        self.written: list[Message] = []
        self.asked: list[bytes] = []
        self.waiting = self.most_waiting = 0
        self._pings = pings
        self._room = asyncio.Event()
        self._room.set()
        self._listener: ConnectionListener | None = None

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The written frames, decoded."""
        return [msgspec.json.decode(message.payload) for message in self.written]

    def hold(self) -> None:
        """The peer stops reading."""
        self.stalled_since = monotonic()
        self._room.clear()

    def let_go(self) -> None:
        """The peer resumes reading."""
        self.stalled_since = None
        self._room.set()
        if self._listener is not None:
            self._listener.on_writable()

    def pong(self) -> None:
        """The peer answers the oldest ping."""
        assert self._listener is not None
        self._listener.on_pong(self.asked.pop(0))

    # --- SocketConnection ---

    @property
    def is_writable(self) -> bool:
        return self._room.is_set()

    def check_progress(self, now: float) -> None:
        """Does nothing: the test controls the peer."""

    def attach(self, listener: ConnectionListener) -> None:
        self._listener = listener

    def write(self, message: Message) -> None:
        if not self.closed:
            self.written.append(message)

    def report_queued(self, size: int) -> None:
        self.waiting = size
        self.most_waiting = max(size, self.most_waiting)

    async def drain(self) -> None:
        await self._room.wait()
        if self.closed:
            raise ConnectionClosed

    def ping(self, payload: bytes) -> bool:
        if self._pings:
            self.asked.append(payload)
        return self._pings

    def write_with_ping(self, message: Message, payload: bytes) -> bool:
        self.write(message)
        return self.ping(payload)

    def close(self, code: int, reason: str = "") -> None:
        self.closed, self.close_code = True, code
        self._room.set()

    def abort(self) -> None:
        self.close(1006)
