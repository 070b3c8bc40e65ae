"""Audiences: rules of contact have a version, streams can be closed, and large audiences are notified in batches.

Revision: 0007
After: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Constant defaults rewrite no rows: this is fast, whatever the size of the table.
    op.add_column("streams", sa.Column("rules", sa.Integer(), server_default="0", nullable=False))
    op.add_column("streams", sa.Column("closed", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "fan_outs",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name="pk_fan_outs"),
    )
    op.create_index("ix_fan_outs_due", "fan_outs", ["due"])


def downgrade() -> None:
    op.drop_table("fan_outs")
    op.drop_column("streams", "closed")
    op.drop_column("streams", "rules")
