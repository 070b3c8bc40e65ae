"""Time, and identifiers made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Clock(Protocol):
    """Where services take the time from."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime with whole milliseconds, the wire's resolution."""
        ...

    def learn(self, theirs: datetime, *, asked: float, answered: float) -> None:
        """The database's time, which it told between these two instants of `time.monotonic()`."""
        ...

    def elapsed(self) -> float:
        """Monotonic seconds, unaffected by changes of the system time."""
        ...

    def ahead_of_host(self) -> float | None:
        """Seconds by which this clock is ahead of the host's; None while it only uses the host's."""
        ...


class SharedClock:
    """The database's clock, so that all workers have one time, whatever their hosts' clocks say.

    Until the first look at the database it is the host's; between two looks it goes by the monotonic clock, which
    nobody sets. Whose token is still valid, which event is too old: two workers must not differ about that.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def now(self) -> datetime:
        seconds = (time() if self._offset is None else monotonic() + self._offset) * 1000 // 1 / 1000
        return datetime.fromtimestamp(seconds, UTC)

    def learn(self, theirs: datetime, *, asked: float, answered: float) -> None:
        offset = theirs.timestamp() - (asked + answered) / 2
        # A difference that the way there and back explains is none: time doesn't jump for it.
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
