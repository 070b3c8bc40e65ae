"""The ceiling's statements: what ours do, written for one endpoint each, with as few columns as the answer needs.

`$1` is the access token's SHA-256 and `$2` the request's time, always. The first column says whether the caller's
stamp is due; there is no row for an unauthenticated caller.
"""

from __future__ import annotations

from _yardsticks.ceiling.group_sql import GROUP

STALE = "d.last_activity < $2::timestamptz - interval '30 seconds' AS stale"
SIGNED_IN = "d.access_hash = $1 AND d.access_expires_at > $2"

ACTOR = f"""actor AS (
    SELECT d.user_id, d.id AS device_id, {STALE} FROM devices AS d WHERE {SIGNED_IN}
)"""
_AVATAR = "a.key, a.width, a.height, a.placeholder"
_AVATAR_OF_CONTACT = """LEFT JOIN avatars AS a ON a.key = u.avatar_key AND (
    u.privacy_avatar = 'everyone' OR (u.privacy_avatar = 'contacts' AND c.state = 'mutual'))"""
# Not a join: PostgreSQL 18 looks a join up by the message alone, skipping through all users.
HIDDEN = "(SELECT h.at FROM hidden_messages AS h WHERE h.user_id = actor.user_id AND h.message_id = m.id)"
MESSAGE_COLUMNS = f"""m.id, m.client_id, m.sender_id, m.sender_device_id, m.seq, m.kind, m.body, m.reply_to,
    m.forwarded_from, m.mentions, m.created_at, m.edited_at, m.deleted_at, m.deleted_by, m.expires_at,
    {HIDDEN} AS hidden_at"""

# The first message after the receipt that is not gone.
FIRST_UNREAD = """CASE WHEN me.read_seq < c.last_seq THEN CASE WHEN me.gone @> (me.read_seq + 1)
    THEN (SELECT upper(r) FROM unnest(me.gone) AS r WHERE r @> (me.read_seq + 1)) ELSE me.read_seq + 1 END END"""


def shows_receipts(state: str) -> str:
    """Whether `u` lets `reader` know how far `u` has read, by the SQL of the reader's edge to `u`."""
    return f"""reader.privacy_receipts IS DISTINCT FROM 'nobody' AND (
        (coalesce(u.privacy_receipts, 'contacts') = 'contacts' AND {state} = 'mutual')
        OR (u.privacy_receipts = 'everyone' AND NOT EXISTS (
            SELECT FROM contacts AS b WHERE b.state = 'blocked' AND (
                (b.owner_id = u.id AND b.target_id = reader.id) OR (b.owner_id = reader.id AND b.target_id = u.id)
            )
        ))
    )"""


STAMP = """
WITH device AS (
    UPDATE devices SET last_activity = $2
    WHERE id = (SELECT id FROM devices WHERE access_hash = $1 AND last_activity < $2 FOR NO KEY UPDATE SKIP LOCKED)
)
UPDATE users SET last_activity = $2
WHERE id = (SELECT u.id FROM users AS u JOIN devices AS d ON d.user_id = u.id
    WHERE d.access_hash = $1 AND u.last_activity < $2 FOR NO KEY UPDATE OF u SKIP LOCKED)
"""

PROFILE = f"""
SELECT {STALE}, u.version, u.id, u.username, u.name, u.about, u.status, u.status_text, u.last_activity, u.created_at,
    u.privacy_last_seen, u.privacy_avatar, u.privacy_messages_from, u.privacy_calls_from, u.privacy_groups_from,
    coalesce(u.privacy_receipts, 'contacts'), u.privacy_forwards, {_AVATAR}
FROM devices AS d JOIN users AS u ON u.id = d.user_id LEFT JOIN avatars AS a ON a.key = u.avatar_key
WHERE {SIGNED_IN}
"""

# $3 after which number, $4 the state or NULL, $5 how many.
CONTACTS = f"""
WITH {ACTOR}
SELECT actor.stale, c.target_id, u.username, u.name, {_AVATAR}, c.state, c.alias, c.message, c.since
FROM actor LEFT JOIN LATERAL (
    SELECT * FROM contacts AS e
    WHERE e.owner_id = actor.user_id AND e.target_id > $3::bigint AND ($4::text IS NULL OR e.state = $4)
    ORDER BY e.target_id LIMIT $5
) AS c ON true
LEFT JOIN users AS u ON u.id = c.target_id
{_AVATAR_OF_CONTACT}
ORDER BY c.target_id
"""

# $3 after which number, $4 how many.
STATUSES = f"""
WITH {ACTOR}
SELECT actor.stale, u.id, CASE u.status WHEN 'invisible' THEN 'online' ELSE u.status END, u.status_text,
    u.privacy_last_seen <> 'nobody' AND u.invisible_since IS NULL AND EXISTS (
        SELECT FROM connections AS o WHERE o.user_id = u.id AND o.worker_id = ANY (ARRAY(
            SELECT w.id FROM workers AS w WHERE w.seen_at > clock_timestamp() - interval '30 seconds'
        ))
    ),
    CASE WHEN u.privacy_last_seen <> 'nobody' THEN coalesce(u.invisible_since, u.last_activity) END
FROM actor LEFT JOIN LATERAL (
    SELECT e.target_id FROM contacts AS e
    WHERE e.owner_id = actor.user_id AND e.target_id > $3::bigint AND e.state = 'mutual'
    ORDER BY e.target_id LIMIT $4
) AS c ON true LEFT JOIN users AS u ON u.id = c.target_id
ORDER BY c.target_id
"""


def history(order: str) -> str:
    """A page; $3 with whom, $4 and $5 after and before which number, $6 how many."""
    return f"""
    WITH {ACTOR},
    place AS (
        SELECT me.conversation_id, c.last_seq, {FIRST_UNREAD} AS first_unread FROM actor
            JOIN members AS me ON me.user_id = actor.user_id AND me.target_id = $3
            JOIN conversations AS c ON c.id = me.conversation_id
    )
    SELECT actor.stale, CASE WHEN place.conversation_id IS NOT NULL THEN place.last_seq
        WHEN EXISTS (SELECT FROM users AS u WHERE u.id = $3 AND u.id <> actor.user_id
            AND u.deleted_at IS NULL AND u.disabled_at IS NULL) THEN 0 END, place.first_unread, {MESSAGE_COLUMNS}
    FROM actor LEFT JOIN place ON true
    LEFT JOIN LATERAL (
        SELECT * FROM messages AS x WHERE x.conversation_id = place.conversation_id AND x.seq > $4 AND x.seq < $5
        ORDER BY x.seq {order} LIMIT $6
    ) AS m ON true
    ORDER BY m.seq
    """


HISTORY_BEFORE, HISTORY_AFTER = history("DESC"), history("ASC")

# $3 and $4 the last one's time and number, $5 how many.
CONVERSATIONS = f"""
WITH {ACTOR},
me AS (
    SELECT x.conversation_id, x.target_id, x.read_seq, x.muted_until, x.pinned, x.archived, x.rank, x.title,
        x.joined_at, x.visible_from, x.silenced_until, x.sent_at, c.last_at, c.last_seq, c.expire_after
    FROM actor JOIN members AS x ON x.user_id = actor.user_id JOIN conversations AS c ON c.id = x.conversation_id
    WHERE (c.last_at, c.id) < ($3::timestamptz, $4::bigint)
        AND x.last_minute <= date_trunc('minute', $3::timestamptz) AND x.last_minute >= coalesce((
            SELECT y.last_minute FROM members AS y
            WHERE y.user_id = actor.user_id AND y.last_minute < date_trunc('minute', $3::timestamptz)
            ORDER BY y.last_minute DESC OFFSET $5 - 1 LIMIT 1
        ), '-infinity')
    ORDER BY c.last_at DESC, c.id DESC LIMIT $5
)
SELECT actor.stale, s.position, me.conversation_id, me.last_at, me.target_id, u.username, u.name, {_AVATAR},
    me.last_seq, me.read_seq, me.muted_until, me.pinned, me.archived, me.expire_after, other.read_seq,
    other.delivered_seq, {GROUP}, {MESSAGE_COLUMNS}
FROM actor JOIN streams AS s ON s.user_id = actor.user_id JOIN users AS reader ON reader.id = actor.user_id
LEFT JOIN me ON true
LEFT JOIN users AS u ON u.id = me.target_id
LEFT JOIN contacts AS c ON c.owner_id = actor.user_id AND c.target_id = u.id
{_AVATAR_OF_CONTACT}
LEFT JOIN members AS other ON other.conversation_id = me.conversation_id AND other.user_id = u.id
    AND {shows_receipts("c.state")}
LEFT JOIN messages AS m ON m.conversation_id = me.conversation_id AND m.seq = me.last_seq
    AND m.seq >= me.visible_from
ORDER BY me.last_at DESC, me.conversation_id DESC
"""

# $3 to whom, $4 client_id, $5 fingerprint, $6 id, $7 kind, $8 body, $9 reply_to, $10 forwarded_from, $11 mentions.
# Locks are taken in our order: the conversation, the sender's membership, the streams by ascending user.
SEND = f"""
WITH {ACTOR},
place AS (
    SELECT actor.stale, actor.user_id, actor.device_id, u.id AS target_id, own.conversation_id,
        mine.state IS DISTINCT FROM 'blocked' AND theirs.state IS DISTINCT FROM 'blocked' AND (
            u.privacy_messages_from = 'everyone'
            OR (u.privacy_messages_from = 'contacts' AND mine.state IS NOT DISTINCT FROM 'mutual')
        ) AS allowed,
        $9::uuid IS NULL OR EXISTS (
            SELECT FROM messages AS r WHERE r.id = $9 AND r.conversation_id = own.conversation_id
        ) AS fits,
        earlier.id AS earlier_id, earlier.fingerprint AS earlier_fingerprint
    FROM actor
    LEFT JOIN users AS u ON u.id = $3 AND u.id <> actor.user_id AND u.deleted_at IS NULL AND u.disabled_at IS NULL
    LEFT JOIN contacts AS mine ON mine.owner_id = actor.user_id AND mine.target_id = u.id
    LEFT JOIN contacts AS theirs ON theirs.owner_id = u.id AND theirs.target_id = actor.user_id
    LEFT JOIN members AS own ON own.user_id = actor.user_id AND own.target_id = $3
    LEFT JOIN messages AS earlier ON earlier.sender_id = actor.user_id AND earlier.client_id = $4
),
taken AS (
    UPDATE conversations AS c SET last_seq = c.last_seq + 1, last_at = greatest(c.last_at, $2)
    FROM place AS p
    WHERE c.id = p.conversation_id AND p.target_id IS NOT NULL AND p.allowed AND p.fits AND p.earlier_id IS NULL
    RETURNING c.id, c.last_seq, c.last_at, c.last_at + c.expire_after * interval '1 second' AS expires_at,
        p.user_id, p.device_id
),
message AS (
    INSERT INTO messages (id, conversation_id, seq, sender_id, sender_device_id, client_id, fingerprint, kind, body,
        reply_to, forwarded_from, mentions, created_at, expires_at)
    SELECT $6::uuid, id, last_seq, user_id, device_id, $4, $5::bytea, $7::text, $8::text, $9, $10::uuid, $11::bigint[],
        last_at, expires_at
    FROM taken
),
read AS (
    UPDATE members AS m SET last_minute = date_trunc('minute', taken.last_at),
        read_seq = CASE WHEN m.user_id = taken.user_id THEN taken.last_seq ELSE m.read_seq END,
        delivered_seq = CASE WHEN m.user_id = taken.user_id THEN taken.last_seq ELSE m.delivered_seq END
    FROM taken WHERE m.conversation_id = taken.id AND (
        m.user_id = taken.user_id OR m.last_minute IS DISTINCT FROM date_trunc('minute', taken.last_at)
    ) RETURNING m.user_id
),
held AS (
    SELECT s.user_id FROM taken JOIN streams AS s ON s.user_id = ANY (ARRAY[taken.user_id, $3::bigint]),
        (SELECT count(*) FROM read) AS read_first
    ORDER BY s.user_id FOR NO KEY UPDATE OF s
),
moved AS (
    UPDATE streams AS s SET position = s.position + 1 FROM held WHERE s.user_id = held.user_id
    RETURNING s.user_id, s.position
),
told AS (
    INSERT INTO events (user_id, position, name, subject, at)
    SELECT user_id, position, 'message.created', $6::uuid, $2 FROM moved
)
SELECT place.stale, place.user_id, place.device_id, place.target_id, place.conversation_id, place.allowed, place.fits,
    place.earlier_id, place.earlier_fingerprint, taken.last_seq, taken.last_at, taken.expires_at
FROM place LEFT JOIN taken ON true
"""

# $3 the other one. Who comes second waits for the first one's commit, and finds its rows.
OPEN = f"""
WITH {ACTOR},
made AS (
    INSERT INTO conversations (kind, low_id, high_id, last_at)
    SELECT 'direct', least(actor.user_id, $3::bigint), greatest(actor.user_id, $3::bigint), $2 FROM actor
    ON CONFLICT (low_id, high_id) DO NOTHING RETURNING id
)
INSERT INTO members (conversation_id, user_id, target_id)
SELECT made.id, pair.user_id, pair.target_id FROM made, actor, LATERAL (
    VALUES (actor.user_id, $3::bigint), ($3::bigint, actor.user_id)
) AS pair (user_id, target_id)
"""

# $3 which message.
MESSAGE = f"""
WITH {ACTOR}
SELECT actor.stale, me.target_id, {MESSAGE_COLUMNS}
FROM actor JOIN messages AS m ON m.id = $3
    JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = actor.user_id
"""
