"""Released usernames: reserved for their former owners for a while.

Revision: 0008
After: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "released_usernames",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_released_usernames")),
    )
    op.create_index(op.f("ix_released_usernames_owner_id"), "released_usernames", ["owner_id"])
    op.create_index(op.f("ix_released_usernames_kept_until"), "released_usernames", ["kept_until"])


def downgrade() -> None:
    op.drop_table("released_usernames")
