"""What a database holds, as one value: who asks before and after knows whether a row changed."""

from __future__ import annotations

from typing import Any

from messenger.container import Container
from messenger.models import Base

# Every request stamps its caller's activity: that is no change of anybody's things.
_STAMPS = "last_activity"
# A socket that is open is in the table, and a worker says now and then that it lives.
_PRESENCE = frozenset({"connections", "workers"})

_TABLES = sorted(name for name in Base.metadata.tables if name not in _PRESENCE)
_DIGEST = " UNION ALL ".join(
    f"SELECT '{name}', count(*), sum(hashtextextended((to_jsonb(t) - '{_STAMPS}')::text, 0)) FROM {name} AS t"
    for name in _TABLES
)


async def digest(container: Container) -> dict[str, Any]:
    """By table, how many rows it has and the sum of their hashes."""
    async with container.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        return {name: (count, total) for name, count, total in await driver.fetch(_DIGEST)}
