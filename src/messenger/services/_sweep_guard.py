"""Check the clock before rows that it considers expired are removed permanently."""

from __future__ import annotations

from datetime import timedelta

from messenger.clock import Clock

JUMP = timedelta(minutes=5)
"""A clock that differs from the elapsed time by more than this was set, or is broken."""

HOST_DIFFERENCE = timedelta(hours=1)
"""If the database's clock and this host's differ by more than this, one of them is wrong."""

SETTLED_AFTER = timedelta(days=1)
"""How long the clock must run without a jump to be trusted again: time for an operator to react."""


class SweepGuard:
    """Tracks the clock between sweeps.

    The database's clock decides what has expired, for all workers. If it were set ahead by mistake, sweeps would sign
    out all users within minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None
        self._undisturbed_since = clock.elapsed()
        self._jump = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether the database's time is known."""
        return self._clock.ahead_of_host() is not None

    def doubt(self) -> str | None:
        """The reason why nothing may be removed now; None if there is none."""
        ahead = self._clock.ahead_of_host() or 0.0
        if abs(ahead) > HOST_DIFFERENCE.total_seconds():
            self._undisturbed_since = self._clock.elapsed()
            return f"the database's clock is {timedelta(seconds=round(ahead))} ahead of this host's"
        offset = self._clock.now().timestamp() - self._clock.elapsed()
        if self._offset is None:
            self._offset = offset
        jump = offset - self._offset
        if abs(jump) <= JUMP.total_seconds():
            self._offset, self._jump = offset, 0.0
            return None
        if abs(jump - self._jump) > JUMP.total_seconds():
            self._jump, self._undisturbed_since = jump, self._clock.elapsed()
        if not self.has_settled:
            return f"the database's clock jumped by {timedelta(seconds=round(jump))}"
        self._offset, self._jump = offset, 0.0
        return None

    @property
    def has_settled(self) -> bool:
        """Whether the clock has run without a jump for a day."""
        return self._clock.elapsed() - self._undisturbed_since >= SETTLED_AFTER.total_seconds()
