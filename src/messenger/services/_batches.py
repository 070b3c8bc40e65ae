"""Requests of one kind that come at the same time share a statement and a commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Generic, TypeVar

from messenger.errors import DatabaseUnavailable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MOST = 64
"""Items of a batch."""
_WAITED_SECONDS = 0.5
"""Who has waited for so long behind a run that found no database is not made to wait for the next one."""


class RunAlone(Exception):
    """An item's outcome in a batch: it can't be told there; let it be run by itself."""


class Batches(Generic[Item, Outcome]):
    """Runs items `alone` while there is little to do, and `together` what has gathered meanwhile.

    At most `lanes` runs are under way. Who finds a lane free goes at once, and waits for no company; the others form a
    queue, and a lane that becomes free takes all of it along. So nothing is slower for it when there is little to do,
    and under load the price of a statement and a commit is shared.

    `together` gives an outcome or an exception for each item. Where it raises, nothing of it was done, and each item is
    run alone: one that the database refuses takes none of the others with it. Only a database that is away is away for
    all, and for those who have waited behind that run.
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
        self._queue: deque[tuple[Item, asyncio.Future[Outcome], float]] = deque()
        self._runs: set[asyncio.Task[None]] = set()

    async def run(self, item: Item) -> Outcome:
        """The item's own outcome. Raises what it raises alone."""
        if not self._free:
            outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._queue.append((item, outcome, perf_counter()))
            return await outcome
        self._free -= 1
        try:
            return await self._run_alone(item)
        finally:
            self._go_on()

    async def _run_alone(self, item: Item) -> Outcome:
        try:
            return await self._alone(item)
        except DatabaseUnavailable:
            self._refuse()
            raise

    def _refuse(self) -> None:
        """Those who have waited long enough behind a run that found no database."""
        before = perf_counter() - _WAITED_SECONDS
        while self._queue and self._queue[0][2] <= before:
            _settle(self._queue.popleft()[1], DatabaseUnavailable())

    def _go_on(self) -> None:
        """A lane became free."""
        batch: list[tuple[Item, asyncio.Future[Outcome]]] = []
        while self._queue and len(batch) < MOST:
            item, waiting, _ = self._queue.popleft()
            # Who has gone away while waiting is not run for.
            if not waiting.done():
                batch.append((item, waiting))
        if not batch:
            self._free += 1
            return
        run = asyncio.create_task(self._run(batch))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._outcomes([item for item, _ in batch])
            left = []
            for (item, waiting), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, RunAlone):
                    left.append((item, waiting))
                else:
                    _settle(waiting, outcome)
            # One after the other: each sees what became of those before.
            for item, waiting in left:
                _settle(waiting, *await asyncio.gather(self._alone(item), return_exceptions=True))
        finally:
            self._go_on()
            for _, waiting in batch:
                # Only where this task was cancelled.
                waiting.cancel()

    async def _outcomes(self, items: Sequence[Item]) -> Sequence[Outcome | BaseException]:
        if len(items) == 1:
            return await asyncio.gather(self._run_alone(items[0]), return_exceptions=True)
        try:
            return await self._together(items)
        except DatabaseUnavailable:
            self._refuse()
            return [DatabaseUnavailable() for _ in items]
        except Exception:
            return await asyncio.gather(*map(self._alone, items), return_exceptions=True)


def _settle(waiting: asyncio.Future[Outcome], outcome: Outcome | BaseException) -> None:
    if waiting.done():
        return
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
