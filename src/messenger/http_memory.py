"""One bound for what all connections of a worker hold in memory: past it, the largest holders give up first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

SMALL = 4 * 1024
"""What one connection may hold uncounted: most requests and answers are smaller, and cost no bookkeeping."""

Holder = TypeVar("Holder", bound=Hashable)


class Budget(Generic[Holder]):
    """Bytes held by connections. `reclaim` makes a holder let go; it returns whether that was possible.

    Among holders of about the same size, within a power of two, the oldest gives up first. So clients that hold much
    and finish nothing make room for those that hold little.
    """

    def __init__(self, most: int, reclaim: Callable[[Holder], bool]) -> None:
        self.most = most
        self.total = 0
        self._reclaim = reclaim
        self._sizes: dict[Holder, int] = {}
        self._classes: dict[int, dict[Holder, None]] = {}

    def change(self, holder: Holder, size: int) -> None:
        """This is what it holds now; nothing, where that is `SMALL`."""
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
