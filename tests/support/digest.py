"""The contents of a database as one value: comparing two of them shows whether a row changed."""

from __future__ import annotations

from typing import Any

from messenger.container import Container
from messenger.models import Base

# Every request stamps its caller's activity, which changes no data.
_STAMPS = "last_activity"
# An open socket has a row, and workers renew their heartbeat.
_PRESENCE = frozenset({"connections", "workers"})

_TABLES = sorted(name for name in Base.metadata.tables if name not in _PRESENCE)
_DIGEST = " UNION ALL ".join(
    f"SELECT '{name}', count(*), sum(hashtextextended((to_jsonb(t) - '{_STAMPS}')::text, 0)) FROM {name} AS t"
    for name in _TABLES
)


async def digest(container: Container) -> dict[str, Any]:
    """For each table, the number of rows and the sum of their hashes."""
    async with container.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        return {name: (count, total) for name, count, total in await driver.fetch(_DIGEST)}
