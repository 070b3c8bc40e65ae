"""Devices and their tokens. Only hashes of tokens are stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Actor, Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import live_connection
from messenger.repositories.base import StatementRepository
from messenger.repositories.familiar import familiarise
from messenger.repositories.user_rows import USER_COLUMNS, UserRow
from messenger.repositories.users import authenticate


class SignedInRow(msgspec.Struct, frozen=True):
    user: UserRow
    evicted: list[UUID]


# Signing in is refused when the password was changed, or the account disabled, since it was verified.
_SIGN_IN = Statement(
    "devices.sign_in",
    f"""
    WITH owner AS (
        SELECT u.id, u.username, u.name, u.avatar_key FROM users AS u
        WHERE u.id = :user_id AND u.password_hash = :password_hash AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        FOR NO KEY UPDATE
    ),
    evicted AS (
        DELETE FROM devices WHERE id IN (
            SELECT d.id FROM devices AS d JOIN owner ON owner.id = d.user_id
            ORDER BY {live_connection("device_id", "d.id")} DESC, d.last_activity DESC, d.id DESC OFFSET :others
        ) RETURNING id
    ),
    device AS (
        INSERT INTO devices (id, user_id, name, access_hash, used_access_hash, access_expires_at, last_activity,
            created_at)
        SELECT :id, owner.id, :name, :access_hash, :access_hash, :access_expires_at, :now, :now FROM owner
        RETURNING id
    ),
    token AS (
        INSERT INTO refresh_tokens (hash, device_id, expires_at)
        SELECT :refresh_hash, device.id, :refresh_expires_at FROM device
    ),
    {familiarise("(SELECT id FROM owner)")},
    stamp AS (
        UPDATE users AS u SET last_activity = greatest(u.last_activity, :now) FROM owner WHERE u.id = owner.id
    )
    SELECT {USER_COLUMNS}, ARRAY(SELECT id FROM evicted) AS evicted
    FROM owner AS u LEFT JOIN avatars AS a ON a.key = u.avatar_key
    """,
    SignedInRow,
    writes=True,
)


class RefreshRow(msgspec.Struct, frozen=True):
    device_id: UUID
    user_id: int
    used_at: datetime | None
    expires_at: datetime
    access_hash: bytes
    used_access_hash: bytes | None

    def has_unused_successor(self, access_hash: bytes) -> bool:
        """Whether the pair with this access token is the device's current one and still unused."""
        return self.access_hash == access_hash != self.used_access_hash


# Both rows are locked, so that of two concurrent requests with one token, the second sees the changes of the first.
_FIND_REFRESH = Statement(
    "devices.find_refresh",
    """
    SELECT d.id AS device_id, d.user_id, r.used_at, r.expires_at, d.access_hash, d.used_access_hash
    FROM refresh_tokens AS r JOIN devices AS d ON d.id = r.device_id
    WHERE r.hash = :hash FOR UPDATE OF d, r
    """,
    RefreshRow,
    writes=True,
)

USED_TOKENS_KEPT = 500
"""Used refresh tokens of a device that are kept to detect reuse: those of five days at the default lifetime."""

_READ = 10 * USED_TOKENS_KEPT

# A device may have more used tokens from before they were limited; each rotation removes a bounded number of them.
_ROTATE: Statement[Any] = Statement(
    "devices.rotate",
    f"""
    WITH used AS (UPDATE refresh_tokens SET used_at = :now WHERE hash = :old_hash),
    fresh AS (
        INSERT INTO refresh_tokens (hash, device_id, expires_at) VALUES (:refresh_hash, :device, :refresh_expires_at)
    ),
    {familiarise(":owner::bigint")},
    pruned AS (
        DELETE FROM refresh_tokens WHERE hash IN (
            SELECT hash FROM (
                SELECT hash, used_at FROM refresh_tokens WHERE device_id = :device AND used_at IS NOT NULL LIMIT {_READ}
            ) AS spent ORDER BY used_at DESC OFFSET {USED_TOKENS_KEPT}
        )
    ),
    stamp AS (UPDATE users SET last_activity = :now WHERE id = (
        SELECT id FROM users WHERE id = :owner AND last_activity < :now FOR NO KEY UPDATE SKIP LOCKED
    ))
    UPDATE devices SET access_hash = :access_hash, access_expires_at = :access_expires_at,
        last_activity = greatest(last_activity, :now)
    WHERE id = :device
    """,
    writes=True,
)


_RENEW: Statement[Any] = Statement(
    "devices.renew",
    """
    UPDATE devices SET access_expires_at = :access_expires_at, last_activity = greatest(last_activity, :now)
    WHERE id = :device
    """,
    writes=True,
)


class DeviceRow(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    created_at: datetime
    last_activity: datetime
    current: bool


_LIST = Statement(
    "devices.list",
    """
    WITH <<actor>>
    SELECT <<actor_columns>>, d.id, d.name, d.created_at,
        CASE WHEN actor.stale AND d.id = actor.device_id THEN greatest(d.last_activity, :now) ELSE d.last_activity END
            AS last_activity,
        d.id = actor.device_id AS current
    FROM actor JOIN devices AS d ON d.user_id = actor.user_id
    WHERE d.id > :after ORDER BY d.id LIMIT :limit
    """,
    DeviceRow,
    writes=False,
)


class _Removed(msgspec.Struct, frozen=True):
    id: UUID


_REMOVE = Statement(
    "devices.remove",
    """
    DELETE FROM devices WHERE user_id = :owner
        AND (:device::uuid IS NULL OR id = :device) AND (:keep::uuid IS NULL OR id <> :keep)
    RETURNING id
    """,
    _Removed,
    writes=True,
)


class Tokens(msgspec.Struct, frozen=True):
    """The hashes of a pair of tokens, and when each expires."""

    access_hash: bytes
    access_expires_at: datetime
    refresh_hash: bytes
    refresh_expires_at: datetime


class DeviceRepository(StatementRepository):
    """Signed-in devices."""

    async def authenticate(self, caller: Caller) -> Actor:
        """Authenticate the caller in a separate statement. Raises `Unauthenticated`."""
        return await authenticate(self._run, caller)

    async def sign_in(
        self,
        user_id: int,
        *,
        device_id: UUID,
        name: str,
        password_hash: str,
        tokens: Tokens,
        address_digest: bytes,
        at_most: int,
    ) -> SignedInRow | None:
        """Create a device; above `at_most`, the least recently active one is signed out, offline ones first.

        None if the password has changed meanwhile.
        """
        return await self._run.first(
            _SIGN_IN,
            user_id=user_id,
            id=device_id,
            name=name,
            password_hash=password_hash,
            address_digest=address_digest,
            others=at_most - 1,
            **msgspec.structs.asdict(tokens),
        )

    async def find_refresh(self, refresh_hash: bytes) -> RefreshRow | None:
        """The refresh token and its device, both locked."""
        return await self._run.first(_FIND_REFRESH, hash=refresh_hash)

    async def rotate(self, row: RefreshRow, *, old_hash: bytes, tokens: Tokens, address_digest: bytes) -> None:
        """Mark the old refresh token as used, and store the device's next pair."""
        await self._run.execute(
            _ROTATE,
            device=row.device_id,
            owner=row.user_id,
            old_hash=old_hash,
            address_digest=address_digest,
            **msgspec.structs.asdict(tokens),
        )

    async def renew(self, row: RefreshRow, *, access_expires_at: datetime) -> None:
        """Set the expiry of the device's current access token."""
        await self._run.execute(_RENEW, device=row.device_id, access_expires_at=access_expires_at)

    async def list_page(self, caller: Caller, *, after: UUID, limit: int) -> list[DeviceRow]:
        """The caller's devices by ascending ID, which is the order of their creation."""
        return await self._run.all(_LIST, caller, after=after, limit=limit)

    async def remove(self, user_id: int, *, device_id: UUID | None = None, keep: UUID | None = None) -> list[UUID]:
        """Sign out one device, or all but `keep`, or all; returns their IDs."""
        rows = await self._run.all(_REMOVE, owner=user_id, device=device_id, keep=keep)
        return [row.id for row in rows]


REFRESH_GRACE = timedelta(seconds=60)
"""How long after its rotation a superseded refresh token is refused without signing the device out: another part of
the app may not have the newer one yet."""
