"""Statuses of users, as their contacts see them."""

from __future__ import annotations

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import HIDDEN, STATUS_COLUMNS
from messenger.repositories.base import StatementRepository
from messenger.repositories.user_rows import StatusRow

_PAGE = Statement(
    "statuses.page",
    f"""
    WITH <<actor>>
    SELECT <<page_actor_columns>>, u.id AS user_id, {STATUS_COLUMNS}
    FROM actor LEFT JOIN LATERAL (
        SELECT e.target_id FROM contacts AS e
        WHERE e.owner_id = actor.user_id AND e.target_id > :after::bigint AND e.state = 'mutual'
        ORDER BY e.target_id LIMIT :limit
    ) AS c ON true LEFT JOIN users AS u ON u.id = c.target_id
    ORDER BY c.target_id
    """,
    StatusRow,
    writes=False,
)


class _HiddenRow(msgspec.Struct, frozen=True):
    hidden: bool


_IS_HIDDEN = Statement(
    "statuses.is_hidden",
    f"WITH <<actor>> SELECT <<actor_columns>>, {HIDDEN} AS hidden FROM actor JOIN users AS u ON u.id = actor.user_id",
    _HiddenRow,
    writes=False,
)


class StatusRepository(StatementRepository):
    """What users show of their status."""

    async def list_page(self, caller: Caller, *, after: int, limit: int) -> list[StatusRow]:
        """The statuses of mutual contacts with an ID above `after`, ascending; one round trip."""
        return await self._run.all(_PAGE, caller, after=after, limit=limit)

    async def is_hidden(self, caller: Caller) -> bool:
        """Whether the caller hides connections from everyone."""
        row = await self._run.first(_IS_HIDDEN, caller)
        return row is None or row.hidden
