"""Parts of the statement that sends: limits, times, forwards, mentions, outcomes."""

from __future__ import annotations

# The outcome of a message: the first refusal that applies. Needs `checked`, `counted`, `accepted`.
OUTCOME = """CASE WHEN checked.earlier_id IS NOT NULL THEN 'repeated' WHEN checked.target_id IS NULL THEN 'no_peer'
            WHEN NOT checked.allowed THEN coalesce(checked.obstacle, 'forbidden')
            WHEN checked.encrypted THEN 'must_be_encrypted' WHEN checked.conversation_id IS NULL THEN 'no_conversation'
            WHEN NOT checked.reply_fits THEN 'bad_reply_to' WHEN NOT checked.source_fits THEN 'bad_forwarded_from'
            WHEN checked.protected THEN 'protected'
            WHEN checked.attempt > 1 THEN 'retry_singly' WHEN counted.n IS NULL THEN 'busy'
            WHEN accepted.n IS NOT NULL THEN 'sent' WHEN counted.sent > 1 THEN 'retry_singly'
            WHEN counted.over > 0 THEN 'over_limit:message' ELSE 'over_limit:message_to' END"""


# Two limits are counted in rows that a message writes anyway, without an additional row, round trip or lock: the limit
# of all messages in the sender's stream, the limit of one conversation in the sender's membership. `sent_until` is the
# time at which the messages so far would have been sent at the rate of the limit; it may be at most `room` seconds
# ahead. It is read under the row's lock, so it is never more than `room` and one step ahead; a later time was written
# with a wrong clock, and is ignored.
_CLOCK_SLACK = "interval '5 seconds'"


def ahead(until: str, room: str, step: str) -> str:
    """Seconds by which a sender is ahead of a limit's rate, at least 0."""
    return f"""CASE WHEN {until} > :now + ({room}::float + {step}::float) * interval '1 second' + {_CLOCK_SLACK} THEN 0
            ELSE greatest(extract(epoch FROM {until} - :now::timestamptz)::float, 0) END"""


def later(until: str, room: str, step: str, count: str) -> str:
    """`until` after `count` more messages."""
    return f":now::timestamptz + ({ahead(until, room, step)} + {step}::float * {count}) * interval '1 second'"


ALL, TO = (":room", ":step"), (":room_to", ":step_to")
# Times in a conversation never go back, even if the clock does; expiry only uses the clock.
LAST_AT = "greatest(c.last_at, :now)"
EXPIRES_AT = ":now::timestamptz + conversation.expire_after * interval '1 second'"
MINUTE = "date_trunc('minute', conversation.last_at)"


def source(user: str, forwarded_from: str) -> str:
    """The join for the forwarded message, if the user can read it."""
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.body, g.protected IS TRUE AS protected FROM messages AS m
                JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = {user}
                LEFT JOIN groups AS g ON g.id = me.target_id
            WHERE m.id = {forwarded_from} AND m.seq >= me.visible_from
                AND m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now)
                AND NOT EXISTS (SELECT FROM hidden_messages AS h WHERE h.user_id = {user} AND h.message_id = m.id)
            LIMIT 1
        ) AS source ON true"""


# Found by its complete key, like each join to a single row: see `edge`.
def earlier(user: str, client_id: str) -> str:
    """The join for a message that the user has already sent with this `client_id`."""
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.fingerprint FROM messages AS m
            WHERE m.sender_id = {user} AND m.client_id = {client_id} LIMIT 1
        ) AS earlier ON true"""


def reply_fits(reply_to: str, place: str) -> str:
    """Whether `reply_to`, if given, is a message of the conversation of `place` that its member can read."""
    return f"""{reply_to} IS NULL OR EXISTS (
                SELECT FROM messages AS o WHERE o.id = {reply_to} AND o.conversation_id = {place}.conversation_id
                    AND o.seq >= {place}.visible_from
            )"""


def mentioned(mentions: str, conversation: str) -> str:
    """The members among `mentions`, in order and without duplicates."""
    return f"""CASE WHEN {mentions} = '{{}}' THEN {mentions} ELSE ARRAY(
                SELECT x.id FROM unnest({mentions}) WITH ORDINALITY AS x (id, n)
                    JOIN members AS m ON m.conversation_id = {conversation} AND m.user_id = x.id
                GROUP BY x.id ORDER BY min(x.n)
            ) END"""
