"""Timeouts of clients, and one periodic check of all connections of a worker."""

from __future__ import annotations

import asyncio
import resource
from time import monotonic
from typing import Protocol

import msgspec

_LOOK_SECONDS = 1.0
# File descriptors for everything else that a worker opens: the database, the bus, image workers, logs.
_OTHER_FILES = 256


class ClientTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one worker. A client must transfer `rate` bytes a second on average over each `window`."""

    connections: int = 20_000
    """Maximum number of open connections, sockets included."""
    idle: float = 75.0
    """Seconds between a response and the next request."""
    head: float = 10.0
    """Seconds for a request's head, the connection's first one included."""
    body: float = 300.0
    """Seconds for a request's whole body."""
    rate: int = 1024
    window: float = 10.0
    body_bytes: int = 64 * 1024 * 1024
    """Bytes of unanswered requests on all connections."""
    unsent_bytes: int = 64 * 1024 * 1024
    """Bytes of unread responses and events on all connections."""

    @property
    def capacity(self) -> int:
        """`connections`, or fewer if the process may not open enough files."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        bounded = files != resource.RLIM_INFINITY
        return max(1, min(self.connections, files - _OTHER_FILES)) if bounded else self.connections


class Watched(Protocol):
    """A connection with timeouts."""

    def look(self, now: float) -> None:
        """Close the connection if its client has exceeded a timeout; `now` is a value of `time.monotonic()`."""
        ...


class TimeoutWheel:
    """Checks all connections once a second, which costs far less than a timer for each request."""

    def __init__(self) -> None:
        self._connections: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: Watched) -> None:
        """Check this connection from now on."""
        self._connections.add(connection)
        if self._timer is None:
            self._wait()

    def leave(self, connection: Watched) -> None:
        """Stop checking this connection. Calling it again is harmless."""
        self._connections.discard(connection)

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        for connection in tuple(self._connections):
            connection.look(now)
        if self._connections:
            self._wait()


class Progress:
    """Measures how long the server has waited for a client, and whether the client makes progress."""

    __slots__ = ("_amount", "_marked", "_since", "_waits_for")

    def __init__(self) -> None:
        self._waits_for: object = None
        self._since = self._marked = 0.0
        self._amount = 0

    def waited(self, waits_for: object, amount: int, now: float) -> float:
        """Seconds since the wait for `waits_for` began; `amount`: the bytes transferred so far."""
        if waits_for != self._waits_for:
            self._waits_for = waits_for
            self._since = self._marked = now
            self._amount = amount
        return now - self._since

    def is_slow(self, amount: int, now: float, timeouts: ClientTimeouts) -> bool:
        """Whether a window has just ended with fewer bytes than `timeouts.rate` requires."""
        if now - self._marked < timeouts.window:
            return False
        came = amount - self._amount
        wanted = timeouts.rate * (now - self._marked)
        self._marked, self._amount = now, amount
        return came < wanted
