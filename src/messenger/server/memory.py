"""A memory limit for all connections of a worker: when it is exceeded, the largest holders are released first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

SMALL = 4 * 1024
"""Bytes of one connection that are not counted: most requests and responses are smaller."""

Holder = TypeVar("Holder", bound=Hashable)


class Budget(Generic[Holder]):
    """Bytes held by connections. `reclaim` makes a holder release its memory; it returns whether that was possible.

    Among holders of similar size (within a power of two) the oldest is released first, so clients with large unfinished
    requests make room for those with small ones.
    """

    def __init__(self, most: int, reclaim: Callable[[Holder], bool]) -> None:
        self.most = most
        self.total = 0
        self._reclaim = reclaim
        self._sizes: dict[Holder, int] = {}
        self._classes: dict[int, dict[Holder, None]] = {}

    def change(self, holder: Holder, size: int) -> None:
        """Set the holder's current bytes; up to `SMALL` they are not counted."""
        size = size if size > SMALL else 0
        before = self._sizes.get(holder, 0)
        if size == before:
            return
        self.total += size - before
        if size.bit_length() != before.bit_length():
            if before:
                del self._classes[before.bit_length()][holder]
            if size:
                self._classes.setdefault(size.bit_length(), {})[holder] = None
        if size:
            self._sizes[holder] = size
        else:
            del self._sizes[holder]
        if size > before and self.total > self.most:
            self._make_room()

    def _make_room(self) -> None:
        for magnitude in sorted(self._classes, reverse=True):
            for holder in tuple(self._classes[magnitude]):
                if self._reclaim(holder):
                    self.change(holder, 0)
                if self.total <= self.most:
                    return
