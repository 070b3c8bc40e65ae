"""Sending several messages in one statement."""

from __future__ import annotations

from messenger.database.statements import Statement
from messenger.repositories._fragments import TAKES_MESSAGES, edge
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
from messenger.repositories.sending import SentRow

_UNPACED = "WHEN NOT able.paced THEN 'alone'"

# The same for several messages, each with its own outcome. The position in the batch (`n`) is the order in which
# messages of a conversation and events of a stream are numbered. A second message with the same `client_id`, and all
# messages of a sender with more in the batch than the limits allow, are left to be sent `alone`.
SEND_ALL = Statement(
    "messages.send_all",
    f"""
    WITH <<actors>>,
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
            their.rules AS their_rules, {reply_fits("a.reply_to", "place.conversation_id")} AS reply_fits,
            a.forwarded_from IS NULL OR source.id IS NOT NULL AS source_fits, source.body,
            row_number() OVER (PARTITION BY a.user_id, a.client_id ORDER BY a.n) AS attempt
        FROM asked AS a
        LEFT JOIN users AS u ON u.id = a.target_id AND u.id <> a.user_id
            AND u.deleted_at IS NULL AND u.disabled_at IS NULL
        {edge("mine", "a.user_id", "u.id")}
        {edge("theirs", "u.id", "a.user_id")}
        {earlier("a.user_id", "a.client_id")}
        {place("a.user_id", "a.target_id")}
        LEFT JOIN streams AS my ON my.user_id = a.user_id
        LEFT JOIN streams AS their ON their.user_id = u.id
        {source("a.user_id", "a.forwarded_from")}
    ),
    conversation AS MATERIALIZED (
        SELECT c.id, c.last_seq, {LAST_AT} AS last_at, c.expire_after FROM conversations AS c
        WHERE c.id IN (
            SELECT conversation_id FROM judged
            WHERE allowed AND reply_fits AND source_fits AND earlier_id IS NULL AND attempt = 1
        )
        ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
    ),
    party AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.last_minute IS DISTINCT FROM {MINUTE} OR EXISTS (
            SELECT FROM judged AS j WHERE j.conversation_id = m.conversation_id AND j.user_id = m.user_id
        ) AS written
        FROM conversation JOIN members AS m ON m.conversation_id = conversation.id
    ),
    membership AS MATERIALIZED (
        SELECT m.conversation_id, m.user_id, m.sent_until FROM members AS m
        WHERE (m.conversation_id, m.user_id) IN (SELECT conversation_id, user_id FROM party WHERE written)
        ORDER BY m.conversation_id, m.user_id FOR NO KEY UPDATE OF m SKIP LOCKED
    ),
    -- Reads `membership` first, to keep the lock order.
    stream AS MATERIALIZED (
        SELECT s.user_id, s.rules, s.sent_until FROM streams AS s
        WHERE s.user_id IN (SELECT user_id FROM party WHERE (SELECT count(*) FROM membership) > 0) AND NOT s.closed
        ORDER BY s.user_id FOR NO KEY UPDATE OF s SKIP LOCKED
    ),
    -- Conversations with all rows that a message needs locked.
    held AS MATERIALIZED (
        SELECT p.conversation_id FROM party AS p
        LEFT JOIN stream USING (user_id) LEFT JOIN membership AS m USING (conversation_id, user_id)
        GROUP BY p.conversation_id
        HAVING bool_and(stream.user_id IS NOT NULL AND (m.user_id IS NOT NULL OR NOT p.written))
    ),
    able AS MATERIALIZED (
        SELECT j.n, j.user_id, j.conversation_id,
            {ahead("my.sent_until", *ALL)} + :step::float * (count(*) OVER (PARTITION BY j.user_id) - 1)
                <= :room::float
            AND {ahead("place.sent_until", *TO)} + :step_to::float
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
            {EXPIRES_AT} AS expires_at
        FROM able JOIN conversation ON conversation.id = able.conversation_id WHERE able.paced
    ),
    message AS (
        INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
            reply_to, forwarded_from, mentions, created_at, expires_at)
        SELECT a.id, fit.conversation_id, fit.seq, a.user_id, a.device_id, a.client_id, a.fingerprint, a.kind,
            coalesce(j.body, a.body), a.reply_to, a.forwarded_from,
            {mentioned("a.mentions", "fit.conversation_id")}, fit.last_at, fit.expires_at
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
                ELSE {later("m.sent_until", *TO, "latest.count")} END
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
            THEN {later("s.sent_until", *ALL, "news.sent")} ELSE s.sent_until END
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
    SELECT <<actors_columns>>,
        {outcome("j", again="WHEN j.attempt > 1 THEN 'alone'", held="able.n IS NOT NULL", paced=_UNPACED)} AS outcome,
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
