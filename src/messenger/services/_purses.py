"""What a worker lets go of the limits that devices come near to all the time, without asking the database."""

from __future__ import annotations

from time import monotonic

from messenger.limits import Limit

MOST = 50_000
"""Purses of a worker. One more than that takes the place of the oldest."""


class _Purse:
    __slots__ = ("left", "until")

    def __init__(self, left: int, until: float) -> None:
        self.left = left
        self.until = until


class Purses:
    """One for each limit and owner. It begins with an uncounted lease, and ends with the limit's window."""

    def __init__(self) -> None:
        self._purses: dict[tuple[str, object], _Purse] = {}

    def spend(self, limit: Limit, owner: object) -> bool:
        """One, if there is one."""
        key, now = (limit.name, owner), monotonic()
        purse = self._purses.get(key)
        if purse is None or purse.until <= now:
            self._open(key, _Purse(limit.lease - 1, now + limit.window))
            return True
        if purse.left <= 0:
            return False
        purse.left -= 1
        return True

    def spent(self, limit: Limit, owner: object) -> int:
        """Close this owner's purse; returns how much of its lease was used in this window."""
        purse = self._purses.pop((limit.name, owner), None)
        return 0 if purse is None or purse.until <= monotonic() else limit.lease - purse.left

    def charge(self, limit: Limit, owner: object, count: int) -> None:
        """Charge for requests that were already allowed; a deficit is charged to the next lease."""
        key, now = (limit.name, owner), monotonic()
        purse = self._purses.get(key)
        if purse is None or purse.until <= now:
            purse = _Purse(limit.lease, now + limit.window)
            self._open(key, purse)
        purse.left -= count

    def fill(self, limit: Limit, owner: object, count: int) -> None:
        """So many of the shared bucket's are this worker's to let go."""
        purse = self._purses.get((limit.name, owner))
        if purse is not None:
            purse.left += count

    def _open(self, key: tuple[str, object], purse: _Purse) -> None:
        # A purse that begins anew is the youngest.
        self._purses.pop(key, None)
        if len(self._purses) >= MOST:
            del self._purses[next(iter(self._purses))]
        self._purses[key] = purse
