"""Fan-outs: audiences too large for the transaction of the change that they are notified of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from messenger.models.base import Base, Instant


class FanOut(Base):
    """One user's contacts, notified of one kind of event (`name`) in pieces, by ascending number.

    `wanted`: there is news that no pass has begun with. `after`: the last contact that the pass under way has notified;
    NULL while there is none. `due`: when the next piece, or the next pass, may begin.
    """

    __tablename__ = "fan_outs"
    __table_args__ = (Index("ix_fan_outs_due", "due"),)

    # No foreign key: users are never removed, and checking one takes a lock on the row that activity stamps write.
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    wanted: Mapped[bool] = mapped_column(Boolean)
    after: Mapped[int | None] = mapped_column(BigInteger)
    due: Mapped[Instant]
