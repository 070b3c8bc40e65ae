"""The statement that opens a 1:1 conversation."""

from __future__ import annotations

import msgspec

from messenger.database.statements import Statement
from messenger.repositories._addressee import addressee


class _Opened(msgspec.Struct, frozen=True):
    user_id: int
    target_id: int | None


# Only a user who may write can open a conversation, since it appears in the other user's list, too. A concurrent caller
# waits for the first one's commit, and then finds its rows.
OPEN = Statement(
    "conversations.open_direct",
    f"""
    WITH <<actor>>,
    target AS (
        SELECT addressee.id, addressee.conversation_id
        FROM actor {addressee("actor.user_id", ":target::bigint", rights=["may_write"])} WHERE addressee.may_write
    ),
    made AS (
        INSERT INTO conversations (kind, low_id, high_id, last_at)
        SELECT 'direct', least(actor.user_id, target.id), greatest(actor.user_id, target.id), :now FROM actor, target
        WHERE target.id IS NOT NULL AND target.conversation_id IS NULL
        ON CONFLICT (low_id, high_id) DO NOTHING RETURNING id
    ),
    joined AS (
        INSERT INTO members (conversation_id, user_id, target_id)
        SELECT made.id, pair.user_id, pair.target_id FROM made, actor, target, LATERAL (
            VALUES (actor.user_id, target.id), (target.id, actor.user_id)
        ) AS pair (user_id, target_id)
    )
    SELECT <<actor_columns>>, actor.user_id, target.id AS target_id FROM actor LEFT JOIN target ON true
    """,
    _Opened,
    writes=True,
)
