"""Secrets: the versions of the envelope in an account's safe."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from messenger.actor import Actor, Caller
from messenger.database.statements import Statement
from messenger.errors import Unauthenticated
from messenger.repositories.base import StatementRepository

KEPT_VERSIONS = 10


class SecretRow(msgspec.Struct, frozen=True):
    version: int
    envelope: bytes
    created_at: datetime

    def __repr__(self) -> str:
        """Omits the envelope, so that it is never logged."""
        return f"SecretRow(version={self.version})"


_CURRENT = Statement(
    "secrets.current",
    """
    WITH <<actor>>
    SELECT <<actor_columns>>, s.version, s.envelope, s.created_at
    FROM actor LEFT JOIN LATERAL (
        SELECT * FROM secrets AS x WHERE x.user_id = actor.user_id ORDER BY x.version DESC LIMIT 1
    ) AS s ON true
    """,
    SecretRow,
    writes=False,
)

# The lock on the device's row makes an erasure of the account wait, so that it removes this envelope as well.
# Of two concurrent writes of one version, the second violates pk_secrets and runs again, on the new version.
_APPEND: Statement[Any] = Statement(
    "secrets.append",
    """
    WITH old AS (DELETE FROM secrets WHERE user_id = :owner AND version <= :version::int - :kept::int)
    INSERT INTO secrets (user_id, version, envelope, created_at)
    SELECT d.user_id, :version, :envelope::bytea, :now FROM devices AS d WHERE d.id = :device FOR KEY SHARE
    """,
    writes=True,
)


class SecretRepository(StatementRepository):
    """Envelopes, which the server cannot decrypt."""

    async def current(self, caller: Caller) -> SecretRow | None:
        """Return the caller's newest version."""
        return await self._run.first(_CURRENT, caller)

    async def append(self, actor: Actor, *, version: int, envelope: bytes) -> None:
        """Store the next version and keep the last ten. Raises `Unauthenticated` if the device was just removed."""
        written = await self._run.execute(
            _APPEND,
            owner=actor.user_id,
            device=actor.device_id,
            version=version,
            envelope=envelope,
            kept=KEPT_VERSIONS,
        )
        if written == 0:
            raise Unauthenticated
