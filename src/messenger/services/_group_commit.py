"""Group commit: concurrent requests of one kind share a statement and its commit."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from time import perf_counter
from typing import Any, Generic, TypeVar

from messenger.errors import DatabaseUnavailable
from messenger.services._busy_lines import BusyLines, Waiting

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MOST = 32
"""Maximum size of a batch: small enough that with 64 senders one is written while another is answered."""
_WAITED_SECONDS = 0.5
"""If a run finds no database, items that have waited behind it for this long fail as well."""
_PATIENT_RUNS, _PATIENT_AFTER = 2, 0.02
"""The number of items that may wait for locks in PostgreSQL's queue, outside of the lanes, and the seconds after which
an item that repeatedly finds its rows locked may do so."""
_LOOKED_AT = 4 * MOST
"""Items at the head of the queue from which a batch is formed."""
_SLOW = 4.0
"""A run is slow when it takes this many times as long as usual."""
_LEAST_SLOW, _MOST_SLOW = 0.01, 0.05
"""Bounds of the seconds after which a run is slow."""
_WEIGHT = 0.125  # of a run's time in the moving average
_LEAST_GATHERED, _LONGEST_GATHERING = 4, 0.01
"""After a batch of at least so many items, the queue waits for the answered clients, at most for so many seconds."""


class RunAlone(Exception):
    """An item's outcome in a batch: it has to be run alone."""


class RowsBusy(Exception):
    """An item's outcome: another transaction holds a row that it needs; nothing was written, and it is retried."""


class GroupCommit(Generic[Item, Outcome]):
    """Runs items alone under low load, and in batches under high load.

    An item that finds no run under way runs at once. The others are queued while the run commits; then the next run
    takes the whole queue, up to `MOST` items. After a larger batch, the queue waits until those it answered are likely
    to have sent again, at most for as long as a run usually takes. An idle server thus never waits for a batch to form,
    and under load the cost of a statement and a commit is shared. A run that takes four times as long as usual is slow:
    the queue no longer waits for it. At most `lanes` runs are active. Items with the same `key` share a row: they never
    run in two lanes at the same time, but may be in one batch.

    `together` returns an outcome or an exception for each item. It may call its second argument once all is committed:
    then the next run starts, while it prepares the outcomes. If it raises, nothing was written, and its halves are
    run instead, down to single items, so that an item that the database refuses does not fail the others. Only an
    unavailable database fails the whole batch, and the items that have waited behind it.

    No lane waits for a lock. An item whose rows another transaction holds (`RowsBusy`) leaves its lane and is retried
    after a pause, for 1.8 s; then it raises `Overloaded`. Items of one `line` need the same rows: they wait in order,
    and only the first of them is retried. All other items continue.
    """

    def __init__(
        self,
        alone: Callable[[Item], Awaitable[Outcome]],
        together: Callable[[Sequence[Item], Callable[[], None]], Awaitable[Sequence[Outcome | Exception]]],
        patiently: Callable[[Item], Awaitable[Outcome]],
        *,
        lanes: int,
    ) -> None:
        self._alone = alone
        self._together = together
        self._patiently = patiently
        self._free = lanes
        # They use connections in addition to the lanes', so their number is limited.
        self._free_patient = min(_PATIENT_RUNS, lanes // 2)
        self._queue: deque[Waiting[Item, Outcome]] = deque()
        # A dict, not a set: it saves the hot path a call.
        self._under_way: dict[Hashable, None] = {}
        # Runs that have not committed, by one of their keys, and when each started. For a single item it is 0 until
        # another item waits: asking for the time would cost the hot path a call.
        self._writing: dict[Hashable, float] = {}
        self._usual = _LEAST_SLOW / _SLOW
        self._timer: asyncio.TimerHandle | None = None
        # While it is set, the queue waits for the expected number of items.
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0
        self._busy: BusyLines[Item, Outcome] = BusyLines(self._probe, self._settle)
        self._lines = self._busy.lines
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self, item: Item, key: Hashable, line: Hashable) -> Outcome:
        """Run an item and return its outcome. Raises what `alone` raises, and `Overloaded`."""
        busy = self._writing or self._queue or self._gathering or not self._free
        if busy or key in self._under_way or line in self._lines:
            return await self._enqueue(Waiting(item, key, line))
        self._free -= 1
        self._writing[key] = 0.0
        self._under_way[key] = None
        try:
            return await self._run_alone(item)
        except RowsBusy:
            waiting: Waiting[Item, Outcome] = Waiting(item, key, line)
            self._busy.park(waiting)
        finally:
            self._free += 1
            del self._writing[key]
            del self._under_way[key]
            if self._queue:
                self._dispatch()
        return await waiting.future

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

    def _enqueue(self, waiting: Waiting[Item, Outcome]) -> asyncio.Future[Outcome]:
        if waiting.line in self._lines:
            self._busy.add(waiting)
        else:
            self._queue.append(waiting)
            if self._timer is None or not self._writing:
                self._dispatch()
        return waiting.future

    def _dispatch(self) -> None:
        """Start runs in free lanes as long as there are items that can run and no other run delays them."""
        if self._gathering is not None:
            if len(self._queue) < self._expected:
                return
            self._gathering.cancel()
            self._gathering = None
        while self._queue and self._free:
            delay = self._delay() if self._writing else 0.0
            if delay > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(delay, self._on_slow)
                return
            batch = self._next_batch()
            if not batch:
                return
            self._start(batch)

    def _delay(self) -> float:
        """Seconds until all runs that have not committed are slow."""
        now = perf_counter()
        for run, started in self._writing.items():
            if not started:
                self._writing[run] = now
        slow = min(max(_SLOW * self._usual, _LEAST_SLOW), _MOST_SLOW)
        return max(self._writing.values()) + slow - now

    def _gather(self, answered: int) -> None:
        """Let the queue wait for the clients that a batch has answered, unless another run delays it already."""
        if answered >= _LEAST_GATHERED and not self._writing and self._gathering is None:
            self._expected = min(answered + len(self._queue), MOST)
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(min(self._usual, _LONGEST_GATHERING), self._on_gathered)

    def _on_gathered(self) -> None:
        self._gathering = None
        self._dispatch()

    def _on_slow(self) -> None:
        self._timer = None
        self._dispatch()

    def _next_batch(self) -> list[Waiting[Item, Outcome]]:
        batch: list[Waiting[Item, Outcome]] = []
        passed_over: list[Waiting[Item, Outcome]] = []
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

    def _start(self, batch: list[Waiting[Item, Outcome]]) -> None:
        self._free -= 1
        self._under_way.update(dict.fromkeys(waiting.key for waiting in batch))
        self._writing[batch[0].key] = perf_counter()
        self._keep(self._run(batch))

    def _keep(self, run: Coroutine[Any, Any, None]) -> None:
        # Not the context of whichever request starts it, which may have a unit of work open.
        task = asyncio.create_task(run, context=contextvars.Context())
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run(self, batch: list[Waiting[Item, Outcome]]) -> None:
        try:
            outcomes = await self._outcomes(batch, functools.partial(self._on_committed, batch))
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
            self._writing.pop(batch[0].key, None)
            for key in {waiting.key for waiting in batch}:
                del self._under_way[key]
            self._gather(len(batch))
            self._dispatch()

    def _on_committed(self, batch: list[Waiting[Item, Outcome]]) -> None:
        started = self._writing[batch[0].key]
        # A single slow run changes little.
        taken = min(perf_counter() - started, 2 * _SLOW * self._usual)
        self._usual += _WEIGHT * (taken - self._usual)
        # A smaller batch would start a series of ever smaller ones, so wait for more items.
        if len(self._queue) >= len(batch):
            del self._writing[batch[0].key]
            self._dispatch()

    async def _outcomes(
        self, batch: list[Waiting[Item, Outcome]], on_committed: Callable[[], None]
    ) -> Sequence[Outcome | BaseException]:
        if len(batch) == 1:
            return await asyncio.gather(self._run_alone(batch[0].item), return_exceptions=True)
        try:
            return await self._together([waiting.item for waiting in batch], on_committed)
        except DatabaseUnavailable:
            self._refuse()
            return [DatabaseUnavailable() for _ in batch]
        except Exception:
            middle = len(batch) // 2
            halves = batch[:middle], batch[middle:]
            return [outcome for half in halves for outcome in await self._outcomes(half, _nothing)]

    def _conclude(self, waiting: Waiting[Item, Outcome], outcome: Outcome | BaseException) -> None:
        if isinstance(outcome, RowsBusy):
            self._busy.park(waiting)
        else:
            self._settle(waiting, outcome)

    def _settle(self, waiting: Waiting[Item, Outcome], outcome: Outcome | BaseException) -> None:
        if not waiting.future.done():
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)
        self._release(waiting)

    def _release(self, waiting: Waiting[Item, Outcome]) -> None:
        """The item has its outcome: queue those that waited for the same rows."""
        self._queue.extendleft(reversed(self._busy.release(waiting)))

    # --- items whose rows are held by others ---

    def _probe(self, waiting: Waiting[Item, Outcome]) -> None:
        """Retry an item: in a lane, or outside of them if it is busy again and again."""
        if not self._free_patient or perf_counter() - waiting.since < _PATIENT_AFTER:
            self._queue.append(waiting)
            self._dispatch()
            return
        self._free_patient -= 1
        self._keep(self._run_patiently(waiting))

    async def _run_patiently(self, waiting: Waiting[Item, Outcome]) -> None:
        try:
            self._conclude(waiting, *await asyncio.gather(self._patiently(waiting.item), return_exceptions=True))
        except asyncio.CancelledError:
            waiting.future.cancel()
            self._release(waiting)
            raise
        finally:
            self._free_patient += 1
            self._dispatch()


def _nothing() -> None:
    """For a half of a batch: the run has not committed before its other half."""
