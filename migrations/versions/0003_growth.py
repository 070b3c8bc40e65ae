"""Growth: a contact's state beside its key, the list's order in the memberships.

Revision: 0003
After: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEX = "CREATE UNIQUE INDEX {name} ON contacts (owner_id, target_id){include}"
_SWAP = "ALTER TABLE contacts DROP CONSTRAINT pk_contacts, ADD CONSTRAINT pk_contacts PRIMARY KEY USING INDEX {name}"


def _replace_key(include: str) -> None:
    # Whoever writes contacts waits while the index is built; readers wait for the exchange alone.
    op.execute(_INDEX.format(name="ix_contacts_key", include=include))
    op.execute(_SWAP.format(name="ix_contacts_key"))


def upgrade() -> None:
    _replace_key(" INCLUDE (state)")
    op.add_column("members", sa.Column("last_minute", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE members AS m SET last_minute = date_trunc('minute', c.last_at) FROM conversations AS c"
        " WHERE c.id = m.conversation_id AND c.last_seq > 0"
    )
    op.create_index("ix_members_user_id_last_minute", "members", ["user_id", "last_minute"])


def downgrade() -> None:
    op.drop_index("ix_members_user_id_last_minute", table_name="members")
    op.drop_column("members", "last_minute")
    _replace_key("")
