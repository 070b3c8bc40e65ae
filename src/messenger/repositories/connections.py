"""Sockets: the tickets that open them, the device and worker of each, and the contacts to notify."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import EPOCH, HIDDEN, STATUS_COLUMNS
from messenger.repositories.base import StatementRepository
from messenger.repositories.user_rows import StatusRow


class _Issued(msgspec.Struct, frozen=True):
    device_id: UUID


# A device has one ticket: a newer one replaces the older one, so there are never more tickets than devices.
_ISSUE = Statement(
    "tickets.issue",
    """
    WITH <<actor>>, issued AS (
        INSERT INTO tickets (device_id, hash, expires_at) SELECT actor.device_id, :hash, :expires_at FROM actor
        ON CONFLICT (device_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at
    )
    SELECT <<actor_columns>>, actor.device_id FROM actor
    """,
    _Issued,
    writes=True,
)

_REDEEM = Statement(
    "tickets.redeem",
    """
    WITH used AS (DELETE FROM tickets WHERE hash = :hash RETURNING device_id, expires_at)
    SELECT d.user_id, d.id AS device_id FROM used JOIN devices AS d ON d.id = used.device_id
    WHERE used.expires_at > :now
    """,
    Actor,
    writes=True,
)


class HandshakeRow(msgspec.Struct, frozen=True):
    """A handshake. `position`: the end of the caller's stream; `taken`: the position up to which a device has
    acknowledged it; `number`: higher than that of any earlier handshake.
    """

    user_id: int
    device_id: UUID
    position: int
    taken: int
    epoch: str
    number: int


_HANDSHAKE = Statement(
    "connections.handshake",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, actor.user_id, actor.device_id, s.position, s.taken, {EPOCH} AS epoch,
        nextval('connection_numbers') AS number
    FROM actor JOIN streams AS s ON s.user_id = actor.user_id
    """,
    HandshakeRow,
    writes=False,
)


# Regardless of the worker's lease (`CONNECTED`): contacts are notified when the row is removed, and a user who
# reconnects between the end of the lease and that moment was never shown as offline.
_HAS_ROW = "EXISTS (SELECT FROM connections AS o WHERE o.user_id = u.id)"


class _TurnedRow(msgspec.Struct, frozen=True):
    user_id: int
    was_connected: bool


# Connects and disconnects in one statement. A newer socket takes over its device's row; an older one that disconnects
# later finds another number in the row, and leaves it. `was_connected` is the state from before: a statement does not
# see its own writes. A disconnect is an activity, stamped by the same rules as every other.
_WRITE = Statement(
    "connections.write",
    f"""
    WITH up AS (
        SELECT * FROM unnest(:up_devices::uuid[], :up_users::bigint[], :up_numbers::bigint[])
            AS g (device_id, user_id, number)
    ),
    down AS (
        SELECT * FROM unnest(:down_devices::uuid[], :down_users::bigint[], :down_numbers::bigint[])
            AS g (device_id, user_id, number)
    ),
    came AS (
        INSERT INTO connections AS c (device_id, user_id, worker_id, number)
        SELECT device_id, user_id, :worker::uuid, number FROM up ORDER BY device_id
        ON CONFLICT (device_id) DO UPDATE SET worker_id = excluded.worker_id, number = excluded.number
            WHERE c.number <= excluded.number
    ),
    went AS (
        DELETE FROM connections AS c USING down
        WHERE c.device_id = down.device_id AND c.number = down.number
    ),
    stamped AS (
        UPDATE devices SET last_activity = :now WHERE id IN (
            SELECT d.id FROM devices AS d JOIN down ON down.device_id = d.id
            WHERE d.last_activity < :now ORDER BY d.id FOR NO KEY UPDATE OF d SKIP LOCKED
        )
    ),
    stamped_users AS (
        UPDATE users SET last_activity = :now WHERE id IN (
            SELECT s.id FROM users AS s WHERE s.id IN (SELECT user_id FROM down)
                AND s.last_activity < :now ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED
        )
    )
    SELECT u.id AS user_id, {_HAS_ROW} AS was_connected
    FROM (SELECT user_id AS id FROM up UNION SELECT user_id FROM down) AS u
    """,
    _TurnedRow,
    writes=True,
)


class _UserRow(msgspec.Struct, frozen=True):
    user_id: int


_CONNECTED = Statement(
    "connections.connected",
    f"SELECT u.id AS user_id FROM unnest(:users::bigint[]) AS u (id) WHERE {_HAS_ROW}",
    _UserRow,
    writes=False,
)


class PresenceRow(StatusRow, frozen=True, gc=False):
    """A user's presence; `watchers`: connected mutual contacts; `hidden`: connections are not shown."""

    watchers: list[int]
    hidden: bool


_DESCRIBE = Statement(
    "connections.describe",
    f"""
    SELECT u.id AS user_id, {STATUS_COLUMNS},
        ARRAY(SELECT c.target_id FROM contacts AS c WHERE c.owner_id = u.id AND c.state = 'mutual'
            AND EXISTS (SELECT FROM connections AS o WHERE o.user_id = c.target_id)) AS watchers, {HIDDEN} AS hidden
    FROM users AS u WHERE u.id = ANY (:users::bigint[]) AND u.deleted_at IS NULL
    """,
    PresenceRow,
    writes=False,
)


class _SeenRow(msgspec.Struct, frozen=True):
    seen_at: datetime


_RENEW_LEASE = Statement(
    "workers.renew_lease",
    """
    INSERT INTO workers (id, seen_at) VALUES (:worker, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    RETURNING seen_at
    """,
    _SeenRow,
    writes=True,
)


# The rows of a worker whose lease has expired are removed; a worker that recovers finds them missing, and writes them
# again. A query without locks comes first, since most of the time no worker is dead.
_REAP = Statement(
    "workers.reap",
    """
    WITH dead AS (
        DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '30 seconds'
    ),
    gone AS (
        DELETE FROM connections AS c WHERE NOT EXISTS (
            SELECT FROM workers AS w
            WHERE w.id = c.worker_id AND w.seen_at > clock_timestamp() - interval '30 seconds'
        ) RETURNING c.user_id
    )
    SELECT DISTINCT gone.user_id FROM gone WHERE NOT EXISTS (
        SELECT FROM connections AS c JOIN workers AS w ON w.id = c.worker_id
        WHERE c.user_id = gone.user_id AND w.seen_at > clock_timestamp() - interval '30 seconds'
    )
    """,
    _UserRow,
    writes=True,
)


class MismatchRow(msgspec.Struct, frozen=True):
    """A socket whose row disagrees with this worker: its device is gone, or `number` differs (NULL: no row)."""

    device_id: UUID
    signed_in: bool
    number: int | None


_MISMATCHES = Statement(
    "connections.mismatches",
    """
    SELECT g.device_id, d.id IS NOT NULL AS signed_in, c.number
    FROM unnest(:devices::uuid[], :numbers::bigint[]) AS g (device_id, number)
    LEFT JOIN devices AS d ON d.id = g.device_id
    LEFT JOIN connections AS c ON c.device_id = g.device_id
    WHERE d.id IS NULL OR c.number IS DISTINCT FROM g.number
    """,
    MismatchRow,
    writes=False,
)


class ConnectionRepository(StatementRepository):
    """The sockets of devices, and the workers that hold them."""

    async def issue_ticket(self, caller: Caller, *, ticket_hash: bytes, expires_at: datetime) -> None:
        """Store a ticket for the caller's device; it replaces an older one."""
        await self._run.first(_ISSUE, caller, hash=ticket_hash, expires_at=expires_at)

    async def redeem_ticket(self, ticket_hash: bytes) -> Actor | None:
        """The owner of a ticket, which is deleted: a ticket can be redeemed once."""
        return await self._run.first(_REDEEM, hash=ticket_hash)

    async def open_handshake(self, caller: Caller) -> HandshakeRow | None:
        """Number a handshake of the caller; one round trip."""
        return await self._run.first(_HANDSHAKE, caller)

    async def write(
        self,
        worker_id: UUID,
        up: Sequence[tuple[UUID, int, int]],
        down: Sequence[tuple[UUID, int, int]],
    ) -> dict[int, bool]:
        """Store connects and disconnects of sockets (device, user, number); returns who was connected before."""
        up_devices, up_users, up_numbers = _columns(up)
        down_devices, down_users, down_numbers = _columns(down)
        rows = await self._run.all(
            _WRITE,
            worker=worker_id,
            up_devices=up_devices,
            up_users=up_users,
            up_numbers=up_numbers,
            down_devices=down_devices,
            down_users=down_users,
            down_numbers=down_numbers,
        )
        return {row.user_id: row.was_connected for row in rows}

    async def list_connected(self, users: Sequence[int]) -> set[int]:
        """The users with a row, whether or not its worker's lease is valid."""
        return {row.user_id for row in await self._run.all(_CONNECTED, users=users)}

    async def describe(self, users: Sequence[int]) -> list[PresenceRow]:
        """The presence of these users, and the contacts to notify of it."""
        return await self._run.all(_DESCRIBE, users=users)

    async def renew_lease(self, worker_id: UUID) -> datetime:
        """Renew a worker's lease; returns the database's time."""
        row = await self._run.first(_RENEW_LEASE, worker=worker_id)
        assert row is not None
        return row.seen_at

    async def reap_dead_workers(self) -> list[int]:
        """Remove the connections of dead workers; returns users without another connection."""
        return [row.user_id for row in await self._run.all(_REAP)]

    async def list_mismatches(self, sockets: Sequence[tuple[UUID, int]]) -> list[MismatchRow]:
        """Those of the sockets (device, number) whose rows disagree with this worker."""
        return await self._run.all(
            _MISMATCHES, devices=[each[0] for each in sockets], numbers=[each[1] for each in sockets]
        )


def _columns(sockets: Sequence[tuple[UUID, int, int]]) -> tuple[list[UUID], list[int], list[int]]:
    return [each[0] for each in sockets], [each[1] for each in sockets], [each[2] for each in sockets]
