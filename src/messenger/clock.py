"""The current time, and identifiers that contain it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Clock(Protocol):
    """The source of the time for services."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime with whole milliseconds, the wire's resolution."""
        ...

    def learn(self, theirs: datetime, *, asked: float, answered: float) -> None:
        """Adopt the time that the database reported between these two values of `time.monotonic()`."""
        ...

    def elapsed(self) -> float:
        """Monotonic seconds, unaffected by changes of the system time."""
        ...

    def ahead_of_host(self) -> float | None:
        """Seconds by which this clock is ahead of the host's; None while it only uses the host's."""
        ...


class SharedClock:
    """The database's clock, so that all workers have one time, whatever their hosts' clocks say.

    Before the first report of the database it uses the host's clock; between two reports it follows the monotonic
    clock, which cannot be set. Workers must agree on which tokens are valid and which events have expired.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def now(self) -> datetime:
        seconds = (time() if self._offset is None else monotonic() + self._offset) * 1000 // 1 / 1000
        return datetime.fromtimestamp(seconds, UTC)

    def learn(self, theirs: datetime, *, asked: float, answered: float) -> None:
        offset = theirs.timestamp() - (asked + answered) / 2
        # A difference within the uncertainty of the round trip is ignored, so that the time does not jump.
        if self._offset is None or abs(offset - self._offset) > (answered - asked) / 2:
            self._offset = offset

    def elapsed(self) -> float:
        return monotonic()

    def ahead_of_host(self) -> float | None:
        return None if self._offset is None else self.now().timestamp() - time()


class FixedClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = at
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> float:
        return self._elapsed

    def ahead_of_host(self) -> float:
        """This is the host's clock."""
        return 0.0

    def learn(self, theirs: datetime, *, asked: float, answered: float) -> None:
        """It stands still."""

    def set(self, at: datetime) -> None:
        """Set the time, possibly to an earlier one; the monotonic time does not change."""
        self._now = at

    def advance(self, **by: float) -> datetime:
        """Move forward by `timedelta(**by)`."""
        self._now += timedelta(**by)
        self._elapsed += timedelta(**by).total_seconds()
        return self._now


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562 section 5.7): sorts by time, so that inserts stay local in an index."""
    return uuid_utils.compat.uuid7()
