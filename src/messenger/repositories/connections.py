"""Sockets: tickets that open one, who is connected where, who may know of it."""

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


# A device has one ticket: a newer one takes the older one's place, so that there are never more than devices.
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


class ArrivalRow(msgspec.Struct, frozen=True):
    """Who knocks, where their stream ends, up to where a device has proved to have it, and which arrival this is."""

    user_id: int
    device_id: UUID
    position: int
    taken: int
    epoch: str
    number: int


_ARRIVE = Statement(
    "connections.arrive",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, actor.user_id, actor.device_id, s.position, s.taken, {EPOCH} AS epoch,
        nextval('connection_numbers') AS number
    FROM actor JOIN streams AS s ON s.user_id = actor.user_id
    """,
    ArrivalRow,
    writes=False,
)


# Regardless of the worker's lease (`CONNECTED`): contacts are notified when the row is removed, and a user who
# reconnects between the end of the lease and that moment was never shown as offline.
_HAS_ROW = "EXISTS (SELECT FROM connections AS o WHERE o.user_id = u.id)"


class _TurnedRow(msgspec.Struct, frozen=True):
    user_id: int
    was_connected: bool


# Who came and who went, in one statement. A newer socket takes its device's row over; an older one that ends later
# finds another number in it, and leaves it. `was_connected` is what was true before: a statement doesn't see its
# own writes. The end of a socket is the last activity, by the same rules as every stamp.
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


_RENEW = Statement(
    "workers.renew",
    """
    INSERT INTO workers (id, seen_at) VALUES (:worker, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    RETURNING seen_at
    """,
    _SeenRow,
    writes=True,
)


# A worker's rows go when nobody has seen it for a while; a worker that comes back finds them missing, and writes them
# again. It asks first, without a lock: most of the time nobody is dead.
_ORPHANS = Statement(
    "workers.bury",
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


class JudgedRow(msgspec.Struct, frozen=True):
    """A socket that the tables know otherwise: its device is gone, or has this number now (NULL: none)."""

    device_id: UUID
    signed_in: bool
    number: int | None


_JUDGE = Statement(
    "connections.judge",
    """
    SELECT g.device_id, d.id IS NOT NULL AS signed_in, c.number
    FROM unnest(:devices::uuid[], :numbers::bigint[]) AS g (device_id, number)
    LEFT JOIN devices AS d ON d.id = g.device_id
    LEFT JOIN connections AS c ON c.device_id = g.device_id
    WHERE d.id IS NULL OR c.number IS DISTINCT FROM g.number
    """,
    JudgedRow,
    writes=False,
)


class ConnectionRepository(StatementRepository):
    """Which device is connected where."""

    async def issue_ticket(self, caller: Caller, *, ticket_hash: bytes, expires_at: datetime) -> None:
        """A ticket for the caller's device, in place of an older one."""
        await self._run.first(_ISSUE, caller, hash=ticket_hash, expires_at=expires_at)

    async def redeem_ticket(self, ticket_hash: bytes) -> Actor | None:
        """Whose ticket this is; it is gone then, whoever asks again."""
        return await self._run.first(_REDEEM, hash=ticket_hash)

    async def arrive(self, caller: Caller) -> ArrivalRow | None:
        """The caller, and the end of their stream; one round trip."""
        return await self._run.first(_ARRIVE, caller)

    async def write(
        self,
        worker_id: UUID,
        up: Sequence[tuple[UUID, int, int]],
        down: Sequence[tuple[UUID, int, int]],
    ) -> dict[int, bool]:
        """Note sockets (device, user, number) that came and went; by user, whether there was one before."""
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

    async def connected(self, users: Sequence[int]) -> set[int]:
        """The users with a row, whether or not its worker's lease is valid."""
        return {row.user_id for row in await self._run.all(_CONNECTED, users=users)}

    async def describe(self, users: Sequence[int]) -> list[PresenceRow]:
        """How these users are, and who is to be told."""
        return await self._run.all(_DESCRIBE, users=users)

    async def renew(self, worker_id: UUID) -> datetime:
        """Say that a worker is alive; the database's time."""
        row = await self._run.first(_RENEW, worker=worker_id)
        assert row is not None
        return row.seen_at

    async def bury(self) -> list[int]:
        """Remove the connections of dead workers; returns users without another connection."""
        return [row.user_id for row in await self._run.all(_ORPHANS)]

    async def judge(self, sockets: Sequence[tuple[UUID, int]]) -> list[JudgedRow]:
        """Those of the sockets (device, number) that the tables know otherwise."""
        return await self._run.all(_JUDGE, devices=[each[0] for each in sockets], numbers=[each[1] for each in sockets])


def _columns(sockets: Sequence[tuple[UUID, int, int]]) -> tuple[list[UUID], list[int], list[int]]:
    return [each[0] for each in sockets], [each[1] for each in sockets], [each[2] for each in sockets]
