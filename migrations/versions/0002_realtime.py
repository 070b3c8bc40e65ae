"""Realtime: what events point at, what was taken, tickets, connections.

Revision: 0002
After: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("peer_id", sa.BigInteger(), nullable=True))
    op.add_column("streams", sa.Column("taken", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "tickets",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_tickets_device_id_devices"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("hash", name=op.f("uq_tickets_hash")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(sa.schema.CreateSequence(sa.Sequence("connection_numbers")))
    op.create_table(
        "connections",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_connections")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(op.f("ix_connections_user_id"), "connections", ["user_id"], unique=False)
    op.create_index(op.f("ix_connections_worker_id"), "connections", ["worker_id"], unique=False)


def downgrade() -> None:
    op.drop_table("connections")
    op.execute(sa.schema.DropSequence(sa.Sequence("connection_numbers")))
    op.drop_table("workers")
    op.drop_table("tickets")
    op.drop_column("streams", "taken")
    op.drop_column("events", "peer_id")
