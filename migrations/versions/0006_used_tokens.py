"""Used tokens: the last access token of a device that was used, so that an unused one can be returned again.

Revision: 0006
After: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable and without a default: no row is rewritten. The previous release never reads or writes it; a token that
    # only its workers have seen counts as unused until a worker of this release sees it.
    op.add_column("devices", sa.Column("used_access_hash", sa.LargeBinary(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("devices", "used_access_hash")
