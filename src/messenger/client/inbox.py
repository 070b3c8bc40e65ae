"""What has come and was not taken yet: bounded, in order, each event once."""

from __future__ import annotations

import asyncio
from collections import deque

from messenger.client.codec import Item, Signal

REMEMBERED = 4096


class RecentCursors:
    """The cursors of recent events. A cursor is opaque: whether one comes before another can't be told from it."""

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._known: set[str] = set()

    def __contains__(self, cursor: str) -> bool:
        return cursor in self._known

    def add(self, cursor: str) -> None:
        """It was handed over."""
        self._known.add(cursor)
        self._order.append(cursor)
        if len(self._order) > REMEMBERED:
            self._known.remove(self._order.popleft())

    def forget(self) -> None:
        """The stream began anew: its cursors may name other events from now on."""
        self._order.clear()
        self._known.clear()


class EventInbox:
    """Filled by the stream's task, emptied by the application. Past its bound it takes nothing: the stream hangs up,
    and goes on from its cursor when half of it has been taken.
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
        """Add it; False where there is no room. A signal without room is dropped, as it may be."""
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
        """The oldest item. Raises what `finish` was given, once nothing is left."""
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
        """Wait until half of it has been taken."""
        await self._drained.wait()

    def finish(self, error: BaseException) -> None:
        """Nothing more comes, because of this."""
        self._end = error
        self._filled.set()
