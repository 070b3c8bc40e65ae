"""Activity stamps: written by UPDATE statements, not as attributes of mapped objects."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from messenger.database.checkout import Savepoint
from messenger.database.runner import Driver, Stamp

logger = logging.getLogger(__name__)

# Times never go back (WHERE), and no lock is awaited (SKIP LOCKED: its holder writes the stamp, or removes the row).
# Only the current token is marked as used, so that the mark of its successor is not overwritten. Hashes are passed as
# text, since asyncpg needs no type lookup for text arrays.
_TOUCH = """
WITH device AS (
    UPDATE devices SET last_activity = greatest(last_activity, $3),
        used_access_hash = CASE WHEN encode(access_hash, 'hex') = ANY ($4) THEN access_hash ELSE used_access_hash END
    WHERE id IN (
        SELECT id FROM devices WHERE id = ANY ($2) AND (last_activity < $3
            OR (encode(access_hash, 'hex') = ANY ($4) AND used_access_hash IS DISTINCT FROM access_hash))
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
)
UPDATE users SET last_activity = $3 WHERE id IN (
    SELECT id FROM users WHERE id = ANY ($1) AND last_activity < $3 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
"""


async def write_stamps(driver: Any, stamps: Sequence[Stamp], at: datetime) -> None:
    """Write activity stamps. A failure is logged, and does not affect the surrounding transaction."""
    point = Savepoint(driver)
    try:
        async with point:
            await touch(driver, stamps, at)
    except Exception:
        # If the rollback to the savepoint failed, a COMMIT would silently roll back the whole transaction.
        if not point.holds:
            raise
        logger.warning("an activity stamp failed", exc_info=True)


async def touch(driver: Driver, stamps: Sequence[Stamp], at: datetime) -> None:
    """Update the last activity of users and devices, and mark access tokens that were used for the first time."""
    users = [stamp.actor.user_id for stamp in stamps]
    devices = [stamp.actor.device_id for stamp in stamps]
    tokens = [stamp.token_hash.hex() for stamp in stamps if stamp.token_hash is not None]
    await driver.execute(_TOUCH, users, devices, at, tokens)
