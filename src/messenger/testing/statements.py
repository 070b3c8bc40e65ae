"""Counting what really goes to the database, BEGIN and COMMIT included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        """A list that fills with statements until the block ends."""
        statements: list[str] = []
        self._recording.append(statements)
        try:
            yield statements
        finally:
            self._recording.remove(statements)
