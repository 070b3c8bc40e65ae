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


def _outcome(row: str, *, held: str, paced: str, again: str = "") -> str:
    return f"""CASE WHEN {row}.earlier_id IS NOT NULL THEN 'repeated' WHEN {row}.target_id IS NULL THEN 'unknown'
            WHEN NOT {row}.allowed THEN 'forbidden' WHEN {row}.conversation_id IS NULL THEN 'unopened'
            WHEN NOT {row}.reply_fits THEN 'misplaced' WHEN NOT {row}.source_fits THEN 'unreadable'
            {again} WHEN NOT {held} THEN 'busy' {paced} ELSE 'sent' END"""


# Two limits are counted where a message writes anyway, so that they cost no row, no round trip and no lock of their
# own: in the sender's stream all their messages, in their membership those of the conversation. `sent_until` is when
# they would all have been sent at the limit's pace; a sender who is ahead of that by no more than `room` seconds may
# send. It is read under the row's lock, so it is never more than `room` and a step ahead: one that is was written while
# the clock was wrong, and counts for nothing.
_CLOCK_SLACK = "interval '5 seconds'"


def _ahead(until: str, room: str, step: str) -> str:
    """Seconds by which a sender is ahead of a limit's pace, not below 0."""
    return f"""CASE WHEN {until} > :now + ({room}::float + {step}::float) * interval '1 second' + {_CLOCK_SLACK} THEN 0
            ELSE greatest(extract(epoch FROM {until} - :now::timestamptz)::float, 0) END"""


def _later(until: str, room: str, step: str, count: str = "1") -> str:
    """`until` after `count` more messages."""
    return f":now::timestamptz + ({_ahead(until, room, step)} + {step}::float * {count}) * interval '1 second'"


_TOO_SOON = "WHEN held.haste > 0 THEN 'hasty' WHEN held.insistence > 0 THEN 'insistent'"
_UNPACED = "WHEN NOT able.paced THEN 'alone'"
_ALL, _TO = (":room", ":step"), (":room_to", ":step_to")
# Times of a conversation never go back, also where the clock does; how long a message lives goes by the clock alone.
_LAST_AT = "greatest(c.last_at, :now)"
_EXPIRES_AT = ":now::timestamptz + conversation.expire_after * interval '1 second'"
_MINUTE = "date_trunc('minute', conversation.last_at)"


# The message that is forwarded, if the sender can read it. Needs: `m`, and the sender's `{user}`.
def _source(user: str, forwarded_from: str) -> str:
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.body FROM messages AS m
                JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = {user}
            WHERE m.id = {forwarded_from} AND m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now)
                AND NOT EXISTS (SELECT FROM hidden_messages AS h WHERE h.user_id = {user} AND h.message_id = m.id)
            LIMIT 1
        ) AS source ON true"""


# By whole keys, as all that is joined to one row of a request: see `edge`.
def _earlier(user: str, client_id: str) -> str:
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.fingerprint FROM messages AS m
            WHERE m.sender_id = {user} AND m.client_id = {client_id} LIMIT 1
        ) AS earlier ON true"""


def _place(user: str, target: str) -> str:
    return f"""LEFT JOIN LATERAL (
            SELECT m.conversation_id FROM members AS m WHERE m.user_id = {user} AND m.target_id = {target} LIMIT 1
        ) AS place ON true"""


def _reply_fits(reply_to: str, conversation: str) -> str:
    return f"""{reply_to} IS NULL OR EXISTS (
                SELECT FROM messages AS r WHERE r.id = {reply_to} AND r.conversation_id = {conversation}
            )"""


def _mentioned(mentions: str, conversation: str) -> str:
    """Those of `mentions` who are members, in their order, each once."""
    return f"""CASE WHEN {mentions} = '{{}}' THEN {mentions} ELSE ARRAY(
                SELECT x.id FROM unnest({mentions}) WITH ORDINALITY AS x (id, n)
                    JOIN members AS m ON m.conversation_id = {conversation} AND m.user_id = x.id
                GROUP BY x.id ORDER BY min(x.n)
            ) END"""


# No message waits for a lock: what it needs is locked in one order of tables (the conversation, the memberships that it
# writes, the streams of all members), within a table in ascending order, and passed over where another transaction has
# it. A message for which something is missing is `busy`, writes nothing, and is sent again a little later; meanwhile it
# holds up nobody. `busy` is also one whose rules have changed: `rules` of both streams is read with the edges that
# allowed it, and again under the locks. So a block, a change of privacy or an erasure comes wholly after a message or
# wholly before it. The conversation's number grows only if the message is written. A concurrent repetition violates
# uq_messages_sender_id, undoes all of it, and finds the first one when it runs again.
SEND = Statement(
    "messages.send",
    f"""
    WITH {{actor}},
    {TARGET},
    -- What the sender asks for, as this statement's snapshot judges it.
    judged AS MATERIALIZED (
        SELECT actor.user_id, actor.device_id, target.id AS target_id, target.allowed, earlier.id AS earlier_id,
            earlier.fingerprint AS earlier_fingerprint, place.conversation_id, mine.rules AS my_rules,
            theirs.rules AS their_rules, {_reply_fits(":reply_to::uuid", "place.conversation_id")} AS reply_fits,
            :forwarded_from::uuid IS NULL OR source.id IS NOT NULL AS source_fits, source.body
        FROM actor LEFT JOIN target ON true
        {_earlier("actor.user_id", ":client_id")}
        {_place("actor.user_id", ":target")}
        LEFT JOIN streams AS mine ON mine.user_id = actor.user_id
        LEFT JOIN streams AS theirs ON theirs.user_id = target.id
        {_source("actor.user_id", ":forwarded_from")}
    ),
    conversation AS MATERIALIZED (
        SELECT c.id, c.last_seq + 1 AS seq, {_LAST_AT} AS last_at, c.expire_after
        FROM judged JOIN conversations AS c ON c.id = judged.conversation_id
        WHERE judged.allowed AND judged.reply_fits AND judged.source_fits AND judged.earlier_id IS NULL
        FOR NO KEY UPDATE OF c SKIP LOCKED
    ),
    party AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id,
            m.user_id = judged.user_id OR m.last_minute IS DISTINCT FROM {_MINUTE} AS written
        FROM conversation JOIN members AS m ON m.conversation_id = conversation.id, judged
    ),
    membership AS MATERIALIZED (
        SELECT m.user_id, m.sent_until FROM members AS m
        WHERE (m.conversation_id, m.user_id) IN (SELECT conversation_id, user_id FROM party WHERE written)
        ORDER BY m.user_id FOR NO KEY UPDATE OF m SKIP LOCKED
    ),
    -- Reads `membership` first, which puts the locks in order.
    stream AS MATERIALIZED (
        SELECT s.user_id, s.rules, s.sent_until FROM streams AS s
        WHERE s.user_id IN (SELECT user_id FROM party WHERE (SELECT count(*) FROM membership) > 0) AND NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s SKIP LOCKED
    ),
    held AS MATERIALIZED (
        SELECT {_ahead("stream.sent_until", *_ALL)} - :room::float AS haste,
            {_ahead("membership.sent_until", *_TO)} - :room_to::float AS insistence
        FROM judged JOIN stream USING (user_id) JOIN membership USING (user_id)
        WHERE (SELECT count(*) FROM membership) = (SELECT count(*) FROM party WHERE written)
            AND (SELECT count(*) FROM stream) = (SELECT count(*) FROM party)
            AND NOT EXISTS (SELECT FROM stream AS s WHERE s.rules <> CASE s.user_id WHEN judged.user_id
                THEN judged.my_rules WHEN judged.target_id THEN judged.their_rules ELSE s.rules END)
    ),
    fit AS MATERIALIZED (
        SELECT conversation.*, {_EXPIRES_AT} AS expires_at
        FROM conversation JOIN held ON held.haste <= 0 AND held.insistence <= 0
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT :id::uuid, fit.id, fit.seq, judged.user_id, judged.device_id, :client_id, :fingerprint::bytea,
            :kind::text, coalesce(judged.body, :body::text), :reply_to, :forwarded_from,
            {_mentioned(":mentions::bigint[]", "fit.id")}, fit.last_at, fit.expires_at
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
            sent_until = CASE WHEN m.user_id = judged.user_id THEN {_later("m.sent_until", *_TO)}
                ELSE m.sent_until END
        FROM fit, judged, membership WHERE m.conversation_id = fit.id AND m.user_id = membership.user_id
    ),
    moved AS (
        UPDATE streams AS s SET position = s.position + 1,
            sent_until = CASE WHEN s.user_id = judged.user_id THEN {_later("s.sent_until", *_ALL)}
                ELSE s.sent_until END
        FROM fit, judged, stream WHERE s.user_id = stream.user_id
        RETURNING s.user_id, s.position
    ),
    told AS (
        INSERT INTO events (user_id, position, name, subject, at)
        SELECT moved.user_id, moved.position, 'message.created', :id::uuid, :now FROM moved
    )
    SELECT {{actor_columns}},
        {_outcome("judged", held="held.haste IS NOT NULL", paced=_TOO_SOON)} AS outcome,
        greatest(held.haste, held.insistence) AS wait,
        actor.user_id AS sender_id, actor.device_id AS sender_device_id, judged.earlier_id, judged.earlier_fingerprint,
        fit.seq, fit.last_at AS created_at, fit.expires_at, judged.body,
        coalesce(message.mentions, '{{}}') AS mentioned,
        ARRAY(SELECT user_id FROM moved ORDER BY user_id) AS told,
        ARRAY(SELECT position FROM moved ORDER BY user_id) AS positions
    FROM actor JOIN judged ON true LEFT JOIN held ON true LEFT JOIN fit ON true LEFT JOIN message ON true
    """,
    SentRow,
    writes=True,
)


# The same for several at once, each of which is sent or refused by itself; a place in the batch (`n`) is the order in
# which messages of one conversation, and events of one stream, are numbered. A second one with the same `client_id`,
# and all of a sender's where the batch has more of them than the limits let through, are left to be sent `alone`.
SEND_ALL = Statement(
    "messages.send_all",
    f"""
    WITH {{actors}},
    asked AS MATERIALIZED (
        SELECT g.id, g.target_id, g.client_id, g.fingerprint, g.kind, g.body, g.reply_to, g.forwarded_from,
            g.mentions::bigint[] AS mentions, g.n, actors.user_id, actors.device_id, actors.stale
        FROM unnest(:ids::uuid[], :targets::bigint[], :client_ids::text[], :fingerprints::bytea[], :kinds::text[],
            :bodies::text[], :reply_tos::uuid[], :forwarded_froms::uuid[], :mentions::text[]) WITH ORDINALITY AS g (
            id, target_id, client_id, fingerprint, kind, body, reply_to, forwarded_from, mentions, n)
        JOIN actors USING (n)
    ),
    judged AS MATERIALIZED (
        SELECT a.n, a.user_id, u.id AS target_id, {TAKES_MESSAGES} AS allowed, earlier.id AS earlier_id,
            earlier.fingerprint AS earlier_fingerprint, place.conversation_id, my.rules AS my_rules,
            their.rules AS their_rules, {_reply_fits("a.reply_to", "place.conversation_id")} AS reply_fits,
            a.forwarded_from IS NULL OR source.id IS NOT NULL AS source_fits, source.body,
            row_number() OVER (PARTITION BY a.user_id, a.client_id ORDER BY a.n) AS attempt
        FROM asked AS a
        LEFT JOIN users AS u ON u.id = a.target_id AND u.id <> a.user_id
            AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        {edge("mine", "a.user_id", "u.id")}
        {edge("theirs", "u.id", "a.user_id")}
        {_earlier("a.user_id", "a.client_id")}
        {_place("a.user_id", "a.target_id")}
        LEFT JOIN streams AS my ON my.user_id = a.user_id
        LEFT JOIN streams AS their ON their.user_id = u.id
        {_source("a.user_id", "a.forwarded_from")}
    ),
    conversation AS MATERIALIZED (
        SELECT c.id, c.last_seq, {_LAST_AT} AS last_at, c.expire_after FROM conversations AS c
        WHERE c.id IN (
            SELECT conversation_id FROM judged
            WHERE allowed AND reply_fits AND source_fits AND earlier_id IS NULL AND attempt = 1
        )
        ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
    ),
    party AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.last_minute IS DISTINCT FROM {_MINUTE} OR EXISTS (
            SELECT FROM judged AS j WHERE j.conversation_id = m.conversation_id AND j.user_id = m.user_id
        ) AS written
        FROM conversation JOIN members AS m ON m.conversation_id = conversation.id
    ),
    membership AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.sent_until FROM members AS m
        WHERE (m.conversation_id, m.user_id) IN (SELECT conversation_id, user_id FROM party WHERE written)
        ORDER BY m.conversation_id, m.user_id FOR NO KEY UPDATE OF m SKIP LOCKED
    ),
    -- Reads `membership` first, which puts the locks in order.
    stream AS MATERIALIZED (
        SELECT s.user_id, s.rules, s.sent_until FROM streams AS s
        WHERE s.user_id IN (SELECT user_id FROM party WHERE (SELECT count(*) FROM membership) > 0) AND NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s SKIP LOCKED
    ),
    -- Conversations of which all that a message needs is locked.
    held AS MATERIALIZED (
        SELECT p.conversation_id FROM party AS p
        LEFT JOIN stream USING (user_id) LEFT JOIN membership AS m USING (conversation_id, user_id)
        GROUP BY p.conversation_id
        HAVING bool_and(stream.user_id IS NOT NULL AND (m.user_id IS NOT NULL OR NOT p.written))
    ),
    able AS MATERIALIZED (
        SELECT j.n, j.user_id, j.conversation_id,
            {_ahead("my.sent_until", *_ALL)} + :step::float * (count(*) OVER (PARTITION BY j.user_id) - 1)
                <= :room::float
            AND {_ahead("place.sent_until", *_TO)} + :step_to::float
                * (count(*) OVER (PARTITION BY j.conversation_id, j.user_id) - 1) <= :room_to::float AS paced
        FROM judged AS j JOIN held USING (conversation_id)
        JOIN stream AS my ON my.user_id = j.user_id AND my.rules = j.my_rules
        JOIN stream AS their ON their.user_id = j.target_id AND their.rules = j.their_rules
        JOIN membership AS place ON place.conversation_id = j.conversation_id AND place.user_id = j.user_id
        WHERE j.allowed AND j.reply_fits AND j.source_fits AND j.earlier_id IS NULL AND j.attempt = 1
    ),
    fit AS MATERIALIZED (
        SELECT able.n, able.user_id, able.conversation_id, conversation.last_at,
            conversation.last_seq + row_number() OVER (PARTITION BY able.conversation_id ORDER BY able.n) AS seq,
            {_EXPIRES_AT} AS expires_at
        FROM able JOIN conversation ON conversation.id = able.conversation_id WHERE able.paced
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT a.id, fit.conversation_id, fit.seq, a.user_id, a.device_id, a.client_id, a.fingerprint, a.kind,
            coalesce(j.body, a.body), a.reply_to, a.forwarded_from,
            {_mentioned("a.mentions", "fit.conversation_id")}, fit.last_at, fit.expires_at
        FROM fit JOIN asked AS a USING (n) JOIN judged AS j USING (n)
        RETURNING id, mentions
    ),
    numbered AS (
        UPDATE conversations AS c SET last_seq = latest.seq, last_at = latest.last_at
        FROM (
            SELECT conversation_id, max(seq) AS seq, max(last_at) AS last_at FROM fit GROUP BY conversation_id
        ) AS latest
        WHERE c.id = latest.conversation_id
    ),
    read AS (
        UPDATE members AS m SET last_minute = date_trunc('minute', latest.last_at),
            read_seq = coalesce(latest.own_seq, m.read_seq), delivered_seq = coalesce(latest.own_seq, m.delivered_seq),
            sent_until = CASE WHEN latest.own_seq IS NULL THEN m.sent_until
                ELSE {_later("m.sent_until", *_TO, "latest.count")} END
        FROM (
            SELECT p.conversation_id, p.user_id, max(fit.last_at) AS last_at,
                max(fit.seq) FILTER (WHERE fit.user_id = p.user_id) AS own_seq,
                count(*) FILTER (WHERE fit.user_id = p.user_id) AS count
            FROM party AS p JOIN fit ON fit.conversation_id = p.conversation_id WHERE p.written
            GROUP BY p.conversation_id, p.user_id
        ) AS latest
        WHERE m.conversation_id = latest.conversation_id AND m.user_id = latest.user_id
    ),
    entry AS MATERIALIZED (
        SELECT fit.n, p.user_id, fit.user_id = p.user_id AS own,
            row_number() OVER (PARTITION BY p.user_id ORDER BY fit.n) AS nth
        FROM fit JOIN party AS p ON p.conversation_id = fit.conversation_id
    ),
    moved AS (
        UPDATE streams AS s SET position = s.position + news.count, sent_until = CASE WHEN news.sent > 0
            THEN {_later("s.sent_until", *_ALL, "news.sent")} ELSE s.sent_until END
        FROM (SELECT user_id, count(*), count(*) FILTER (WHERE own) AS sent FROM entry GROUP BY user_id) AS news
        WHERE s.user_id = news.user_id
        RETURNING s.user_id, s.position - news.count AS base
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
        {_outcome("j", again="WHEN j.attempt > 1 THEN 'alone'", held="able.n IS NOT NULL", paced=_UNPACED)} AS outcome,
        NULL::float AS wait,
        actors.user_id AS sender_id, actors.device_id AS sender_device_id, j.earlier_id, j.earlier_fingerprint,
        fit.seq, fit.last_at AS created_at, fit.expires_at, j.body, coalesce(message.mentions, '{{}}') AS mentioned,
        coalesce(heard.users, '{{}}') AS told, coalesce(heard.positions, '{{}}') AS positions
    FROM actors JOIN judged AS j USING (n) LEFT JOIN able USING (n) LEFT JOIN fit USING (n) LEFT JOIN heard USING (n)
    LEFT JOIN asked USING (n) LEFT JOIN message ON message.id = asked.id
    """,
    SentRow,
    writes=True,
)
