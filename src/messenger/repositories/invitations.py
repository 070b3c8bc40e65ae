"""Invitations to groups, and refusals of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories._invitation_fragments import OPEN_INVITATION, VISIBLE_INVITATION
from messenger.repositories.base import StatementRepository
from messenger.repositories.group_locks import LockedGroup
from messenger.repositories.group_rows import GROUP_AVATAR_COLUMNS
from messenger.repositories.user_rows import USER_COLUMNS, AvatarRow, UserRow


class CandidateRow(msgspec.Struct, frozen=True):
    """A user who is to be invited. `mine`, `theirs`: the edges between the inviter and the user.

    `invited`: there is an open invitation; `delivered`: the user has received it. `returns`: the user has been a
    member, or has declined, before. `rules`: the version of the user's rules of contact.
    """

    user_id: int
    exists: bool
    groups_from: str | None
    auto_join: str | None
    mine: str | None
    theirs: str | None
    is_member: bool
    banned: bool
    invited: bool
    delivered: bool
    declined: bool
    returns: bool
    rules: int | None


_CANDIDATES = Statement(
    "invitations.candidates",
    f"""
    SELECT asked.user_id, u.id IS NOT NULL AS exists, u.privacy_groups_from AS groups_from, u.auto_join,
        mine.state AS mine, theirs.state AS theirs, m.user_id IS NOT NULL AS is_member,
        ban.user_id IS NOT NULL AND (ban.until IS NULL OR ban.until > :now) AS banned,
        coalesce({OPEN_INVITATION}, false) AS invited, coalesce({OPEN_INVITATION} AND i.delivered, false) AS delivered,
        d.user_id IS NOT NULL AND (d.until IS NULL OR d.until > :now) AS declined,
        d.user_id IS NOT NULL OR former.user_id IS NOT NULL AS returns, s.rules
    FROM unnest(:users::bigint[]) WITH ORDINALITY AS asked (user_id, n)
        LEFT JOIN users AS u ON u.id = asked.user_id AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        LEFT JOIN streams AS s ON s.user_id = asked.user_id
        LEFT JOIN members AS m ON m.conversation_id = :conversation AND m.user_id = asked.user_id
        LEFT JOIN group_bans AS ban ON ban.group_id = :group AND ban.user_id = asked.user_id
        LEFT JOIN group_invitations AS i ON i.group_id = :group AND i.user_id = asked.user_id
        LEFT JOIN group_declines AS d ON d.group_id = :group AND d.user_id = asked.user_id
        LEFT JOIN former_members AS former ON former.group_id = :group AND former.user_id = asked.user_id
        {edge("mine", ":inviter", "asked.user_id")}
        {edge("theirs", "asked.user_id", ":inviter")}
    ORDER BY asked.n
    """,
    CandidateRow,
    writes=False,
)

# An open invitation stays as it is. One that has lapsed is replaced. So is one that was not delivered, if this one is:
# what prevented it has ended.
_ADD: Statement[Any] = Statement(
    "invitations.add",
    f"""
    INSERT INTO group_invitations AS i (group_id, user_id, inviter_id, message, delivered, at)
    SELECT :group, invited.user_id, :inviter, :message, invited.delivered, :now
    FROM unnest(:users::bigint[], :delivered::boolean[]) AS invited (user_id, delivered)
    ON CONFLICT (group_id, user_id) DO UPDATE SET inviter_id = excluded.inviter_id, message = excluded.message,
        delivered = excluded.delivered, at = excluded.at
        WHERE NOT ({OPEN_INVITATION}) OR (excluded.delivered AND NOT i.delivered)
    """,
    writes=True,
)


class InvitationRow(msgspec.Struct, frozen=True, gc=False):
    """An invitation as the invited user sees it, with the group and the inviter."""

    group_id: int
    group_name: str
    about: str
    member_count: int
    encrypted: bool
    avatar: AvatarRow | None
    inviter: UserRow
    message: str | None
    at: datetime


def _invitations(name: str, which: str) -> Statement[InvitationRow]:
    return Statement(
        name,
        f"""
        WITH <<actor>>
        SELECT <<actor_columns>>, page.* FROM actor LEFT JOIN LATERAL (
            SELECT g.id AS group_id, g.name AS group_name, g.about, g.member_count, g.encrypted,
                {GROUP_AVATAR_COLUMNS}, {USER_COLUMNS}, i.message, i.at
            FROM group_invitations AS i JOIN groups AS g ON g.id = i.group_id JOIN users AS u ON u.id = i.inviter_id
            LEFT JOIN avatars AS picture ON picture.key = g.avatar_key
            {edge("c", "actor.user_id", "i.inviter_id")}
            {AVATAR_OF_CONTACT}
            WHERE i.user_id = actor.user_id AND {VISIBLE_INVITATION} AND {which}
            ORDER BY i.group_id LIMIT :limit
        ) AS page ON true
        """,
        InvitationRow,
        writes=False,
    )


_PAGE = _invitations("invitations.page", "i.group_id > :after")


class _Found(msgspec.Struct, frozen=True):
    inviter_id: int


_FIND = Statement(
    "invitations.find",
    f"SELECT i.inviter_id FROM group_invitations AS i "
    f"WHERE i.group_id = :group AND i.user_id = :user AND {VISIBLE_INVITATION}",
    _Found,
    writes=False,
)

_REMOVE = Statement(
    "invitations.remove",
    "DELETE FROM group_invitations WHERE group_id = :group AND user_id = :user "
    "AND inviter_id = coalesce(:inviter::bigint, inviter_id) RETURNING inviter_id",
    _Found,
    writes=True,
)

_DECLINE: Statement[Any] = Statement(
    "invitations.decline",
    """
    WITH removed AS (DELETE FROM group_invitations WHERE group_id = :group AND user_id = :user)
    INSERT INTO group_declines (group_id, user_id, until) VALUES (:group, :user, :until)
    ON CONFLICT (group_id, user_id) DO UPDATE SET until = excluded.until
    """,
    writes=True,
)


class _Count(msgspec.Struct, frozen=True):
    count: int


_COUNT = Statement(
    "invitations.count",
    f"SELECT count(*) AS count FROM group_invitations AS i WHERE i.group_id = :group AND {OPEN_INVITATION}",
    _Count,
    writes=False,
)


class InvitationRepository(StatementRepository):
    """Invitations; they are written under the lock of the group."""

    async def list_candidates(self, group: LockedGroup, inviter_id: int, users: Sequence[int]) -> list[CandidateRow]:
        """What the outcome of an invitation depends on, for each of these users."""
        return await self._run.all(
            _CANDIDATES,
            conversation=group.conversation_id,
            group=group.group_id,
            inviter=inviter_id,
            users=list(users),
        )

    async def add(
        self, group: LockedGroup, inviter_id: int, invited: Sequence[tuple[int, bool]], *, message: str | None
    ) -> None:
        """Invite these users, each `delivered` or not. Open invitations stay as they are."""
        await self._run.execute(
            _ADD,
            group=group.group_id,
            inviter=inviter_id,
            message=message,
            users=[user for user, _ in invited],
            delivered=[delivered for _, delivered in invited],
        )

    async def count(self, group: LockedGroup) -> int:
        """How many invitations to this group are open."""
        row = await self._run.first(_COUNT, group=group.group_id)
        assert row is not None
        return row.count

    async def list_page(self, caller: Caller, *, after: int, limit: int) -> list[InvitationRow]:
        """The caller's invitations by ascending ID of the group. Raises `Unauthenticated`."""
        return await self._run.all(_PAGE, caller, after=after, limit=limit)

    async def find_inviter(self, group: LockedGroup, user_id: int) -> int | None:
        """Who has invited the user; None unless the user sees an invitation to this group."""
        row = await self._run.first(_FIND, group=group.group_id, user=user_id)
        return None if row is None else row.inviter_id

    async def remove(self, group: LockedGroup, user_id: int, *, inviter_id: int | None = None) -> bool:
        """Take an invitation back, of this inviter or of any; returns whether there was one."""
        return await self._run.first(_REMOVE, group=group.group_id, user=user_id, inviter=inviter_id) is not None

    async def decline(self, group: LockedGroup, user_id: int, *, until: datetime | None) -> None:
        """Remove an invitation, and deliver none to this group before `until`; None: ever."""
        await self._run.execute(_DECLINE, group=group.group_id, user=user_id, until=until)
