"""Idempotency records, rate limits, and familiar addresses."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant


class IdempotencyRecord(Base):
    """A request with an `Idempotency-Key`, and its response."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[Instant] = mapped_column(index=True)


class FamiliarAddress(Base):
    """An address from which an account recently signed in or refreshed, as a digest keyed with the secret.

    Attempts from other addresses cannot exhaust the attempts that are reserved for it.
    """

    __tablename__ = "familiar_addresses"

    # No foreign key: rows are written together with a device's, which an erasure locks before it removes them.
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    seen_at: Mapped[Instant] = mapped_column(index=True)


class RateBucket(Base):
    """A token bucket. Unlogged: after a crash, buckets are full."""

    __tablename__ = "rate_buckets"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "50"}},)

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    tokens: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[Instant] = mapped_column(index=True)
