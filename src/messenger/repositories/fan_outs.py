"""Fan-outs: contacts that are notified in batches after the commit of a change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.base import StatementRepository

REST = timedelta(seconds=60)
"""The pause between two passes over one user's contacts; changes made meanwhile share the next pass."""
# The longest delay of a fan-out: a later time was written with a wrong clock.
_LONGEST_REST = 2 * REST


class FanOutRow(msgspec.Struct, frozen=True):
    """A fan-out that is due; the columns are those of `models.FanOut`."""

    user_id: int
    name: str
    wanted: bool
    after: int | None


_REQUEST: Statement[Any] = Statement(
    "fan_outs.request",
    """
    INSERT INTO fan_outs (user_id, name, wanted, due) VALUES (:user, :name, true, :due)
    ON CONFLICT (user_id, name) DO UPDATE SET wanted = true
    """,
    writes=True,
)

# Selects the fan-out that has waited longest; after each batch it moves to the end, so that all of them progress.
_CLAIM = Statement(
    "fan_outs.claim",
    """
    SELECT user_id, name, wanted, after FROM fan_outs
    WHERE (wanted OR after IS NOT NULL) AND (due <= :now OR due > :too_late)
    ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED
    """,
    FanOutRow,
    writes=True,
)

_ADVANCE: Statement[Any] = Statement(
    "fan_outs.advance",
    "UPDATE fan_outs SET after = :after, wanted = :wanted, due = :due WHERE user_id = :user AND name = :name",
    writes=True,
)

# Another worker may have continued meanwhile, so the progress is not changed.
_POSTPONE: Statement[Any] = Statement(
    "fan_outs.postpone",
    "UPDATE fan_outs SET due = greatest(due, :due) WHERE user_id = :user AND name = :name",
    writes=True,
)

_REMOVE: Statement[Any] = Statement(
    "fan_outs.remove", "DELETE FROM fan_outs WHERE user_id = :user AND name = :name", writes=True
)


class FanOutRepository(StatementRepository):
    """Audiences that are too large for one transaction."""

    async def request(self, user_id: int, name: str) -> None:
        """Have the user's contacts notified of this kind of event after the commit; requests share a pass."""
        await self._run.execute(_REQUEST, user=user_id, name=name, due=self._run.now)

    async def claim(self) -> FanOutRow | None:
        """Lock a fan-out that is due, if there is one."""
        return await self._run.first(_CLAIM, too_late=self._run.now + _LONGEST_REST)

    async def advance(self, row: FanOutRow, *, after: int | None, wanted: bool, pause: timedelta = timedelta()) -> None:
        """Record the progress of a claimed fan-out, and when it continues."""
        await self._run.execute(
            _ADVANCE, user=row.user_id, name=row.name, after=after, wanted=wanted, due=self._run.now + pause
        )

    async def postpone(self, row: FanOutRow, *, pause: timedelta) -> None:
        """Move a fan-out behind the others after a failed batch."""
        await self._run.execute(_POSTPONE, user=row.user_id, name=row.name, due=self._run.now + pause)

    async def remove(self, row: FanOutRow) -> None:
        """Remove a claimed fan-out."""
        await self._run.execute(_REMOVE, user=row.user_id, name=row.name)
