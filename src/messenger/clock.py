"""Time, and identifiers made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Clock(Protocol):
    """Where services take the time from."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime with whole milliseconds, the wire's resolution."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


class FixedClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = at

    def now(self) -> datetime:
        return self._now

    def advance(self, **by: float) -> datetime:
        """Move forward by `timedelta(**by)`."""
        self._now += timedelta(**by)
        return self._now


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562 section 5.7): sorts by time, so that inserts stay local in an index."""
    return uuid_utils.compat.uuid7()
