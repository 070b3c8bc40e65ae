"""Devices: each sign-in creates a device, with one access token and one family of refresh tokens."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Id, Instant


class Device(Base):
    """A signed-in device. Signing it out deletes the row, and with it every token."""

    __tablename__ = "devices"
    __table_args__ = ({"postgresql_with": {"fillfactor": "80"}},)

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    access_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    access_expires_at: Mapped[Instant]
    # The last access token that was used. While it differs from `access_hash`, the current token is unused.
    used_access_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    last_activity: Mapped[Instant]
    created_at: Mapped[Instant]


class RefreshToken(Base):
    """The SHA-256 of a refresh token. Used tokens are kept until they would have expired: their reuse reveals theft."""

    __tablename__ = "refresh_tokens"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("devices.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[Instant] = mapped_column(index=True)
    used_at: Mapped[Instant | None]
