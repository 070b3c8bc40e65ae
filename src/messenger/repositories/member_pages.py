"""Members of groups as other members see them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories._invitation_fragments import INVITATION_DAYS
from messenger.repositories.base import StatementRepository
from messenger.repositories.user_rows import USER_COLUMNS, UserRow


class MemberRow(msgspec.Struct, frozen=True, gc=False):
    """A member, or an invited user, whose `rank` and `joined_at` are NULL. `my_rank`: the caller's.

    `user` is None if the page is empty.
    """

    my_rank: int
    members_visible: str
    user: UserRow | None
    rank: int | None
    title: str | None
    joined_at: datetime | None
    invited_by: int | None
    silenced_until: datetime | None


_COLUMNS = f"""{USER_COLUMNS}, x.rank, x.title, x.joined_at, x.invited_by,
                CASE WHEN x.silenced_until > :now THEN x.silenced_until END AS silenced_until"""
_JOINS = f"""JOIN users AS u ON u.id = x.user_id
            {edge("c", "actor.user_id", "x.user_id")}
            {AVATAR_OF_CONTACT}"""


def _members(name: str, which: str, source: str = "members AS x") -> Statement[MemberRow]:
    # The membership of the caller comes with each row: the service decides by it who may see the list.
    return Statement(
        name,
        f"""
        WITH <<actor>>
        SELECT <<actor_columns>>, me.rank AS my_rank, g.members_visible, page.*
        FROM actor
        LEFT JOIN (members AS me JOIN groups AS g ON g.id = me.target_id)
            ON me.user_id = actor.user_id AND me.target_id = :group
        LEFT JOIN LATERAL (
            SELECT {_COLUMNS} FROM {source}
            {_JOINS}
            WHERE {which}
            ORDER BY x.rank DESC NULLS LAST, x.user_id LIMIT :limit
        ) AS page ON true
        ORDER BY page.rank DESC NULLS LAST, page.user_id
        """,
        MemberRow,
        writes=False,
    )


# A query matches the beginning of the username, or of a word of the name.
_PAGE = _members(
    "member_pages.members",
    """x.conversation_id = me.conversation_id AND (-x.rank, x.user_id) > (:after_rank::int, :after::bigint)
                AND (:rank::smallint IS NULL OR x.rank = :rank)
                AND (:query::text IS NULL OR u.username_key LIKE :query || '%'
                    OR lower(u.name) LIKE :query || '%' OR lower(u.name) LIKE '% ' || :query || '%')""",
)
_ONE = _members("member_pages.member", "x.conversation_id = me.conversation_id AND x.user_id = :user")
_INVITED = _members(
    "member_pages.invited",
    "x.user_id > :after::bigint",
    f"""(
                SELECT i.user_id, NULL::smallint AS rank, NULL::text AS title, NULL::timestamptz AS joined_at,
                    i.inviter_id AS invited_by, NULL::timestamptz AS silenced_until
                FROM group_invitations AS i
                WHERE i.group_id = me.target_id AND i.at > :now::timestamptz - interval '{INVITATION_DAYS} days'
            ) AS x""",
)


class MemberPageRepository(StatementRepository):
    """Pages of members; each row has the rank of the caller, and none is returned to users who are not members."""

    async def list_members(
        self, caller: Caller, group_id: int, *, after: tuple[int, int], rank: int | None, query: str | None, limit: int
    ) -> list[MemberRow]:
        """Members by descending rank, then by ID. `after`: the negative rank and the ID of the last one before.

        `query`: the lower-case beginning of a username or of a word of a name, escaped for LIKE. Raises
        `Unauthenticated`.
        """
        return await self._run.all(
            _PAGE, caller, group=group_id, after_rank=after[0], after=after[1], rank=rank, query=query, limit=limit
        )

    async def list_invited(self, caller: Caller, group_id: int, *, after: int, limit: int) -> list[MemberRow]:
        """Users with an open invitation, by ID. Raises `Unauthenticated`."""
        return await self._run.all(_INVITED, caller, group=group_id, after=after, limit=limit)

    async def find(self, caller: Caller, group_id: int, user_id: int) -> MemberRow | None:
        """One member; `user` of the row is None if there is no such member. None: the caller is not a member."""
        return await self._run.first(_ONE, caller, group=group_id, user=user_id, limit=1)
