"""Gone before: record messages that were deleted or hidden before migration 0011.

Revision: 0012
After: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

AT_ONCE = 1000
"""Conversations, or users, per statement, so that memberships are only locked briefly."""

# Messages that the previous release deletes meanwhile are not recorded: the list skips them, and they count as unread
# until they are read.
_DELETED = """
    SELECT m.conversation_id, me.user_id, m.seq
    FROM messages AS m JOIN members AS me ON me.conversation_id = m.conversation_id
    WHERE m.deleted_at IS NOT NULL AND m.conversation_id BETWEEN {first} AND {last}
"""
_HIDDEN = """
    SELECT m.conversation_id, hidden.user_id, m.seq
    FROM hidden_messages AS hidden JOIN messages AS m ON m.id = hidden.message_id
    WHERE hidden.user_id BETWEEN {first} AND {last}
"""
_NEXT_USERS = """
    SELECT min(user_id), max(user_id) FROM (
        SELECT DISTINCT user_id FROM hidden_messages WHERE user_id > :after ORDER BY user_id LIMIT :at_once
    ) AS next
"""
_COLLECT = """
    WITH gone AS (
        SELECT each.conversation_id, each.user_id, range_agg(int8range(each.seq, each.seq, '[]')) AS seqs
        FROM ({each}) AS each GROUP BY each.conversation_id, each.user_id
    ), locked AS (
        SELECT me.conversation_id, me.user_id, gone.seqs
        FROM gone JOIN members AS me ON me.conversation_id = gone.conversation_id AND me.user_id = gone.user_id
        ORDER BY me.conversation_id, me.user_id FOR NO KEY UPDATE OF me
    )
    UPDATE members AS me SET gone = coalesce(me.gone, '{{}}') + locked.seqs FROM locked
    WHERE me.conversation_id = locked.conversation_id AND me.user_id = locked.user_id
"""


def upgrade() -> None:
    # Each statement commits itself. Once more changes nothing, so that an interrupted migration begins again.
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        end = connection.scalar(sa.text("SELECT max(id) FROM conversations")) or 0
        for first in range(1, end + 1, AT_ONCE):
            op.execute(_COLLECT.format(each=_DELETED.format(first=first, last=first + AT_ONCE - 1)))
        after = 0
        while True:
            users = {"after": after, "at_once": AT_ONCE}
            first, last = connection.execute(sa.text(_NEXT_USERS), users).one()
            if last is None:
                break
            op.execute(_COLLECT.format(each=_HIDDEN.format(first=first, last=last)))
            after = last


def downgrade() -> None:
    """Nothing: the column goes with the migration before."""
