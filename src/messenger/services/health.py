"""Health: whether this process can serve."""

from __future__ import annotations

from typing import Protocol

from messenger.errors import MessengerError
from messenger.schemas.health import ReadyView
from messenger.storage.object_store import ObjectStore
from messenger.unit_of_work import UnitOfWorkFactory


class BusStatus(Protocol):
    """The connection to other workers, which may be down."""

    @property
    def connected(self) -> bool: ...


class HealthService:
    """Checks what a request depends on."""

    def __init__(self, uow: UnitOfWorkFactory, store: ObjectStore, bus: BusStatus, *, head: str) -> None:
        self._uow = uow
        self._store = store
        self._bus = bus
        self._head = head
        self.draining = False

    async def ready(self) -> ReadyView:
        """Check the database, the schema, the bus and this process; each check is `ok` or a reason."""
        database, migrations = await self._database()
        checks = {
            "database": database,
            "migrations": migrations,
            # A worker without its bus still serves, with a delay of seconds: reported, but not a failure.
            "bus": "ok" if self._bus.connected else "away",
            "process": "draining" if self.draining else "ok",
        }
        failed = any(result != "ok" for name, result in checks.items() if name != "bus")
        return ReadyView("unavailable" if failed else "ok", checks)

    async def _database(self) -> tuple[str, str]:
        try:
            async with self._uow.read() as uow:
                schema = await uow.health.schema()
        except MessengerError as error:
            return error.code, "unknown"
        if schema is not None and schema.serves(self._head):
            return "ok", "ok"
        return "ok", f"the schema is at {schema.revision if schema else 'nothing'}, this release needs {self._head}"
