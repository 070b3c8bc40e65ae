"""Messages: rows are never removed, only emptied, so that `seq` has no gaps."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Id, Instant, UserPrimaryKey


class Message(Base):
    """A message. `fingerprint` identifies the request that created it: the same `client_id` with another fingerprint
    is always refused.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        UniqueConstraint("sender_id", "client_id"),
        Index("ix_messages_expires_at", "expires_at", postgresql_where="expires_at IS NOT NULL AND deleted_at IS NULL"),
    )

    id: Mapped[Id]
    conversation_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("conversations.id"))
    seq: Mapped[int] = mapped_column(BigInteger)
    # No foreign keys on the sender: users are never removed, a message outlives its device, and checking a key takes
    # a lock on the user's row, which is the row that activity stamps write.
    sender_id: Mapped[int] = mapped_column(BigInteger)
    sender_device_id: Mapped[UUID] = mapped_column(Uuid)
    client_id: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(16))
    kind: Mapped[str] = mapped_column(String(16))
    body: Mapped[str | None] = mapped_column(Text)
    reply_to: Mapped[UUID | None] = mapped_column(Uuid)
    forwarded_from: Mapped[UUID | None] = mapped_column(Uuid)
    mentions: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")
    created_at: Mapped[Instant]
    edited_at: Mapped[Instant | None]
    deleted_at: Mapped[Instant | None]
    # A moderator of the group; NULL if the sender deleted it.
    deleted_by: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[Instant | None]


class HiddenMessage(Base):
    """A message that a user deleted only for themselves."""

    __tablename__ = "hidden_messages"

    user_id: Mapped[UserPrimaryKey]
    message_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("messages.id"), primary_key=True)
    at: Mapped[Instant]
