"""Bans from groups, and the notices of what has happened in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories.base import StatementRepository
from messenger.repositories.group_locks import LockedGroup
from messenger.repositories.user_rows import USER_COLUMNS, UserRow

LOG_DAYS = 90
MAX_ID = 2**63 - 1
LAST_NOTICE = UUID(int=2**128 - 1)
MOST_NOTICES = 200
"""Notices in a page of history."""


class BanRow(msgspec.Struct, frozen=True, gc=False):
    """A ban, with the banned user."""

    user: UserRow
    by_id: int
    reason: str | None
    until: datetime | None
    at: datetime


_BANS = Statement(
    "group_records.bans",
    f"""
    SELECT {USER_COLUMNS}, b.by_id, b.reason, b.until, b.at
    FROM group_bans AS b JOIN users AS u ON u.id = b.user_id
    {edge("c", ":reader", "b.user_id")}
    {AVATAR_OF_CONTACT}
    WHERE b.group_id = :group AND b.user_id > :after::bigint AND b.user_id <= :last::bigint
        AND (b.until IS NULL OR b.until > :now)
    ORDER BY b.user_id LIMIT :limit
    """,
    BanRow,
    writes=False,
)


class _Known(msgspec.Struct, frozen=True):
    known: bool
    count: int


_KNOWN = Statement(
    "group_records.bannable",
    """
    SELECT EXISTS (SELECT FROM users WHERE id = :user) AS known,
        (SELECT count(*) FROM group_bans WHERE group_id = :group) AS count
    """,
    _Known,
    writes=False,
)

# A ban also ends an invitation and a request. What the user has declined or left stays known.
_BAN: Statement[Any] = Statement(
    "group_records.ban",
    """
    WITH uninvited AS (DELETE FROM group_invitations WHERE group_id = :group AND user_id = :user),
    refused AS (DELETE FROM group_requests WHERE group_id = :group AND user_id = :user)
    INSERT INTO group_bans (group_id, user_id, by_id, reason, until, at)
    VALUES (:group, :user, :by, :reason, :until, :now)
    ON CONFLICT (group_id, user_id) DO UPDATE SET by_id = excluded.by_id, reason = excluded.reason,
        until = excluded.until, at = excluded.at
    """,
    writes=True,
)

_UNBAN: Statement[Any] = Statement(
    "group_records.unban", "DELETE FROM group_bans WHERE group_id = :group AND user_id = :user", writes=True
)


class NoticeRow(msgspec.Struct, frozen=True, gc=False):
    """A notice; `before` and `after` are JSON."""

    id: UUID
    after_seq: int
    at: datetime
    actor_id: int | None
    action: str
    user_id: int | None
    before: str | None
    after: str | None
    reason: str | None


NOTICE_COLUMNS = "n.id, n.after_seq, n.at, n.actor_id, n.action, n.user_id, n.before::text, n.after::text, n.reason"

# In the order of the index; under the lock of the group, `after_seq` grows with time as the identifiers do.
_LOG = Statement(
    "group_records.log",
    f"""
    SELECT {NOTICE_COLUMNS} FROM group_notices AS n
    WHERE n.group_id = :group AND n.at > :now::timestamptz - interval '{LOG_DAYS} days'
        AND (n.after_seq, n.id) < (
            CASE WHEN :before::uuid IS NULL THEN {MAX_ID}
                ELSE (SELECT b.after_seq FROM group_notices AS b WHERE b.id = :before AND b.group_id = :group) END,
            coalesce(:before, '{LAST_NOTICE}'::uuid)
        )
    ORDER BY n.after_seq DESC, n.id DESC LIMIT :limit
    """,
    NoticeRow,
    writes=False,
)


# A member sees the notices since joining, and earlier ones behind the messages that the member sees. Since a change may
# wait for the lock of the group, neither times nor identifiers say what was first. Needs: `n`, and `me` the membership.
SEEN = "(n.after_seq >= me.visible_from OR n.version >= me.joined_version)"

_RANGE = Statement(
    "group_records.range",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, page.* FROM actor LEFT JOIN LATERAL (
        SELECT {NOTICE_COLUMNS} FROM group_notices AS n JOIN groups AS g ON g.id = n.group_id
            JOIN members AS me ON me.user_id = actor.user_id AND me.target_id = n.group_id
        WHERE n.group_id = :group AND n.after_seq >= :first::bigint AND n.after_seq <= :last::bigint
            AND {SEEN}
            AND (g.notices = 'all'
                OR (g.notices = 'important' AND n.action NOT IN ('joined', 'joined_by_link', 'left')))
        ORDER BY n.after_seq DESC, n.id DESC LIMIT {MOST_NOTICES}
    ) AS page ON true
    ORDER BY page.after_seq, page.id
    """,
    NoticeRow,
    writes=False,
)


class GroupRecordRepository(StatementRepository):
    """Bans, written under the lock of the group; notices, written by `GroupLockRepository.advance`."""

    async def list_bans(
        self, group_id: int, reader_id: int, *, after: int = 0, user_id: int | None = None, limit: int = 1
    ) -> list[BanRow]:
        """Bans that have not ended, by ID of the user, or that of one user."""
        first, last = (after, MAX_ID) if user_id is None else (user_id - 1, user_id)
        return await self._run.all(_BANS, group=group_id, reader=reader_id, after=first, last=last, limit=limit)

    async def bannable(self, group: LockedGroup, user_id: int) -> tuple[bool, int]:
        """Whether there is such a user, and how many bans the group has."""
        row = await self._run.first(_KNOWN, group=group.group_id, user=user_id)
        assert row is not None
        return row.known, row.count

    async def ban(
        self, group: LockedGroup, user_id: int, *, by_id: int, reason: str | None, until: datetime | None
    ) -> None:
        """Ban a user, and remove an invitation and a request. Replaces an earlier ban."""
        await self._run.execute(_BAN, group=group.group_id, user=user_id, by=by_id, reason=reason, until=until)

    async def unban(self, group: LockedGroup, user_id: int) -> None:
        """End a ban."""
        await self._run.execute(_UNBAN, group=group.group_id, user=user_id)

    async def list_range(self, caller: Caller, group_id: int, *, first: int, last: int) -> list[NoticeRow]:
        """The latest notices after messages of this range that the caller sees, ascending. Raises `Unauthenticated`."""
        return await self._run.all(_RANGE, caller, group=group_id, first=first, last=last)

    async def list_notices(self, group_id: int, *, before: UUID | None, limit: int) -> list[NoticeRow]:
        """The notices of the last 90 days, latest first."""
        return await self._run.all(_LOG, group=group_id, before=before, limit=limit)
