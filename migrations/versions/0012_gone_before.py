"""Gone before: messages that were deleted or hidden before memberships had their numbers.

Revision: 0012
After: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# In a transaction of its own: reading all messages takes its time, and only rows with something gone are locked. What
# the previous release deletes meanwhile stays out: the list looks past it, and it counts until it is read.
_COLLECT = """
    WITH gone AS (
        SELECT each.conversation_id, each.user_id, range_agg(int8range(each.seq, each.seq, '[]')) AS seqs FROM (
            SELECT m.conversation_id, me.user_id, m.seq
            FROM messages AS m JOIN members AS me ON me.conversation_id = m.conversation_id
            WHERE m.deleted_at IS NOT NULL
            UNION ALL
            SELECT m.conversation_id, hidden.user_id, m.seq
            FROM hidden_messages AS hidden JOIN messages AS m ON m.id = hidden.message_id
        ) AS each GROUP BY each.conversation_id, each.user_id
    ), locked AS (
        SELECT me.conversation_id, me.user_id, gone.seqs
        FROM gone JOIN members AS me ON me.conversation_id = gone.conversation_id AND me.user_id = gone.user_id
        ORDER BY me.conversation_id, me.user_id FOR NO KEY UPDATE OF me
    )
    UPDATE members AS me SET gone = coalesce(me.gone, '{}') + locked.seqs FROM locked
    WHERE me.conversation_id = locked.conversation_id AND me.user_id = locked.user_id
"""


def upgrade() -> None:
    op.execute(_COLLECT)


def downgrade() -> None:
    """Nothing: the column goes with the migration before."""
