"""Sockets: which device is connected to which process, and the tickets for handshakes."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, Sequence, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Id, Instant


class Worker(Base):
    """A process that holds sockets; it is alive while `seen_at` is recent. Unlogged: after a crash all sockets
    reconnect.
    """

    __tablename__ = "workers"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "50"}},)

    id: Mapped[Id]
    # The database's clock, not the process's: hosts differ.
    seen_at: Mapped[Instant]


# Orders the sockets of a device independently of the hosts' clocks and of the order of writes.
CONNECTION_NUMBERS = Sequence("connection_numbers", metadata=Base.metadata)


class Connection(Base):
    """The socket of a device: at most one. A newer one, with a higher `number`, replaces it."""

    __tablename__ = "connections"
    # No foreign keys: rows change with every reconnection, and leftover rows are removed with their worker.
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "70"}},)

    device_id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    worker_id: Mapped[UUID] = mapped_column(Uuid, index=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Ticket(Base):
    """The SHA-256 of a device's newest ticket; the row is deleted when the ticket is used."""

    __tablename__ = "tickets"

    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[Instant]
