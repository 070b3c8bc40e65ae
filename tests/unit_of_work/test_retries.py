"""Conflicts between transactions: the whole use case runs again, a bounded number of times."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.errors import ConcurrentUpdate, Overloaded, PeerNotFound
from messenger.events import ReceiptUpdated
from messenger.testing import Factory
from messenger.unit_of_work import ATTEMPTS, UnitOfWorkFactory, retry_on_conflict
from tests.support.units_of_work import BUMP, PUT, Recorder, checked_out, count_of, factory_over


class TestConflictRetries:
    async def test_deadlock_is_retried(self, engine: AsyncEngine, make: Factory) -> None:
        recorder = Recorder()
        factory: UnitOfWorkFactory = factory_over(engine, recorder)
        ada = await make.person()
        one, other = secrets.token_hex(8), secrets.token_hex(8)
        for key in (one, other):
            async with factory.command() as uow:
                await uow.statements.execute(PUT, key=key)
        both_hold_one = asyncio.Barrier(2)
        runs: list[str] = []

        @retry_on_conflict
        async def bump(first: str, second: str) -> None:
            runs.append(first)
            async with factory() as uow:
                uow.record(ReceiptUpdated({"key": first}), [ada.id])
                await uow.statements.execute(BUMP, key=first)
                if runs.count(first) == 1:
                    await both_hold_one.wait()
                await uow.statements.execute(BUMP, key=second)

        await asyncio.gather(bump(one, other), bump(other, one))
        assert len(runs) == 3
        assert [await count_of(factory, key) for key in (one, other)] == [3, 3]
        assert [news.name for news in recorder.news] == ["receipt.updated"] * 2
        assert checked_out(engine) == 0

    async def test_endless_conflict_raises_overloaded(self) -> None:
        runs = 0

        @retry_on_conflict
        async def use_case() -> None:
            nonlocal runs
            runs += 1
            raise ConcurrentUpdate("40P01")

        with pytest.raises(Overloaded) as caught:
            await use_case()
        assert runs == ATTEMPTS
        assert caught.value.response_headers["Retry-After"] == "1"

    async def test_last_attempt_may_succeed(self) -> None:
        runs = 0

        @retry_on_conflict
        async def use_case() -> str:
            nonlocal runs
            runs += 1
            if runs < ATTEMPTS:
                raise ConcurrentUpdate("40001")
            return "done"

        assert await use_case() == "done"

    async def test_refusal_is_not_run_again(self) -> None:
        runs = 0

        @retry_on_conflict
        async def use_case() -> None:
            nonlocal runs
            runs += 1
            raise PeerNotFound

        with pytest.raises(PeerNotFound):
            await use_case()
        assert runs == 1

    async def test_retries_pass_same_arguments(self) -> None:
        seen: list[tuple[int, int]] = []

        @retry_on_conflict
        async def use_case(one: int, *, other: int) -> None:
            seen.append((one, other))
            if len(seen) == 1:
                raise ConcurrentUpdate("40001")

        await use_case(1, other=2)
        assert seen == [(1, 2), (1, 2)]
