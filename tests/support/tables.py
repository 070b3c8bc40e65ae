"""What streams tell, what the tables hold, read past the services, and rows held against them."""

from __future__ import annotations

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
    """What a query of the test's own finds."""
    async with _driver(container) as driver:
        return [dict(record) for record in await driver.fetch(sql, *values)]


async def told(container: Container, person: Person, name: str) -> list[dict[str, Any]]:
    """What the person's stream tells this device, event by event, in those of one name."""
    page = await container.services.sync.sync(person.actor, cursor="e0", limit=200)
    assert not page.more
    return [msgspec.to_builtins(frame.data) for frame in page.events if frame.event == name]


async def payloads(container: Container, person: Person, name: str) -> list[dict[str, Any]]:
    """What events of one name keep, in order: for people without a device that could read their stream."""
    found = await rows(
        container,
        "SELECT payload FROM events WHERE user_id = $1 AND name = $2 ORDER BY position",
        person.id,
        name,
    )
    return [row["payload"] for row in found]


@asynccontextmanager
async def held(container: Container, sql: str, *values: Any) -> AsyncIterator[None]:
    """Locks of another transaction, which ends with the block."""
    async with _driver(container) as driver, driver.transaction():
        await driver.execute(sql, *values)
        yield
