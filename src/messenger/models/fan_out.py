"""Fan-outs: notifications of audiences that are too large for the transaction of the change."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant


class FanOut(Base):
    """Notifies one user's contacts of one kind of event (`name`) in batches, by ascending ID.

    `wanted`: there is a change that no pass has started with. `after`: the last contact that the current pass has
    notified; NULL without a current pass. `due`: when the next batch or pass may start.
    """

    __tablename__ = "fan_outs"
    __table_args__ = (Index("ix_fan_outs_due", "due"),)

    # No foreign key: users are never removed, and checking it would lock the row that activity stamps update.
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    wanted: Mapped[bool] = mapped_column(Boolean)
    after: Mapped[int | None] = mapped_column(BigInteger)
    due: Mapped[Instant]
