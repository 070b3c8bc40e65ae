"""Work that a group commit runs under the control of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from messenger.errors import DatabaseUnavailable, PeerNotFound
from messenger.services._group_commit import GroupCommit, RowsBusy, RunAlone


class Work:
    """Doubles numbers, and refuses negative ones.

    Each run commits once `gate` is set; a batch has its outcomes once `answers` is set, too.
    """

    def __init__(self, lanes: int = 1, key: Callable[[int], int] = int) -> None:
        self.batches: GroupCommit[int, int] = GroupCommit(self.alone, self.together, self.patiently, lanes=lanes)
        self.key = key
        self.line: Callable[[int], int] = int
        self.busy: dict[int, int] = {}
        self.waited: list[int] = []
        self.queued: set[int] = set()
        self.runs: list[list[int]] = []
        self.started: asyncio.Queue[list[int]] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None
        self.not_together: set[int] = set()
        self.away = False
        self.poison: int | None = None

    async def run(self, item: int) -> int:
        return await self.batches.run(item, self.key(item), self.line(item))

    async def alone(self, item: int) -> int:
        self.start([item])
        await self.gate.wait()
        if item == self.poison:
            raise RuntimeError("what the database refuses")
        if self.away:
            raise DatabaseUnavailable
        if self.is_busy(item):
            raise RowsBusy
        if item < 0:
            raise PeerNotFound
        return 2 * item

    def start(self, items: list[int]) -> None:
        self.runs.append(items)
        self.started.put_nowait(items)

    async def patiently(self, item: int) -> int:
        self.waited.append(item)
        return 2 * item if item in self.queued else await self.alone(item)

    def is_busy(self, item: int) -> bool:
        """Whether another transaction holds the item's rows; `busy` is the number of attempts for which it does."""
        left = self.busy.get(item, 0)
        self.busy[item] = left - 1
        return left > 0

    async def together(self, items: Sequence[int], on_committed: Callable[[], None]) -> list[int | Exception]:
        self.start(list(items))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if self.poison in items:
            raise RuntimeError("what the database refuses")
        on_committed()
        await self.answers.wait()
        return [self.outcome(item) for item in items]

    def outcome(self, item: int) -> int | Exception:
        if self.is_busy(item):
            return RowsBusy()
        return RunAlone() if item in self.not_together else PeerNotFound() if item < 0 else 2 * item

    async def ask(self, *items: int) -> list[asyncio.Task[int]]:
        """Start these items in order; they are under way or wait."""
        tasks = [asyncio.create_task(self.run(item)) for item in items]
        # The tasks of the items start, then those of the runs, then those of items that run alone.
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks

    async def pass_gate(self) -> None:
        """Let the runs commit that are under way, but not the next ones."""
        self.gate.set()
        self.gate.clear()
        await asyncio.sleep(0)
