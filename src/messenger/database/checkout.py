"""A connection that a unit of work holds: its transaction, its savepoints, and its return to the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from messenger.database.pool import PooledConnection

_CLEANUP_SECONDS = 2.0

Step = Callable[[], Awaitable[None]]


class Checkout:
    """Exactly one of `release`, `discard` and `roll_back` ends it."""

    __slots__ = ("_transaction", "connection", "driver")

    def __init__(self, connection: PooledConnection) -> None:
        self.connection: PooledConnection | None = connection
        self.driver = connection.driver
        self._transaction: Any = None

    async def begin(self) -> None:
        """Start the transaction."""
        # asyncpg tracks its own transaction object: a plain ROLLBACK would make its state inconsistent.
        self._transaction = self.driver.transaction()
        await self._transaction.start()

    async def commit(self) -> None:
        """Commit the transaction."""
        await self._transaction.commit()

    def release(self) -> None:
        """Return the connection to the pool; no transaction is open on it."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()

    def discard(self) -> None:
        """Close the connection without sending anything; the server then rolls back."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.discard()

    async def roll_back(self, *, before: Step | None, after: Step | None) -> None:
        """Roll back and return the connection to the pool, even while the task is being cancelled.

        `before` and `after` run around the rollback. A connection whose state is unknown is discarded: one step
        failed, or all of them together took too long.
        """
        cleanup = asyncio.ensure_future(self._roll_back(before, after))
        try:
            await asyncio.shield(cleanup)
        except asyncio.CancelledError:
            await asyncio.wait([cleanup])
            raise

    async def _roll_back(self, before: Step | None, after: Step | None) -> None:
        try:
            async with asyncio.timeout(_CLEANUP_SECONDS):
                if before is not None:
                    await before()
                if self._transaction is not None:
                    await self._transaction.rollback()
                if after is not None:
                    await after()
                sound = not (self.driver.is_in_transaction() or self.driver.is_closed())
        except Exception:
            sound = False
        if sound:
            self.release()
        else:
            self.discard()


class Savepoint:
    """A savepoint around statements that may fail; outside of a transaction it does nothing.

    `holds`: whether the transaction can continue.
    """

    def __init__(self, driver: Any) -> None:
        needed = driver.is_in_transaction()
        self._point = driver.transaction() if needed else None
        self.holds = not needed

    async def __aenter__(self) -> None:
        if self._point is not None:
            await self._point.start()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._point is not None:
            await (self._point.rollback() if error else self._point.commit())
            self.holds = True
