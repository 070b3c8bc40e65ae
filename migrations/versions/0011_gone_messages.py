"""Gone messages: each membership has the numbers of the messages that its user can no longer see.

Revision: 0011
After: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: no row is written.
    op.add_column("members", sa.Column("gone", postgresql.INT8MULTIRANGE(), nullable=True))


def downgrade() -> None:
    op.drop_column("members", "gone")
