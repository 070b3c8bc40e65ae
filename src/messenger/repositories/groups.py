"""Groups: creation, settings, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from messenger.actor import Caller
from messenger.database.rows import columns_of
from messenger.database.statements import Statement
from messenger.models import Group
from messenger.repositories.base import MappedRepository, StatementRepository
from messenger.repositories.group_rows import GROUP_COLUMNS, GROUP_JOINS, GroupRow


class CreatedRow(msgspec.Struct, frozen=True):
    """`group_id` is NULL if every candidate was taken; `count`: the groups of which the caller was a member."""

    user_id: int
    group_id: int | None
    conversation_id: int | None
    count: int


# Groups that are created at the same time do not see each other: together they may exceed `most` by a few.
_CREATE = Statement(
    "groups.create",
    """
    WITH <<actor>>,
    memberships AS (
        SELECT count(*) AS count FROM actor, members AS m WHERE m.user_id = actor.user_id AND m.rank IS NOT NULL
    ),
    peer AS (
        INSERT INTO peers (id, kind)
        SELECT c.id, 'group' FROM actor, memberships, unnest(:candidates::bigint[]) WITH ORDINALITY AS c (id, n)
        WHERE memberships.count < :most AND NOT EXISTS (SELECT FROM peers AS p WHERE p.id = c.id)
        ORDER BY c.n LIMIT 1
        ON CONFLICT DO NOTHING RETURNING id
    ),
    made AS (
        INSERT INTO groups (id, name, about, encrypted, protected, member_count, created_at)
        SELECT peer.id, :name, :about, :encrypted, :protected, 1, :now FROM peer RETURNING id
    ),
    conversation AS (
        INSERT INTO conversations (kind, peer_id, last_at, version) SELECT 'group', made.id, :now, 1 FROM made
        RETURNING id
    ),
    owner AS (
        INSERT INTO members (conversation_id, user_id, target_id, rank, joined_at, last_minute)
        SELECT conversation.id, actor.user_id, made.id, 3, :now, date_trunc('minute', :now::timestamptz)
        FROM conversation, made, actor
    )
    SELECT <<actor_columns>>, actor.user_id, made.id AS group_id, conversation.id AS conversation_id, memberships.count
    FROM actor, memberships LEFT JOIN made ON true LEFT JOIN conversation ON true
    """,
    CreatedRow,
    writes=True,
)


def _groups(name: str, which: str, order: str = "") -> Statement[GroupRow]:
    return Statement(
        name,
        f"""
        WITH <<actor>>
        SELECT <<actor_columns>>, {", ".join(columns_of(GroupRow))} FROM actor
        LEFT JOIN LATERAL (
            SELECT {GROUP_COLUMNS}
            FROM members AS me JOIN groups AS g ON g.id = me.target_id JOIN conversations AS c ON c.peer_id = g.id
            {GROUP_JOINS}
            WHERE me.user_id = actor.user_id AND {which} {order}
        ) AS shown ON true
        """,
        GroupRow,
        writes=False,
    )


_ONE = _groups("groups.one", "g.id = :group")
_PAGE = _groups("groups.page", "g.id > :after", "ORDER BY g.id LIMIT :limit")


class PreviewRow(msgspec.Struct, frozen=True, gc=False):
    """A group as users see it who are not members; `membership`: theirs, as on the wire."""

    group_id: int
    group_name: str
    about: str
    member_count: int
    encrypted: bool
    avatar_key: str | None
    avatar_width: int | None
    avatar_height: int | None
    avatar_placeholder: str | None
    membership: str


class GroupRepository(StatementRepository):
    """Groups of the caller."""

    async def create(
        self,
        caller: Caller,
        *,
        candidates: Sequence[int],
        most: int,
        name: str,
        about: str,
        encrypted: bool,
        protected: bool,
    ) -> CreatedRow:
        """A new group with the caller as its owner, unless the caller is a member of `most` groups already.

        Raises `Unauthenticated`.
        """
        row = await self._run.first(
            _CREATE,
            caller,
            candidates=list(candidates),
            most=most,
            name=name,
            about=about,
            encrypted=encrypted,
            protected=protected,
        )
        assert row is not None
        return row

    async def find(self, caller: Caller, group_id: int) -> GroupRow | None:
        """A group of which the caller is a member. Raises `Unauthenticated`."""
        return await self._run.first(_ONE, caller, group=group_id)

    async def list_page(self, caller: Caller, *, after: int, limit: int) -> list[GroupRow]:
        """The caller's groups by ascending ID. Raises `Unauthenticated`."""
        return await self._run.all(_PAGE, caller, after=after, limit=limit)


class GroupSettingsRepository(MappedRepository[Group]):
    """The settings of groups, changed under the lock of the group."""

    model_type = Group
