"""Sockets: which device is connected where, and the tickets that open one."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, Sequence, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Id, Instant


class Worker(Base):
    """A process that holds sockets; it is alive while `seen_at` is young. Unlogged: after a crash all come again."""

    __tablename__ = "workers"
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "50"}},)

    id: Mapped[Id]
    # The database's clock, not the process's: hosts differ.
    seen_at: Mapped[Instant]


# In which order sockets arrived, whatever the hosts' clocks say and whoever writes first.
CONNECTION_NUMBERS = Sequence("connection_numbers", metadata=Base.metadata)


class Connection(Base):
    """The one socket of a device. A newer one (by its `number`) takes the row, and with it the older one's place."""

    __tablename__ = "connections"
    # No foreign keys: rows come and go with every tunnel, and what is left over goes with its worker.
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": "70"}},)

    device_id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    worker_id: Mapped[UUID] = mapped_column(Uuid, index=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Ticket(Base):
    """The SHA-256 of a device's newest ticket; it goes when it is used."""

    __tablename__ = "tickets"

    device_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[Instant]
