"""Activity stamps: UPDATEs, never attributes on somebody's object."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messenger.actor import Actor
from messenger.statements import Driver

# Never backwards (the guard in WHERE), never waiting (SKIP LOCKED: whoever holds the row is stamping it, or gone).
_TOUCH = """
WITH device AS (
    UPDATE devices SET last_activity = $3 WHERE id IN (
        SELECT id FROM devices WHERE id = ANY ($2) AND last_activity < $3 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
)
UPDATE users SET last_activity = $3 WHERE id IN (
    SELECT id FROM users WHERE id = ANY ($1) AND last_activity < $3 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
"""


async def touch(driver: Driver, actors: Sequence[Actor], at: datetime) -> None:
    """Stamp the users' and their devices' last activity, unless they are later already."""
    await driver.execute(_TOUCH, [actor.user_id for actor in actors], [actor.device_id for actor in actors], at)
