"""The pool of database connections: the one used last is handed out first, or straight to whoever waits longest."""

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
# Whoever is given a place has this long for connecting, however long they waited.
_MIN_CONNECT_SECONDS = 0.5


class PooledConnection:
    """A connection on loan: `driver` is asyncpg's own, `fairy` what SQLAlchemy's session takes for it.

    `since`, by `perf_counter`: when it was last set to work; whoever runs a statement says so.
    """

    __slots__ = ("_pool", "driver", "fairy", "since")

    def __init__(self, pool: ConnectionPool, fairy: Any) -> None:
        self._pool = pool
        self.fairy = fairy
        self.driver: Any = fairy.driver_connection
        self.since = perf_counter()

    def release(self) -> None:
        """For the next one; the caller leaves no transaction open on it."""
        self._pool.release(self)

    def discard(self) -> None:
        """Throw it away; the server rolls back what was open on it."""
        self._pool.discard(self)


class ConnectionPool(NullPool):
    """At most `pool_size` connections on loan or at rest, for those who `acquire`; made when they are needed.

    It is a pool of SQLAlchemy's kind, so that an engine makes, knows and disposes of it. Whoever connects through the
    engine itself gets a connection of their own, which is closed after use. SQLAlchemy's queue pool enters a greenlet
    for each loan, which costs more than a small statement does.

    Who waits longer than `timeout` seconds is refused. A connection on loan that hears nothing for `silence` seconds
    after it was set to work is cut off: its server can't be reached. A look now and then finds both; a timer for each
    loan and for each statement would cost more than all else that the pool does.
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
        """How many connections are on loan."""
        return self._open - len(self._idle)

    def acquire_nowait(self) -> PooledConnection | None:
        """A live connection that rests; None where one has to be waited for."""
        while self._idle:
            # A server that went away closed its connections: asyncpg knows without asking, so no ping is paid.
            connection = self._idle.pop()
            if not connection.driver.is_closed():
                return self._check_out(connection)
            connection.discard()
        return None

    async def acquire(self) -> PooledConnection:
        """A live connection. Raises `Overloaded` when none is free in time, and what connecting raises."""
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
            # It closed while it was handed over; its place is taken already.
            _terminate(handed)
        # Waiting and connecting together are what a request waits for a connection.
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
        # A look that comes late means that the process stood still, and answers may lie there unread: the next one
        # tells, however late. A loop that is always late would else never give up a server.
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
                # Whoever waits for its answer hears of it; they discard it.
                connection.driver.terminate()

    async def _connect(self) -> PooledConnection:
        """A new one, in a place that is counted already."""
        try:
            return self._check_out(PooledConnection(self, await greenlet_spawn(self.connect)))
        except BaseException:
            self._free_slot()
            raise

    def _free_slot(self) -> None:
        """One connection less: its place goes to whoever waits, who connects for themselves."""
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
        """A connection that another gave back; None: the place of one that is no more."""
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, perf_counter()))
        if self._check_timer is None:
            self._schedule_check()
        try:
            return await waiter
        except asyncio.CancelledError:
            # What was handed over in the same turn of the loop would be lost.
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
