"""Records the statements that are sent to the database, including BEGIN and COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class StatementLog:
    """Records all statements of an engine's connections, as asyncpg sends them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._recording: list[list[str]] = []
        event.listen(engine.sync_engine, "connect", self._on_connect)

    def _on_connect(self, connection: Any, _: Any) -> None:
        connection.driver_connection.add_query_logger(self._on_query)

    def _on_query(self, query: Any) -> None:
        for statements in self._recording:
            statements.append(query.query)

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[list[str]]:
        """The statements of the block; the list is complete after the block."""
        statements: list[str] = []
        # asyncpg reports a statement in the next turn of the loop: wait for earlier ones, and for those of the block.
        await asyncio.sleep(0)
        self._recording.append(statements)
        try:
            yield statements
        finally:
            await asyncio.sleep(0)
            self._recording.remove(statements)
