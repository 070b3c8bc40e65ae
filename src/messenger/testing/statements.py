"""Counting what really goes to the database, BEGIN and COMMIT included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class StatementLog:
    """Every statement of an engine's connections, as asyncpg sends it."""

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
        """A list of the block's statements, complete once the block has ended."""
        statements: list[str] = []
        # asyncpg tells of a statement in the loop's next turn: let it finish with those before, and with ours.
        await asyncio.sleep(0)
        self._recording.append(statements)
        try:
            yield statements
        finally:
            await asyncio.sleep(0)
            self._recording.remove(statements)
