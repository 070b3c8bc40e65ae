"""The epoch of the streams: cursors contain the history of the database that they belong to.

Revision: 0010
After: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_epoch",
        sa.Column("id", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("epoch", sa.String(length=16), server_default="", nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_stream_epoch_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_epoch")),
    )
    # The first epoch has no name: cursors of the previous release belong to it.
    op.execute("INSERT INTO stream_epoch DEFAULT VALUES")


def downgrade() -> None:
    op.drop_table("stream_epoch")
