"""Conversations and their members: a 1:1 is identified by its two users, a group by its own peer ID."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant, UserPrimaryKey, one_of


class Conversation(Base):
    """A conversation. `last_seq` is the number of its messages; they are ordered by the lock of this row.

    `version` counts the changes of a group, its members, links and bans. A message is only written under the version
    that it was authorized under.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        CheckConstraint(one_of("kind", "direct", "group"), name="kind"),
        CheckConstraint("(kind = 'direct') = (low_id IS NOT NULL AND high_id IS NOT NULL)", name="direct_has_pair"),
        CheckConstraint("(kind = 'group') = (peer_id IS NOT NULL)", name="group_has_peer"),
        CheckConstraint("low_id < high_id", name="lower_first"),
        UniqueConstraint("low_id", "high_id"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    low_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    high_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    peer_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("peers.id"), unique=True)
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_at: Mapped[Instant]
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expire_after: Mapped[int | None] = mapped_column(Integer)


class Member(Base):
    """A member of a conversation, which the user addresses as `target_id`: the other user, or the group.

    `last_minute` is the conversation's `last_at` in whole minutes, NULL without messages; it orders the user's list.
    `sent_until` serves the limit `message_to` as the stream's serves `message`. `gone` holds the `seq` of messages that
    the user can no longer see (deleted, hidden, or expired and emptied), NULL if there are none; it only grows.

    In a group, `rank` is 0 (member), 1 (moderator), 2 (admin) or 3 (owner); NULL in a 1:1. A group with members has
    exactly one owner when a transaction commits. Messages before `visible_from` are hidden from the member, and so are
    notices, unless they have at least the version `joined_version`, that of the group with the member in it.
    `silenced_until`: a moderator has muted the member. `sent_at`, `sent_seq`: the member's last message, for the slow
    mode and the signal `receipts`. `role` is unused: the release before groups reads it, and may run beside this one.
    """

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint(one_of("role", "member", "admin", "owner"), name="role"),
        CheckConstraint("rank BETWEEN 0 AND 3", name="rank"),
        Index("uq_members_owner", "conversation_id", unique=True, postgresql_where="rank = 3"),
        UniqueConstraint("user_id", "target_id"),
        Index("ix_members_user_id_last_minute", "user_id", "last_minute"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    conversation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("conversations.id"), primary_key=True)
    user_id: Mapped[UserPrimaryKey]
    target_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("peers.id"))
    role: Mapped[str] = mapped_column(String(8), server_default="member")
    rank: Mapped[int | None] = mapped_column(SmallInteger)
    title: Mapped[str | None] = mapped_column(String(16))
    joined_at: Mapped[Instant | None]
    joined_version: Mapped[int | None] = mapped_column(BigInteger)
    invited_by: Mapped[int | None] = mapped_column(BigInteger)
    visible_from: Mapped[int] = mapped_column(BigInteger, server_default="0")
    silenced_until: Mapped[Instant | None]
    sent_at: Mapped[Instant | None]
    sent_seq: Mapped[int | None] = mapped_column(BigInteger)
    read_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    delivered_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_minute: Mapped[Instant | None]
    sent_until: Mapped[Instant] = mapped_column(server_default=text("'epoch'"))
    muted_until: Mapped[Instant | None]
    pinned: Mapped[bool] = mapped_column(Boolean, server_default="false")
    archived: Mapped[bool] = mapped_column(Boolean, server_default="false")
    gone: Mapped[Any | None] = mapped_column(INT8MULTIRANGE)
