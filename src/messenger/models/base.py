"""The registry and the column types of all models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from advanced_alchemy.base import create_registry
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, ForeignKey, Uuid
from sqlalchemy.orm import DeclarativeBase, mapped_column

UserPrimaryKey = Annotated[int, mapped_column(BigInteger, ForeignKey("users.id"), primary_key=True)]
Instant = Annotated[datetime, mapped_column(DateTimeUTC(timezone=True))]
Id = Annotated[UUID, mapped_column(Uuid, primary_key=True)]


class Base(DeclarativeBase):
    """The base of mapped classes. Their instances never leave a unit of work; see `messenger.unit_of_work`."""

    registry = create_registry()


def one_of(column: str, *values: str) -> str:
    """The text of a CHECK constraint: an enumeration that a later release can widen without a lock on its type."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"
