"""The core: accounts, contacts, conversations, messages..

Revision: 0001
After:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "avatars",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("placeholder", sa.String(length=64), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'ready', 'deleting')", name=op.f("ck_avatars_state")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_avatars")),
    )
    op.create_index(op.f("ix_avatars_touched_at"), "avatars", ["touched_at"], unique=False)
    op.create_table(
        "events",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "position", name=op.f("pk_events")),
    )
    op.create_index("ix_events_at", "events", ["at"], unique=False, postgresql_using="brin")
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "peers",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.CheckConstraint("kind IN ('user', 'group')", name=op.f("ck_peers_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peers")),
    )
    op.create_table(
        "rate_buckets",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_buckets")),
        postgresql_with={"fillfactor": "50"},
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("ix_rate_buckets_updated_at"), "rate_buckets", ["updated_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("username", sa.String(length=64), nullable=True),
        sa.Column("username_key", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("about", sa.String(length=500), server_default="", nullable=False),
        sa.Column("status", sa.String(length=16), server_default="online", nullable=False),
        sa.Column("status_text", sa.String(length=140), server_default="", nullable=False),
        sa.Column("invisible_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("avatar_key", sa.String(length=64), nullable=True),
        sa.Column("privacy_last_seen", sa.String(length=8), server_default="contacts", nullable=False),
        sa.Column("privacy_avatar", sa.String(length=8), server_default="everyone", nullable=False),
        sa.Column("privacy_messages_from", sa.String(length=8), server_default="contacts", nullable=False),
        sa.Column("privacy_calls_from", sa.String(length=8), server_default="contacts", nullable=False),
        sa.Column("privacy_groups_from", sa.String(length=8), server_default="contacts", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("last_activity", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "privacy_avatar IN ('everyone', 'contacts', 'nobody')", name=op.f("ck_users_privacy_avatar")
        ),
        sa.CheckConstraint(
            "privacy_calls_from IN ('everyone', 'contacts', 'nobody')", name=op.f("ck_users_privacy_calls_from")
        ),
        sa.CheckConstraint(
            "privacy_groups_from IN ('everyone', 'contacts', 'nobody')", name=op.f("ck_users_privacy_groups_from")
        ),
        sa.CheckConstraint(
            "privacy_last_seen IN ('everyone', 'contacts', 'nobody')", name=op.f("ck_users_privacy_last_seen")
        ),
        sa.CheckConstraint(
            "privacy_messages_from IN ('everyone', 'contacts', 'nobody')", name=op.f("ck_users_privacy_messages_from")
        ),
        sa.CheckConstraint("status IN ('online', 'away', 'busy', 'invisible')", name=op.f("ck_users_status")),
        sa.ForeignKeyConstraint(["avatar_key"], ["avatars.key"], name=op.f("fk_users_avatar_key_avatars")),
        sa.ForeignKeyConstraint(["id"], ["peers.id"], name=op.f("fk_users_id_peers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username_key", name=op.f("uq_users_username_key")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_users_avatar_key"), "users", ["avatar_key"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=True),
        sa.Column("message", sa.String(length=500), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending_out', 'pending_in', 'mutual', 'blocked')", name=op.f("ck_contacts_state")
        ),
        sa.CheckConstraint("owner_id <> target_id", name=op.f("ck_contacts_not_self")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_contacts_owner_id_users")),
        sa.ForeignKeyConstraint(["target_id"], ["users.id"], name=op.f("fk_contacts_target_id_users")),
        sa.PrimaryKeyConstraint("owner_id", "target_id", name=op.f("pk_contacts")),
    )
    op.create_index(op.f("ix_contacts_target_id"), "contacts", ["target_id"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("low_id", sa.BigInteger(), nullable=True),
        sa.Column("high_id", sa.BigInteger(), nullable=True),
        sa.Column("peer_id", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_after", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(kind = 'direct') = (low_id IS NOT NULL AND high_id IS NOT NULL)",
            name=op.f("ck_conversations_direct_has_pair"),
        ),
        sa.CheckConstraint("(kind = 'group') = (peer_id IS NOT NULL)", name=op.f("ck_conversations_group_has_peer")),
        sa.CheckConstraint("kind IN ('direct', 'group')", name=op.f("ck_conversations_kind")),
        sa.CheckConstraint("low_id < high_id", name=op.f("ck_conversations_lower_first")),
        sa.ForeignKeyConstraint(["high_id"], ["users.id"], name=op.f("fk_conversations_high_id_users")),
        sa.ForeignKeyConstraint(["low_id"], ["users.id"], name=op.f("fk_conversations_low_id_users")),
        sa.ForeignKeyConstraint(["peer_id"], ["peers.id"], name=op.f("fk_conversations_peer_id_peers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("low_id", "high_id", name=op.f("uq_conversations_low_id")),
        sa.UniqueConstraint("peer_id", name=op.f("uq_conversations_peer_id")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("access_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("access_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_activity", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_devices_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("access_hash", name=op.f("uq_devices_access_hash")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_devices_user_id"), "devices", ["user_id"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_secrets_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "version", name=op.f("pk_secrets")),
    )
    op.create_table(
        "streams",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_streams_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_streams")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "members",
        sa.Column("conversation_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(length=8), server_default="member", nullable=False),
        sa.Column("read_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("delivered_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("muted_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pinned", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("archived", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("role IN ('member', 'admin', 'owner')", name=op.f("ck_members_role")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_members_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["target_id"], ["peers.id"], name=op.f("fk_members_target_id_peers")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_members_user_id_users")),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name=op.f("pk_members")),
        sa.UniqueConstraint("user_id", "target_id", name=op.f("uq_members_user_id")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sender_id", sa.BigInteger(), nullable=False),
        sa.Column("sender_device_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Uuid(), nullable=True),
        sa.Column("forwarded_from", sa.Uuid(), nullable=True),
        sa.Column("mentions", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_messages_conversation_id_conversations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("conversation_id", "seq", name=op.f("uq_messages_conversation_id")),
        sa.UniqueConstraint("sender_id", "client_id", name=op.f("uq_messages_sender_id")),
    )
    op.create_index(
        "ix_messages_expires_at",
        "messages",
        ["expires_at"],
        unique=False,
        postgresql_where="expires_at IS NOT NULL AND deleted_at IS NULL",
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["devices.id"], name=op.f("fk_refresh_tokens_device_id_devices"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_refresh_tokens")),
    )
    op.create_index(op.f("ix_refresh_tokens_device_id"), "refresh_tokens", ["device_id"], unique=False)
    op.create_index(op.f("ix_refresh_tokens_expires_at"), "refresh_tokens", ["expires_at"], unique=False)
    op.create_table(
        "hidden_messages",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_hidden_messages_message_id_messages")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_hidden_messages_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "message_id", name=op.f("pk_hidden_messages")),
    )


def downgrade() -> None:

    op.drop_table("hidden_messages")
    op.drop_index(op.f("ix_refresh_tokens_expires_at"), table_name="refresh_tokens")
    op.drop_index(op.f("ix_refresh_tokens_device_id"), table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index(
        "ix_messages_expires_at",
        table_name="messages",
        postgresql_where="expires_at IS NOT NULL AND deleted_at IS NULL",
    )
    op.drop_table("messages")
    op.drop_table("members")
    op.drop_table("streams")
    op.drop_table("secrets")
    op.drop_index(op.f("ix_devices_user_id"), table_name="devices")
    op.drop_table("devices")
    op.drop_table("conversations")
    op.drop_index(op.f("ix_contacts_target_id"), table_name="contacts")
    op.drop_table("contacts")
    op.drop_index(op.f("ix_users_avatar_key"), table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("ix_rate_buckets_updated_at"), table_name="rate_buckets")
    op.drop_table("rate_buckets")
    op.drop_table("peers")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_events_at", table_name="events", postgresql_using="brin")
    op.drop_table("events")
    op.drop_index(op.f("ix_avatars_touched_at"), table_name="avatars")
    op.drop_table("avatars")
