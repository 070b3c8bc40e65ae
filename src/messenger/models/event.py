"""Streams and events: all changes that a user's devices must learn, in one order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, Integer, SmallInteger, String, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant, UserPrimaryKey


class Stream(Base):
    """The last position given out in a user's stream; its row's lock makes position order commit order.

    `taken`: the position that a device of the user has acknowledged. `sent_until`: when the user's own messages would
    all have been sent at the rate of the limit `message` (the theoretical arrival time of the generic cell rate
    algorithm, ITU-T I.371). `rules` counts changes of the user's edges and privacy: a message that was authorized
    before the last of them is checked again. `closed`: the account is erased, and nothing is appended.
    """

    __tablename__ = "streams"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    user_id: Mapped[UserPrimaryKey]
    position: Mapped[int] = mapped_column(BigInteger, server_default="0")
    taken: Mapped[int] = mapped_column(BigInteger, server_default="0")
    sent_until: Mapped[Instant] = mapped_column(server_default=text("'epoch'"))
    rules: Mapped[int] = mapped_column(Integer, server_default="0")
    closed: Mapped[bool] = mapped_column(Boolean, server_default="false")


class StreamEpoch(Base):
    """The history of the database that the streams belong to; see `messenger.database.stream_epoch`."""

    __tablename__ = "stream_epoch"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default="1")
    epoch: Mapped[str] = mapped_column(String(16), server_default="")
    origin: Mapped[str | None] = mapped_column(Text)
    folder: Mapped[str | None] = mapped_column(Text)
    began_at: Mapped[Instant] = mapped_column(server_default=text("now()"))


class Event(Base):
    """An event of one user: it refers to a message (`subject`) or a peer, or carries a `payload`."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_at", "at", postgresql_using="brin"),)

    # No foreign key: the position comes from the stream's locked row, which has one.
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(32))
    subject: Mapped[UUID | None] = mapped_column(Uuid)
    peer_id: Mapped[int | None] = mapped_column(BigInteger)
    payload: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    at: Mapped[Instant]
