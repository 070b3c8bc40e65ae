"""Accounts by the thousand, written into the server's database: over HTTP it would take minutes."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from messenger.security.tokens import ACCESS_PREFIX, token_hash

_FIRST_ID = 100_000_000


class Device(NamedTuple):
    """A signed-in device, and its access token."""

    user_id: int
    id: UUID
    token: str


class People:
    """Writes what signing up, signing in and confirming a contact would have written."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._next = _FIRST_ID

    @classmethod
    async def of(cls, database_url: str) -> People:
        """Connect to the database of a running server."""
        return cls(await asyncpg.connect(database_url))

    async def make(self, count: int) -> list[Device]:
        """Create this many users with one device each."""
        users = list(range(self._next, self._next + count))
        self._next += count
        now = datetime.now(UTC)
        await self._copy("peers", ("id", "kind"), [(user, "user") for user in users])
        await self._copy(
            "users",
            ("id", "username", "username_key", "name", "last_activity", "created_at"),
            [(user, f"user-{user}", f"user-{user}", f"User {user}", now, now) for user in users],
        )
        await self._copy("streams", ("user_id",), [(user,) for user in users])
        return await self.sign_in(users)

    async def sign_in(self, users: Iterable[int]) -> list[Device]:
        """One more device for each of these users."""
        devices = [Device(user, uuid4(), ACCESS_PREFIX + secrets.token_urlsafe(32)) for user in users]
        now = datetime.now(UTC)
        until = now + timedelta(days=1)
        await self._copy(
            "devices",
            ("id", "user_id", "name", "access_hash", "access_expires_at", "last_activity", "created_at"),
            [(each.id, each.user_id, "bench", token_hash(each.token), until, now, now) for each in devices],
        )
        return devices

    async def befriend(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Mutual contacts."""
        now = datetime.now(UTC)
        edges = [edge for one, other in pairs for edge in ((one, other), (other, one))]
        rows = [(owner, target, "mutual", now) for owner, target in edges]
        await self._copy("contacts", ("owner_id", "target_id", "state", "since"), rows)

    async def settle(self) -> None:
        """Do the work that autovacuum would otherwise do during the measurement."""
        await self._database.execute("VACUUM ANALYZE")

    async def version(self) -> str:
        """PostgreSQL's."""
        return str(await self._database.fetchval("SHOW server_version")).split()[0]

    async def workers_of(self, devices: Collection[Device]) -> dict[Device, int]:
        """The worker of each device's socket, as a number from 0."""
        rows = await self._database.fetch(
            "SELECT device_id, worker_id FROM connections WHERE device_id = ANY ($1)", [each.id for each in devices]
        )
        holders = {row["device_id"]: row["worker_id"] for row in rows}
        numbers = {worker: number for number, worker in enumerate(sorted(set(holders.values())))}
        return {device: numbers[holders[device.id]] for device in devices}

    async def backends(self) -> int:
        """Connections of the server to its database, now."""
        return int(
            await self._database.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        )

    async def close(self) -> None:
        await self._database.close()

    async def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
        await self._database.copy_records_to_table(table, columns=columns, records=rows)
