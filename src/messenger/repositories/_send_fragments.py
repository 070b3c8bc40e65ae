"""What the statements that send say alike: limits, times, forwards, mentions, outcomes."""

from __future__ import annotations


def outcome(row: str, *, held: str, paced: str, again: str = "") -> str:
    """What became of a message that was judged as `row` says; the first refusal that holds."""
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


def ahead(until: str, room: str, step: str) -> str:
    """Seconds by which a sender is ahead of a limit's pace, not below 0."""
    return f"""CASE WHEN {until} > :now + ({room}::float + {step}::float) * interval '1 second' + {_CLOCK_SLACK} THEN 0
            ELSE greatest(extract(epoch FROM {until} - :now::timestamptz)::float, 0) END"""


def later(until: str, room: str, step: str, count: str = "1") -> str:
    """`until` after `count` more messages."""
    return f":now::timestamptz + ({ahead(until, room, step)} + {step}::float * {count}) * interval '1 second'"


ALL, TO = (":room", ":step"), (":room_to", ":step_to")
# Times of a conversation never go back, also where the clock does; how long a message lives goes by the clock alone.
LAST_AT = "greatest(c.last_at, :now)"
EXPIRES_AT = ":now::timestamptz + conversation.expire_after * interval '1 second'"
MINUTE = "date_trunc('minute', conversation.last_at)"


def source(user: str, forwarded_from: str) -> str:
    """The join for the message that is forwarded, if the user can read it."""
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.body FROM messages AS m
                JOIN members AS me ON me.conversation_id = m.conversation_id AND me.user_id = {user}
            WHERE m.id = {forwarded_from} AND m.deleted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now)
                AND NOT EXISTS (SELECT FROM hidden_messages AS h WHERE h.user_id = {user} AND h.message_id = m.id)
            LIMIT 1
        ) AS source ON true"""


# By whole keys, as all that is joined to one row of a request: see `edge`.
def earlier(user: str, client_id: str) -> str:
    """The join for a message that the user has sent under this `client_id` before."""
    return f"""LEFT JOIN LATERAL (
            SELECT m.id, m.fingerprint FROM messages AS m
            WHERE m.sender_id = {user} AND m.client_id = {client_id} LIMIT 1
        ) AS earlier ON true"""


def place(user: str, target: str) -> str:
    """The join for the conversation that the user calls `target`."""
    return f"""LEFT JOIN LATERAL (
            SELECT m.conversation_id FROM members AS m WHERE m.user_id = {user} AND m.target_id = {target} LIMIT 1
        ) AS place ON true"""


def reply_fits(reply_to: str, conversation: str) -> str:
    """Whether the message that is answered, if there is one, is of the conversation."""
    return f"""{reply_to} IS NULL OR EXISTS (
                SELECT FROM messages AS r WHERE r.id = {reply_to} AND r.conversation_id = {conversation}
            )"""


def mentioned(mentions: str, conversation: str) -> str:
    """Those of `mentions` who are members, in their order, each once."""
    return f"""CASE WHEN {mentions} = '{{}}' THEN {mentions} ELSE ARRAY(
                SELECT x.id FROM unnest({mentions}) WITH ORDINALITY AS x (id, n)
                    JOIN members AS m ON m.conversation_id = {conversation} AND m.user_id = x.id
                GROUP BY x.id ORDER BY min(x.n)
            ) END"""
