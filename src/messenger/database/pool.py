"""The connection pool: last in, first out for connections; first in, first out for waiting requests."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from time import perf_counter
from typing import Any

from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from messenger.errors import Overloaded

_CHECK_SECONDS, _LATE_SECONDS = 1.0, 0.25
# The minimum time for connecting, however long the request has waited for a free slot.
_MIN_CONNECT_SECONDS = 0.5


class PooledConnection:
    """A connection that is checked out: `driver` is asyncpg's connection, `fairy` the one that SQLAlchemy uses.

    `since`: when the last statement began, by `perf_counter`; set by the code that runs statements.
    """

    __slots__ = ("_pool", "driver", "fairy", "since")

    def __init__(self, pool: ConnectionPool, fairy: Any) -> None:
        self._pool = pool
        self.fairy = fairy
        self.driver: Any = fairy.driver_connection
        self.since = perf_counter()

    def release(self) -> None:
        """Return the connection to the pool; no transaction may be open on it."""
        self._pool.release(self)

    def discard(self) -> None:
        """Close the connection; the server rolls back an open transaction."""
        self._pool.discard(self)


class ConnectionPool(NullPool):
    """A pool of at most `pool_size` connections, opened on demand and used by `acquire`.

    It is a SQLAlchemy pool, so that an engine creates and disposes of it. Connections opened through the engine itself
    are separate and closed after use. SQLAlchemy's `QueuePool` enters a greenlet for each checkout, which costs more
    than a small statement.

    `acquire` raises `Overloaded` after `timeout` seconds. A connection is terminated if its server has not responded to
    a statement for `silence` seconds. One periodic check does both: a timer per checkout and statement would cost more
    than everything else in the pool.
    """

    def __init__(
        self, creator: Any, pool_size: int = 10, timeout: float = 5.0, silence: float = 30.0, **options: Any
    ) -> None:
        super().__init__(creator, **options)
        self._size = pool_size
        self._timeout = timeout
        self._silence = silence
        self._checked_out: set[PooledConnection] = set()
        self._check_timer: asyncio.TimerHandle | None = None
        self._open = 0
        self._idle: list[PooledConnection] = []
        self._waiters: deque[tuple[asyncio.Future[PooledConnection | None], float]] = deque()
        self._disposed = False

    def checkedout(self) -> int:
        """The number of connections in use."""
        return self._open - len(self._idle)

    def acquire_nowait(self) -> PooledConnection | None:
        """An idle connection, or None."""
        while self._idle:
            # When a server stops, it closes its connections, which asyncpg notices: no ping is needed.
            connection = self._idle.pop()
            if not connection.driver.is_closed():
                return self._check_out(connection)
            connection.discard()
        return None

    async def acquire(self) -> PooledConnection:
        """Wait for a connection, or open one. Raises `Overloaded` after the timeout, and errors of connecting."""
        connection = self.acquire_nowait()
        if connection is not None:
            return connection
        if self._open < self._size:
            self._open += 1
            return await self._connect()
        asked = perf_counter()
        handed = await self._wait()
        if handed is not None and not handed.driver.is_closed():
            return self._check_out(handed)
        if handed is not None:
            # It was closed in the meantime; its slot is now the caller's.
            _terminate(handed)
        # The timeout covers both waiting and connecting.
        async with asyncio.timeout(max(_MIN_CONNECT_SECONDS, asked + self._timeout - perf_counter())):
            return await self._connect()

    def release(self, connection: PooledConnection) -> None:
        self._checked_out.discard(connection)
        if self._disposed or connection.driver.is_closed():
            self.discard(connection)
        elif not self._hand_over(connection):
            self._idle.append(connection)

    def discard(self, connection: PooledConnection) -> None:
        self._checked_out.discard(connection)
        _terminate(connection)
        self._free_slot()

    def dispose(self) -> None:
        self._disposed = True
        while self._idle:
            self._open -= 1
            self._idle.pop().fairy.close()
        while self._waiters:
            _reject(self._waiters.popleft()[0])

    def recreate(self) -> ConnectionPool:
        return self.__class__(
            self._creator,
            pool_size=self._size,
            timeout=self._timeout,
            silence=self._silence,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def _check_out(self, connection: PooledConnection) -> PooledConnection:
        connection.since = perf_counter()
        self._checked_out.add(connection)
        if self._check_timer is None:
            self._schedule_check()
        return connection

    def _schedule_check(self, *, tolerates_delay: bool = True) -> None:
        every = min(_CHECK_SECONDS, self._timeout / 8)
        latest = perf_counter() + every + _LATE_SECONDS if tolerates_delay else inf
        self._check_timer = asyncio.get_running_loop().call_later(every, self._check, latest)

    def _check(self, latest: float) -> None:
        self._check_timer = None
        now = perf_counter()
        # After a late check, for example when the process was suspended, responses may be unread: leave it to the
        # next one, which tolerates any delay, so that a dead server is found even if the event loop is always late.
        is_late = now > latest
        if not is_late:
            self._terminate_unresponsive(now)
        while self._waiters and self._waiters[0][1] <= now - self._timeout:
            _reject(self._waiters.popleft()[0])
        if self._checked_out or self._waiters:
            self._schedule_check(tolerates_delay=not is_late)

    def _terminate_unresponsive(self, now: float) -> None:
        for connection in self._checked_out:
            if connection.since < now - self._silence:
                # The statement fails, and the caller discards the connection.
                connection.driver.terminate()

    async def _connect(self) -> PooledConnection:
        """Open a connection in a slot that the caller holds."""
        try:
            return self._check_out(PooledConnection(self, await greenlet_spawn(self.connect)))
        except BaseException:
            self._free_slot()
            raise

    def _free_slot(self) -> None:
        """Free a slot; the request that has waited longest uses it to connect."""
        if not self._hand_over(None):
            self._open -= 1

    def _hand_over(self, connection: PooledConnection | None) -> bool:
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self) -> PooledConnection | None:
        """Wait for a released connection; None: for a free slot."""
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, perf_counter()))
        if self._check_timer is None:
            self._schedule_check()
        try:
            return await waiter
        except asyncio.CancelledError:
            # Pass on what was handed over just before the cancellation.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                handed = waiter.result()
                if handed is None:
                    self._free_slot()
                else:
                    self.release(handed)
            raise


def _terminate(connection: PooledConnection) -> None:
    connection.driver.terminate()
    connection.fairy.invalidate()


def _reject(waiter: asyncio.Future[PooledConnection | None]) -> None:
    if not waiter.done():
        waiter.set_exception(Overloaded())
