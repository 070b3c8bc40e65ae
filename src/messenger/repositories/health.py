"""What the database says of itself."""

from __future__ import annotations

import msgspec

from messenger.statements import Runner, Statement


class _Revision(msgspec.Struct, frozen=True):
    version_num: str


_REVISION = Statement("health.revision", "SELECT version_num FROM alembic_version", _Revision, writes=False)


class DurabilityRow(msgspec.Struct, frozen=True):
    name: str
    setting: str


_DURABILITY = Statement(
    "health.durability",
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')",
    DurabilityRow,
    writes=False,
)


class HealthRepository:
    """Schema and settings."""

    def __init__(self, run: Runner) -> None:
        self._run = run

    async def revision(self) -> str | None:
        """The migration that the schema is at."""
        row = await self._run.first(_REVISION)
        return row.version_num if row else None

    async def unsafe_settings(self) -> list[str]:
        """Settings with which an acknowledged message could be lost."""
        rows = await self._run.all(_DURABILITY)
        return [f"{row.name}={row.setting}" for row in rows if row.setting == "off"]
