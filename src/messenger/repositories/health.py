"""What the database says of itself."""

from __future__ import annotations

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.base import StatementRepository


class SchemaRow(msgspec.Struct, frozen=True):
    """The migration that the schema is at, and the head of the oldest release that can run on it, where that is told.

    Both are numbers of four digits.
    """

    revision: str
    oldest: str | None

    def serves(self, head: str) -> bool:
        """Whether a release with this head can run on it: its own schema, or one that was made for its successors."""
        return self.revision == head or (self.revision > head and self.oldest is not None and self.oldest <= head)


SCHEMA = """
    SELECT version_num AS revision,
        substring(obj_description('alembic_version'::regclass, 'pg_class') FROM '[0-9]{4}') AS oldest
    FROM alembic_version
"""
"""The comment is written by `migrations/env.py`."""

_SCHEMA = Statement("health.schema", SCHEMA, SchemaRow, writes=False)


class DurabilityRow(msgspec.Struct, frozen=True):
    name: str
    setting: str


_DURABILITY = Statement(
    "health.durability",
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')",
    DurabilityRow,
    writes=False,
)


class HealthRepository(StatementRepository):
    """Schema and settings."""

    async def schema(self) -> SchemaRow | None:
        """Where the schema is; None where there is none yet."""
        return await self._run.first(_SCHEMA)

    async def unsafe_settings(self) -> list[str]:
        """Settings with which an acknowledged message could be lost."""
        rows = await self._run.all(_DURABILITY)
        return [f"{row.name}={row.setting}" for row in rows if row.setting == "off"]
