"""Idempotency records: the responses of creating requests, kept for 24 hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from messenger.database.statements import Statement
from messenger.errors import IdempotencyKeyReused
from messenger.repositories.base import StatementRepository

KEPT_FOR = timedelta(hours=24)


class _RecordRow(msgspec.Struct, frozen=True):
    fingerprint: bytes
    answer: bytes | None


# A concurrent request with the same key waits here until the first one commits. A record older than a day is replaced.
_CLAIM = Statement(
    "idempotency.claim",
    """
    INSERT INTO idempotency_keys (scope, key, fingerprint, created_at) VALUES (:scope, :key, :fingerprint, :now)
    ON CONFLICT (scope, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at
        WHERE idempotency_keys.created_at < :expired
    RETURNING fingerprint, answer
    """,
    _RecordRow,
    writes=True,
)

_FIND = Statement(
    "idempotency.find",
    "SELECT fingerprint, answer FROM idempotency_keys WHERE scope = :scope AND key = :key",
    _RecordRow,
    writes=False,
)

_KEEP: Statement[Any] = Statement(
    "idempotency.keep",
    "UPDATE idempotency_keys SET answer = :answer WHERE scope = :scope AND key = :key",
    writes=True,
)


class IdempotencyRepository(StatementRepository):
    """The response of a request is written in the transaction of its work, so both exist or neither does."""

    async def claim(self, scope: str, key: str, fingerprint: bytes) -> bytes | None:
        """Claim the key (None), or return the earlier response. Raises `IdempotencyKeyReused` for another body."""
        expired = self._run.now - KEPT_FOR
        if await self._run.first(_CLAIM, scope=scope, key=key, fingerprint=fingerprint, expired=expired):
            return None
        earlier = await self._run.first(_FIND, scope=scope, key=key)
        if earlier is None or earlier.answer is None:
            return None
        if earlier.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return earlier.answer

    async def keep(self, scope: str, key: str, answer: bytes) -> None:
        """Store the response of a claimed key."""
        await self._run.execute(_KEEP, scope=scope, key=key, answer=answer)
