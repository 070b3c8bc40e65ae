"""Conversations: the list, settings, receipts."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from messenger.actor import Caller
from messenger.database.pages import Corrupt, Page
from messenger.database.rows import columns_of
from messenger.database.statements import Statement
from messenger.repositories._addressee import addressee
from messenger.repositories._conversation_opening import OPEN
from messenger.repositories._fragments import (
    AVATAR_OF_CONTACT,
    EPOCH,
    OTHER_SIDE_COLUMNS,
    PAGE_BYTES,
    UNBOUNDED,
    bytes_before,
    edge,
    other_side,
    shows_receipts,
)
from messenger.repositories.base import StatementRepository
from messenger.repositories.gone import counts, last_message
from messenger.repositories.group_rows import GroupRow, decode_group, group_json
from messenger.repositories.message_rows import MessageRow, message_columns
from messenger.repositories.user_rows import AVATAR_COLUMNS, UserRow


class MembershipRow(msgspec.Struct, frozen=True, gc=False):
    """A conversation as a member sees it, with the receipts of the other user if the member may see them."""

    last_seq: int
    read_seq: int
    unread: int
    version: int
    muted_until: datetime | None
    pinned: bool
    archived: bool
    expire_after: int | None
    other_read_seq: int | None
    other_delivered_seq: int | None


class ConversationRow(msgspec.Struct, frozen=True, gc=False):
    """A conversation, with the `position` of the caller's stream; the other columns are NULL without a conversation.
    `beyond`: the page is already full without it.
    """

    position: int
    epoch: str
    conversation_id: int | None
    last_at: datetime
    membership: MembershipRow
    peer: UserRow
    group_json: str | None
    last_message: MessageRow | None
    beyond: bool

    @property
    def group(self) -> GroupRow | None:
        """The group, if the conversation is one."""
        return None if self.group_json is None else decode_group(self.group_json)


_ORDER = "me.last_at DESC, me.conversation_id DESC"


def _page(name: str, which: str) -> Statement[ConversationRow]:
    return Statement(
        name,
        f"""
        WITH <<actor>>
        SELECT actor_user_id, actor_device_id, actor_stale, {", ".join(columns_of(ConversationRow))} FROM (
        SELECT <<page_actor_columns>>, s.position, {EPOCH} AS epoch, me.conversation_id, me.last_at, me.last_seq,
            me.read_seq, {counts("me", "me")}, me.muted_until, me.pinned, me.archived, me.expire_after,
            {OTHER_SIDE_COLUMNS}, me.target_id AS user_id, coalesce(u.name, '') AS name, u.username,
            {AVATAR_COLUMNS}, {group_json("me")}::text AS group_json, {message_columns()},
            {bytes_before("m", _ORDER)} > :bytes AS beyond, {bytes_before("m", _ORDER, but=1)} AS bytes_before
        FROM actor JOIN streams AS s ON s.user_id = actor.user_id JOIN users AS reader ON reader.id = actor.user_id
        LEFT JOIN LATERAL (
            SELECT x.*, c.last_at, c.last_seq, c.expire_after
            FROM members AS x JOIN conversations AS c ON c.id = x.conversation_id
            WHERE x.user_id = actor.user_id AND {which}
            ORDER BY c.last_at DESC, c.id DESC LIMIT :limit
        ) AS me ON true
        LEFT JOIN users AS u ON u.id = me.target_id
        {edge("c", "actor.user_id", "me.target_id")}
        {AVATAR_OF_CONTACT}
        {other_side("me.conversation_id", "c.state")}
        LEFT JOIN LATERAL ({last_message("me", "me")}) AS m ON true
        LEFT JOIN LATERAL (SELECT NULL::timestamptz AS at) AS hidden ON true
        ) AS page WHERE page.bytes_before <= :bytes ORDER BY page.last_at DESC, page.conversation_id DESC
        """,
        ConversationRow,
        writes=False,
    )


# An index orders memberships by the minute of their last message, so that messages change it at most once a minute.
# The subquery counts a full page of memberships from earlier minutes: the page ends in the last of these minutes or
# before it. The memberships of all minutes up to there are read and sorted by the exact time.
_BEFORE = """(c.last_at, c.id) < (:before_at::timestamptz, :before_id::bigint)
            AND x.last_minute <= date_trunc('minute', :before_at::timestamptz)
            AND x.last_minute >= coalesce((
                SELECT y.last_minute FROM members AS y
                WHERE y.user_id = actor.user_id AND y.last_minute < date_trunc('minute', :before_at::timestamptz)
                ORDER BY y.last_minute DESC OFFSET :limit - 1 LIMIT 1
            ), '-infinity')"""
_PAGE = _page("conversations.page", _BEFORE)
_ONE = _page("conversations.one", "x.target_id = :target")


class CorruptConversation(Corrupt, frozen=True, gc=False):
    position: int
    epoch: str
    conversation_id: int | None
    last_at: datetime
    beyond: bool


_PLACES = Statement(
    "conversations.places",
    f"""
    WITH <<actor>>
    SELECT <<page_actor_columns>>, s.position, {EPOCH} AS epoch, me.id AS conversation_id, me.last_at, false AS beyond
    FROM actor JOIN streams AS s ON s.user_id = actor.user_id
    LEFT JOIN LATERAL (
        SELECT c.id, c.last_at FROM members AS x JOIN conversations AS c ON c.id = x.conversation_id
        WHERE x.user_id = actor.user_id AND {_BEFORE} ORDER BY c.last_at DESC, c.id DESC LIMIT :limit
    ) AS me ON true
    ORDER BY me.last_at DESC, me.id DESC
    """,
    CorruptConversation,
    writes=False,
)


def _part(places: Sequence[CorruptConversation]) -> dict[str, Any]:
    return {
        "before_at": places[0].last_at,
        "before_id": (places[0].conversation_id or 0) + 1,
        "limit": len(places),
        "bytes": UNBOUNDED,
    }


_LIST = Page(_PAGE, _PLACES, _part, attrgetter("conversation_id"))


class ChangedRow(msgspec.Struct, frozen=True):
    """`refused`: the shared setting would change, and the caller may not change it. `recipients`, `targets`: the other
    members, if it changes, and how each addresses the conversation. `changed`: whether a setting differs from before.
    `my_rules`, `their_rules`: the rules of the caller's and the target's stream that allowed the change, or NULL.
    """

    user_id: int
    conversation_id: int
    refused: bool
    changed: bool
    recipients: list[int]
    targets: list[int]
    my_rules: int
    their_rules: int | None


# A NULL flag leaves its column unchanged; `set_…` marks a nullable column as given. `own` reads from `shared`, since
# unreferenced CTEs run in reverse order, and a membership must not be locked before its conversation.
_MUTED = "CASE WHEN :set_muted_until::bool THEN :muted_until::timestamptz ELSE m.muted_until END"
_PINNED, _ARCHIVED = "coalesce(:pinned::bool, m.pinned)", "coalesce(:archived::bool, m.archived)"
_CHANGE = Statement(
    "conversations.change",
    f"""
    WITH <<actor>>,
    -- `shares` is whether the setting that all members share would change.
    place AS (
        SELECT c.id, :set_expire_after::bool AND c.expire_after IS DISTINCT FROM :expire_after::int AS shares,
            addressee.id IS NOT NULL AND addressee.may_manage AS may_share, my.rules AS my_rules,
            their.rules AS their_rules
        FROM actor {addressee("actor.user_id", ":target::bigint", rights=["may_manage"])}
            JOIN conversations AS c ON c.id = addressee.conversation_id
            JOIN streams AS my ON my.user_id = actor.user_id LEFT JOIN streams AS their ON their.user_id = addressee.id
    ),
    shared AS (
        UPDATE conversations AS c SET expire_after = :expire_after::int FROM place
        WHERE c.id = place.id AND place.shares AND place.may_share RETURNING c.id
    ),
    own AS (
        UPDATE members AS m SET muted_until = {_MUTED}, pinned = {_PINNED}, archived = {_ARCHIVED}
        FROM place, actor, (SELECT count(*) FROM shared) AS shared_first
        WHERE m.conversation_id = place.id AND m.user_id = actor.user_id
            AND (m.muted_until, m.pinned, m.archived) IS DISTINCT FROM ({_MUTED}, {_PINNED}, {_ARCHIVED})
        RETURNING m.user_id
    )
    SELECT <<actor_columns>>, CASE WHEN place.id IS NOT NULL THEN actor.user_id END AS user_id,
        place.id AS conversation_id, place.shares AND NOT place.may_share AS refused,
        EXISTS (SELECT FROM own) OR EXISTS (SELECT FROM shared) AS changed,
        coalesce(others.recipients, '{{}}') AS recipients, coalesce(others.targets, '{{}}') AS targets,
        place.my_rules, place.their_rules
    FROM actor LEFT JOIN place ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(o.user_id ORDER BY o.user_id) AS recipients,
            array_agg(o.target_id ORDER BY o.user_id) AS targets
        FROM members AS o WHERE o.conversation_id = place.id AND o.user_id <> actor.user_id AND place.shares
    ) AS others ON true
    """,
    ChangedRow,
    writes=True,
)


class ReceiptRow(msgspec.Struct, frozen=True):
    """The caller's receipts now; `moved`: whether they have advanced. `recipients`, `targets`: the other users who may
    see them, and how each addresses the conversation; none in a group.
    """

    user_id: int
    last_seq: int
    in_group: bool
    moved: bool
    read_seq: int
    delivered_seq: int
    unread: int
    version: int
    recipients: list[int]
    targets: list[int]


# Receipts only move forward: the guard is in WHERE. Of the others, only the other user of a 1:1 receives one, if the
# reader's privacy allows it; in a group nobody does, since each receipt would go to each member.
_RECEIPT = Statement(
    "conversations.receipt",
    f"""
    WITH <<actor>>,
    place AS (
        SELECT m.conversation_id AS id, m.read_seq, m.delivered_seq, m.gone, m.target_id, m.rank, c.last_seq
        FROM actor JOIN members AS m ON m.user_id = actor.user_id AND m.target_id = :target
            JOIN conversations AS c ON c.id = m.conversation_id
    ),
    moved AS (
        UPDATE members AS m SET read_seq = greatest(m.read_seq, :read::bigint),
            delivered_seq = greatest(m.delivered_seq, :delivered::bigint, :read::bigint)
        FROM place, actor
        WHERE m.conversation_id = place.id AND m.user_id = actor.user_id
            AND greatest(:read::bigint, :delivered::bigint) <= place.last_seq
            AND (m.read_seq < :read OR m.delivered_seq < greatest(:delivered::bigint, :read::bigint))
        RETURNING m.read_seq, m.delivered_seq, m.gone
    ),
    stand AS (
        SELECT * FROM moved UNION ALL
        SELECT read_seq, delivered_seq, gone FROM place WHERE NOT EXISTS (SELECT FROM moved)
    )
    SELECT <<actor_columns>>, CASE WHEN place.id IS NOT NULL THEN actor.user_id END AS user_id, place.last_seq,
        place.rank IS NOT NULL AS in_group, EXISTS (SELECT FROM moved) AS moved, stand.read_seq, stand.delivered_seq,
        {counts("stand", "place")}, array_remove(ARRAY[other.user_id], NULL) AS recipients,
        array_remove(ARRAY[other.target_id], NULL) AS targets
    FROM actor LEFT JOIN place ON true LEFT JOIN stand ON true
    {edge("contact", "actor.user_id", "place.target_id")}
    LEFT JOIN users AS reader ON reader.id = actor.user_id
    LEFT JOIN users AS viewer ON viewer.id = place.target_id
    LEFT JOIN members AS other ON other.conversation_id = place.id AND other.user_id = place.target_id
        AND {shows_receipts("reader", "viewer", "contact.state")}
    """,
    ReceiptRow,
    writes=True,
)


class ConversationRepository(StatementRepository):
    """Conversations of the caller, addressed by the peer on the other side."""

    def list_page(
        self, caller: Caller, *, before_at: datetime, before_id: int, limit: int
    ) -> Awaitable[Sequence[ConversationRow | CorruptConversation]]:
        """The caller's conversations, latest first: as many as `PAGE_BYTES` hold, and one `beyond`; or an empty row."""
        return self._run.page(_LIST, caller, before_at=before_at, before_id=before_id, limit=limit, bytes=PAGE_BYTES)

    async def find(self, caller: Caller, target_id: int) -> ConversationRow | None:
        """One conversation, which may have no messages."""
        row = await self._run.first(_ONE, caller, target=target_id, limit=1, bytes=PAGE_BYTES)
        return row if row and row.conversation_id is not None else None

    async def open_direct(self, caller: Caller, target_id: int) -> bool:
        """Create the 1:1 with this user if necessary; False if there is no such user, or the caller may not write."""
        row = await self._run.first(OPEN, caller, target=target_id)
        return row is not None and row.target_id is not None

    async def change(self, caller: Caller, target_id: int, **settings: Any) -> ChangedRow | None:
        """Change the caller's settings and the shared one; None if there is no such conversation."""
        return await self._run.first(_CHANGE, caller, target=target_id, **settings)

    async def move_receipt(self, caller: Caller, target_id: int, *, read: int, delivered: int) -> ReceiptRow | None:
        """Advance the caller's receipts; None if there is no such conversation."""
        return await self._run.first(_RECEIPT, caller, target=target_id, read=read, delivered=delivered)
