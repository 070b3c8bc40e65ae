"""Groups: their settings, invitations, links, requests, bans and notices; the ranks of members.

Revision: 0013
After: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ACTIONS = (
    "'created', 'renamed', 'about', 'avatar', 'joined', 'joined_by_link', 'left', 'removed', 'banned', 'role', "
    "'owner', 'muted', 'permissions', 'settings', 'pinned', 'cleared'"
)

# A group with members has exactly one owner: the unique index allows no second one, and this refuses to commit without
# the first. It runs at the commit, so that an owner can be replaced in any order.
_ENSURE_OWNER = """
    CREATE FUNCTION ensure_group_owner() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE conversation bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.conversation_id ELSE NEW.conversation_id END;
    BEGIN
        IF EXISTS (SELECT FROM members WHERE conversation_id = conversation AND rank IS NOT NULL)
            AND NOT EXISTS (SELECT FROM members WHERE conversation_id = conversation AND rank = 3)
        THEN
            RAISE EXCEPTION 'group of conversation % has members but no owner', conversation
                USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_members_owner';
        END IF;
        RETURN NULL;
    END $$
"""
_TRIGGERS = {
    "members_keep_owner": "AFTER DELETE ON members DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.rank = 3)",
    "members_lower_owner": "AFTER UPDATE OF rank ON members DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
    "WHEN (OLD.rank = 3)",
    "members_join_owner": "AFTER INSERT ON members DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.rank < 3)",
}


def upgrade() -> None:
    _create_groups()
    _create_admission()
    _create_records()
    _create_purges()
    _add_columns()
    op.execute(_ENSURE_OWNER)
    for name, when in _TRIGGERS.items():
        op.execute(f"CREATE CONSTRAINT TRIGGER {name} {when} EXECUTE FUNCTION ensure_group_owner()")


def downgrade() -> None:
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON members")
    op.execute("DROP FUNCTION ensure_group_owner()")
    op.drop_index("ix_users_disabled_at", table_name="users")
    op.drop_index("uq_members_owner", table_name="members")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
    for table in reversed(_TABLES):
        op.drop_table(table)


_TABLES = (
    "groups",
    "group_invitations",
    "group_declines",
    "group_links",
    "group_requests",
    "group_bans",
    "former_members",
    "group_notices",
    "message_purges",
)


def _create_groups() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(8), server_default="group", nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("about", sa.String(500), server_default="", nullable=False),
        sa.Column("avatar_key", sa.String(64), nullable=True),
        sa.Column("member_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("encrypted", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("protected", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("large", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("post_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("attach_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("poll_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("react_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("thread_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("pin_rank", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("mention_all_rank", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("invite_rank", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("link_rank", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("info_rank", sa.SmallInteger(), server_default="2", nullable=False),
        sa.Column("history", sa.String(8), server_default="none", nullable=False),
        sa.Column("slow_mode", sa.Integer(), server_default="0", nullable=False),
        sa.Column("notices", sa.String(10), server_default="all", nullable=False),
        sa.Column("members_visible", sa.String(12), server_default="members", nullable=False),
        sa.Column("reactions_allowed", postgresql.ARRAY(sa.String(32)), nullable=True),
        sa.Column("reactions_per_user", sa.SmallInteger(), server_default="3", nullable=False),
        sa.Column("edit_window", sa.Integer(), server_default="172800", nullable=True),
        sa.Column("delete_window", sa.Integer(), nullable=True),
        sa.Column("edit_history", sa.String(12), server_default="members", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("emptied", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("edit_history IN ('members', 'moderators', 'nobody')", name="ck_groups_edit_history"),
        sa.CheckConstraint("history IN ('none', 'recent', 'all')", name="ck_groups_history"),
        sa.CheckConstraint("kind IN ('group')", name="ck_groups_kind"),
        sa.CheckConstraint("members_visible IN ('members', 'moderators')", name="ck_groups_members_visible"),
        sa.CheckConstraint("notices IN ('all', 'important', 'none')", name="ck_groups_notices"),
        sa.ForeignKeyConstraint(["avatar_key"], ["avatars.key"], name="fk_groups_avatar_key_avatars"),
        sa.ForeignKeyConstraint(["id"], ["peers.id"], name="fk_groups_id_peers"),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("ix_groups_avatar_key", "groups", ["avatar_key"], unique=False)
    op.create_index(
        "ix_groups_deleted_at", "groups", ["deleted_at"], postgresql_where="deleted_at IS NOT NULL AND NOT emptied"
    )


def _create_admission() -> None:
    op.create_table(
        "group_invitations",
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("inviter_id", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.String(500), nullable=True),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_invitations_group_id_groups"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_group_invitations_user_id_users"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_invitations"),
    )
    op.create_index("ix_group_invitations_at", "group_invitations", ["at"], unique=False)
    op.create_index("ix_group_invitations_user_id_group_id", "group_invitations", ["user_id", "group_id"], unique=False)
    op.create_table(
        "group_declines",
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_declines_group_id_groups"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_group_declines_user_id_users"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_declines"),
    )
    op.create_table(
        "group_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(43), nullable=False),
        sa.Column("name", sa.String(32), nullable=True),
        sa.Column("approval", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_uses", sa.Integer(), nullable=True),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_links_group_id_groups"),
        sa.PrimaryKeyConstraint("id", name="pk_group_links"),
        sa.UniqueConstraint("token", name="uq_group_links_token"),
    )
    op.create_index("ix_group_links_group_id", "group_links", ["group_id"], unique=False)
    op.create_table(
        "group_requests",
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("link_id", sa.Uuid(), nullable=False),
        sa.Column("message", sa.String(500), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("declined_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_requests_group_id_groups"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_group_requests_user_id_users"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_requests"),
    )
    op.create_index("ix_group_requests_at", "group_requests", ["at"], unique=False)
    op.create_index("ix_group_requests_user_id_group_id", "group_requests", ["user_id", "group_id"], unique=False)


def _create_records() -> None:
    op.create_table(
        "group_bans",
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("by_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_bans_group_id_groups"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_group_bans_user_id_users"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_bans"),
    )
    op.create_table(
        "former_members",
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_former_members_group_id_groups"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_former_members_user_id_users"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_former_members"),
    )
    op.create_table(
        "group_notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            f"action IN ({_ACTIONS})",
            name="ck_group_notices_action",
        ),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_group_notices_group_id_groups"),
        sa.PrimaryKeyConstraint("id", name="pk_group_notices"),
    )
    op.create_index(
        "ix_group_notices_group_id_after_seq", "group_notices", ["group_id", "after_seq", "id"], unique=False
    )


def _create_purges() -> None:
    op.create_table(
        "message_purges",
        sa.Column("conversation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("by_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_message_purges_conversation_id_conversations"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_message_purges_user_id_users"),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name="pk_message_purges"),
    )


def _columns() -> dict[str, list[sa.Column[object]]]:
    """The columns that other tables get. Without defaults, or with constant ones: no row is rewritten."""
    instant = sa.DateTime(timezone=True)
    return {
        "conversations": [sa.Column("version", sa.BigInteger(), server_default="0", nullable=False)],
        "members": [
            sa.Column("rank", sa.SmallInteger()),
            sa.Column("title", sa.String(16)),
            sa.Column("joined_at", instant),
            sa.Column("joined_version", sa.BigInteger()),
            sa.Column("invited_by", sa.BigInteger()),
            sa.Column("visible_from", sa.BigInteger(), server_default="0", nullable=False),
            sa.Column("silenced_until", instant),
            sa.Column("sent_at", instant),
            sa.Column("sent_seq", sa.BigInteger()),
        ],
        "messages": [sa.Column("deleted_by", sa.BigInteger())],
        "users": [
            sa.Column("privacy_receipts", sa.String(8)),
            sa.Column("privacy_forwards", sa.String(8), server_default="contacts", nullable=False),
            sa.Column("auto_join", sa.String(8), server_default="nobody", nullable=False),
        ],
    }


def _add_columns() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("uq_members_owner", "members", ["conversation_id"], unique=True, postgresql_where="rank = 3")
    # Owners who are disabled are succeeded; few users are.
    op.create_index("ix_users_disabled_at", "users", ["disabled_at"], postgresql_where="disabled_at IS NOT NULL")
    for name, check in _CHECKS.items():
        table = name.split("_")[1]
        # Existing rows satisfy it; without NOT VALID the table would be scanned under a lock.
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({check}) NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


_AUDIENCES = "IN ('everyone', 'contacts', 'nobody')"
_CHECKS = {
    "ck_members_rank": "rank BETWEEN 0 AND 3",
    "ck_users_privacy_receipts": f"privacy_receipts {_AUDIENCES}",
    "ck_users_privacy_forwards": f"privacy_forwards {_AUDIENCES}",
    "ck_users_auto_join": "auto_join IN ('nobody', 'contacts')",
}
