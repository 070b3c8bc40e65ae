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
_PARKED = 256
"""With more items waiting for rows than this, each is tried less often, so that all their tries cost no more."""
_LOOKED_AT = 4 * MOST
"""Items at the head of the queue that a batch is formed from."""


class RunAlone(Exception):
    """An item's outcome in a batch: it has none there; it is run by itself."""


class RowsBusy(Exception):
    """An item's outcome: another transaction holds a row that it needs; nothing was done, and it is tried again."""


class _Waiting(Generic[Item, Outcome]):
    __slots__ = ("future", "item", "key", "since", "tries")

    def __init__(self, item: Item, key: Hashable, future: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.key = key
        self.future = future
        self.since = perf_counter()
        self.tries = 0


class GroupCommit(Generic[Item, Outcome]):
    """Runs items alone while there is little to do, and together what has gathered meanwhile.

    At most `lanes` runs are under way. An item that finds a lane free goes at once; the others form a queue, and a lane
    that becomes free takes all of it along, up to `MOST`. So an item by itself waits for no company, and under load the
    price of a statement and a commit is shared. Items of one `key` need the same rows: they are never in two lanes at a
    time, but together in one batch.

    `together` gives an outcome or an exception for each item. Where it raises, nothing of it was done, and its halves
    are run instead, down to single items: one that the database refuses takes none of the others with it. Only a
    database that is away is away for all, and for those who have waited behind that run.

    No run waits for a lock. An item whose rows another transaction holds (`RowsBusy`) leaves its lane, is tried again
    after a pause, and raises `Overloaded` after 1.8 s; the others go on meanwhile.
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
        self._parked: list[tuple[float, int, _Waiting[Item, Outcome]]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self, item: Item, key: Hashable) -> Outcome:
        """The item's own outcome. Raises what it raises alone, and `Overloaded`."""
        under_way = self._under_way
        if not self._free or key in under_way:
            waiting = self._waiting(item, key)
            self._queue.append(waiting)
            return await waiting.future
        self._free -= 1
        under_way[key] = None
        try:
            return await self._run_alone(item)
        except RowsBusy:
            waiting = self._waiting(item, key)
            self._park(waiting)
        finally:
            self._free += 1
            del under_way[key]
            if self._queue:
                self._dispatch()
        return await waiting.future

    def _waiting(self, item: Item, key: Hashable) -> _Waiting[Item, Outcome]:
        return _Waiting(item, key, asyncio.get_running_loop().create_future())

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
            _settle(self._queue.popleft().future, DatabaseUnavailable())

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
            if waiting.key in self._under_way:
                passed_over.append(waiting)
            # An item whose client has gone away while it waited is not run.
            elif not waiting.future.done():
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
            _settle(waiting.future, outcome)

    # --- items whose rows are held by others ---

    def _park(self, waiting: _Waiting[Item, Outcome]) -> None:
        now = perf_counter()
        if now - waiting.since >= _BUSY_SECONDS:
            _settle(waiting.future, Overloaded())
            return
        pause = min(_FIRST_PAUSE * 2**waiting.tries, _LONGEST_PAUSE) * max(1.0, len(self._parked) / _PARKED)
        waiting.tries += 1
        # Disorder keeps two workers from meeting again.
        due = now + pause * random.uniform(0.5, 1.5)  # noqa: S311
        heapq.heappush(self._parked, (due, next(self._order), waiting))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._parked:
            delay = max(self._parked[0][0] - perf_counter(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        now = perf_counter()
        while self._parked and self._parked[0][0] <= now:
            waiting = heapq.heappop(self._parked)[2]
            if not waiting.future.done():
                self._queue.append(waiting)
        self._set_timer()
        self._dispatch()


def _settle(waiting: asyncio.Future[Outcome], outcome: Outcome | BaseException) -> None:
    if waiting.done():
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
