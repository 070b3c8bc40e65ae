"""People: a user's row is found by a hash of its number, in as many steps however many users there are.

Revision: 0005
After: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEX = "ix_users_id"


def upgrade() -> None:
    # Whoever writes users, stamps included, waits while it is built, 1.2 s for a million. Who has many more makes it
    # before, with CONCURRENTLY: here that would wait for another host's migration, which waits for this one.
    op.create_index(_INDEX, "users", ["id"], postgresql_using="hash", if_not_exists=True)


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="users")
