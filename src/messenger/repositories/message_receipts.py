"""Who has received and read a message."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.statements import Statement
from messenger.repositories._fragments import AVATAR_OF_CONTACT, edge
from messenger.repositories.base import StatementRepository
from messenger.repositories.user_rows import USER_COLUMNS, UserRow

KEPT_DAYS = 7
"""Receipts of a message are shown for this long after it was sent."""


class MessageReceiptRow(msgspec.Struct, frozen=True, gc=False):
    """The receipt of one member, with the sender of the message and the counts of all members.

    `counted` is false for old messages and large groups; `user` is None if the page is empty.
    """

    sender_id: int
    counted: bool
    members: int
    read_count: int
    delivered_count: int
    user: UserRow | None
    read: bool
    delivered: bool


class NewestReceiptsRow(msgspec.Struct, frozen=True):
    """How many members, of those who let the user know, have received and read the user's newest message in a group."""

    user_id: int
    group_id: int
    seq: int
    members: int
    read_count: int
    delivered_count: int


def _shown(viewer: str, message: str) -> str:
    """The members `o` whose receipts `viewer` may see, by the SQL of a user's ID and of a message's row.

    A member is shown who could see the message, whose privacy lets the viewer know, and who has no block with the
    viewer in either direction. Viewers who hide their own receipts learn nothing of others.
    """
    return f"""members AS o
            JOIN users AS u ON u.id = o.user_id
            JOIN users AS viewer ON viewer.id = {viewer}
        {edge("mine", viewer, "o.user_id")}
        {edge("theirs", "o.user_id", viewer)}
        WHERE o.conversation_id = {message}.conversation_id AND o.user_id <> {viewer}
            AND o.visible_from <= {message}.seq AND viewer.privacy_receipts IS DISTINCT FROM 'nobody'
            AND mine.state IS DISTINCT FROM 'blocked' AND theirs.state IS DISTINCT FROM 'blocked'
            AND (
                coalesce(u.privacy_receipts, 'everyone') = 'everyone'
                OR (u.privacy_receipts = 'contacts' AND mine.state = 'mutual')
            )"""


def _is_recent(message: str) -> str:
    return f"{message}.created_at > :now::timestamptz - interval '{KEPT_DAYS} days'"


_PAGE = Statement(
    "message_receipts.page",
    f"""
    WITH <<actor>>,
    message AS (
        SELECT m.conversation_id, m.seq, m.sender_id,
            {_is_recent("m")} AND g.large IS NOT TRUE AS counted
        FROM actor JOIN messages AS m ON m.id = :id
            JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = actor.user_id
            LEFT JOIN groups AS g ON g.id = me.target_id
        WHERE m.seq >= me.visible_from
    ),
    shown AS MATERIALIZED (
        SELECT o.user_id, o.read_seq >= message.seq AS read, o.delivered_seq >= message.seq AS delivered
        FROM message JOIN actor ON message.counted AND message.sender_id = actor.user_id
            CROSS JOIN {_shown("actor.user_id", "message")}
    ),
    counts AS (
        SELECT count(*) AS members, count(*) FILTER (WHERE read) AS read_count,
            count(*) FILTER (WHERE delivered) AS delivered_count
        FROM shown
    )
    SELECT <<actor_columns>>, message.sender_id, message.counted, counts.members, counts.read_count,
        counts.delivered_count, page.*
    FROM actor LEFT JOIN message ON true CROSS JOIN counts
    LEFT JOIN LATERAL (
        SELECT {USER_COLUMNS}, s.read, s.delivered
        FROM shown AS s JOIN users AS u ON u.id = s.user_id
        {edge("c", "actor.user_id", "u.id")}
        {AVATAR_OF_CONTACT}
        WHERE s.user_id > :after::bigint ORDER BY s.user_id LIMIT :limit
    ) AS page ON true
    """,
    MessageReceiptRow,
    writes=False,
)


# For the signals of a worker's sockets. `sent_seq` finds the newest message without reading those of others; a deleted
# or an expired one, and one from before the membership, has no counts.
_NEWEST = Statement(
    "message_receipts.newest",
    f"""
    SELECT own.user_id, own.group_id, own.seq, counts.members, counts.read_count, counts.delivered_count
    FROM unnest(:users::bigint[], :groups::bigint[]) AS watched (user_id, group_id)
    -- LATERAL and LIMIT: see `edge`.
    CROSS JOIN LATERAL (
        SELECT me.user_id, me.target_id AS group_id, me.conversation_id, m.seq
        FROM members AS me JOIN groups AS g ON g.id = me.target_id AND NOT g.large
            JOIN users AS reader ON reader.id = me.user_id AND reader.privacy_receipts IS DISTINCT FROM 'nobody'
            JOIN messages AS m ON m.conversation_id = me.conversation_id AND m.seq = me.sent_seq
        WHERE me.user_id = watched.user_id AND me.target_id = watched.group_id AND {_is_recent("m")}
            AND m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now)
        LIMIT 1
    ) AS own
    CROSS JOIN LATERAL (
        SELECT count(*) AS members, count(*) FILTER (WHERE o.read_seq >= own.seq) AS read_count,
            count(*) FILTER (WHERE o.delivered_seq >= own.seq) AS delivered_count
        FROM {_shown("own.user_id", "own")}
    ) AS counts
    """,
    NewestReceiptsRow,
    writes=False,
)


class MessageReceiptRepository(StatementRepository):
    """Receipts of users' own messages."""

    async def list_page(self, caller: Caller, message_id: UUID, *, after: int, limit: int) -> list[MessageReceiptRow]:
        """Members by ascending ID, with the counts of all of them in each row; no row if there is no such message.

        Raises `Unauthenticated`.
        """
        return await self._run.all(_PAGE, caller, id=message_id, after=after, limit=limit)

    async def count_newest(self, watchers: Sequence[tuple[int, int]]) -> list[NewestReceiptsRow]:
        """The counts for each user and group; none where the user's newest message has none: see `KEPT_DAYS`."""
        users, groups = [user for user, _ in watchers], [group for _, group in watchers]
        return await self._run.all(_NEWEST, users=users, groups=groups)
