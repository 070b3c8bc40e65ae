"""Groups: what a group is, who is invited, asks to join, is banned or has left, and what has happened in it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Id, Instant, UserPrimaryKey, one_of

HISTORIES = ("none", "recent", "all")
NOTICES = ("all", "important", "none")
VISIBILITIES = ("members", "moderators")
EDIT_HISTORIES = ("members", "moderators", "nobody")

_GroupKey = Annotated[int, mapped_column(BigInteger, ForeignKey("groups.id"), primary_key=True, autoincrement=False)]


class Group(Base):
    """A group, with the ID of its peer and of its conversation's `peer_id`.

    `…_rank`: the lowest rank with this permission; ranks are those of `Member.rank`. `member_count` is counted again
    with every change of the members. A deleted group keeps its row, so that its ID is never reused.
    """

    __tablename__ = "groups"
    __table_args__ = (
        CheckConstraint(one_of("kind", "group"), name="kind"),
        CheckConstraint(one_of("history", *HISTORIES), name="history"),
        CheckConstraint(one_of("notices", *NOTICES), name="notices"),
        CheckConstraint(one_of("members_visible", *VISIBILITIES), name="members_visible"),
        CheckConstraint(one_of("edit_history", *EDIT_HISTORIES), name="edit_history"),
        Index("ix_groups_deleted_at", "deleted_at", postgresql_where="deleted_at IS NOT NULL AND NOT emptied"),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: Mapped[int] = mapped_column(BigInteger, ForeignKey("peers.id"), primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8), server_default="group")
    name: Mapped[str] = mapped_column(String(100))
    about: Mapped[str] = mapped_column(String(500), server_default="")
    avatar_key: Mapped[str | None] = mapped_column(String(64), ForeignKey("avatars.key"), index=True)
    member_count: Mapped[int] = mapped_column(Integer, server_default="0")
    encrypted: Mapped[bool] = mapped_column(Boolean, server_default="false")
    protected: Mapped[bool] = mapped_column(Boolean, server_default="false")
    large: Mapped[bool] = mapped_column(Boolean, server_default="false")
    post_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    attach_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    poll_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    react_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    thread_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    pin_rank: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    mention_all_rank: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    invite_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    link_rank: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    info_rank: Mapped[int] = mapped_column(SmallInteger, server_default="2")
    history: Mapped[str] = mapped_column(String(8), server_default="none")
    slow_mode: Mapped[int] = mapped_column(Integer, server_default="0")
    notices: Mapped[str] = mapped_column(String(10), server_default="all")
    members_visible: Mapped[str] = mapped_column(String(12), server_default="members")
    reactions_allowed: Mapped[list[str] | None] = mapped_column(ARRAY(String(32)))
    reactions_per_user: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    edit_window: Mapped[int | None] = mapped_column(Integer, server_default="172800")
    delete_window: Mapped[int | None] = mapped_column(Integer)
    edit_history: Mapped[str] = mapped_column(String(12), server_default="members")
    created_at: Mapped[Instant]
    deleted_at: Mapped[Instant | None]
    # The content of the messages of a deleted group has been removed.
    emptied: Mapped[bool] = mapped_column(Boolean, server_default="false")


class GroupInvitation(Base):
    """An invitation. One that is not `delivered` is hidden from the invited user only; moderators see both alike."""

    __tablename__ = "group_invitations"
    __table_args__ = (
        Index("ix_group_invitations_user_id_group_id", "user_id", "group_id"),
        Index("ix_group_invitations_at", "at"),
    )

    group_id: Mapped[_GroupKey]
    user_id: Mapped[UserPrimaryKey]
    inviter_id: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str | None] = mapped_column(String(500))
    delivered: Mapped[bool] = mapped_column(Boolean)
    at: Mapped[Instant]


class GroupDecline(Base):
    """A user who has declined a group: invitations are not delivered until `until`, or ever if it is NULL."""

    __tablename__ = "group_declines"

    group_id: Mapped[_GroupKey]
    user_id: Mapped[UserPrimaryKey]
    until: Mapped[Instant | None]


class GroupLink(Base):
    """A link for joining. `uses` counts the members that it has admitted."""

    __tablename__ = "group_links"
    __table_args__ = (Index("ix_group_links_group_id", "group_id"),)

    id: Mapped[Id]
    group_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("groups.id"))
    token: Mapped[str] = mapped_column(String(43), unique=True)
    name: Mapped[str | None] = mapped_column(String(32))
    approval: Mapped[bool] = mapped_column(Boolean)
    created_by: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant | None]
    max_uses: Mapped[int | None] = mapped_column(Integer)
    uses: Mapped[int] = mapped_column(Integer, server_default="0")


class GroupRequest(Base):
    """A request to join by a link with approval. A declined one stays, and looks open to its user."""

    __tablename__ = "group_requests"
    __table_args__ = (
        Index("ix_group_requests_user_id_group_id", "user_id", "group_id"),
        Index("ix_group_requests_at", "at"),
    )

    group_id: Mapped[_GroupKey]
    user_id: Mapped[UserPrimaryKey]
    link_id: Mapped[UUID] = mapped_column(Uuid)
    message: Mapped[str | None] = mapped_column(String(500))
    at: Mapped[Instant]
    declined_at: Mapped[Instant | None]


class GroupBan(Base):
    """A banned user. `until` is NULL for a ban without an end."""

    __tablename__ = "group_bans"

    group_id: Mapped[_GroupKey]
    user_id: Mapped[UserPrimaryKey]
    by_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(String(200))
    until: Mapped[Instant | None]
    at: Mapped[Instant]


class FormerMember(Base):
    """When a user last left a group or was removed. After a return, messages up to `last_seq` stay hidden."""

    __tablename__ = "former_members"

    group_id: Mapped[_GroupKey]
    user_id: Mapped[UserPrimaryKey]
    last_seq: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[Instant]


class GroupNotice(Base):
    """What happened in a group, after the message `after_seq`; `before` and `after` are the changed values.

    `version`: that of the group with the change. Unlike times and identifiers, it has the order of the locks.
    """

    __tablename__ = "group_notices"
    __table_args__ = (
        CheckConstraint(
            one_of(
                "action",
                "created",
                "renamed",
                "about",
                "avatar",
                "joined",
                "joined_by_link",
                "left",
                "removed",
                "banned",
                "role",
                "owner",
                "muted",
                "permissions",
                "settings",
                "pinned",
                "cleared",
            ),
            name="action",
        ),
        Index("ix_group_notices_group_id_after_seq", "group_id", "after_seq", "id"),
    )

    id: Mapped[Id]
    group_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("groups.id"))
    after_seq: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[Instant]
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    before: Mapped[Any | None] = mapped_column(JSONB)
    after: Mapped[Any | None] = mapped_column(JSONB)
    reason: Mapped[str | None] = mapped_column(Text)


class MessagePurge(Base):
    """Messages of a removed member that are still to be deleted: those before `next_seq`, and not before `since`."""

    __tablename__ = "message_purges"

    conversation_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("conversations.id"), primary_key=True, autoincrement=False
    )
    user_id: Mapped[UserPrimaryKey]
    by_id: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[Instant | None]
    next_seq: Mapped[int] = mapped_column(BigInteger)
