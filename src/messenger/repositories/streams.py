"""Reads streams, and records the positions that devices have acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from messenger.actor import Caller
from messenger.database.pages import Corrupt, Page
from messenger.database.rows import columns_of
from messenger.database.statements import Statement
from messenger.repositories._fragments import (
    CONNECTED,
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
from messenger.repositories.events import append
from messenger.repositories.gone import counts, last_message
from messenger.repositories.group_rows import group_json
from messenger.repositories.message_rows import HIDDEN_JOIN, MessageRow, message_columns
from messenger.repositories.user_rows import AVATAR_COLUMNS

TAKEN_AT_ONCE = 1000
"""Events before an acknowledged position whose messages count as delivered; a new device has skipped older ones."""


class StreamRow(msgspec.Struct, frozen=True, gc=False):
    """An event of a stream, with `head`, the end of the stream; the event's columns are NULL if there is no event.

    By its kind, an event has a `message` as its reader sees it now, or a `peer`: the fields of a `PersonRow`, a
    `ProfileRow` and a `MembershipRow` as JSON.
    """

    head: int
    taken: int
    epoch: str
    position: int | None
    event: str
    at: datetime
    payload: str | None
    peer_id: int | None
    subject: UUID | None
    has_left: bool
    peer: str | None
    message: MessageRow | None


# The reader has left the group that the event is about, which is therefore not delivered.
_HAS_LEFT = """(m.id IS NOT NULL AND me.target_id IS NULL)
            OR (page.name = 'conversation.updated' AND own.user_id IS NULL
                AND EXISTS (SELECT FROM groups AS g WHERE g.id = page.peer_id))"""

# No message where the reader is not a member of its conversation.
_MESSAGE = message_columns(id="CASE WHEN me.target_id IS NOT NULL THEN m.id END")

# One statement has one snapshot, so `head` and the page are consistent. The event of a conversation also has its last
# message, by the current number of the conversation. Most events are messages: the data of all other kinds is one
# column of JSON, since thirty more columns for each event would cost more than the rest of the statement.
_READ = Statement(
    "streams.read",
    f"""
    WITH <<actor>>
    SELECT actor_user_id, actor_device_id, actor_stale, {", ".join(columns_of(StreamRow))} FROM (
    SELECT <<actor_columns>>, s.position AS head, s.taken, {EPOCH} AS epoch, page.position, page.name AS event, page.at,
        page.payload::text AS payload, page.peer_id, page.subject, {_HAS_LEFT} AS has_left, about.peer, {_MESSAGE},
        {bytes_before("m", "page.position")} AS bytes_before
    FROM actor JOIN streams AS s ON s.user_id = actor.user_id JOIN users AS reader ON reader.id = actor.user_id
    LEFT JOIN LATERAL (
        SELECT * FROM events AS e
        WHERE e.user_id = actor.user_id AND e.position > :after::bigint ORDER BY e.position LIMIT :limit
    ) AS page ON true
    LEFT JOIN members AS own ON page.name = 'conversation.updated'
        AND own.user_id = actor.user_id AND own.target_id = page.peer_id
    LEFT JOIN conversations AS c ON c.id = own.conversation_id
    LEFT JOIN messages AS m ON m.id = CASE WHEN c.id IS NULL THEN page.subject
        ELSE ({last_message("own", "c", "m.id")}) END
    LEFT JOIN LATERAL (
        SELECT x.target_id FROM members AS x
        WHERE x.conversation_id = m.conversation_id AND x.user_id = actor.user_id AND m.seq >= x.visible_from LIMIT 1
    ) AS me ON true
    {HIDDEN_JOIN}
    LEFT JOIN LATERAL (
        SELECT row_to_json(shown)::text AS peer FROM (
            SELECT {group_json("own")} AS "group",
                c.last_seq, own.read_seq, {counts("own", "c")}, own.muted_until, own.pinned, own.archived,
                c.expire_after, {OTHER_SIDE_COLUMNS}, p.id AS user_id, u.username, coalesce(u.name, '') AS name,
                u.about, u.status, u.status_text, u.invisible_since, u.last_activity, u.created_at,
                u.privacy_last_seen, u.privacy_avatar, u.privacy_messages_from, u.privacy_calls_from,
                u.privacy_groups_from, coalesce(u.privacy_receipts, 'contacts') AS privacy_receipts, u.privacy_forwards,
                CASE WHEN page.name = 'profile.updated' THEN {CONNECTED} END AS connected,
                mine.state AS mine, theirs.state AS theirs,
                (SELECT image FROM (SELECT {AVATAR_COLUMNS}) AS image WHERE a.key IS NOT NULL) AS avatar
            FROM peers AS p LEFT JOIN users AS u ON u.id = p.id
            {edge("mine", "actor.user_id", "u.id")}
            {edge("theirs", "u.id", "actor.user_id")}
            {other_side("c.id", "mine.state")}
            LEFT JOIN avatars AS a ON a.key = u.avatar_key AND (u.id = actor.user_id OR u.privacy_avatar = 'everyone'
                OR (u.privacy_avatar = 'contacts' AND mine.state = 'mutual'))
            WHERE p.id = page.peer_id
        ) AS shown
    ) AS about ON true
    ) AS sized WHERE sized.bytes_before <= :bytes ORDER BY sized.position
    """,
    StreamRow,
    writes=False,
)


class CorruptEvent(Corrupt, frozen=True, gc=False):
    head: int
    taken: int
    epoch: str
    position: int | None


_PLACES = Statement(
    "streams.places",
    f"""
    WITH <<actor>>
    SELECT <<actor_columns>>, s.position AS head, s.taken, {EPOCH} AS epoch, page.position
    FROM actor JOIN streams AS s ON s.user_id = actor.user_id
    LEFT JOIN LATERAL (
        SELECT e.position FROM events AS e
        WHERE e.user_id = actor.user_id AND e.position > :after::bigint ORDER BY e.position LIMIT :limit
    ) AS page ON true
    ORDER BY page.position
    """,
    CorruptEvent,
    writes=False,
)


def _part(places: Sequence[CorruptEvent]) -> dict[str, Any]:
    return {"after": (places[0].position or 0) - 1, "limit": len(places), "bytes": UNBOUNDED}


_PAGE = Page(_READ, _PLACES, _part, attrgetter("position"))


class ToldRow(msgspec.Struct, frozen=True):
    """The event of a receipt: its stream, its position and its payload, and the group if it is one of a group."""

    user_id: int
    position: int
    payload: str
    group_id: int | None


# The last message of each conversation that the device has acknowledged counts as delivered. Memberships are locked in
# one order, then streams by ascending user, as everywhere. In a 1:1 the other user is notified of a mutual contact's
# receipt only.
_TAKE: Statement[ToldRow] = Statement(
    "streams.take",
    f"""
    WITH acks AS (
        SELECT g.user_id, g.position, greatest(s.taken, g.position - {TAKEN_AT_ONCE}) AS after
        FROM unnest(:users::bigint[], :positions::bigint[]) AS g (user_id, position)
            JOIN streams AS s ON s.user_id = g.user_id AND s.taken < g.position AND s.position >= g.position
    ),
    -- The last message from others in the acknowledged part of the stream, for each conversation.
    acked_messages AS (
        SELECT acks.user_id, m.conversation_id, max(m.seq) AS seq
        FROM acks
        JOIN events AS e ON e.user_id = acks.user_id AND e.position > acks.after AND e.position <= acks.position
            AND e.name = 'message.created'
        JOIN messages AS m ON m.id = e.subject AND m.sender_id <> acks.user_id
        GROUP BY acks.user_id, m.conversation_id
    ),
    locked_members AS (
        SELECT me.conversation_id, me.user_id, a.seq
        FROM acked_messages AS a
            JOIN members AS me ON me.conversation_id = a.conversation_id AND me.user_id = a.user_id
        WHERE me.delivered_seq < a.seq ORDER BY me.conversation_id, me.user_id FOR NO KEY UPDATE OF me
    ),
    delivered AS (
        UPDATE members AS me SET delivered_seq = l.seq FROM locked_members AS l
        WHERE me.conversation_id = l.conversation_id AND me.user_id = l.user_id AND me.delivered_seq < l.seq
        RETURNING me.conversation_id, me.user_id, me.target_id, me.read_seq, me.delivered_seq, me.gone, me.rank
    ),
    receipts AS (
        SELECT d.user_id, jsonb_build_object('target_id', d.target_id, 'user_id', d.user_id,
            'read_seq', d.read_seq, 'delivered_seq', d.delivered_seq,
            'unread', count.unread, 'version', count.version) AS payload,
            CASE WHEN d.rank IS NOT NULL THEN d.target_id END AS group_id
        FROM delivered AS d JOIN conversations AS c ON c.id = d.conversation_id
            JOIN LATERAL (SELECT {counts("d", "c")}) AS count ON true
        UNION ALL
        SELECT o.user_id, jsonb_build_object('target_id', o.target_id, 'user_id', d.user_id,
            'read_seq', d.read_seq, 'delivered_seq', d.delivered_seq), NULL
        FROM delivered AS d JOIN members AS o ON o.conversation_id = d.conversation_id AND o.user_id = d.target_id
            JOIN users AS reader ON reader.id = d.user_id JOIN users AS viewer ON viewer.id = d.target_id
            LEFT JOIN contacts AS k ON k.owner_id = d.user_id AND k.target_id = d.target_id
        WHERE {shows_receipts("reader", "viewer", "k.state")}
    ),
    entry AS (
        SELECT user_id, payload, group_id, row_number() OVER () AS n, NULL::bigint AS acked FROM receipts
        UNION ALL SELECT user_id, NULL, NULL, NULL, position FROM acks
    ),
    {
        append(
            ("payload", "group_id"),
            name="receipt.updated",
            totals="max(acked) AS acked",
            sets="taken = greatest(s.taken, entries.acked)",
        )
    }
    SELECT user_id, position, payload::text AS payload, group_id FROM deliveries
    """,
    ToldRow,
    writes=True,
)


class PositionRow(msgspec.Struct, frozen=True):
    user_id: int
    position: int
    epoch: str


_POSITIONS = Statement(
    "streams.positions",
    f"SELECT user_id, position, {EPOCH} AS epoch FROM streams WHERE user_id = ANY (:users::bigint[])",
    PositionRow,
    writes=False,
)


class StreamRepository(StatementRepository):
    """Streams of events, one per user."""

    def read(self, caller: Caller, *, after: int, limit: int) -> Awaitable[Sequence[StreamRow | CorruptEvent]]:
        """The caller's events after a position, up to `PAGE_BYTES`; one round trip. If there are none, a single row
        without an event.
        """
        return self._run.page(_PAGE, caller, after=after, limit=limit, bytes=PAGE_BYTES)

    async def take(self, users: Sequence[int], positions: Sequence[int]) -> list[ToldRow]:
        """Advance delivered receipts to the positions that these users' devices have acknowledged, and append the
        events, in one statement.
        """
        return await self._run.all(_TAKE, users=users, positions=positions)

    async def positions(self, users: Sequence[int]) -> list[PositionRow]:
        """The end of each user's stream."""
        return await self._run.all(_POSITIONS, users=users)
