"""The ceiling's connection pool: a stack of connections, and a queue of waiting requests.

asyncpg's own pool costs about as much as a small statement does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import asyncpg

_SERVER_SETTINGS = {
    "application_name": "ceiling",
    "statement_timeout": "5000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
    "jit": "off",
    "timezone": "UTC",
}


class Pool:
    """Every statement is a transaction of its own, so nothing is reset when a connection comes back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def open(self, size: int) -> None:
        """Connect so often."""
        self._free = [await self._connect() for _ in range(size)]

    async def close(self) -> None:
        """The connections that are not in use."""
        for connection in self._free:
            await connection.close()

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Its rows."""
        free = self._free
        connection = free.pop() if free else await self._wait()
        try:
            if connection.is_closed():
                connection = await self._connect()
            rows: list[Any] = await connection.fetch(statement, *values)
            return rows
        finally:
            self._give(connection)

    async def _connect(self) -> Any:
        return await asyncpg.connect(self._url, server_settings=_SERVER_SETTINGS)

    async def _wait(self) -> Any:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return await waiting

    def _give(self, connection: Any) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return
        self._free.append(connection)
