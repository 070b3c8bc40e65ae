"""Sending one message, in one statement."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._fragments import TARGET
from messenger.repositories._send_fragments import (
    ALL,
    EXPIRES_AT,
    LAST_AT,
    MINUTE,
    TO,
    ahead,
    earlier,
    later,
    mentioned,
    outcome,
    place,
    reply_fits,
    source,
)


class SentRow(msgspec.Struct, frozen=True, gc=False):
    """What became of a message: `outcome`, and what the database decided where it was `sent`.

    `wait`: where it came too soon (`hasty` by the limit `message`, `insistent` by `message_to`), for how many seconds.
    `body` is that of the message which is forwarded, NULL for a text of the sender's own; `mentioned`: those of
    `mentions` who are members.
    """

    outcome: str
    wait: float | None
    sender_id: int
    sender_device_id: UUID
    earlier_id: UUID | None
    earlier_fingerprint: bytes | None
    seq: int | None
    created_at: datetime | None
    expires_at: datetime | None
    body: str | None
    mentioned: list[int]
    told: list[int]
    positions: list[int]


_TOO_SOON = "WHEN held.haste > 0 THEN 'hasty' WHEN held.insistence > 0 THEN 'insistent'"

# No message waits for a lock. Its rows are locked in one order (the conversation, the memberships that it writes, the
# streams of all members; ascending within a table), and rows that another transaction has locked are skipped. A message
# that misses a row is `busy`: it writes nothing, blocks no other message, and is retried shortly after. A message is
# also `busy` if its rules have changed: `rules` of both streams is read with the edges that allow the message, and
# again under the locks. A block, a change of privacy or an erasure is therefore ordered entirely after or before a
# message. The conversation's number only grows if the message is written. A concurrent repetition violates
# uq_messages_sender_id, which rolls the statement back, and finds the first message when it runs again.
_SEND = f"""
    WITH <<actor>>,
    {TARGET},
    -- What the sender requests, checked against this statement's snapshot.
    judged AS MATERIALIZED (
        SELECT actor.user_id, actor.device_id, target.id AS target_id, target.allowed, earlier.id AS earlier_id,
            earlier.fingerprint AS earlier_fingerprint, place.conversation_id, mine.rules AS my_rules,
            theirs.rules AS their_rules, {reply_fits(":reply_to::uuid", "place.conversation_id")} AS reply_fits,
            :forwarded_from::uuid IS NULL OR source.id IS NOT NULL AS source_fits, source.body
        FROM actor LEFT JOIN target ON true
        {earlier("actor.user_id", ":client_id")}
        {place("actor.user_id", ":target")}
        LEFT JOIN streams AS mine ON mine.user_id = actor.user_id
        LEFT JOIN streams AS theirs ON theirs.user_id = target.id
        {source("actor.user_id", ":forwarded_from")}
    ),
    conversation AS MATERIALIZED (
        SELECT c.id, c.last_seq + 1 AS seq, {LAST_AT} AS last_at, c.expire_after
        FROM judged JOIN conversations AS c ON c.id = judged.conversation_id
        WHERE judged.allowed AND judged.reply_fits AND judged.source_fits AND judged.earlier_id IS NULL
        FOR NO KEY UPDATE OF c SKIP LOCKED
    ),
    party AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id,
            m.user_id = judged.user_id OR m.last_minute IS DISTINCT FROM {MINUTE} AS written
        FROM conversation JOIN members AS m ON m.conversation_id = conversation.id, judged
    ),
    membership AS MATERIALIZED (
        SELECT m.user_id, m.sent_until FROM members AS m
        WHERE (m.conversation_id, m.user_id) IN (SELECT conversation_id, user_id FROM party WHERE written)
        ORDER BY m.user_id FOR NO KEY UPDATE OF m SKIP LOCKED
    ),
    -- Reads `membership` first, to keep the lock order.
    stream AS MATERIALIZED (
        SELECT s.user_id, s.rules, s.sent_until FROM streams AS s
        WHERE s.user_id IN (SELECT user_id FROM party WHERE (SELECT count(*) FROM membership) > 0) AND NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s SKIP LOCKED
    ),
    held AS MATERIALIZED (
        SELECT {ahead("stream.sent_until", *ALL)} - :room::float AS haste,
            {ahead("membership.sent_until", *TO)} - :room_to::float AS insistence
        FROM judged JOIN stream USING (user_id) JOIN membership USING (user_id)
        WHERE (SELECT count(*) FROM membership) = (SELECT count(*) FROM party WHERE written)
            AND (SELECT count(*) FROM stream) = (SELECT count(*) FROM party)
            AND NOT EXISTS (SELECT FROM stream AS s WHERE s.rules <> CASE s.user_id WHEN judged.user_id
                THEN judged.my_rules WHEN judged.target_id THEN judged.their_rules ELSE s.rules END)
    ),
    fit AS MATERIALIZED (
        SELECT conversation.*, {EXPIRES_AT} AS expires_at
        FROM conversation JOIN held ON held.haste <= 0 AND held.insistence <= 0
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT :id::uuid, fit.id, fit.seq, judged.user_id, judged.device_id, :client_id, :fingerprint::bytea,
            :kind::text, coalesce(judged.body, :body::text), :reply_to, :forwarded_from,
            {mentioned(":mentions::bigint[]", "fit.id")}, fit.last_at, fit.expires_at
        FROM fit, judged
        RETURNING mentions
    ),
    numbered AS (
        UPDATE conversations AS c SET last_seq = fit.seq, last_at = fit.last_at FROM fit WHERE c.id = fit.id
    ),
    read AS (
        UPDATE members AS m SET last_minute = date_trunc('minute', fit.last_at),
            read_seq = CASE WHEN m.user_id = judged.user_id THEN fit.seq ELSE m.read_seq END,
            delivered_seq = CASE WHEN m.user_id = judged.user_id THEN fit.seq ELSE m.delivered_seq END,
            sent_until = CASE WHEN m.user_id = judged.user_id THEN {later("m.sent_until", *TO)}
                ELSE m.sent_until END
        FROM fit, judged, membership WHERE m.conversation_id = fit.id AND m.user_id = membership.user_id
    ),
    moved AS (
        UPDATE streams AS s SET position = s.position + 1,
            sent_until = CASE WHEN s.user_id = judged.user_id THEN {later("s.sent_until", *ALL)}
                ELSE s.sent_until END
        FROM fit, judged, stream WHERE s.user_id = stream.user_id
        RETURNING s.user_id, s.position
    ),
    told AS (
        INSERT INTO events (user_id, position, name, subject, at)
        SELECT moved.user_id, moved.position, 'message.created', :id::uuid, :now FROM moved
    )
    SELECT <<actor_columns>>,
        {outcome("judged", held="held.haste IS NOT NULL", paced=_TOO_SOON)} AS outcome,
        greatest(held.haste, held.insistence) AS wait,
        actor.user_id AS sender_id, actor.device_id AS sender_device_id, judged.earlier_id, judged.earlier_fingerprint,
        fit.seq, fit.last_at AS created_at, fit.expires_at, judged.body,
        coalesce(message.mentions, '{{}}') AS mentioned,
        ARRAY(SELECT user_id FROM moved ORDER BY user_id) AS told,
        ARRAY(SELECT position FROM moved ORDER BY user_id) AS positions
    FROM actor JOIN judged ON true LEFT JOIN held ON true LEFT JOIN fit ON true LEFT JOIN message ON true
"""

SEND = Statement("messages.send", _SEND, SentRow, writes=True)

# For a message that has found its rows busy again and again: among many writers of the same rows, only PostgreSQL's
# queue for a lock gives each its turn.
SEND_WAITING = Statement("messages.send_waiting", _SEND.replace(" SKIP LOCKED", ""), SentRow, writes=True)
