"""The output of a comparison: tables for readers, and figures for programs."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import asyncpg
from _report import Table, machine

from _yardsticks.contender import PACKAGES
from _yardsticks.measure import Outcome
from _yardsticks.table import ratios_of

_DURABILITY = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
_SEED_PACKAGES = ("fastapi", "pydantic", "starlette")


async def facts(database_url: str) -> dict[str, object]:
    """The machine, the versions, and the durability settings of the database."""
    database = await asyncpg.connect(database_url)
    try:
        settings = {name: str(await database.fetchval(f"SHOW {name}")) for name in _DURABILITY}
    finally:
        await database.close()
    beside = {each.name: each.version for each in distributions(path=[str(PACKAGES)]) if each.name in _SEED_PACKAGES}
    return {**machine(), **beside, "postgresql": settings.pop("server_version"), **settings}


class Report:
    """All figures, their origin, and the tables."""

    def __init__(self, where: dict[str, object], settings: dict[str, object]) -> None:
        self.where = where
        self.settings = settings
        self.outcomes: list[Outcome] = []
        self.tables: list[Table] = []

    def markdown(self) -> str:
        """As it is printed."""
        said = [", ".join(f"{name} {value}" for name, value in part.items()) for part in (self.where, self.settings)]
        return "\n\n".join([*said, *(table.markdown() for table in self.tables)])

    def write(self, folder: Path) -> None:
        """As `compare.md` and `compare.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.md").write_text(self.markdown())
        (folder / "compare.json").write_text(json.dumps(self._figures(), indent=2, default=str) + "\n")

    def _figures(self) -> dict[str, Any]:
        works = [
            {
                "work": outcome.work.name,
                "workers": outcome.workers,
                "turns": {name: [turn._asdict() for turn in turns] for name, turns in outcome.turns.items()},
                "ratios": {name: ratio._asdict() for name, ratio in ratios_of(outcome).items()},
            }
            for outcome in self.outcomes
        ]
        floors = [row for table in self.tables if table.title.startswith("Floors") for row in table.rows]
        return {"machine": self.where, "settings": self.settings, "works": works, "floors": floors}
