"""A budget of memory: beyond it, the oldest of the largest holders is released."""

from __future__ import annotations

from messenger.server.memory import SMALL, Budget


class TestMemoryBudget:
    def _budget(self, most: int, given_up: list[str], *, firm: frozenset[str] = frozenset()) -> Budget[str]:
        def reclaim(holder: str) -> bool:
            if holder in firm:
                return False
            given_up.append(holder)
            return True

        return Budget(most, reclaim)

    def test_oldest_of_the_largest_holders_is_released_first(self) -> None:
        given_up: list[str] = []
        budget = self._budget(100_000, given_up)
        for name, size in (("small", 10_000), ("old", 40_000), ("new", 40_000)):
            budget.change(name, size)
        assert (given_up, budget.total) == ([], 90_000)
        budget.change("late", 20_000)
        assert (given_up, budget.total) == (["old"], 70_000)

    def test_unreleasable_holder_is_skipped_and_counted(self) -> None:
        given_up: list[str] = []
        budget = self._budget(100_000, given_up, firm=frozenset({"firm"}))
        budget.change("firm", 60_000)
        budget.change("other", 60_000)
        assert (given_up, budget.total) == (["other"], 60_000)

    def test_released_memory_is_not_counted(self) -> None:
        budget = self._budget(100_000, [])
        budget.change("one", 50_000)
        budget.change("one", 70_000)
        budget.change("one", 0)
        budget.change("one", 0)
        assert budget.total == 0

    def test_small_holders_are_not_counted(self) -> None:
        budget = self._budget(100_000, [])
        budget.change("one", SMALL)
        assert budget.total == 0
        budget.change("one", SMALL + 1)
        assert budget.total == SMALL + 1
