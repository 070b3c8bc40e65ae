"""Contacts: directed edges, up to two for each pair of users."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
from sqlalchemy import CheckConstraint, PrimaryKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant, UserPrimaryKey, one_of

ContactState = Literal["pending_out", "pending_in", "mutual", "blocked"]


class Contact(Base):
    """The relation of `owner` to `target` as the owner sees it; no row means no relation."""

    __tablename__ = "contacts"
    __table_args__ = (
        # Covers lists: an owner's rows are scattered over the table.
        PrimaryKeyConstraint("owner_id", "target_id", postgresql_include=["state"]),
        CheckConstraint(one_of("state", *get_args(ContactState)), name="state"),
        CheckConstraint("owner_id <> target_id", name="not_self"),
    )

    owner_id: Mapped[UserPrimaryKey]
    target_id: Mapped[UserPrimaryKey] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(16))
    alias: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(String(500))
    since: Mapped[Instant]


class Edges(msgspec.Struct, frozen=True):
    """The edges of two users in both directions; None for no edge."""

    mine: str | None
    theirs: str | None
