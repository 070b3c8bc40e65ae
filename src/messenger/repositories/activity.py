"""Activity stamps: UPDATEs, never attributes on somebody's object."""

from __future__ import annotations

from datetime import datetime

from messenger.actor import Actor
from messenger.statements import Driver

# Never backwards (the guard in WHERE), never waiting (SKIP LOCKED: whoever holds the row is stamping it, or gone).
_TOUCH = """
WITH device AS (
    UPDATE devices SET last_activity = $3
    WHERE id = (SELECT id FROM devices WHERE id = $2 AND last_activity < $3 FOR NO KEY UPDATE SKIP LOCKED)
)
UPDATE users SET last_activity = $3
WHERE id = (SELECT id FROM users WHERE id = $1 AND last_activity < $3 FOR NO KEY UPDATE SKIP LOCKED)
"""


async def touch(driver: Driver, actor: Actor, at: datetime) -> None:
    """Stamp the user's and the device's last activity, unless they are later already."""
    await driver.execute(_TOUCH, actor.user_id, actor.device_id, at)
