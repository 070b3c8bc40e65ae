"""Sending: one statement for a message, and one for several at once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from messenger.repositories._fragments import TAKES_MESSAGES, TARGET, edge
from messenger.statements import Statement


class SentRow(msgspec.Struct, frozen=True, gc=False):
    """What became of a message: `outcome`, and what the database decided where it was `sent`.

    `wait`: where it came too soon (`hasty` by the limit `message`, `insistent` by `message_to`), for how many seconds.
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
    told: list[int]
    positions: list[int]


def _outcome(earlier: str, target: str, allowed: str, conversation: str, fits: str, paced: str) -> str:
    return f"""CASE WHEN {earlier} IS NOT NULL THEN 'repeated' WHEN {target} IS NULL THEN 'unknown'
            WHEN NOT {allowed} THEN 'forbidden' WHEN {conversation} IS NULL THEN 'unopened'
            WHEN NOT {fits} THEN 'misplaced' {paced} ELSE 'sent' END"""


# Two limits are counted where a message writes anyway, so that they cost no row, no round trip and no lock of their
# own: in the sender's stream all their messages, in their membership those of the conversation. `sent_until` is when
# they would all have been sent at the limit's pace; who is ahead of that by no more than `room` seconds may send.
# Messages under way at the same time don't see each other, but their steps add up.
def _ahead(until: str) -> str:
    return f"extract(epoch FROM {until} - :now::timestamptz)::float"


def _later(until: str, step: str) -> str:
    return f"greatest({until}, :now) + {step} * interval '1 second'"


_TOO_SOON = "WHEN place.haste > 0 THEN 'hasty' WHEN place.insistence > 0 THEN 'insistent'"
_UNPACED = "WHEN NOT j.paced THEN 'alone'"
_MINUTE = "date_trunc('minute', taken.last_at)"

# One statement: who asks, may they, was it sent already, the next number of the conversation, the message, the
# sender's own receipt, the minute in each member's list where it is another, and an event for each. The conversation's
# row is locked first, then the memberships (which a receipt locks too, so that `held` reads what `read` returns), then
# the streams by ascending user; the sequence grows only if the message is written. A concurrent repetition violates
# uq_messages_sender_id, undoes all of it, and finds the first one when it runs again.
SEND = Statement(
    "messages.send",
    f"""
    WITH {{actor}},
    {TARGET},
    earlier AS (
        SELECT m.id, m.fingerprint FROM actor JOIN messages AS m
            ON m.sender_id = actor.user_id AND m.client_id = :client_id
    ),
    place AS (
        SELECT m.conversation_id AS id, :reply_to::uuid IS NULL OR EXISTS (
            SELECT FROM messages AS r WHERE r.id = :reply_to AND r.conversation_id = m.conversation_id
        ) AS reply_fits,
        {_ahead("s.sent_until")} - :room::float AS haste, {_ahead("m.sent_until")} - :room_to::float AS insistence
        FROM actor JOIN members AS m ON m.user_id = actor.user_id AND m.target_id = :target
            JOIN streams AS s ON s.user_id = actor.user_id
    ),
    taken AS (
        UPDATE conversations AS c SET last_seq = c.last_seq + 1, last_at = greatest(c.last_at, :now)
        FROM place, target
        WHERE c.id = place.id AND target.allowed AND place.reply_fits AND NOT EXISTS (SELECT FROM earlier)
            AND place.haste <= 0 AND place.insistence <= 0
        RETURNING c.id, c.last_seq, c.last_at, c.last_at + c.expire_after * interval '1 second' AS expires_at
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT :id::uuid, taken.id, taken.last_seq, actor.user_id, actor.device_id, :client_id, :fingerprint::bytea,
            :kind::text, :body::text, :reply_to, :forwarded_from::uuid, :mentions::bigint[], taken.last_at,
            taken.expires_at
        FROM taken, actor
    ),
    read AS (
        UPDATE members AS m SET last_minute = {_MINUTE},
            read_seq = CASE WHEN m.user_id = actor.user_id THEN taken.last_seq ELSE m.read_seq END,
            delivered_seq = CASE WHEN m.user_id = actor.user_id THEN taken.last_seq ELSE m.delivered_seq END,
            sent_until = CASE WHEN m.user_id = actor.user_id THEN {_later("m.sent_until", ":step_to::float")}
                ELSE m.sent_until END
        FROM taken, actor
        WHERE m.conversation_id = taken.id AND (m.user_id = actor.user_id OR m.last_minute IS DISTINCT FROM {_MINUTE})
        RETURNING m.conversation_id AS id
    ),
    held AS (
        SELECT s.user_id FROM members AS m JOIN streams AS s ON s.user_id = m.user_id
        WHERE m.conversation_id = (SELECT max(id) FROM read)
        ORDER BY s.user_id FOR NO KEY UPDATE OF s
    ),
    moved AS (
        UPDATE streams AS s SET position = s.position + 1,
            sent_until = CASE WHEN s.user_id = actor.user_id THEN {_later("s.sent_until", ":step::float")}
                ELSE s.sent_until END
        FROM held, actor WHERE s.user_id = held.user_id
        RETURNING s.user_id, s.position
    ),
    told AS (
        INSERT INTO events (user_id, position, name, subject, at)
        SELECT moved.user_id, moved.position, 'message.created', :id::uuid, :now FROM moved
    )
    SELECT {{actor_columns}},
        {_outcome("earlier.id", "target.id", "target.allowed", "place.id", "place.reply_fits", _TOO_SOON)} AS outcome,
        greatest(place.haste, place.insistence) AS wait,
        actor.user_id AS sender_id, actor.device_id AS sender_device_id,
        earlier.id AS earlier_id, earlier.fingerprint AS earlier_fingerprint,
        taken.last_seq AS seq, taken.last_at AS created_at, taken.expires_at,
        ARRAY(SELECT user_id FROM moved ORDER BY user_id) AS told,
        ARRAY(SELECT position FROM moved ORDER BY user_id) AS positions
    FROM actor LEFT JOIN target ON true LEFT JOIN earlier ON true LEFT JOIN place ON true LEFT JOIN taken ON true
    """,
    SentRow,
    writes=True,
)


# The same for several at once, each of which is sent or refused by itself; a place in the batch (`n`) is the order in
# which messages of one conversation, and events of one stream, are numbered. Rows are locked in the same order of
# tables, and within a table in ascending order. Where the batch has more of somebody than the limits let through, all
# of it is left to be sent `alone`.
SEND_ALL = Statement(
    "messages.send_all",
    f"""
    WITH {{actors}},
    asked AS MATERIALIZED (
        SELECT g.*, actors.user_id, actors.device_id, actors.stale
        FROM unnest(:ids::uuid[], :targets::bigint[], :client_ids::text[], :fingerprints::bytea[], :kinds::text[],
            :bodies::text[], :reply_tos::uuid[], :forwarded_froms::uuid[], :mentions::text[]) WITH ORDINALITY AS g (
            id, target_id, client_id, fingerprint, kind, body, reply_to, forwarded_from, mentions, n)
        JOIN actors USING (n)
    ),
    judged AS MATERIALIZED (
        SELECT a.n, a.user_id, u.id AS target_id, {TAKES_MESSAGES} AS allowed, earlier.id AS earlier_id,
            earlier.fingerprint AS earlier_fingerprint, place.conversation_id,
            a.reply_to IS NULL OR EXISTS (
                SELECT FROM messages AS r WHERE r.id = a.reply_to AND r.conversation_id = place.conversation_id
            ) AS reply_fits,
            greatest({_ahead("own.sent_until")}, 0) + :step::float * (count(*) OVER (PARTITION BY a.user_id) - 1)
                <= :room::float
            AND greatest({_ahead("place.sent_until")}, 0) + :step_to::float
                * (count(*) OVER (PARTITION BY a.user_id, a.target_id) - 1) <= :room_to::float AS paced
        FROM asked AS a JOIN streams AS own ON own.user_id = a.user_id
        LEFT JOIN users AS u ON u.id = a.target_id AND u.id <> a.user_id
            AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        {edge("mine", "a.user_id", "u.id")}
        {edge("theirs", "u.id", "a.user_id")}
        LEFT JOIN LATERAL (
            SELECT m.id, m.fingerprint FROM messages AS m
            WHERE m.sender_id = a.user_id AND m.client_id = a.client_id LIMIT 1
        ) AS earlier ON true
        LEFT JOIN LATERAL (
            SELECT m.conversation_id, m.sent_until FROM members AS m
            WHERE m.user_id = a.user_id AND m.target_id = a.target_id LIMIT 1
        ) AS place ON true
    ),
    fit AS MATERIALIZED (
        SELECT n, user_id, conversation_id, row_number() OVER (PARTITION BY conversation_id ORDER BY n) AS nth
        FROM judged WHERE allowed AND reply_fits AND paced AND earlier_id IS NULL AND conversation_id IS NOT NULL
    ),
    counted AS MATERIALIZED (SELECT conversation_id, count(*) AS news FROM fit GROUP BY conversation_id),
    locked AS MATERIALIZED (
        SELECT c.id FROM conversations AS c WHERE c.id IN (SELECT conversation_id FROM counted)
        ORDER BY c.id FOR NO KEY UPDATE
    ),
    taken AS (
        UPDATE conversations AS c SET last_seq = c.last_seq + counted.news, last_at = greatest(c.last_at, :now)
        FROM locked JOIN counted ON counted.conversation_id = locked.id WHERE c.id = locked.id
        RETURNING c.id, c.last_seq - counted.news AS base, c.last_at,
            c.last_at + c.expire_after * interval '1 second' AS expires_at
    ),
    placed AS MATERIALIZED (
        SELECT fit.n, fit.user_id, fit.conversation_id, taken.base + fit.nth AS seq, taken.last_at, taken.expires_at
        FROM fit JOIN taken ON taken.id = fit.conversation_id
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT a.id, placed.conversation_id, placed.seq, a.user_id, a.device_id, a.client_id, a.fingerprint, a.kind,
            a.body, a.reply_to, a.forwarded_from, a.mentions::bigint[], placed.last_at, placed.expires_at
        FROM placed JOIN asked AS a USING (n)
    ),
    own AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, latest.seq, coalesce(latest.count, 0) AS count, {_MINUTE} AS minute
        FROM taken JOIN members AS m ON m.conversation_id = taken.id LEFT JOIN (
            SELECT conversation_id, user_id, max(seq) AS seq, count(*) FROM placed GROUP BY conversation_id, user_id
        ) AS latest ON latest.conversation_id = m.conversation_id AND latest.user_id = m.user_id
        WHERE latest.seq IS NOT NULL OR m.last_minute IS DISTINCT FROM {_MINUTE}
        ORDER BY m.conversation_id, m.user_id FOR NO KEY UPDATE OF m
    ),
    read AS (
        UPDATE members AS m SET last_minute = own.minute, read_seq = coalesce(own.seq, m.read_seq),
            delivered_seq = coalesce(own.seq, m.delivered_seq), sent_until = CASE WHEN own.count > 0
                THEN {_later("m.sent_until", ":step_to::float * own.count")} ELSE m.sent_until END
        FROM own WHERE m.conversation_id = own.conversation_id AND m.user_id = own.user_id RETURNING m.conversation_id
    ),
    entry AS MATERIALIZED (
        SELECT placed.n, m.user_id, row_number() OVER (PARTITION BY m.user_id ORDER BY placed.n) AS nth
        FROM placed JOIN members AS m ON m.conversation_id = placed.conversation_id,
            (SELECT count(*) FROM read) AS read_first
    ),
    told_each AS MATERIALIZED (
        SELECT e.user_id, count(*) AS news, count(*) FILTER (WHERE placed.user_id = e.user_id) AS sent
        FROM entry AS e JOIN placed USING (n) GROUP BY e.user_id
    ),
    held AS MATERIALIZED (
        SELECT s.user_id FROM streams AS s WHERE s.user_id IN (SELECT user_id FROM told_each)
        ORDER BY s.user_id FOR NO KEY UPDATE
    ),
    moved AS (
        UPDATE streams AS s SET position = s.position + told_each.news, sent_until = CASE WHEN told_each.sent > 0
            THEN {_later("s.sent_until", ":step::float * told_each.sent")} ELSE s.sent_until END
        FROM held JOIN told_each USING (user_id) WHERE s.user_id = held.user_id
        RETURNING s.user_id, s.position - told_each.news AS base
    ),
    entered AS MATERIALIZED (
        SELECT entry.n, entry.user_id, moved.base + entry.nth AS position FROM entry JOIN moved USING (user_id)
    ),
    told AS (
        INSERT INTO events (user_id, position, name, subject, at)
        SELECT entered.user_id, entered.position, 'message.created', a.id, :now FROM entered JOIN asked AS a USING (n)
    ),
    heard AS MATERIALIZED (
        SELECT n, array_agg(user_id ORDER BY user_id) AS users, array_agg(position ORDER BY user_id) AS positions
        FROM entered GROUP BY n
    )
    SELECT {{actors_columns}},
        {_outcome("j.earlier_id", "j.target_id", "j.allowed", "j.conversation_id", "j.reply_fits", _UNPACED)}
            AS outcome, NULL::float AS wait,
        actors.user_id AS sender_id, actors.device_id AS sender_device_id, j.earlier_id, j.earlier_fingerprint,
        placed.seq, placed.last_at AS created_at, placed.expires_at,
        coalesce(heard.users, '{{}}') AS told, coalesce(heard.positions, '{{}}') AS positions
    FROM actors JOIN judged AS j USING (n) LEFT JOIN placed USING (n) LEFT JOIN heard USING (n)
    """,
    SentRow,
    writes=True,
)
