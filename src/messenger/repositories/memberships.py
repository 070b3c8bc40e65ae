"""Membership of groups: who stands where, who joins and who leaves, behind the lock of the group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._invitation_fragments import INVITATION_DAYS, VISIBLE_INVITATION
from messenger.repositories.base import StatementRepository
from messenger.repositories.group_locks import LockedGroup


class _MemberRow(msgspec.Struct, frozen=True):
    user_id: int


_ACTIVE = Statement(
    "memberships.active",
    """
    SELECT m.user_id FROM members AS m JOIN users AS u ON u.id = m.user_id
    WHERE m.conversation_id = :conversation AND u.disabled_at IS NULL
    """,
    _MemberRow,
    writes=False,
)


class StandingRow(msgspec.Struct, frozen=True):
    """How a user stands to a group. `rank` is NULL for users who are not members.

    `invited`, `delivered`: whether there is an open invitation, and whether the user can see it. `declined`: whether
    invitations are not delivered. `left_seq`: the last message when the user left or was removed.
    """

    user_id: int
    rank: int | None
    title: str | None
    joined_at: datetime | None
    silenced_until: datetime | None
    banned: bool
    invited: bool
    delivered: bool
    declined: bool
    requested: bool
    left_seq: int | None


_STANDING = Statement(
    "memberships.standing",
    f"""
    SELECT asked.user_id, m.rank, m.title, m.joined_at, m.silenced_until,
        ban.user_id IS NOT NULL AND (ban.until IS NULL OR ban.until > :now) AS banned,
        coalesce(i.at > :now::timestamptz - interval '{INVITATION_DAYS} days', false) AS invited,
        coalesce(i.delivered AND i.at > :now::timestamptz - interval '{INVITATION_DAYS} days', false) AS delivered,
        d.user_id IS NOT NULL AND (d.until IS NULL OR d.until > :now) AS declined,
        r.user_id IS NOT NULL AS requested, former.last_seq AS left_seq
    FROM unnest(:users::bigint[]) AS asked (user_id)
        LEFT JOIN members AS m ON m.conversation_id = :conversation AND m.user_id = asked.user_id
        LEFT JOIN group_bans AS ban ON ban.group_id = :group AND ban.user_id = asked.user_id
        LEFT JOIN group_invitations AS i ON i.group_id = :group AND i.user_id = asked.user_id
        LEFT JOIN group_declines AS d ON d.group_id = :group AND d.user_id = asked.user_id
        LEFT JOIN group_requests AS r ON r.group_id = :group AND r.user_id = asked.user_id
        LEFT JOIN former_members AS former ON former.group_id = :group AND former.user_id = asked.user_id
    """,
    StandingRow,
    writes=False,
)

# A new member has read everything so far. Messages from before the latest departure stay hidden, whatever the group
# shows to new members. `advance` completes the change, with the next version.
_ADMIT: Statement[Any] = Statement(
    "memberships.admit",
    """
    WITH joined AS (
        INSERT INTO members (conversation_id, user_id, target_id, rank, joined_at, joined_version, invited_by,
            read_seq, delivered_seq, visible_from, last_minute)
        SELECT c.id, :user, :group, :rank::smallint, :now, c.version + 1, :inviter::bigint, c.last_seq, c.last_seq,
            greatest(:visible_from::bigint, coalesce(former.last_seq + 1, 0)), date_trunc('minute', c.last_at)
        FROM conversations AS c
            LEFT JOIN former_members AS former ON former.group_id = :group AND former.user_id = :user
        WHERE c.id = :conversation
        RETURNING user_id
    ),
    uninvited AS (DELETE FROM group_invitations WHERE group_id = :group AND user_id = :user),
    answered AS (DELETE FROM group_requests WHERE group_id = :group AND user_id = :user)
    DELETE FROM group_declines WHERE group_id = :group AND user_id = :user
    """,
    writes=True,
)

# A member who leaves loses the links that they made and the invitations that they sent. Of
# these, the ones that could be seen are returned: all parts of the statement still see the membership of their maker.
_REMOVE = Statement(
    "memberships.remove",
    f"""
    WITH removed AS (
        DELETE FROM members WHERE conversation_id = :conversation AND user_id = :user RETURNING user_id
    ),
    former AS (
        INSERT INTO former_members (group_id, user_id, last_seq, at)
        SELECT :group, removed.user_id, c.last_seq, :now FROM removed, conversations AS c WHERE c.id = :conversation
        ON CONFLICT (group_id, user_id) DO UPDATE SET last_seq = excluded.last_seq, at = excluded.at
    ),
    revoked AS (DELETE FROM group_links WHERE group_id = :group AND created_by = :user),
    uninvited AS (
        DELETE FROM group_invitations AS i WHERE i.group_id = :group AND i.inviter_id = :user
        RETURNING i.user_id, {VISIBLE_INVITATION} AS seen
    )
    SELECT user_id FROM uninvited WHERE seen
    """,
    _MemberRow,
    writes=True,
)

_CHANGE: Statement[Any] = Statement(
    "memberships.change",
    """
    UPDATE members SET rank = coalesce(:rank::smallint, rank),
        title = CASE WHEN :set_title::bool THEN :title::text ELSE title END,
        silenced_until = CASE WHEN :set_silenced::bool THEN :silenced_until::timestamptz ELSE silenced_until END
    WHERE conversation_id = :conversation AND user_id = :user
    """,
    writes=True,
)


_MEMBERS = Statement(
    "memberships.members",
    """
    SELECT m.user_id FROM members AS m WHERE m.conversation_id = :conversation AND m.rank >= :lowest
    ORDER BY m.user_id
    """,
    _MemberRow,
    writes=False,
)


class _Count(msgspec.Struct, frozen=True):
    count: int


_COUNT_STAFF = Statement(
    "memberships.count_staff",
    "SELECT count(*) AS count FROM members AS m WHERE m.conversation_id = :conversation AND m.rank IN (1, 2)",
    _Count,
    writes=False,
)

_COUNT_GROUPS = Statement(
    "memberships.count_groups",
    "SELECT count(*) AS count FROM members AS m WHERE m.user_id = :user AND m.rank IS NOT NULL",
    _Count,
    writes=False,
)


class MembershipRepository(StatementRepository):
    """Members of groups, read and changed behind the lock of the group."""

    async def list_active(self, group: LockedGroup) -> set[int]:
        """The members who are not disabled."""
        return {row.user_id for row in await self._run.all(_ACTIVE, conversation=group.conversation_id)}

    async def standing(self, group: LockedGroup, users: Sequence[int]) -> dict[int, StandingRow]:
        """How each of these users stands to the locked group."""
        rows = await self._run.all(
            _STANDING, conversation=group.conversation_id, group=group.group_id, users=list(users)
        )
        return {row.user_id: row for row in rows}

    async def admit(
        self, group: LockedGroup, user_id: int, *, rank: int = 0, inviter_id: int | None = None, visible_from: int
    ) -> None:
        """Make the user a member who has read everything, and answer invitations and requests."""
        await self._run.execute(
            _ADMIT,
            conversation=group.conversation_id,
            group=group.group_id,
            user=user_id,
            rank=rank,
            inviter=inviter_id,
            visible_from=visible_from,
        )

    async def remove(self, group: LockedGroup, user_id: int) -> list[int]:
        """End a membership, and remove the links and invitations that it has made; returns the users who saw one."""
        rows = await self._run.all(_REMOVE, conversation=group.conversation_id, group=group.group_id, user=user_id)
        return sorted(row.user_id for row in rows)

    async def change(
        self,
        group: LockedGroup,
        user_id: int,
        *,
        rank: int | None = None,
        set_title: bool = False,
        title: str | None = None,
        set_silenced: bool = False,
        silenced_until: datetime | None = None,
    ) -> None:
        """Change a member. A rank of None stays as it is, and so does a nullable value without its `set_…`."""
        await self._run.execute(
            _CHANGE,
            conversation=group.conversation_id,
            user=user_id,
            rank=rank,
            set_title=set_title,
            title=title,
            set_silenced=set_silenced,
            silenced_until=silenced_until,
        )

    async def count_groups(self, user_id: int) -> int:
        """Of how many groups the user is a member."""
        row = await self._run.first(_COUNT_GROUPS, user=user_id)
        assert row is not None
        return row.count

    async def list_moderators(self, group: LockedGroup) -> list[int]:
        """The moderators, the admins and the owner of the locked group, by ascending ID."""
        rows = await self._run.all(_MEMBERS, conversation=group.conversation_id, lowest=1)
        return [row.user_id for row in rows]

    async def count_staff(self, group: LockedGroup) -> int:
        """How many admins and moderators the locked group has."""
        row = await self._run.first(_COUNT_STAFF, conversation=group.conversation_id)
        assert row is not None
        return row.count

    async def list_standings(self, group: LockedGroup) -> list[StandingRow]:
        """All members of the locked group, by ascending ID."""
        rows = await self._run.all(_MEMBERS, conversation=group.conversation_id, lowest=0)
        return list((await self.standing(group, [row.user_id for row in rows])).values())
