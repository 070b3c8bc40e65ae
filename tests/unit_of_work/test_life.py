"""How a unit of work begins and ends: nesting, commit, rollback, cancellation, and the connection in each case."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from sqlalchemy.ext.asyncio import AsyncEngine

from messenger.config import Settings
from messenger.database.engine import create_engine
from messenger.errors import PeerNotFound
from messenger.testing import StatementLog
from messenger.unit_of_work import NestedUnitOfWork, UnitOfWorkFactory
from tests.support.units_of_work import (
    PID,
    PUT,
    SLEEP,
    Options,
    checked_out,
    count_of,
    factory_over,
    probe,
    until,
    until_asleep,
)

FAIL = probe("fail", "SELECT 1 / 0")


@pytest.fixture
async def small(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A pool of one connection, so that a leaked connection is noticed at once."""
    engine = create_engine(settings.database_url, Options())
    yield engine
    await engine.dispose()


@pytest.fixture
def factory(small: AsyncEngine) -> UnitOfWorkFactory:
    made: UnitOfWorkFactory = factory_over(small)
    return made


class TestNesting:
    @pytest.mark.parametrize("inner", ["__call__", "command", "read"])
    @pytest.mark.parametrize("outer", ["__call__", "command", "read"])
    async def test_nested_unit_of_work_is_refused(self, factory: UnitOfWorkFactory, outer: str, inner: str) -> None:
        async with getattr(factory, outer)():
            with pytest.raises(NestedUnitOfWork):
                await getattr(factory, inner)().__aenter__()

    async def test_nested_unit_of_work_in_helper_task_is_refused(self, factory: UnitOfWorkFactory) -> None:
        async def helper() -> None:
            async with factory.read():
                pass

        async with factory():
            with pytest.raises(NestedUnitOfWork):
                await asyncio.create_task(helper())

    async def test_outer_unit_of_work_survives_refused_nesting(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory() as uow:
            with pytest.raises(NestedUnitOfWork):
                await factory().__aenter__()
            await uow.statements.execute(PUT, key=key)
        assert await count_of(factory, key) == 1

    async def test_task_started_inside_opens_unit_of_work_afterwards(self, factory: UnitOfWorkFactory) -> None:
        ended = asyncio.Event()

        async def later() -> int:
            await ended.wait()
            async with factory.read() as uow:
                row = await uow.statements.first(PID)
                assert row is not None
                return int(row.number)

        async with factory():
            task = asyncio.create_task(later())
        ended.set()
        assert await task > 0


class TestUnitOfWorkCommit:
    async def test_clean_exit_commits(self, factory: UnitOfWorkFactory, outside: Any, key: str) -> None:
        async with factory() as uow:
            await uow.statements.execute(PUT, key=key)
        assert await outside.fetchval("SELECT tokens FROM rate_buckets WHERE key = $1", key) == 1

    async def test_return_inside_unit_of_work_commits(self, factory: UnitOfWorkFactory, key: str) -> None:
        async def use_case() -> str:
            async with factory() as uow:
                await uow.statements.execute(PUT, key=key)
                return "done"

        assert await use_case() == "done"
        assert await count_of(factory, key) == 1

    async def test_writes_are_invisible_before_commit(self, factory: UnitOfWorkFactory, outside: Any, key: str) -> None:
        async with factory() as uow:
            await uow.statements.execute(PUT, key=key)
            assert await outside.fetchval("SELECT tokens FROM rate_buckets WHERE key = $1", key) is None

    async def test_connection_is_returned_after_commit(self, small: AsyncEngine, factory: UnitOfWorkFactory) -> None:
        async with factory() as uow:
            await uow.statements.first(PID)
            assert checked_out(small) == 1
        assert checked_out(small) == 0

    async def test_transaction_adds_only_begin_and_commit(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, key: str
    ) -> None:
        async with StatementLog(small).recording() as sent:
            async with factory() as uow:
                await uow.statements.execute(PUT, key=key)
            await _announced()
        assert [statement.split()[0] for statement in sent] == ["BEGIN;", "INSERT", "COMMIT;"]

    @pytest.mark.parametrize("mode", ["command", "read"])
    async def test_command_and_read_add_no_statements(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, mode: str
    ) -> None:
        async with StatementLog(small).recording() as sent:
            async with getattr(factory, mode)() as uow:
                await uow.statements.first(PID)
            await _announced()
        assert len(sent) == 1


class TestUnitOfWorkRollback:
    @pytest.mark.parametrize("error", [PeerNotFound(), ValueError("a bug")])
    async def test_error_rolls_back_and_propagates(
        self, factory: UnitOfWorkFactory, key: str, error: Exception
    ) -> None:
        with pytest.raises(type(error)) as caught:
            await _put_and_raise(factory, key, error)
        assert caught.value is error
        assert await count_of(factory, key) is None

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_connection_is_returned_after_rollback(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, mode: str
    ) -> None:
        with pytest.raises(ValueError, match="a bug"):
            async with getattr(factory, mode)():
                raise ValueError("a bug")
        assert checked_out(small) == 0

    async def test_rolled_back_connection_is_reused(self, factory: UnitOfWorkFactory, key: str) -> None:
        async with factory.read() as uow:
            before = await uow.statements.first(PID)
        with pytest.raises(ValueError, match="a bug"):
            await _put_and_raise(factory, key, ValueError("a bug"))
        async with factory() as uow:
            assert await uow.statements.first(PID) == before

    async def test_failed_statement_rolls_back(self, factory: UnitOfWorkFactory, key: str) -> None:
        async def use_case() -> None:
            async with factory() as uow:
                await uow.statements.execute(PUT, key=key)
                await uow.statements.execute(FAIL)

        with pytest.raises(asyncpg.DivisionByZeroError):
            await use_case()
        assert await count_of(factory, key) is None

    async def test_suppressed_statement_failure_prevents_commit(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, key: str
    ) -> None:
        async def use_case() -> None:
            async with factory() as uow:
                await uow.statements.execute(PUT, key=key)
                with contextlib.suppress(asyncpg.DivisionByZeroError):
                    await uow.statements.execute(FAIL)

        with pytest.raises(RuntimeError, match="nothing can be committed"):
            await use_case()
        assert await count_of(factory, key) is None
        assert checked_out(small) == 0

    async def test_connection_still_in_transaction_is_discarded(
        self, factory: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A rollback that fails without an exception: the next unit of work gets another connection."""

        async def does_nothing(transaction: Any) -> None:
            pass

        numbers: list[Any] = []

        async def refused() -> None:
            async with factory() as uow:
                numbers.append(await uow.statements.first(PID))
                raise PeerNotFound

        with monkeypatch.context() as patched:
            patched.setattr(Transaction, "rollback", does_nothing)
            with pytest.raises(PeerNotFound):
                await refused()
        async with factory() as uow:
            numbers.append(await uow.statements.first(PID))
        assert numbers[0] != numbers[1]


class TestUnitOfWorkCancellation:
    @pytest.fixture
    def database(self, settings: Settings) -> str:
        return urlsplit(settings.database_url).path[1:]

    async def _cancel_in_a_statement(self, factory: Any, outside: Any, database: str, key: str, mode: str) -> Any:
        async def use_case() -> None:
            async with getattr(factory, mode)() as uow:
                if mode == "__call__":
                    await uow.statements.execute(PUT, key=key)
                await uow.statements.first(SLEEP)

        task = asyncio.create_task(use_case())
        await until_asleep(outside, database)
        task.cancel()
        return task

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_connection_is_returned_after_cancellation(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, outside: Any, database: str, key: str, mode: str
    ) -> None:
        task = await self._cancel_in_a_statement(factory, outside, database, key, mode)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert checked_out(small) == 0

    @pytest.mark.parametrize("mode", ["__call__", "command", "read"])
    async def test_single_connection_serves_next_unit_of_work(
        self, factory: UnitOfWorkFactory, outside: Any, database: str, key: str, mode: str
    ) -> None:
        task = await self._cancel_in_a_statement(factory, outside, database, key, mode)
        with pytest.raises(asyncio.CancelledError):
            await task
        async with factory() as uow:
            await uow.statements.execute(PUT, key=key)
        assert await count_of(factory, key) == 1

    async def test_cancellation_cancels_statement_in_server(
        self, factory: UnitOfWorkFactory, outside: Any, database: str, key: str
    ) -> None:
        task = await self._cancel_in_a_statement(factory, outside, database, key, "__call__")
        with pytest.raises(asyncio.CancelledError):
            await task
        awake = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep')"
        await until(outside, awake, database)

    async def test_cancellation_rolls_back_work(
        self, factory: UnitOfWorkFactory, outside: Any, database: str, key: str
    ) -> None:
        task = await self._cancel_in_a_statement(factory, outside, database, key, "__call__")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await count_of(factory, key) is None

    async def test_second_cancellation_does_not_stop_the_rollback(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, outside: Any, database: str, key: str
    ) -> None:
        task = await self._cancel_in_a_statement(factory, outside, database, key, "__call__")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert checked_out(small) == 0

    async def test_cancelled_wait_takes_no_connection(
        self, small: AsyncEngine, factory: UnitOfWorkFactory, outside: Any, database: str, key: str
    ) -> None:
        async def use_case() -> None:
            async with factory.read():
                pass

        async with factory.read():
            # The context of another request, without an open unit of work.
            waiting = asyncio.get_running_loop().create_task(use_case(), context=contextvars.Context())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert checked_out(small) == 0
        assert await count_of(factory, key) is None


async def _put_and_raise(factory: UnitOfWorkFactory, key: str, error: Exception) -> None:
    async with factory() as uow:
        await uow.statements.execute(PUT, key=key)
        raise error


async def _announced() -> None:
    """asyncpg notifies its loggers in the next turn of the loop."""
    await asyncio.sleep(0)
