"""Everything that a thief of the database has."""

from __future__ import annotations

from messenger.container import Container
from tests.support.tables import rows


async def dump(container: Container) -> str:
    """Every row of every table as PostgreSQL writes it: text unchanged, bytes in hexadecimal."""
    tables = await rows(container, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    lines: list[str] = []
    for table in tables:
        found = await rows(container, f'SELECT t::text AS line FROM "{table["tablename"]}" AS t')
        lines += [f"{table['tablename']}: {row['line']}" for row in found]
    return "\n".join(lines)
