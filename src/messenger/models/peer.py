"""Peers: users and groups share one ID space, so that a `target_id` can refer to either."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant, one_of

Audience = Literal["everyone", "contacts", "nobody"]
AutoJoin = Literal["nobody", "contacts"]
Status = Literal["online", "away", "busy", "invisible"]
_PRIVACY = ("last_seen", "avatar", "messages_from", "calls_from", "groups_from", "receipts", "forwards")


class Peer(Base):
    """An assigned ID. The row outlives the user or group, so that no ID is ever reused."""

    __tablename__ = "peers"
    __table_args__ = (CheckConstraint(one_of("kind", "user", "group"), name="kind"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8))


class User(Base):
    """An account. An erased account keeps its row without personal data, as the sender of messages that others still
    have.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(one_of("status", *get_args(Status)), name="status"),
        CheckConstraint(one_of("auto_join", *get_args(AutoJoin)), name="auto_join"),
        *(CheckConstraint(one_of(f"privacy_{name}", *get_args(Audience)), name=f"privacy_{name}") for name in _PRIVACY),
        # Contacts are scattered over millions of users; a B-tree needs one more page for each of them.
        Index("ix_users_id", "id", postgresql_using="hash"),
        Index("ix_users_disabled_at", "disabled_at", postgresql_where="disabled_at IS NOT NULL"),
        # Activity stamps update rows in place while their page has room.
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, ForeignKey("peers.id"), primary_key=True, autoincrement=False)
    username: Mapped[str | None] = mapped_column(String(64))
    username_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    about: Mapped[str] = mapped_column(String(500), server_default="")
    status: Mapped[str] = mapped_column(String(16), server_default="online")
    status_text: Mapped[str] = mapped_column(String(140), server_default="")
    # While set, others see this as the last activity: an invisible user looks like an absent one.
    invisible_since: Mapped[Instant | None]
    avatar_key: Mapped[str | None] = mapped_column(String(64), ForeignKey("avatars.key"), index=True)
    privacy_last_seen: Mapped[str] = mapped_column(String(8), server_default="contacts")
    privacy_avatar: Mapped[str] = mapped_column(String(8), server_default="everyone")
    privacy_messages_from: Mapped[str] = mapped_column(String(8), server_default="contacts")
    privacy_calls_from: Mapped[str] = mapped_column(String(8), server_default="contacts")
    privacy_groups_from: Mapped[str] = mapped_column(String(8), server_default="contacts")
    # NULL, until the user has chosen: everyone in groups that both are in, contacts elsewhere.
    privacy_receipts: Mapped[str | None] = mapped_column(String(8))
    privacy_forwards: Mapped[str] = mapped_column(String(8), server_default="contacts")
    # Whose invitations make the user a member of a group at once.
    auto_join: Mapped[str] = mapped_column(String(8), server_default="nobody")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    password_hash: Mapped[str | None] = mapped_column(String(255))
    last_activity: Mapped[Instant]
    created_at: Mapped[Instant]
    disabled_at: Mapped[Instant | None]
    deleted_at: Mapped[Instant | None]


class ReleasedUsername(Base):
    """A username released by a rename or an erasure: reserved for its former owner, if any, until `kept_until`.

    `digest` is keyed with the server's secret. Rows after `kept_until` have no effect; most of them are
    left by claims.
    """

    __tablename__ = "released_usernames"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    kept_until: Mapped[Instant] = mapped_column(index=True)


class Avatar(Base):
    """An image in the object store, by the SHA-256 of its bytes; users refer to it.

    `pending`: the bytes may not be stored yet. `ready`: they are stored. `deleting`: they are being deleted, and no
    user may refer to it.
    """

    __tablename__ = "avatars"
    __table_args__ = (CheckConstraint(one_of("state", "pending", "ready", "deleting"), name="state"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    placeholder: Mapped[str] = mapped_column(String(64))
    touched_at: Mapped[Instant] = mapped_column(index=True)
