"""The safe: versions of the secret that an account's devices encrypt for each other."""

from __future__ import annotations

from sqlalchemy import Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant, UserPrimaryKey


class Secret(Base):
    """One version of an account's envelope, byte for byte as the client sent it in JSON."""

    __tablename__ = "secrets"

    user_id: Mapped[UserPrimaryKey]
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Instant]
