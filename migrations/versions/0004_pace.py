"""Pace: until when a user's messages would have been sent, in all and in each conversation.

Revision: 0004
After: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("streams", "members")


def upgrade() -> None:
    # A constant default is written to no row: this takes a moment, whatever the table's size.
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column("sent_until", sa.DateTime(timezone=True), server_default=sa.text("'epoch'"), nullable=False),
        )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "sent_until")
