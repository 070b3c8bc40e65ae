"""Group commit: requests of one kind that come at the same time share a statement and its commit."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import count
from time import perf_counter
from typing import Generic, TypeVar

from messenger.errors import DatabaseUnavailable, Overloaded

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MOST = 64
"""Items of a batch."""
_WAITED_SECONDS = 0.5
"""An item that has waited for so long behind a run that found no database does not wait for the next one."""
_BUSY_SECONDS = 1.8
"""How long an item is tried again while another transaction holds its rows."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.064
"""Seconds between two tries: twice as long after each, up to the second."""
_MANY_LINES = 256
"""With more lines than this, each is tried less often, so that all their tries cost no more."""
_LOOKED_AT = 4 * MOST
"""Items at the head of the queue that a batch is formed from."""


class RunAlone(Exception):
    """An item's outcome in a batch: it has none there; it is run by itself."""


class RowsBusy(Exception):
    """An item's outcome: another transaction holds a row that it needs; nothing was done, and it is tried again."""


class _Waiting(Generic[Item, Outcome]):
    __slots__ = ("future", "item", "key", "line", "since")

    def __init__(self, item: Item, key: Hashable, line: Hashable, future: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.key = key
        self.line = line
        self.future = future
        self.since = perf_counter()


class _Line(Generic[Item, Outcome]):
    """Items that need the same rows, while another transaction holds them: the first one is tried for all."""

    __slots__ = ("items", "probe", "tries")

    def __init__(self) -> None:
        self.items: deque[_Waiting[Item, Outcome]] = deque()
        self.probe: _Waiting[Item, Outcome] | None = None
        self.tries = 0


class GroupCommit(Generic[Item, Outcome]):
    """Runs items alone while there is little to do, and together what has gathered meanwhile.

    At most `lanes` runs are under way. An item that finds a lane free goes at once; the others form a queue, and a lane
    that becomes free takes all of it along, up to `MOST`. So an item by itself waits for no company, and under load the
    price of a statement and a commit is shared. Items of one `key` have a row in common: they are never in two lanes at
    a time, but together in one batch.

    `together` gives an outcome or an exception for each item. Where it raises, nothing of it was done, and its halves
    are run instead, down to single items: one that the database refuses takes none of the others with it. Only a
    database that is away is away for all, and for those who have waited behind that run.

    No run waits for a lock. An item whose rows another transaction holds (`RowsBusy`) leaves its lane and is tried
    again after a pause, for 1.8 s; then it raises `Overloaded`. Items of one `line` need just the same rows: they wait
    in order, and only the first of them is tried. All others go on meanwhile.
    """

    def __init__(
        self,
        alone: Callable[[Item], Awaitable[Outcome]],
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        lanes: int,
    ) -> None:
        self._alone = alone
        self._together = together
        self._free = lanes
        self._queue: deque[_Waiting[Item, Outcome]] = deque()
        # A dict, not a set: it costs a hot path no call.
        self._under_way: dict[Hashable, None] = {}
        self._lines: dict[Hashable, _Line[Item, Outcome]] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self, item: Item, key: Hashable, line: Hashable) -> Outcome:
        """The item's own outcome. Raises what it raises alone, and `Overloaded`."""
        under_way = self._under_way
        if not self._free or key in under_way or line in self._lines:
            waiting = self._waiting(item, key, line)
            if line in self._lines:
                self._lines[line].items.append(waiting)
            else:
                self._queue.append(waiting)
            return await waiting.future
        self._free -= 1
        under_way[key] = None
        try:
            return await self._run_alone(item)
        except RowsBusy:
            waiting = self._waiting(item, key, line)
            self._park(waiting)
        finally:
            self._free += 1
            del under_way[key]
            if self._queue:
                self._dispatch()
        return await waiting.future

    def _waiting(self, item: Item, key: Hashable, line: Hashable) -> _Waiting[Item, Outcome]:
        return _Waiting(item, key, line, asyncio.get_running_loop().create_future())

    async def _run_alone(self, item: Item) -> Outcome:
        try:
            return await self._alone(item)
        except DatabaseUnavailable:
            self._refuse()
            raise

    def _refuse(self) -> None:
        """Refuse those who have waited long enough behind a run that found no database."""
        before = perf_counter() - _WAITED_SECONDS
        while self._queue and self._queue[0].since <= before:
            self._settle(self._queue.popleft(), DatabaseUnavailable())

    # --- lanes ---

    def _dispatch(self) -> None:
        """Start a batch in each lane that is free, as long as something can go."""
        while self._free and (batch := self._next_batch()):
            self._free -= 1
            keys = {waiting.key for waiting in batch}
            self._under_way.update(dict.fromkeys(keys))
            run = asyncio.create_task(self._run(batch, keys))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)

    def _next_batch(self) -> list[_Waiting[Item, Outcome]]:
        batch: list[_Waiting[Item, Outcome]] = []
        passed_over: list[_Waiting[Item, Outcome]] = []
        while self._queue and len(batch) < MOST and len(passed_over) < _LOOKED_AT:
            waiting = self._queue.popleft()
            if waiting.future.done():
                # Its client has gone away while it waited.
                self._release(waiting)
            elif waiting.key in self._under_way:
                passed_over.append(waiting)
            else:
                batch.append(waiting)
        self._queue.extendleft(reversed(passed_over))
        return batch

    async def _run(self, batch: list[_Waiting[Item, Outcome]], keys: set[Hashable]) -> None:
        try:
            outcomes = await self._outcomes(batch)
            left = []
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, RunAlone):
                    left.append(waiting)
                else:
                    self._conclude(waiting, outcome)
            # One after the other: each sees what became of those before.
            for waiting in left:
                self._conclude(waiting, *await asyncio.gather(self._alone(waiting.item), return_exceptions=True))
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.future.cancel()
                self._release(waiting)
            raise
        finally:
            self._free += 1
            for key in keys:
                del self._under_way[key]
            self._dispatch()

    async def _outcomes(self, batch: list[_Waiting[Item, Outcome]]) -> Sequence[Outcome | BaseException]:
        if len(batch) == 1:
            return await asyncio.gather(self._run_alone(batch[0].item), return_exceptions=True)
        try:
            return await self._together([waiting.item for waiting in batch])
        except DatabaseUnavailable:
            self._refuse()
            return [DatabaseUnavailable() for _ in batch]
        except Exception:
            middle = len(batch) // 2
            return [*await self._outcomes(batch[:middle]), *await self._outcomes(batch[middle:])]

    def _conclude(self, waiting: _Waiting[Item, Outcome], outcome: Outcome | BaseException) -> None:
        if isinstance(outcome, RowsBusy):
            self._park(waiting)
        else:
            self._settle(waiting, outcome)

    def _settle(self, waiting: _Waiting[Item, Outcome], outcome: Outcome | BaseException) -> None:
        if not waiting.future.done():
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)
        self._release(waiting)

    # --- items whose rows are held by others ---

    def _park(self, waiting: _Waiting[Item, Outcome]) -> None:
        line = self._lines.get(waiting.line)
        if line is None:
            line = self._lines[waiting.line] = _Line()
            line.items.append(waiting)
            self._schedule(waiting.line, line)
        elif line.probe is waiting:
            line.probe = None
            line.items.appendleft(waiting)
            self._schedule(waiting.line, line)
        else:
            line.items.append(waiting)

    def _schedule(self, name: Hashable, line: _Line[Item, Outcome]) -> None:
        pause = min(_FIRST_PAUSE * 2**line.tries, _LONGEST_PAUSE) * max(1.0, len(self._lines) / _MANY_LINES)
        line.tries += 1
        # Disorder keeps two workers from meeting again.
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
        """Let the first item of each line that is due have another try."""
        self._timer = None
        now = perf_counter()
        while self._due and self._due[0][0] <= now:
            name = heapq.heappop(self._due)[2]
            line = self._lines[name]
            while line.items and (line.items[0].future.done() or now - line.items[0].since >= _BUSY_SECONDS):
                self._settle(line.items.popleft(), Overloaded())
            if line.items:
                line.probe = line.items.popleft()
                self._queue.append(line.probe)
            else:
                del self._lines[name]
        self._set_timer()
        self._dispatch()

    def _release(self, waiting: _Waiting[Item, Outcome]) -> None:
        """The item has its outcome: if it was tried for its line, the others of the line can go."""
        line = self._lines.get(waiting.line)
        if line is not None and line.probe is waiting:
            del self._lines[waiting.line]
            self._queue.extendleft(reversed(line.items))
