"""Items whose rows another transaction holds: they wait in lines, and the first of each line is retried."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from time import perf_counter
from typing import Generic, TypeVar

from messenger.errors import Overloaded

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_BUSY_SECONDS = 1.8
"""How long an item is retried while another transaction holds its rows."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.064
"""Seconds between retries: the first value, doubled each time up to the second."""
_MANY_LINES = 256
"""With more lines than this, each is retried less often, so that the total cost stays the same."""


class Waiting(Generic[Item, Outcome]):
    """An item, and the future of its outcome."""

    __slots__ = ("future", "item", "key", "line", "since")

    def __init__(self, item: Item, key: Hashable, line: Hashable) -> None:
        self.item = item
        self.key = key
        self.line = line
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.since = perf_counter()


class _Line(Generic[Item, Outcome]):
    """Items that need the same rows. `probe`: the first one, while it is retried."""

    __slots__ = ("items", "probe", "tries")

    def __init__(self) -> None:
        self.items: deque[Waiting[Item, Outcome]] = deque()
        self.probe: Waiting[Item, Outcome] | None = None
        self.tries = 0


class BusyLines(Generic[Item, Outcome]):
    """Calls `retry` with the first item of each line after a pause, and `expire` with an item that waited for 1.8 s."""

    def __init__(
        self,
        retry: Callable[[Waiting[Item, Outcome]], None],
        expire: Callable[[Waiting[Item, Outcome], Overloaded], None],
    ) -> None:
        self.lines: dict[Hashable, _Line[Item, Outcome]] = {}
        self._retry = retry
        self._expire = expire
        self._due: list[tuple[float, int, Hashable]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: Waiting[Item, Outcome]) -> None:
        """An item that has not been tried joins its line."""
        self.lines[waiting.line].items.append(waiting)

    def park(self, waiting: Waiting[Item, Outcome]) -> None:
        """An item was tried and its rows are held."""
        line = self.lines.get(waiting.line)
        if line is None:
            line = self.lines[waiting.line] = _Line()
            line.items.append(waiting)
            self._schedule(waiting.line, line)
        elif line.probe is waiting:
            line.probe = None
            line.items.appendleft(waiting)
            self._schedule(waiting.line, line)
        else:
            line.items.append(waiting)

    def release(self, waiting: Waiting[Item, Outcome]) -> Sequence[Waiting[Item, Outcome]]:
        """The item has its outcome: if it was the retried one, its line ends and the others are returned."""
        line = self.lines.get(waiting.line)
        if line is None or line.probe is not waiting:
            return ()
        del self.lines[waiting.line]
        return tuple(line.items)

    def _schedule(self, name: Hashable, line: _Line[Item, Outcome]) -> None:
        pause = min(_FIRST_PAUSE * 2**line.tries, _LONGEST_PAUSE) * max(1.0, len(self.lines) / _MANY_LINES)
        line.tries += 1
        # Jitter keeps two workers from colliding again.
        due = perf_counter() + pause * random.uniform(0.5, 1.5)  # noqa: S311
        heapq.heappush(self._due, (due, next(self._order), name))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = max(self._due[0][0] - perf_counter(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._try_again)

    def _try_again(self) -> None:
        """Retry the first item of each line that is due."""
        self._timer = None
        now = perf_counter()
        while self._due and self._due[0][0] <= now:
            name = heapq.heappop(self._due)[2]
            line = self.lines[name]
            while line.items and (line.items[0].future.done() or now - line.items[0].since >= _BUSY_SECONDS):
                self._expire(line.items.popleft(), Overloaded())
            if line.items:
                line.probe = line.items.popleft()
                self._retry(line.probe)
            else:
                del self.lines[name]
        self._set_timer()
