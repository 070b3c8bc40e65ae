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
_DROP_BROKEN = f"""
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('{_INDEX}') AND NOT indisvalid) THEN
        DROP INDEX {_INDEX};
    END IF;
END $$
"""


def upgrade() -> None:
    # Whoever writes users, stamps included, waits while it is built, 1.2 s for a million. Who has many more makes it
    # before, with CONCURRENTLY (docs/operations.md): here that would wait for another host's migration, which waits for
    # this one. One that was broken off is there, and is never read.
    op.execute(_DROP_BROKEN)
    op.create_index(_INDEX, "users", ["id"], postgresql_using="hash", if_not_exists=True)


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="users")
