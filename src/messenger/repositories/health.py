"""Health: the schema version of the database."""

from __future__ import annotations

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.base import StatementRepository


class SchemaRow(msgspec.Struct, frozen=True):
    """The migration that the schema is at, and the head of the oldest release that can run on it, if known.

    Both are numbers of four digits.
    """

    revision: str
    oldest: str | None

    def serves(self, head: str) -> bool:
        """Whether a release with this head can run on it: its own schema, or a newer one that is compatible."""
        return self.revision == head or (self.revision > head and self.oldest is not None and self.oldest <= head)


SCHEMA = """
    SELECT version_num AS revision,
        substring(obj_description('alembic_version'::regclass, 'pg_class') FROM '[0-9]{4}') AS oldest
    FROM alembic_version
"""
"""The comment is written by `migrations/env.py`."""

_SCHEMA = Statement("health.schema", SCHEMA, SchemaRow, writes=False)


class HealthRepository(StatementRepository):
    """Reads the schema version."""

    async def schema(self) -> SchemaRow | None:
        """The schema's version; None before the first migration."""
        return await self._run.first(_SCHEMA)
