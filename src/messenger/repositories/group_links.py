"""Links that admit users to groups, and the requests to join that some of them need."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.models import GroupLink
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories._invitation_fragments import VISIBLE_INVITATION
from messenger.repositories.base import MappedRepository, StatementRepository
from messenger.repositories.group_locks import LockedGroup
from messenger.repositories.user_rows import AVATAR_COLUMNS, USER_COLUMNS, AvatarRow, UserRow

REQUEST_DAYS, DECLINED_DAYS = 30, 7

# A request waits for an answer. One that was declined still looks so to its user, for a week.
WAITING = f"r.declined_at IS NULL AND r.at > :now::timestamptz - interval '{REQUEST_DAYS} days'"
SHOWN_AS_WAITING = f"""(r.at > :now::timestamptz - interval '{REQUEST_DAYS} days'
            OR r.declined_at > :now::timestamptz - interval '{DECLINED_DAYS} days')"""


class LinkRow(msgspec.Struct, frozen=True, gc=False):
    """A link with the group that it leads to, as a user sees it who has the token. `is_member`, `requested`, `banned`:
    how that user stands to the group.
    """

    link_id: UUID
    group_id: int
    group_name: str
    about: str
    member_count: int
    encrypted: bool
    avatar: AvatarRow | None
    approval: bool
    is_member: bool
    requested: bool
    banned: bool
    invited: bool


# Without a row: the token is unknown, or the link has expired or is used up. A ban looks the same to its user.
_FIND = Statement(
    "group_links.find",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, l.id AS link_id, g.id AS group_id, g.name AS group_name, g.about, g.member_count,
        g.encrypted, {AVATAR_COLUMNS}, l.approval, m.user_id IS NOT NULL AS is_member,
        coalesce({SHOWN_AS_WAITING}, false) AS requested,
        ban.user_id IS NOT NULL AND (ban.until IS NULL OR ban.until > :now) AS banned, i.user_id IS NOT NULL AS invited
    FROM actor LEFT JOIN (group_links AS l JOIN groups AS g ON g.id = l.group_id) ON l.token = :token
        AND (l.expires_at IS NULL OR l.expires_at > :now) AND g.deleted_at IS NULL
        AND (l.max_uses IS NULL OR l.uses < l.max_uses OR EXISTS (
            SELECT FROM members AS x WHERE x.user_id = actor.user_id AND x.target_id = l.group_id
        ))
    LEFT JOIN avatars AS a ON a.key = g.avatar_key
    LEFT JOIN members AS m ON m.user_id = actor.user_id AND m.target_id = g.id
    LEFT JOIN group_requests AS r ON r.group_id = g.id AND r.user_id = actor.user_id
    LEFT JOIN group_bans AS ban ON ban.group_id = g.id AND ban.user_id = actor.user_id
    LEFT JOIN LATERAL (
        SELECT i.user_id FROM group_invitations AS i
        WHERE i.group_id = g.id AND i.user_id = actor.user_id AND {VISIBLE_INVITATION} LIMIT 1
    ) AS i ON true
    """,
    LinkRow,
    writes=False,
)


class _Used(msgspec.Struct, frozen=True):
    uses: int


# Counted under the lock of the group, with the guard in WHERE: never above `max_uses`.
_USE = Statement(
    "group_links.use",
    """
    UPDATE group_links SET uses = uses + 1
    WHERE id = :link AND group_id = :group AND (max_uses IS NULL OR uses < max_uses)
    RETURNING uses
    """,
    _Used,
    writes=True,
)


class ShownLinkRow(msgspec.Struct, frozen=True, gc=False):
    """A link as moderators see it."""

    id: UUID
    token: str
    name: str | None
    approval: bool
    created_by: int
    created_at: datetime
    expires_at: datetime | None
    max_uses: int | None
    uses: int
    pending: int


_LIST = Statement(
    "group_links.list",
    f"""
    SELECT l.id, l.token, l.name, l.approval, l.created_by, l.created_at, l.expires_at, l.max_uses, l.uses,
        (SELECT count(*) FROM group_requests AS r WHERE r.group_id = l.group_id AND r.link_id = l.id AND {WAITING})
            AS pending
    FROM group_links AS l WHERE l.group_id = :group AND l.id = coalesce(:link::uuid, l.id)
    ORDER BY l.created_at DESC, l.id
    """,
    ShownLinkRow,
    writes=False,
)

_REVOKE: Statement[Any] = Statement(
    "group_links.revoke",
    "DELETE FROM group_links WHERE group_id = :group AND id = coalesce(:link::uuid, id)",
    writes=True,
)


_REVOKE_UNENTITLED: Statement[Any] = Statement(
    "group_links.revoke_unentitled",
    """
    DELETE FROM group_links AS l USING groups AS g
    WHERE l.group_id = :group AND g.id = l.group_id AND NOT EXISTS (
        SELECT FROM members AS m
        WHERE m.conversation_id = :conversation AND m.user_id = l.created_by AND m.rank >= g.link_rank
    )
    """,
    writes=True,
)


class RequestRow(msgspec.Struct, frozen=True, gc=False):
    """A request that waits, with its user."""

    user: UserRow
    message: str | None
    at: datetime


_REQUESTS = Statement(
    "group_requests.page",
    f"""
    SELECT {USER_COLUMNS}, r.message, r.at
    FROM group_requests AS r JOIN users AS u ON u.id = r.user_id
    {edge("c", ":reader", "r.user_id")}
    {AVATAR_OF_CONTACT}
    WHERE r.group_id = :group AND r.user_id > :after::bigint AND {WAITING}
    ORDER BY r.user_id LIMIT :limit
    """,
    RequestRow,
    writes=False,
)


class WaitingRow(msgspec.Struct, frozen=True):
    """A request; `waiting` says whether it may be answered, `declined` whether it has been declined."""

    link_id: UUID
    waiting: bool
    declined: bool
    expired: bool


_REQUEST = Statement(
    "group_requests.find",
    f"""
    SELECT r.link_id, {WAITING} AS waiting, r.declined_at IS NOT NULL AS declined,
        NOT {SHOWN_AS_WAITING} AS expired
    FROM group_requests AS r WHERE r.group_id = :group AND r.user_id = :user
    """,
    WaitingRow,
    writes=False,
)


class _Pending(msgspec.Struct, frozen=True):
    count: int


_PENDING = Statement(
    "group_requests.count",
    f"SELECT count(*) AS count FROM group_requests AS r WHERE r.group_id = :group AND {WAITING}",
    _Pending,
    writes=False,
)

_ASK: Statement[Any] = Statement(
    "group_requests.add",
    """
    INSERT INTO group_requests (group_id, user_id, link_id, message, at) VALUES (:group, :user, :link, :message, :now)
    ON CONFLICT (group_id, user_id) DO UPDATE SET link_id = excluded.link_id, message = excluded.message,
        at = excluded.at, declined_at = NULL
    """,
    writes=True,
)

_DECLINE: Statement[Any] = Statement(
    "group_requests.decline",
    "UPDATE group_requests SET declined_at = :now WHERE group_id = :group AND user_id = :user AND declined_at IS NULL",
    writes=True,
)

_WITHDRAW: Statement[Any] = Statement(
    "group_requests.withdraw", "DELETE FROM group_requests WHERE group_id = :group AND user_id = :user", writes=True
)


class GroupLinkRepository(MappedRepository[GroupLink]):
    """Links, created and changed under the lock of their group."""

    model_type = GroupLink


class JoinRepository(StatementRepository):
    """Joining by links, and requests to join; they are written under the lock of the group."""

    async def find_link(self, caller: Caller, token: str) -> LinkRow | None:
        """The group that a working link leads to. Raises `Unauthenticated`."""
        return await self._run.first(_FIND, caller, token=token)

    async def use(self, group: LockedGroup, link_id: UUID) -> bool:
        """Count a use of a link of this group; False if none is left, or the link is gone."""
        return await self._run.first(_USE, group=group.group_id, link=link_id) is not None

    async def list_links(self, group_id: int, link_id: UUID | None = None) -> list[ShownLinkRow]:
        """The links of a group, latest first, or this one only."""
        return await self._run.all(_LIST, group=group_id, link=link_id)

    async def revoke(self, group: LockedGroup, link_id: UUID | None = None) -> None:
        """Delete a link of a group, or all of them."""
        await self._run.execute(_REVOKE, group=group.group_id, link=link_id)

    async def revoke_unentitled(self, group: LockedGroup) -> None:
        """Delete the links of members who may not make links any more."""
        await self._run.execute(_REVOKE_UNENTITLED, group=group.group_id, conversation=group.conversation_id)

    async def list_requests(self, group_id: int, reader_id: int, *, after: int, limit: int) -> list[RequestRow]:
        """Requests that wait for an answer, by ID of the user."""
        return await self._run.all(_REQUESTS, group=group_id, reader=reader_id, after=after, limit=limit)

    async def find_request(self, group: LockedGroup, user_id: int) -> WaitingRow | None:
        """The request of a user, answered or not."""
        return await self._run.first(_REQUEST, group=group.group_id, user=user_id)

    async def count_requests(self, group: LockedGroup) -> int:
        """How many requests wait for an answer."""
        row = await self._run.first(_PENDING, group=group.group_id)
        assert row is not None
        return row.count

    async def request(self, group: LockedGroup, user_id: int, link_id: UUID, message: str | None) -> None:
        """Ask to join; a former request is replaced."""
        await self._run.execute(_ASK, group=group.group_id, user=user_id, link=link_id, message=message)

    async def decline(self, group: LockedGroup, user_id: int) -> None:
        """Decline a request; it still looks open to its user."""
        await self._run.execute(_DECLINE, group=group.group_id, user=user_id)

    async def withdraw(self, group: LockedGroup, user_id: int) -> None:
        """Remove a request."""
        await self._run.execute(_WITHDRAW, group=group.group_id, user=user_id)
