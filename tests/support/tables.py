"""Contents of streams and tables, read past the services, and locks on rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from messenger.container import Container
from messenger.testing import Person


@asynccontextmanager
async def _driver(container: Container) -> AsyncIterator[Any]:
    async with container.engine.connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection


async def rows(container: Container, sql: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query."""
    async with _driver(container) as driver:
        return [dict(record) for record in await driver.fetch(sql, *values)]


async def event_data(container: Container, person: Person, name: str) -> list[dict[str, Any]]:
    """The events of one name that this device reads from the user's stream."""
    page = await container.services.sync.sync(person.actor, cursor="e0", limit=200)
    assert not page.more
    return [msgspec.to_builtins(frame.data) for frame in page.events if frame.event == name]


async def payloads(container: Container, person: Person, name: str) -> list[dict[str, Any]]:
    """The stored payloads of events of one name, in order: for users without a device."""
    found = await rows(
        container,
        "SELECT payload FROM events WHERE user_id = $1 AND name = $2 ORDER BY position",
        person.id,
        name,
    )
    return [row["payload"] for row in found]


@asynccontextmanager
async def held(container: Container, sql: str, *values: Any) -> AsyncIterator[None]:
    """Locks of another transaction, released at the end of the block."""
    async with _driver(container) as driver, driver.transaction():
        await driver.execute(sql, *values)
        yield


async def waiting(container: Container, count: int) -> None:
    """Wait until so many connections wait for a lock."""
    sql = (
        "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while (await rows(container, sql))[0]["count"] < count:
            await asyncio.sleep(0.01)
