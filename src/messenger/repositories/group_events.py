"""What the events of groups refer to, as the owner of the stream sees it now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from messenger.actor import Actor
from messenger.database.statements import Statement
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories._invitation_fragments import VISIBLE_INVITATION
from messenger.repositories.base import StatementRepository
from messenger.repositories.group_links import SHOWN_AS_WAITING, WAITING
from messenger.repositories.group_records import NOTICE_COLUMNS, SEEN, NoticeRow
from messenger.repositories.group_rows import GROUP_COLUMNS, GROUP_JOINS, GroupRow
from messenger.repositories.user_rows import USER_COLUMNS, UserRow


class EventUserRow(msgspec.Struct, frozen=True, gc=False):
    """The user that an event is about; `member_rank` and what follows are NULL unless the user is a member.

    `asked_at`: when the user asked to join, if the request waits; `asked`: its message.
    """

    user: UserRow
    member_rank: int | None
    member_title: str | None
    member_joined_at: datetime | None
    member_invited_by: int | None
    member_silenced_until: datetime | None
    asked: str | None
    asked_at: datetime | None


class GroupEventRow(msgspec.Struct, frozen=True, gc=False):
    """An event of a group.

    `invitation_at` is NULL unless the reader sees an invitation, by `user`. `requested`: the reader's request to join
    waits, or looks as if it did. `ends`: it reports the end of a membership of the reader. `seen`: the reader, a
    member, sees its notice. `pending`: how many requests wait.
    """

    position: int
    invitation_at: datetime | None
    invitation_message: str | None
    requested: bool
    ends: bool
    seen: bool
    pending: int
    group: GroupRow
    notice: NoticeRow | None
    user: EventUserRow | None


def _single(table: str, name: str, which: str) -> str:
    """The join for at most one row, found by its whole key: a group may have ten thousand members."""
    return f"LEFT JOIN LATERAL (SELECT * FROM {table} AS {name} WHERE {which} LIMIT 1) AS {name} ON true"


_OWN_REQUEST_WAITS = SHOWN_AS_WAITING.replace("r.", "own.")

# The user of an invitation is its maker.
_DETAILS = Statement(
    "group_events.details",
    f"""
    SELECT e.position, i.at AS invitation_at, i.message AS invitation_message,
        coalesce({_OWN_REQUEST_WAITS}, false) AS requested,
        n.id IS NULL OR (n.user_id = :reader AND n.action IN ('left', 'removed', 'banned')) AS ends,
        n.id IS NULL OR {SEEN} IS TRUE AS seen,
        CASE WHEN e.name = 'group.requested' THEN (
            SELECT count(*) FROM group_requests AS r WHERE r.group_id = g.id AND {WAITING}
        ) ELSE 0 END AS pending,
        {GROUP_COLUMNS}, {NOTICE_COLUMNS},
        {USER_COLUMNS}, m.rank AS member_rank,
        m.title AS member_title, m.joined_at AS member_joined_at, m.invited_by AS member_invited_by,
        CASE WHEN m.silenced_until > :now THEN m.silenced_until END AS member_silenced_until, r.message AS asked,
        r.at AS asked_at
    FROM unnest(:positions::bigint[], :names::text[], :groups::bigint[], :notices::uuid[], :users::bigint[])
            AS e (position, name, group_id, notice_id, user_id)
        JOIN groups AS g ON g.id = e.group_id JOIN conversations AS c ON c.peer_id = g.id
        {GROUP_JOINS}
        LEFT JOIN members AS me ON me.conversation_id = c.id AND me.user_id = :reader
        LEFT JOIN group_notices AS n ON n.id = e.notice_id
        {_single("group_invitations", "i", f"i.group_id = g.id AND i.user_id = :reader AND {VISIBLE_INVITATION}")}
        {_single("group_requests", "own", "own.group_id = g.id AND own.user_id = :reader")}
        LEFT JOIN users AS u ON u.id = CASE WHEN e.name = 'group.invited' THEN i.inviter_id ELSE e.user_id END
        {_single("members", "m", "m.user_id = u.id AND m.target_id = g.id")}
        {_single("group_requests", "r", f"r.group_id = g.id AND r.user_id = u.id AND {WAITING}")}
        {edge("k", ":reader", "u.id")}
        {AVATAR_OF_CONTACT.replace("c.state", "k.state")}
    """,
    GroupEventRow,
    writes=False,
)


class GroupEventRepository(StatementRepository):
    """The groups, notices and users that events of a page refer to."""

    async def find(
        self, reader: Actor, events: Sequence[tuple[int, str, int, UUID | None, int | None]]
    ) -> dict[int, GroupEventRow]:
        """What these events refer to, by position; one statement for a page.

        `events`: position, name, ID of the group, of the notice, and of the user that the event is about.
        """
        positions, names, groups, notices, users = zip(*events, strict=True)
        rows = await self._run.all(
            _DETAILS,
            reader=reader.user_id,
            positions=list(positions),
            names=list(names),
            groups=list(groups),
            notices=list(notices),
            users=list(users),
        )
        return {row.position: row for row in rows}
