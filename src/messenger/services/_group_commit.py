"""Group commit: concurrent requests of one kind share a statement and its commit."""

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
"""Maximum size of a batch."""
_WAITED_SECONDS = 0.5
"""If a run finds no database, items that have waited behind it for this long fail as well."""
_BUSY_SECONDS = 1.8
"""How long an item is retried while another transaction holds its rows."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.064
"""Seconds between retries: the first value, doubled each time up to the second."""
_PATIENT_RUNS, _PATIENT_AFTER = 2, 0.02
"""Where many write the same rows, the tries of one item may fail again and again: after so many seconds it may wait for
its locks in PostgreSQL's queue, outside the lanes, up to two such items at a time."""
_MANY_LINES = 256
"""With more lines than this, each is retried less often, so that the total cost stays the same."""
_LOOKED_AT = 4 * MOST
"""Items at the head of the queue from which a batch is formed."""


class RunAlone(Exception):
    """An item's outcome in a batch: it has to be run alone."""


class RowsBusy(Exception):
    """An item's outcome: another transaction holds a row that it needs; nothing was written, and it is retried."""


class _Waiting(Generic[Item, Outcome]):
    __slots__ = ("future", "item", "key", "line", "since")

    def __init__(self, item: Item, key: Hashable, line: Hashable, future: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.key = key
        self.line = line
        self.future = future
        self.since = perf_counter()


class _Line(Generic[Item, Outcome]):
    """Items that wait for the same rows of another transaction: only the first one is retried."""

    __slots__ = ("items", "probe", "tries")

    def __init__(self) -> None:
        self.items: deque[_Waiting[Item, Outcome]] = deque()
        self.probe: _Waiting[Item, Outcome] | None = None
        self.tries = 0


class GroupCommit(Generic[Item, Outcome]):
    """Runs items alone under low load, and in batches under high load.

    At most `lanes` runs are active. An item that finds a free lane runs at once; the others are queued, and the next
    free lane takes the whole queue, up to `MOST`. A single item therefore never waits for a batch to form, and under
    load the cost of a statement and a commit is shared. Items with the same `key` share a row: they never run in two
    lanes at the same time, but may be in one batch.

    `together` returns an outcome or an exception for each item. If it raises, nothing was written, and its halves are
    run instead, down to single items, so that an item that the database refuses does not fail the others. Only an
    unavailable database fails the whole batch, and the items that have waited behind it.

    No lane waits for a lock. An item whose rows another transaction holds (`RowsBusy`) leaves its lane and is retried
    after a pause, for 1.8 s; then it raises `Overloaded`. Items of one `line` need the same rows: they wait in order,
    and only the first of them is retried. All other items continue.
    """

    def __init__(
        self,
        alone: Callable[[Item], Awaitable[Outcome]],
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | Exception]]],
        patiently: Callable[[Item], Awaitable[Outcome]],
        *,
        lanes: int,
    ) -> None:
        self._alone = alone
        self._together = together
        self._patiently = patiently
        self._free = lanes
        # They use connections beside those of the lanes: with few of them, all would wait for slow rows.
        self._free_patient = min(_PATIENT_RUNS, lanes // 2)
        self._queue: deque[_Waiting[Item, Outcome]] = deque()
        # A dict, not a set: it saves the hot path a call.
        self._under_way: dict[Hashable, None] = {}
        self._lines: dict[Hashable, _Line[Item, Outcome]] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self, item: Item, key: Hashable, line: Hashable) -> Outcome:
        """Run an item and return its outcome. Raises what `alone` raises, and `Overloaded`."""
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
        """Fail the items that have waited long enough behind a run that found no database."""
        before = perf_counter() - _WAITED_SECONDS
        while self._queue and self._queue[0].since <= before:
            self._settle(self._queue.popleft(), DatabaseUnavailable())

    # --- lanes ---

    def _dispatch(self) -> None:
        """Start a batch in each free lane, as long as there are items that can run."""
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
                # Its client disconnected while it waited.
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
            # One after the other, so that each sees the outcome of the previous ones.
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
            line = self._lines[name]
            while line.items and (line.items[0].future.done() or now - line.items[0].since >= _BUSY_SECONDS):
                self._settle(line.items.popleft(), Overloaded())
            if line.items:
                self._probe(line, now)
            else:
                del self._lines[name]
        self._set_timer()
        self._dispatch()

    def _probe(self, line: _Line[Item, Outcome], now: float) -> None:
        waiting = line.probe = line.items.popleft()
        if not self._free_patient or now - waiting.since < _PATIENT_AFTER:
            self._queue.append(waiting)
            return
        self._free_patient -= 1
        run = asyncio.create_task(self._run_patiently(waiting))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def _run_patiently(self, waiting: _Waiting[Item, Outcome]) -> None:
        try:
            self._conclude(waiting, *await asyncio.gather(self._patiently(waiting.item), return_exceptions=True))
        except asyncio.CancelledError:
            waiting.future.cancel()
            self._release(waiting)
            raise
        finally:
            self._free_patient += 1
            self._dispatch()

    def _release(self, waiting: _Waiting[Item, Outcome]) -> None:
        """The item has its outcome: if it was the retried item of its line, release the others."""
        line = self._lines.get(waiting.line)
        if line is not None and line.probe is waiting:
            del self._lines[waiting.line]
            self._queue.extendleft(reversed(line.items))
