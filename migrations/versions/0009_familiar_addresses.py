"""Familiar addresses: digests of the addresses from which an account recently signed in.

Revision: 0009
After: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "familiar_addresses",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_familiar_addresses")),
    )
    op.create_index(op.f("ix_familiar_addresses_seen_at"), "familiar_addresses", ["seen_at"])


def downgrade() -> None:
    op.drop_table("familiar_addresses")
