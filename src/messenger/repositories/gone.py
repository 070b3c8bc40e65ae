"""Messages that a reader can no longer see, and their effect on counts and lists.

A membership stores their numbers as ranges (`members.gone`), so that ten thousand of them at the end of a conversation
are one range: a count subtracts it, and the last visible message is the one before it. It is in the row that a receipt
locks, so counts are consistent; and it only grows, so its size is part of the count's version.
"""

from __future__ import annotations

import msgspec

from messenger.database.statements import Statement
from messenger.repositories.message_rows import REMOVE_CONTENT, VISIBLE

GONE_BATCH = 1000


def counts(member: str, conversation: str) -> str:
    """The columns `unread` and `version`, from the SQL of a membership and its conversation."""
    gone = f"CASE WHEN {member}.gone IS NULL THEN 0 ELSE ({{}}) END"
    size = "SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest({}) AS r"
    unread = size.format(f"{member}.gone * int8multirange(int8range({member}.read_seq, NULL, '()'))")
    return f"""greatest(0, {conversation}.last_seq - {member}.read_seq - {gone.format(unread)}) AS unread,
        {conversation}.last_seq + {member}.read_seq + {gone.format(size.format(f"{member}.gone"))} AS version"""


def last_message(member: str, conversation: str, columns: str = "m.*") -> str:
    """A query for the last message that the actor can see.

    It starts before the messages that are recorded as gone, and skips others that are not visible: expired a moment
    ago, or deleted by a worker of an earlier release.
    """
    last_seq = f"{conversation}.last_seq"
    return f"""SELECT {columns} FROM messages AS m
            LEFT JOIN LATERAL (
                SELECT h.at FROM hidden_messages AS h WHERE h.user_id = actor.user_id AND h.message_id = m.id LIMIT 1
            ) AS hidden ON true
            WHERE m.conversation_id = {member}.conversation_id AND m.seq <= CASE WHEN {member}.gone @> {last_seq}
                THEN (SELECT lower(r) - 1 FROM unnest({member}.gone) AS r WHERE r @> {last_seq}) ELSE {last_seq} END
                AND m.seq >= {member}.visible_from AND {VISIBLE}
            ORDER BY m.seq DESC LIMIT 1"""


class GoneRow(msgspec.Struct, frozen=True):
    """A user whose view of the conversation with `target_id` has changed; NULL if there is none."""

    user_id: int | None
    target_id: int | None


class ExpiredRow(GoneRow, frozen=True):
    """A `GoneRow`, with the number of messages that were emptied."""

    emptied: int


# Needs: `vanished` (conversation_id, user_id, seqs). Locks memberships in one order, after messages and before streams.
_NOTE = """locked_members AS (
        SELECT me.conversation_id, me.user_id, vanished.seqs FROM vanished JOIN members AS me
            ON me.conversation_id = vanished.conversation_id AND me.user_id = vanished.user_id
        ORDER BY me.conversation_id, me.user_id FOR NO KEY UPDATE OF me
    ),
    noted AS (
        UPDATE members AS me SET gone = coalesce(me.gone, '{}') + locked.seqs FROM locked_members AS locked
        WHERE me.conversation_id = locked.conversation_id AND me.user_id = locked.user_id
            AND (me.gone @> locked.seqs) IS NOT TRUE
        RETURNING me.user_id, me.target_id
    )"""
_ONE = "int8multirange(int8range({0}.seq, {0}.seq, '[]')) AS seqs"

# A deleted or expired message keeps its number and its author, but none of its content.
ERASE = Statement(
    "messages.erase",
    f"""
    WITH erased AS (
        UPDATE messages SET {REMOVE_CONTENT}, deleted_at = :now, deleted_by = :deleted_by::bigint
        WHERE id = :id AND deleted_at IS NULL
        RETURNING conversation_id, seq
    ),
    vanished AS (
        SELECT o.conversation_id, o.user_id, {_ONE.format("erased")}
        FROM erased JOIN members AS o ON o.conversation_id = erased.conversation_id
    ),
    {_NOTE}
    SELECT noted.user_id, noted.target_id FROM erased LEFT JOIN noted ON true
    """,
    GoneRow,
    writes=True,
)

HIDE = Statement(
    "messages.hide",
    f"""
    WITH hidden AS (
        INSERT INTO hidden_messages (user_id, message_id, at) VALUES (:owner, :id, :now) ON CONFLICT DO NOTHING
        RETURNING user_id, message_id
    ),
    vanished AS (
        SELECT m.conversation_id, hidden.user_id, {_ONE.format("m")}
        FROM hidden JOIN messages AS m ON m.id = hidden.message_id
    ),
    {_NOTE}
    SELECT noted.user_id, noted.target_id FROM hidden LEFT JOIN noted ON true
    """,
    GoneRow,
    writes=True,
)

# SKIP LOCKED: workers that sweep at the same time do not wait for each other.
EXPIRE = Statement(
    "sweeps.expired_messages",
    f"""
    WITH emptied AS (
        UPDATE messages SET {REMOVE_CONTENT}, deleted_at = expires_at WHERE id IN (
            SELECT id FROM messages WHERE expires_at < :now AND deleted_at IS NULL LIMIT {GONE_BATCH}
            FOR UPDATE SKIP LOCKED
        ) RETURNING conversation_id, seq
    ),
    vanished AS (
        SELECT o.conversation_id, o.user_id, range_agg(int8range(emptied.seq, emptied.seq, '[]')) AS seqs
        FROM emptied JOIN members AS o ON o.conversation_id = emptied.conversation_id
        GROUP BY o.conversation_id, o.user_id
    ),
    {_NOTE}
    SELECT noted.user_id, noted.target_id, (SELECT count(*) FROM emptied)::int AS emptied
    FROM (VALUES (true)) AS always LEFT JOIN noted ON true
    """,
    ExpiredRow,
    writes=True,
)
