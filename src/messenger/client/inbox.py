"""The bounded queue between the stream's task and the application, and the cursors of recent events."""

from __future__ import annotations

import asyncio
from collections import deque

from messenger.client.codec import Item, Signal

REMEMBERED = 4096


class RecentCursors:
    """The cursors of the last `REMEMBERED` events. Cursors are opaque: they cannot be compared."""

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._known: set[str] = set()

    def __contains__(self, cursor: str) -> bool:
        return cursor in self._known

    def add(self, cursor: str) -> None:
        """Remember the cursor of a delivered event."""
        self._known.add(cursor)
        self._order.append(cursor)
        if len(self._order) > REMEMBERED:
            self._known.remove(self._order.popleft())

    def forget(self) -> None:
        """Forget all cursors: after a resync, the same cursors may name other events."""
        self._order.clear()
        self._known.clear()


class EventInbox:
    """Filled by the stream's task, emptied by the application. When it is full, the stream disconnects and resumes
    from its cursor once half of the items have been consumed.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._end: BaseException | None = None
        self.dropped_signals = 0

    def put(self, item: Item) -> bool:
        """Append an item; False if the inbox is full. A full inbox drops signals and returns True."""
        if len(self._items) >= self._bound:
            if isinstance(item, Signal):
                self.dropped_signals += 1
                return True
            self._drained.clear()
            return False
        self._items.append(item)
        self._filled.set()
        return True

    async def get(self) -> Item:
        """Remove and return the oldest item. Raises the error passed to `finish` once the inbox is empty."""
        while not self._items:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if len(self._items) <= self._bound // 2:
            self._drained.set()
        return item

    async def wait_until_half_empty(self) -> None:
        """Wait until at least half of the capacity is free."""
        await self._drained.wait()

    def finish(self, error: BaseException) -> None:
        """End the stream: `get` raises the error after the remaining items."""
        self._end = error
        self._filled.set()
