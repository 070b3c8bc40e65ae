"""Rate limits: token buckets, shared by all workers."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.base import StatementRepository


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

# Returns no row when the bucket has too few tokens. The bucket is then left unchanged, and keeps filling.
_CONSUME = Statement(
    "limits.consume",
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


# Returns a row if the thing was counted in the last day, or if a token was consumed for it now.
_CONSUME_ONCE = Statement(
    "limits.consume_once",
    f"""
    -- A thing that was counted in the last day costs nothing again.
    WITH counted AS (SELECT FROM rate_buckets WHERE key = :thing AND updated_at > :since
        AND updated_at <= :now::timestamptz + {_TOLERANCE}),
    -- Consume a token, if the bucket has one. A cost of 0 also requires one.
    consumed AS (
        INSERT INTO rate_buckets AS b (key, tokens, updated_at)
        SELECT :key, :capacity::float - :cost::float, :now WHERE NOT EXISTS (SELECT FROM counted)
        ON CONFLICT (key) DO UPDATE SET tokens = {_FILLED} - :cost::float, updated_at = {_UPDATED}
            WHERE {_FILLED} >= 1
        RETURNING tokens
    ),
    -- Count the thing for a day.
    remembered AS (
        INSERT INTO rate_buckets (key, tokens, updated_at) SELECT :thing, 0, :now FROM consumed
        ON CONFLICT (key) DO UPDATE SET updated_at = excluded.updated_at
    )
    SELECT 0::float AS tokens WHERE EXISTS (SELECT FROM counted) OR EXISTS (SELECT FROM consumed)
    """,
    _Tokens,
    writes=True,
)

COUNTED_FOR = timedelta(days=1)


class LimitRepository(StatementRepository):
    """Token buckets, shared by all workers."""

    async def consume(self, key: str, *, capacity: float, rate: float, cost: float = 1.0) -> float:
        """Consume `cost` tokens of a bucket that gains `rate` a second; returns the seconds to wait, if any."""
        values = {"key": key, "capacity": capacity, "rate": rate, "cost": cost}
        if await self._run.first(_CONSUME, **values):
            return 0.0
        return await self._wait(values)

    async def consume_once(self, key: str, thing: str, *, capacity: float, rate: float, cost: float = 1.0) -> float:
        """Consume one token for a thing that was not counted in the last day; returns the seconds to wait, if any.

        A `cost` of 0 consumes no token, but is refused and remembered in the same way.
        """
        values = {"key": key, "capacity": capacity, "rate": rate, "cost": cost}
        if await self._run.first(_CONSUME_ONCE, thing=thing, since=self._run.now - COUNTED_FOR, **values):
            return 0.0
        return await self._wait({**values, "cost": 1.0})

    async def _wait(self, values: dict[str, object]) -> float:
        wait = await self._run.first(_WAIT, **values)
        return max(wait.seconds, 0.001) if wait else 0.0
