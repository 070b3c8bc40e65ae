"""What protects the others: remembered answers and rate limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from messenger.database.statements import Statement
from messenger.errors import IdempotencyKeyReused
from messenger.repositories.base import StatementRepository

KEPT_FOR = timedelta(hours=24)


class _Answer(msgspec.Struct, frozen=True):
    fingerprint: bytes
    answer: bytes | None


# A concurrent twin waits here for the first one's commit. A key older than a day is as good as new.
_CLAIM = Statement(
    "idempotency.claim",
    """
    INSERT INTO idempotency_keys (scope, key, fingerprint, created_at) VALUES (:scope, :key, :fingerprint, :now)
    ON CONFLICT (scope, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, answer = NULL, created_at = excluded.created_at
        WHERE idempotency_keys.created_at < :expired
    RETURNING fingerprint, answer
    """,
    _Answer,
    writes=True,
)

_FIND = Statement(
    "idempotency.find",
    "SELECT fingerprint, answer FROM idempotency_keys WHERE scope = :scope AND key = :key",
    _Answer,
    writes=False,
)

_KEEP: Statement[Any] = Statement(
    "idempotency.keep",
    "UPDATE idempotency_keys SET answer = :answer WHERE scope = :scope AND key = :key",
    writes=True,
)


class IdempotencyRepository(StatementRepository):
    """Answers of creating requests, for 24 hours, written in the transaction of what they answer."""

    async def claim(self, scope: str, key: str, fingerprint: bytes) -> bytes | None:
        """None: do the work. Otherwise the answer it had. Raises `IdempotencyKeyReused` for another body."""
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
        """Remember the answer; it is there exactly if what it answers is."""
        await self._run.execute(_KEEP, scope=scope, key=key, answer=answer)


class _Tokens(msgspec.Struct, frozen=True):
    tokens: float


class _Seconds(msgspec.Struct, frozen=True):
    seconds: float


# The clocks of workers differ by less than this. A bucket with a later time was used before the clock was set back.
# The actual time is unknown, so the bucket counts as full instead of staying empty until that time.
_TOLERANCE = "interval '10 seconds'"
_AHEAD = f"b.updated_at > :now::timestamptz + {_TOLERANCE}"
_FILLED = f"""CASE WHEN {_AHEAD} THEN :capacity::float ELSE least(:capacity::float, b.tokens + :rate::float
    * greatest(0, extract(epoch FROM :now::timestamptz - b.updated_at))::float) END"""
_UPDATED = f"CASE WHEN {_AHEAD} THEN :now ELSE greatest(b.updated_at, :now) END"

# No row comes back where the bucket has too little; it is left as it was, and goes on filling.
_TAKE = Statement(
    "limits.take",
    f"""
    INSERT INTO rate_buckets AS b (key, tokens, updated_at)
    VALUES (:key, :capacity::float - :cost::float, :now)
    ON CONFLICT (key) DO UPDATE SET tokens = {_FILLED} - :cost::float, updated_at = {_UPDATED}
        WHERE {_FILLED} >= :cost::float
    RETURNING tokens
    """,
    _Tokens,
    writes=True,
)

_WAIT = Statement(
    "limits.wait",
    f"SELECT (:cost::float - {_FILLED}) / :rate::float AS seconds FROM rate_buckets AS b WHERE b.key = :key",
    _Seconds,
    writes=False,
)


# What was counted in the last day is not counted again: repeated use of the same thing is free.
_TAKE_NEW = Statement(
    "limits.take_new",
    f"""
    WITH seen AS (SELECT FROM rate_buckets WHERE key = :thing AND updated_at > :since
        AND updated_at <= :now::timestamptz + {_TOLERANCE}),
    taken AS (
        INSERT INTO rate_buckets AS b (key, tokens, updated_at)
        SELECT :key, :capacity::float - :cost::float, :now WHERE NOT EXISTS (SELECT FROM seen)
        ON CONFLICT (key) DO UPDATE SET tokens = {_FILLED} - :cost::float, updated_at = {_UPDATED}
            WHERE {_FILLED} >= 1
        RETURNING tokens
    ),
    noted AS (
        INSERT INTO rate_buckets (key, tokens, updated_at) SELECT :thing, 0, :now FROM taken
        ON CONFLICT (key) DO UPDATE SET updated_at = excluded.updated_at
    )
    SELECT 0::float AS tokens WHERE EXISTS (SELECT FROM seen) OR EXISTS (SELECT FROM taken)
    """,
    _Tokens,
    writes=True,
)

COUNTED_FOR = timedelta(days=1)


class LimitRepository(StatementRepository):
    """Token buckets, shared by all workers."""

    async def take(self, key: str, *, capacity: float, rate: float, cost: float = 1.0) -> float:
        """Take `cost` tokens of a bucket that fills with `rate` a second; the seconds to wait where it has too few."""
        values = {"key": key, "capacity": capacity, "rate": rate, "cost": cost}
        if await self._run.first(_TAKE, **values):
            return 0.0
        return await self._wait(values)

    async def take_new(self, key: str, thing: str, *, capacity: float, rate: float, cost: float = 1.0) -> float:
        """Take one token for a thing, unless it was counted in the last day; returns the seconds to wait, if any.

        `cost`: 0 takes no token, but is refused and remembered in the same way.
        """
        values = {"key": key, "capacity": capacity, "rate": rate, "cost": cost}
        if await self._run.first(_TAKE_NEW, thing=thing, since=self._run.now - COUNTED_FOR, **values):
            return 0.0
        return await self._wait({**values, "cost": 1.0})

    async def _wait(self, values: dict[str, object]) -> float:
        wait = await self._run.first(_WAIT, **values)
        return max(wait.seconds, 0.001) if wait else 0.0
