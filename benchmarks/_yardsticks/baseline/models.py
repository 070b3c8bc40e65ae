"""The baseline's mapped classes, over our tables: as a typical application declares them, with relationships."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, FetchedValue, ForeignKey
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), int: BigInteger}  # noqa: RUF012


class Avatar(Base):
    __tablename__ = "avatars"

    key: Mapped[str] = mapped_column(primary_key=True)
    width: Mapped[int]
    height: Mapped[int]
    placeholder: Mapped[str]


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str | None]
    name: Mapped[str]
    about: Mapped[str]
    status: Mapped[str]
    status_text: Mapped[str]
    invisible_since: Mapped[datetime | None]
    avatar_key: Mapped[str | None] = mapped_column(ForeignKey("avatars.key"))
    privacy_last_seen: Mapped[str]
    privacy_avatar: Mapped[str]
    privacy_messages_from: Mapped[str]
    privacy_calls_from: Mapped[str]
    privacy_groups_from: Mapped[str]
    privacy_receipts: Mapped[str | None]
    privacy_forwards: Mapped[str]
    last_activity: Mapped[datetime]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    avatar: Mapped[Avatar | None] = relationship(lazy="joined")


class Device(Base):
    __tablename__ = "devices"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    access_hash: Mapped[bytes]
    access_expires_at: Mapped[datetime]
    last_activity: Mapped[datetime]

    user: Mapped[User] = relationship(lazy="joined")


class Contact(Base):
    __tablename__ = "contacts"

    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    state: Mapped[str]
    alias: Mapped[str | None]
    message: Mapped[str | None]
    since: Mapped[datetime]

    target: Mapped[User] = relationship(foreign_keys=[target_id])


class Connection(Base):
    __tablename__ = "connections"

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"))


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]


class Conversation(Base):
    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(primary_key=True, server_default=FetchedValue())
    kind: Mapped[str]
    low_id: Mapped[int | None]
    high_id: Mapped[int | None]
    last_seq: Mapped[int]
    last_at: Mapped[datetime]
    expire_after: Mapped[int | None]


class Member(Base):
    __tablename__ = "members"

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int]
    read_seq: Mapped[int] = mapped_column(default=0)
    delivered_seq: Mapped[int] = mapped_column(default=0)
    last_minute: Mapped[datetime | None]


class Message(Base):
    __tablename__ = "messages"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    seq: Mapped[int]
    sender_id: Mapped[int]
    sender_device_id: Mapped[UUID]
    client_id: Mapped[str]
    fingerprint: Mapped[bytes]
    kind: Mapped[str]
    body: Mapped[str | None]
    reply_to: Mapped[UUID | None]
    forwarded_from: Mapped[UUID | None]
    mentions: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    created_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[int | None]
    expires_at: Mapped[datetime | None]


class HiddenMessage(Base):
    __tablename__ = "hidden_messages"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class Stream(Base):
    __tablename__ = "streams"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int]


class Event(Base):
    __tablename__ = "events"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    subject: Mapped[UUID | None]
    payload: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    at: Mapped[datetime]
