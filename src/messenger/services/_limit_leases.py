"""Leases: a worker grants this many requests of a limit before it asks the database."""

from __future__ import annotations

from time import monotonic

from messenger.limits import Limit

MOST = 50_000
"""Leases of a worker. One more replaces the oldest."""


class _Lease:
    __slots__ = ("left", "until")

    def __init__(self, left: int, until: float) -> None:
        self.left = left
        self.until = until


class LimitLeases:
    """One lease for each limit and owner. The first is granted without the database; it ends with the window."""

    def __init__(self) -> None:
        self._leases: dict[tuple[str, object], _Lease] = {}

    def use(self, limit: Limit, owner: object) -> bool:
        """Use one request of the lease; False if it is used up."""
        key, now = (limit.name, owner), monotonic()
        lease = self._leases.get(key)
        if lease is None or lease.until <= now:
            self._open(key, _Lease(limit.lease - 1, now + limit.window))
            return True
        if lease.left <= 0:
            return False
        lease.left -= 1
        return True

    def close(self, limit: Limit, owner: object) -> int:
        """End this owner's lease; returns how much of it was used in this window."""
        lease = self._leases.pop((limit.name, owner), None)
        return 0 if lease is None or lease.until <= monotonic() else limit.lease - lease.left

    def charge(self, limit: Limit, owner: object, count: int) -> None:
        """Charge for requests that were already allowed; a deficit is charged to the next lease."""
        key, now = (limit.name, owner), monotonic()
        lease = self._leases.get(key)
        if lease is None or lease.until <= now:
            lease = _Lease(limit.lease, now + limit.window)
            self._open(key, lease)
        lease.left -= count

    def grant(self, limit: Limit, owner: object, count: int) -> None:
        """Extend the lease by tokens consumed from the shared bucket."""
        lease = self._leases.get((limit.name, owner))
        if lease is not None:
            lease.left += count

    def _open(self, key: tuple[str, object], lease: _Lease) -> None:
        # Removed first, so that the new lease is the last to be replaced.
        self._leases.pop(key, None)
        if len(self._leases) >= MOST:
            del self._leases[next(iter(self._leases))]
        self._leases[key] = lease
